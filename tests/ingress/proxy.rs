//! Clients that name their destination.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use tcp_tunn::event::{CloseReason, Endpoint, EventKind};
use tcp_tunn::ingress::Credentials;
use tcp_tunn::tunnel::{Builder, Limits};

use super::{LOCAL, accept, read, read_to_end, refusing, server};
use crate::support::end::patient;
use crate::support::events::{Events, check_contract};
use crate::support::tunnel::Running;

fn proxy(credentials: Option<Credentials>) -> (Running, Events) {
    let events = Events::default();
    let builder = Builder::default().proxy(LOCAL, credentials).sink(events.sink());
    (Running::start(builder), events)
}

/// A client that has sent this.
fn client_of(tunnel: &Running, said: &[u8]) -> TcpStream {
    let mut client = patient(tunnel.connect());
    client.write_all(said).unwrap();
    client
}

fn socks5_for_name(name: &str, port: u16) -> Vec<u8> {
    let len = u8::try_from(name.len()).unwrap();
    let head = [5, 1, 0, 5, 1, 0, 3, len];
    [&head[..], name.as_bytes(), &port.to_be_bytes()].concat()
}

fn socks4(address: [u8; 4], port: u16, rest: &[u8]) -> Vec<u8> {
    [&[4, 1][..], &port.to_be_bytes(), &address, rest].concat()
}

/// Each protocol's request for a server on 127.0.0.1, and the whole of the reply to success.
fn requests(port: u16) -> Vec<(&'static str, Vec<u8>, usize)> {
    let [high, low] = port.to_be_bytes();
    let http = format!("CONNECT localhost:{port} HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n");
    vec![
        ("SOCKS5, IPv4", vec![5, 1, 0, 5, 1, 0, 1, 127, 0, 0, 1, high, low], 12),
        ("SOCKS5, name", socks5_for_name("localhost", port), 12),
        ("SOCKS4", socks4([127, 0, 0, 1], port, b"user\0"), 8),
        ("SOCKS4a", socks4([0, 0, 0, 1], port, b"\0localhost\0"), 8),
        ("HTTP", http.into_bytes(), 0),
    ]
}

/// Reads the reply to a request that succeeded.
fn read_reply(mut client: &TcpStream, len: usize) {
    if len > 0 {
        let mut reply = vec![0; len];
        client.read_exact(&mut reply).unwrap();
        return;
    }
    let mut reply = Vec::new();
    while !reply.ends_with(b"\r\n\r\n") {
        reply.push(read::<1>(client)[0]);
    }
    assert!(reply.starts_with(b"HTTP/1.1 200 "), "{}", reply.escape_ascii());
}

#[test]
fn client_of_each_protocol_reaches_its_server_and_loses_no_early_byte() {
    let (listener, address) = server();
    for (name, request, reply) in requests(address.port()) {
        let (tunnel, events) = proxy(None);
        // What comes with the request belongs to the conversation.
        let mut client = client_of(&tunnel, &[&request[..], b"early"].concat());
        let mut server = accept(&listener);
        assert_eq!(read(&server), *b"early", "{name}");
        client.write_all(b"late").unwrap();
        assert_eq!(read(&server), *b"late", "{name}");
        read_reply(&client, reply);
        server.write_all(b"answer").unwrap();
        drop(server);
        assert_eq!(read_to_end(&client), b"answer", "{name}");
        drop(client);
        assert!(events.wait_for_close().is_clean(), "{name}");
        tunnel.stop();
        let events = events.all();
        check_contract(&events);
        let EventKind::Open(open) = &events[0].kind else { panic!("{events:?}") };
        assert!(open.target.ends_with(&format!(":{}", address.port())), "{name}: {open:?}");
    }
}

#[test]
fn refused_server_is_told_in_each_protocol_s_words() {
    let address = refusing();
    let replies: [&[u8]; 5] =
        [b"\x05\x00\x05\x05", b"\x05\x00\x05\x05", b"\x00\x5b", b"\x00\x5b", b"HTTP/1.1 502 "];
    for ((name, request, _), expected) in requests(address.port()).into_iter().zip(replies) {
        let (tunnel, events) = proxy(None);
        let client = client_of(&tunnel, &request);
        let reply = read_to_end(&client);
        assert!(reply.starts_with(expected), "{name}: {}", reply.escape_ascii());
        assert_eq!(events.wait_for_close(), CloseReason::Refused, "{name}");
        tunnel.stop();
        check_contract(&events.all());
    }
}

#[test]
fn name_that_is_not_found_is_told() {
    let (tunnel, events) = proxy(None);
    let client = client_of(&tunnel, &socks5_for_name("nowhere.invalid", 80));
    let reply = read_to_end(&client);
    assert_eq!(reply[..4], [5, 0, 5, 4], "{reply:?}");
    assert!(matches!(events.wait_for_close(), CloseReason::ResolveFailed { .. }));
    tunnel.stop();
}

#[test]
fn client_that_names_no_destination_is_rejected_and_counted() {
    let attempts: [(&[u8], &[u8]); 5] = [
        (b"\x16\x03\x01\x02\x00", b""),
        (b"\x05\x01\x00\x05\x02\x00\x01\x7f\x00\x00\x01\x00\x50", b"\x05\x00\x05\x07"),
        (b"\x04\x02\x00\x50\x7f\x00\x00\x01\x00", b"\x00\x5b"),
        (b"GET http://example.com/ HTTP/1.1\r\nHost: example.com\r\n\r\n", b"HTTP/1.1 501 "),
        (b"CONNECT nonsense HTTP/1.1\r\n\r\n", b"HTTP/1.1 400 "),
    ];
    let (tunnel, events) = proxy(None);
    for (said, expected) in attempts {
        let mut client = client_of(&tunnel, said);
        let mut reply = Vec::new();
        let end = client.read_to_end(&mut reply);
        assert!(reply.starts_with(expected), "{}", reply.escape_ascii());
        let is_reset = end.is_err_and(|error| error.kind() == ErrorKind::ConnectionReset);
        assert_eq!(is_reset, expected.is_empty(), "{}", said.escape_ascii());
    }
    let summary = tunnel.stop();
    assert_eq!((summary.counts.rejected, summary.counts.connections), (5, 0));
    assert!(events.all().is_empty(), "no destination, no connection");
}

#[test]
fn client_that_is_silent_or_leaves_is_rejected() {
    let limits = Limits::default().connect_timeout(std::time::Duration::from_millis(100));
    let builder = Builder::default().proxy(LOCAL, None).limits(limits);
    let tunnel = Running::start(builder);
    let mut silent = patient(tunnel.connect());
    assert_eq!(silent.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    let leaving = patient(tunnel.connect());
    leaving.shutdown(Shutdown::Write).unwrap();
    assert_eq!((&leaving).read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(tunnel.stop().counts.rejected, 2);
}

#[test]
fn client_that_waits_at_a_stop_is_reset() {
    let (tunnel, _) = proxy(None);
    let mut client = client_of(&tunnel, b"\x05");
    // Its first byte was read once the next client was served.
    let (listener, address) = server();
    let other = client_of(&tunnel, &requests(address.port())[0].1);
    accept(&listener);
    tunnel.stop();
    drop(other);
    assert_eq!(client.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[test]
fn proxy_with_credentials_serves_only_who_has_them() {
    let (listener, address) = server();
    let port = address.port();
    let [high, low] = port.to_be_bytes();
    let login = |password: &[u8]| {
        let len = u8::try_from(password.len()).unwrap();
        let request = [5, 1, 0, 1, 127, 0, 0, 1, high, low];
        [&[5, 1, 2, 1, 2][..], b"me", &[len], password, &request].concat()
    };
    let basic = |token: &str| {
        format!("CONNECT 127.0.0.1:{port} HTTP/1.1\r\nProxy-Authorization: Basic {token}\r\n\r\n")
    };
    // base64 of me:secret and of me:wrong.
    let (right, wrong) = (basic("bWU6c2VjcmV0"), basic("bWU6d3Jvbmc="));
    let (tunnel, _) = proxy(Some(Credentials::new("me", "secret").unwrap()));
    for request in [login(b"secret"), right.into_bytes()] {
        let client = client_of(&tunnel, &request);
        drop((accept(&listener), client));
    }
    let refusals: [(Vec<u8>, &[u8]); 4] = [
        (login(b"wrong"), b"\x05\x02\x01\x01"),
        (requests(port)[0].1.clone(), b"\x05\xff"),
        (wrong.into_bytes(), b"HTTP/1.1 407 "),
        (socks4([127, 0, 0, 1], port, b"me\0"), b"\x00\x5b"),
    ];
    for (request, expected) in refusals {
        let mut client = client_of(&tunnel, &request);
        let mut reply = Vec::new();
        let _ = client.read_to_end(&mut reply);
        assert!(reply.starts_with(expected), "{}", reply.escape_ascii());
    }
    let summary = tunnel.stop();
    assert_eq!((summary.counts.connections, summary.counts.rejected), (2, 4));
}

#[test]
fn proxy_that_is_asked_for_itself_refuses() {
    let (tunnel, events) = proxy(None);
    let client = client_of(&tunnel, &requests(tunnel.address.port())[0].1);
    assert_eq!(read_to_end(&client)[..4], [5, 0, 5, 2]);
    assert_eq!(events.wait_for_close(), CloseReason::Loop);
    tunnel.stop();
}

#[test]
fn opening_of_a_proxy_s_client_names_its_server() {
    let (listener, address) = server();
    let (tunnel, events) = proxy(None);
    let client = client_of(&tunnel, &requests(address.port())[0].1);
    let from: SocketAddr = client.local_addr().unwrap();
    drop((accept(&listener), client));
    events.wait_for_close();
    let listener = tunnel.address;
    tunnel.stop();
    let EventKind::Open(open) = &events.all()[0].kind else { panic!() };
    assert_eq!(open.client, Endpoint::Tcp(from));
    assert_eq!(open.listener, Endpoint::Tcp(listener));
    assert_eq!(open.server, Some(Endpoint::Tcp(address)));
    assert_eq!(*open.target, *address.to_string());
}
