//! The relay against real sockets: every byte, both ends, and what is recorded of them.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread::JoinHandle;

use tcp_tunn::event::{CloseReason, Direction, EventKind, Leg, Side};
use tcp_tunn::tunnel::Tunnel;

use crate::support::bytes::bytes;
use crate::support::end::{patient, reset};
use crate::support::events::check_contract;
use crate::support::skip::skip_without_kernel_feature;
use crate::support::tunnel::Running;

/// A server for one connection at a time, each treated by `serve`.
fn server(serve: impl Fn(TcpStream) + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            serve(patient(stream.unwrap()));
        }
    });
    address
}

fn echo(mut stream: TcpStream) {
    let mut buffer = [0; 4096];
    while let Ok(n @ 1..) = stream.read(&mut buffer) {
        stream.write_all(&buffer[..n]).unwrap();
    }
}

/// A refused connect: a port that was free a moment ago.
fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

#[test]
fn echo_comes_back_and_is_recorded() {
    let (tunnel, events) = Running::recorded(server(echo));
    let mut client = patient(tunnel.connect());
    client.write_all(b"hello").unwrap();
    let mut answer = [0; 5];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"hello");
    drop(client);
    assert_eq!(events.wait_for_close(), CloseReason::Finished { first: Side::Client });
    let summary = tunnel.stop();
    assert_eq!(summary.counts.connections, 1);
    check_contract(&events.all());
    for direction in [Direction::ClientToServer, Direction::ServerToClient] {
        for leg in [Leg::Received, Leg::Sent] {
            assert_eq!(events.bytes(1, direction, leg), b"hello", "{direction:?} {leg:?}");
        }
    }
}

#[test]
fn bulk_both_ways_arrives() {
    const LEN: usize = 64 << 20;
    let server_says = bytes(2, LEN);
    let expected = server_says.clone();
    let address = server(move |stream| {
        let mut writer = stream.try_clone().unwrap();
        let said = server_says.clone();
        let writing = std::thread::spawn(move || {
            writer.write_all(&said).unwrap();
            writer.shutdown(Shutdown::Write).unwrap();
        });
        check_stream(stream, 1, LEN);
        writing.join().unwrap();
    });
    let (tunnel, events) = Running::recorded(address);
    let mut client = patient(tunnel.connect());
    let reader = client.try_clone().unwrap();
    let reading: JoinHandle<()> = std::thread::spawn(move || check_stream(reader, 2, LEN));
    client.write_all(&bytes(1, LEN)).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    reading.join().unwrap();
    assert!(matches!(events.wait_for_close(), CloseReason::Finished { .. }));
    tunnel.stop();
    check_contract(&events.all());
    assert!(events.bytes(1, Direction::ServerToClient, Leg::Sent) == expected);
}

/// Reads to the end, and compares with what `seed` gives.
fn check_stream(mut stream: TcpStream, seed: u64, len: usize) {
    let mut got = Vec::with_capacity(len);
    stream.read_to_end(&mut got).unwrap();
    assert!(got == bytes(seed, len), "{} bytes of {len}, or others", got.len());
}

#[test]
fn refused_server_resets_client() {
    let (tunnel, events) = Running::recorded(nobody());
    let mut client = patient(tunnel.connect());
    let error = client.read(&mut [0; 1]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    assert_eq!(events.wait_for_close(), CloseReason::Refused);
    tunnel.stop();
    check_contract(&events.all());
}

#[test]
fn server_speaks_first() {
    let (tunnel, events) = Running::recorded(server(|mut stream| {
        stream.write_all(b"220 ready\r\n").unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).unwrap();
        assert_eq!(said, "QUIT");
    }));
    let mut client = patient(tunnel.connect());
    let mut greeting = [0; 11];
    client.read_exact(&mut greeting).unwrap();
    assert_eq!(&greeting, b"220 ready\r\n");
    client.write_all(b"QUIT").unwrap();
    drop(client);
    events.wait_for_close();
    tunnel.stop();
    check_contract(&events.all());
}

/// `early` ends its direction; the other says something only after it has seen that.
fn half_close(early: Side) {
    let talk_late = |mut stream: TcpStream| {
        let mut said = Vec::new();
        stream.read_to_end(&mut said).unwrap();
        assert_eq!(said, b"early");
        stream.write_all(b"late").unwrap();
    };
    let talk_early = |mut stream: TcpStream| {
        stream.write_all(b"early").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut said = Vec::new();
        stream.read_to_end(&mut said).unwrap();
        assert_eq!(said, b"late");
    };
    let server_is_early = early == Side::Server;
    let address =
        server(move |stream| if server_is_early { talk_early(stream) } else { talk_late(stream) });
    let (tunnel, events) = Running::recorded(address);
    let client = patient(tunnel.connect());
    if server_is_early {
        talk_late(client)
    } else {
        talk_early(client)
    }
    assert_eq!(events.wait_for_close(), CloseReason::Finished { first: early });
    tunnel.stop();
    check_contract(&events.all());
}

#[test]
fn answer_after_client_fin_reaches_client() {
    half_close(Side::Client);
}

#[test]
fn bytes_after_server_fin_reach_server() {
    half_close(Side::Server);
}

#[test]
fn two_hundred_connections_are_relayed() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (tunnel, events) = Running::recorded(listener.local_addr().unwrap());
    let serving = std::thread::spawn(move || {
        let accepted: Vec<_> = (0..200).map(|_| listener.accept().unwrap().0).collect();
        accepted.into_iter().for_each(|stream| echo(patient(stream)));
    });
    let clients: Vec<_> = (0..200).map(|_| patient(tunnel.connect())).collect();
    for (i, mut client) in clients.into_iter().enumerate() {
        client.write_all(&bytes(i as u64, 1000)).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        std::thread::spawn(move || check_stream(client, i as u64, 1000));
    }
    let closes = events.wait_for_closes(200);
    assert!(closes.iter().all(CloseReason::is_clean), "{closes:?}");
    serving.join().unwrap();
    assert_eq!(tunnel.stop().counts.connections, 200);
    check_contract(&events.all());
}

#[test]
fn stop_resets_idle_connections_at_timeout() {
    let limits =
        tcp_tunn::tunnel::Limits::default().shutdown_timeout(std::time::Duration::from_millis(100));
    let (tunnel, events) = Running::recorded_with(server(echo), |b| b.limits(limits));
    let mut client = patient(tunnel.connect());
    events.wait_for(|event| matches!(event.kind, EventKind::Connected(_)));
    tunnel.stop();
    let error = client.read(&mut [0; 1]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    assert_eq!(events.wait_for_close(), CloseReason::Stopped);
    check_contract(&events.all());
}

#[test]
fn ipv6_is_relayed() {
    let Ok(listener) = TcpListener::bind("[::1]:0") else {
        skip_without_kernel_feature("IPv6");
        return;
    };
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || echo(listener.accept().unwrap().0));
    let tunnel = Running::start(Tunnel::builder("[::1]:0", address));
    let mut client = patient(tunnel.connect());
    client.write_all(b"six").unwrap();
    let mut answer = [0; 3];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"six");
}

#[test]
fn rst_of_either_side_reaches_other() {
    for by in [Side::Client, Side::Server] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (tunnel, events) = Running::recorded(listener.local_addr().unwrap());
        let client = patient(tunnel.connect());
        let server = patient(listener.accept().unwrap().0);
        events.wait_for(|event| matches!(event.kind, EventKind::Connected(_)));
        let (resetting, mut other) =
            if by == Side::Client { (client, server) } else { (server, client) };
        reset(resetting);
        let error = other.read(&mut [0; 1]).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
        assert_eq!(events.wait_for_close(), CloseReason::Reset { by });
        tunnel.stop();
        check_contract(&events.all());
    }
}

#[test]
fn unix_socket_is_relayed_and_removed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("in.sock");
    let tunnel = Tunnel::builder(format!("unix:{}", path.display()), server(echo)).bind().unwrap();
    let handle = tunnel.handle();
    let running = std::thread::spawn(move || tunnel.run().unwrap());
    let mut client = std::os::unix::net::UnixStream::connect(&path).unwrap();
    client.set_read_timeout(Some(crate::support::events::PATIENCE)).unwrap();
    client.write_all(b"unix").unwrap();
    let mut answer = [0; 4];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"unix");
    drop(client);
    handle.stop();
    assert_eq!(running.join().unwrap().counts.connections, 1);
    assert!(!path.exists());
}
