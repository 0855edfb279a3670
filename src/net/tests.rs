//! The data ring and the epoll way, each with real sockets.

use std::future::poll_fn;
use std::io::{Read, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::rc::Rc;

#[path = "../../tests/support/skip.rs"]
#[expect(dead_code, reason = "no test here needs more than the kernel")]
mod skip;

use skip::skip_without_kernel_feature;

use bytes::Bytes;
use socket2::Domain;

use super::socket::Owner;
use super::{Backend, Chunk, Io, Memory, Reader, Socket, Write, block_on, failure, spawn};

/// A socket of ours and its peer, which blocks.
fn pair() -> (Socket, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("it listens");
    let peer = TcpStream::connect(listener.local_addr().expect("it is bound")).expect("connected");
    let accepted = listener.accept().expect("there is one").0;
    peer.set_read_timeout(Some(std::time::Duration::from_secs(60))).expect("it is set");
    (Socket::new(Owner::Fd(accepted.into()), Domain::IPV4), peer)
}

/// Runs a test on each way to the kernel that there is here.
fn on_each<F: Future<Output = ()>>(test: impl Fn(Io) -> F) {
    block_on(Backend::Epoll, &test).expect("every kernel has epoll");
    match block_on(Backend::Uring, &test) {
        Err(error) if error.why_epoll().is_some() => {
            skip_without_kernel_feature(&format!("io_uring ({error})"));
        }
        result => result.expect("there is a ring"),
    }
}

async fn read(reader: &mut Reader) -> Bytes {
    let chunk = poll_fn(|context| reader.poll_read(context)).await.expect("it is read");
    chunk.bytes().expect("nobody asked for a pipe").clone()
}

async fn write(io: &Io, socket: &Socket, bytes: Bytes) {
    let mut write = Write::new(io, Chunk::Bytes(bytes));
    while !write.is_done() {
        poll_fn(|context| write.poll_write(socket, context)).await.expect("it is written");
    }
}

fn reader(io: &Io, socket: &Socket) -> Reader {
    Reader::new(io, socket.clone(), Rc::new(Memory::new(1)), None)
}

#[test]
fn bytes_arrive_in_order_whatever_their_size() {
    on_each(|io| async move {
        let (socket, mut peer) = pair();
        let data: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
        let expected = data.clone();
        let sender = std::thread::spawn(move || {
            // Small ones first, then as much as there is room for.
            for piece in data[..1000].chunks(100) {
                peer.write_all(piece).expect("it is taken");
            }
            peer.write_all(&data[1000..]).expect("it is taken");
            peer.shutdown(std::net::Shutdown::Write).expect("it is open");
            peer
        });
        let (mut reader, mut received) = (reader(&io, &socket), Vec::new());
        loop {
            let bytes = read(&mut reader).await;
            if bytes.is_empty() {
                break;
            }
            received.extend_from_slice(&bytes);
        }
        assert!(received == expected, "{} bytes", received.len());
        let mut peer = sender.join().expect("it has sent all");
        let back = std::thread::spawn(move || {
            let mut all = Vec::new();
            peer.read_to_end(&mut all).map(|_| all)
        });
        write(&io, &socket, expected.clone().into()).await;
        socket.shutdown_write().expect("it is open");
        assert!(back.join().expect("it has read all").expect("it is read") == expected);
    });
}

#[test]
fn more_messages_at_once_than_provided_buffers_all_arrive() {
    on_each(|io| async move {
        let pairs: Vec<_> = (0..300).map(|_| pair()).collect();
        let mut tasks = Vec::new();
        for (index, (socket, peer)) in pairs.iter().enumerate() {
            (&*peer).write_all(&(index as u32).to_be_bytes()).expect("it is taken");
            let mut reader = reader(&io, socket);
            tasks.push(spawn(async move { read(&mut reader).await }));
        }
        for (index, task) in tasks.into_iter().enumerate() {
            let bytes = task.await.expect("it does not panic");
            assert_eq!(bytes[..], (index as u32).to_be_bytes());
        }
    });
}

#[test]
fn read_that_is_given_up_lets_its_socket_close() {
    on_each(|io| async move {
        let (socket, mut peer) = pair();
        let mut waiting = reader(&io, &socket);
        let pending =
            poll_fn(|context| std::task::Poll::Ready(waiting.poll_read(context).is_pending()));
        assert!(pending.await, "nothing has come yet");
        io.yield_turn().await;
        drop((waiting, socket));
        io.drained().await;
        assert_eq!(peer.read(&mut [0]).expect("it is closed"), 0);
    });
}

#[test]
fn runtime_ends_with_operations_under_way() {
    on_each(|io| async move {
        let (socket, peer) = pair();
        let mut waiting = reader(&io, &socket);
        // Never awaited to its end: the runtime ends before.
        spawn(async move {
            read(&mut waiting).await;
            drop(peer);
        });
        io.yield_turn().await;
    });
}

#[test]
fn reset_of_the_peer_is_a_failure_and_its_half_close_is_none() {
    on_each(|io| async move {
        let (socket, peer) = pair();
        peer.shutdown(std::net::Shutdown::Write).expect("it is open");
        let mut failing = Box::pin(failure(&io, &socket));
        let early =
            poll_fn(|context| std::task::Poll::Ready(failing.as_mut().poll(context).is_ready()));
        assert!(!early.await, "a half-close is no failure");
        let peer = socket2::Socket::from(peer);
        peer.set_linger(Some(std::time::Duration::ZERO)).expect("it is set");
        drop(peer);
        let error = failing.await.expect("it can be told");
        // After a FIN of the peer its RST is EPIPE (tcp(7)).
        assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe);
    });
}

#[test]
fn abort_resets_the_peer_while_operations_are_under_way() {
    on_each(|io| async move {
        let (socket, mut peer) = pair();
        let mut waiting = reader(&io, &socket);
        let task =
            spawn(async move { poll_fn(|context| waiting.poll_read(context)).await.is_err() });
        io.yield_turn().await;
        socket.abort();
        task.await.expect("it does not panic");
        let error = peer.read(&mut [0]).expect_err("it is reset");
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
        assert!(rustix::net::getpeername(socket.as_fd()).is_err());
    });
}

/// The kernel does only so much deferred work at a time, and signals no more for what is left.
#[test]
fn reads_of_many_sockets_that_are_ready_together_all_complete() {
    const SOCKETS: usize = 200;
    on_each(|io| async move {
        let (sockets, mut peers): (Vec<_>, Vec<_>) = (0..SOCKETS).map(|_| pair()).unzip();
        let mut readers: Vec<_> = sockets.iter().map(|socket| reader(&io, socket)).collect();
        for round in 0..20_u8 {
            let peers = &mut peers;
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    peers.iter_mut().for_each(|peer| peer.write_all(&[round]).expect("sent"))
                });
            });
            for reader in &mut readers {
                assert_eq!(read(reader).await, [round][..]);
            }
        }
    });
}
