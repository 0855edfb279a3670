//! How a connection ends where more than its two peers has a say: slow readers, transforms that
//! reply, delay or panic.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use socket2::{Domain, Socket, Type};
use tcp_tunn::event::{CloseReason, ConnectionId, Direction, EventKind, Leg, Open, Side};
use tcp_tunn::transform::{Output, Pair, Transform, TransformError, from_fn};
use tcp_tunn::tunnel::Limits;

use crate::support::bytes::bytes;
use crate::support::end::{patient, reset};
use crate::support::events::{Events, check_contract};
use crate::support::tunnel::Running;

/// A client whose kernel takes little at a time.
fn connect_with_little_room(tunnel: &Running) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.connect(&tunnel.address.into()).unwrap();
    patient(socket.into())
}

/// Waits until the tunnel has received `count` bytes of a direction.
fn wait_until_received(events: &Events, direction: Direction, count: u64) {
    events.wait_for(|event| match &event.kind {
        EventKind::Data { direction: d, leg: Leg::Received, offset, bytes, .. } => {
            *d == direction && offset + bytes.len() as u64 >= count
        }
        _ => false,
    });
}

/// Reads to the end; what came, and whether it was a reset.
fn read_all(mut stream: &TcpStream) -> (Vec<u8>, bool) {
    let mut got = Vec::new();
    match stream.read_to_end(&mut got) {
        Ok(_) => (got, false),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
            (got, true)
        }
    }
}

#[test]
fn rst_waits_for_acknowledged_bytes() {
    const LEN: usize = 100_000;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (tunnel, events) = Running::recorded(listener.local_addr().unwrap());
    let client = connect_with_little_room(&tunnel);
    let mut server = listener.accept().unwrap().0;
    server.write_all(&bytes(1, LEN)).unwrap();
    wait_until_received(&events, Direction::ServerToClient, LEN as u64);
    reset(server);
    let (got, was_reset) = read_all(&client);
    assert!(got == bytes(1, LEN), "{} bytes of {LEN}", got.len());
    assert!(was_reset);
    assert_eq!(events.wait_for_close(), CloseReason::Reset { by: Side::Server });
    tunnel.stop();
    check_contract(&events.all());
}

#[test]
fn rst_reaches_stalled_peer_after_a_moment() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (tunnel, events) = Running::recorded(listener.local_addr().unwrap());
    let _client = connect_with_little_room(&tunnel);
    let mut server = listener.accept().unwrap().0;
    // More than fits on the way, so that the tunnel's write is stuck.
    server.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
    while server.write(&[0; 65536]).is_ok() {}
    reset(server);
    assert_eq!(events.wait_for_close(), CloseReason::Reset { by: Side::Server });
    tunnel.stop();
    check_contract(&events.all());
}

/// What to do with each chunk.
struct Does<F>(F);

impl<F: FnMut(&[u8], &mut Output)> Transform for Does<F> {
    fn transform(&mut self, input: &[u8], output: &mut Output) -> Result<(), TransformError> {
        (self.0)(input, output);
        Ok(())
    }
}

fn transform(does: impl FnMut(&[u8], &mut Output) + 'static) -> impl Transform + 'static {
    Does(does)
}

/// A tunnel with a codec, and the two ends of its first connection.
fn transformed(
    codec: impl Fn(ConnectionId, &Open) -> Pair + Send + Sync + 'static,
) -> (Running, Events, TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let limits = Limits::default().shutdown_timeout(Duration::from_millis(50));
    let to = listener.local_addr().unwrap();
    let (tunnel, events) = Running::recorded_with(to, |b| b.codec(codec).limits(limits));
    let client = patient(tunnel.connect());
    let server = patient(listener.accept().unwrap().0);
    (tunnel, events, client, server)
}

#[test]
fn transform_reply_survives_fin_of_other_side() {
    const LEN: usize = 16 << 20;
    let (tunnel, events, mut client, server) = transformed(|_, _| {
        Pair::default().encoder(transform(|_, output| output.reply(bytes(2, LEN))))
    });
    client.write_all(b"go").unwrap();
    let mut first = [0; 1];
    client.read_exact(&mut first).unwrap();
    // The reply does not fit into the kernel: the rest of it is on its way now.
    server.shutdown(Shutdown::Write).unwrap();
    let (rest, was_reset) = read_all(&client);
    assert!(!was_reset && rest == bytes(2, LEN)[1..], "{} bytes of {LEN}", rest.len() + 1);
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_all(&server), (Vec::new(), false));
    assert!(events.wait_for_close().is_clean());
    tunnel.stop();
    check_contract(&events.all());
}

#[test]
fn transform_reply_after_fin_is_dropped() {
    let (tunnel, events, mut client, mut server) = transformed(|_, _| {
        let encoder = transform(|input, output| {
            output.forward(input);
            output.reply(b"too late");
        });
        let decoder = transform(|input, output| {
            output.forward(input);
            output.finish();
        });
        Pair::default().encoder(encoder).decoder(decoder)
    });
    server.write_all(b"bye").unwrap();
    assert_eq!(read_all(&client), (b"bye".to_vec(), false));
    client.write_all(b"hello").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_all(&server), (b"hello".to_vec(), false));
    drop(server);
    assert_eq!(events.wait_for_close(), CloseReason::Finished { first: Side::Client });
    tunnel.stop();
    check_contract(&events.all());
}

#[test]
fn transform_delay_does_not_delay_shutdown() {
    let (tunnel, events, mut client, _server) = transformed(|_, _| {
        Pair::default().encoder(transform(|_, output| output.delay(Duration::from_secs(24 * 3600))))
    });
    client.write_all(b"go").unwrap();
    wait_until_received(&events, Direction::ClientToServer, 2);
    tunnel.stop();
    assert_eq!(events.wait_for_close(), CloseReason::Stopped);
    check_contract(&events.all());
}

#[test]
fn panicking_codec_resets_its_connection_only() {
    let first = AtomicBool::new(true);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let codec = move |_: ConnectionId, _: &Open| {
        assert!(!first.swap(false, Relaxed), "not the first");
        Pair::default()
    };
    let to = listener.local_addr().unwrap();
    let (tunnel, events) = Running::recorded_with(to, |builder| builder.codec(codec));
    for (number, expected) in [(1, (Vec::new(), true)), (2, (b"fine".to_vec(), false))] {
        let mut client = patient(tunnel.connect());
        let server = patient(listener.accept().unwrap().0);
        let said = client.write_all(b"fine").and_then(|()| client.shutdown(Shutdown::Write));
        assert_eq!(read_all(&server), expected);
        drop(server);
        let (heard, reset) = read_all(&client);
        // A reset that came before is told to whoever speaks, and then no more.
        assert_eq!((heard, reset || said.is_err()), (Vec::new(), expected.1));
        events.wait_for_closes(number);
    }
    let closes = events.wait_for_closes(2);
    assert_eq!(
        closes[0].to_string(),
        "ended by the client's transform: the codec panicked: not the first"
    );
    assert_eq!(closes[1], CloseReason::Finished { first: Side::Client });
    tunnel.stop();
    check_contract(&events.all());
}

#[test]
fn transform_panic_in_drop_resets_both_sides() {
    struct Vase;
    impl Transform for Vase {
        fn transform(&mut self, _: &[u8], _: &mut Output) -> Result<(), TransformError> {
            Ok(())
        }
    }
    impl Drop for Vase {
        fn drop(&mut self) {
            panic!("broken");
        }
    }
    let pair = |_: ConnectionId, _: &Open| Pair::default().encoder(Vase);
    let (tunnel, events, mut client, server) = transformed(pair);
    client.write_all(b"recorded").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert!(read_all(&server).1);
    assert!(read_all(&client).1);
    assert_eq!(events.wait_for_close(), CloseReason::Internal);
    tunnel.stop();
    // The close tells what passed before, too.
    check_contract(&events.all());
}

#[test]
fn error_with_panicking_display_is_a_panic() {
    #[derive(Debug)]
    struct Speechless;
    impl std::fmt::Display for Speechless {
        fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            panic!("no words")
        }
    }
    impl std::error::Error for Speechless {}
    let pair =
        |_: ConnectionId, _: &Open| Pair::default().encoder(from_fn(|_, _| Err(Speechless.into())));
    let (tunnel, events, mut client, server) = transformed(pair);
    client.write_all(b"hello").unwrap();
    assert!(read_all(&server).1);
    let words = events.wait_for_close().to_string();
    assert_eq!(words, "ended by the client's transform: it panicked: no words");
    tunnel.stop();
    check_contract(&events.all());
}
