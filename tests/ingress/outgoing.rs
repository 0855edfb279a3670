//! How servers are reached.

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;

use socket2::SockRef;
use tcp_tunn::event::{CloseReason, Endpoint, EventKind};
use tcp_tunn::ingress::Credentials;
use tcp_tunn::tunnel::{Builder, Outgoing, Tunnel};

use super::{LOCAL, accept, read, read_to_end, refusing, server};
use crate::support::end::patient;
use crate::support::events::{Events, check_contract};
use crate::support::tunnel::Running;

fn via(scheme: &str, login: &str, proxy: &Running) -> Outgoing {
    let via = format!("{scheme}://{login}{}", proxy.address).parse().unwrap();
    Outgoing::default().via(Some(via))
}

fn proxy(credentials: Option<Credentials>) -> Running {
    Running::start(Builder::default().proxy(LOCAL, credentials))
}

#[test]
fn server_is_reached_through_a_proxy_of_each_kind() {
    let (listener, address) = server();
    let credentials = Credentials::new("me", "s:c%t").unwrap();
    for scheme in ["socks5", "http"] {
        let (plain, guarded) = (proxy(None), proxy(Some(credentials.clone())));
        for (login, proxy) in [("", &plain), ("me:s%3ac%25t@", &guarded)] {
            let events = Events::default();
            // A name is resolved by the proxy.
            let to = format!("localhost:{}", address.port());
            let builder = Tunnel::builder(LOCAL, to).sink(events.sink());
            let tunnel = Running::start(builder.outgoing(via(scheme, login, proxy)));
            let mut client = patient(tunnel.connect());
            client.write_all(b"hello").unwrap();
            let mut server = accept(&listener);
            assert_eq!(read(&server), *b"hello");
            server.write_all(b"answer").unwrap();
            drop(server);
            assert_eq!(read_to_end(&client), b"answer");
            drop(client);
            assert!(events.wait_for_close().is_clean());
            tunnel.stop();
            check_contract(&events.all());
        }
        plain.stop();
        guarded.stop();
    }
}

#[test]
fn failure_of_a_proxy_reads_as_one() {
    let (plain, guarded) = (proxy(None), proxy(Some(Credentials::new("me", "it").unwrap())));
    for (scheme, proxy, words) in [
        ("socks5", &plain, "the proxy said: connection refused"),
        ("http", &plain, "the proxy said: "),
        ("socks5", &guarded, "the proxy "),
    ] {
        let events = Events::default();
        let builder = Tunnel::builder(LOCAL, refusing()).sink(events.sink());
        let tunnel = Running::start(builder.outgoing(via(scheme, "", proxy)));
        let _client = tunnel.connect();
        let CloseReason::ConnectFailed { message } = events.wait_for_close() else { panic!() };
        assert!(message.contains(words), "{message}");
        tunnel.stop();
    }
    plain.stop();
    guarded.stop();
}

/// A server that speaks no proxy's protocol: it answers the first bytes with these, and leaves.
fn stranger(answer: &'static [u8]) -> SocketAddr {
    let (listener, address) = server();
    std::thread::spawn(move || {
        let mut client = accept(&listener);
        let _: [u8; 3] = read(&client);
        client.write_all(answer).unwrap();
    });
    address
}

#[test]
fn proxy_that_cannot_be_used_is_named_with_its_failure() {
    for scheme in ["socks5", "http"] {
        let cases = [
            (refusing(), "connection refused"),
            (stranger(b""), ""),
            (stranger(b"220 mail.example ESMTP\r\n\r\n"), ""),
        ];
        for (proxy, words) in cases {
            let events = Events::default();
            let via = format!("{scheme}://me:secret@{proxy}").parse().unwrap();
            let builder = Tunnel::builder(LOCAL, "127.0.0.1:1").sink(events.sink());
            let tunnel = Running::start(builder.outgoing(Outgoing::default().via(Some(via))));
            let mut client = patient(tunnel.connect());
            let error = client.read(&mut [0]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
            let CloseReason::ConnectFailed { message } = events.wait_for_close() else { panic!() };
            let begin = format!("the proxy {scheme}://{proxy} cannot be used: ");
            let why = message.strip_prefix(&begin).unwrap_or_else(|| panic!("{message}"));
            assert!(!why.is_empty() && why.contains(words), "{message}");
            tunnel.stop();
        }
    }
}

#[test]
fn refusal_passes_a_chain_of_proxies_as_a_refusal() {
    let last = proxy(None);
    let first = Builder::default().proxy(LOCAL, None).outgoing(via("socks5", "", &last));
    let first = Running::start(first);
    let mut client = patient(first.connect());
    let [high, low] = refusing().port().to_be_bytes();
    client.write_all(&[5, 1, 0, 5, 1, 0, 1, 127, 0, 0, 1, high, low]).unwrap();
    assert_eq!(read_to_end(&client)[..4], [5, 0, 5, 5]);
    first.stop();
    last.stop();
}

#[test]
fn connection_comes_from_the_address_that_was_chosen() {
    let (listener, address) = server();
    let events = Events::default();
    let outgoing = Outgoing::default().bind(Some("127.0.0.9:0".parse().unwrap()));
    let builder = Tunnel::builder(LOCAL, address).outgoing(outgoing).sink(events.sink());
    let tunnel = Running::start(builder);
    let client = tunnel.connect();
    let server = accept(&listener);
    let from = server.peer_addr().unwrap();
    assert_eq!(from.ip().to_string(), "127.0.0.9");
    let connected = events.wait_for(|event| matches!(event.kind, EventKind::Connected(_)));
    let EventKind::Connected(connected) = connected.kind else { unreachable!() };
    assert_eq!(connected.local, Endpoint::Tcp(from));
    drop((client, server));
    tunnel.stop();
}

#[test]
fn silent_peers_are_asked_whether_they_are_there() {
    let (listener, address) = server();
    let outgoing = Outgoing::default().keepalive(std::time::Duration::from_secs(60));
    let events = Events::default();
    let builder = Tunnel::builder(LOCAL, address).outgoing(outgoing).sink(events.sink());
    let tunnel = Running::start(builder);
    let client = tunnel.connect();
    let server = accept(&listener);
    // The server's kernel accepts before the tunnel has learned of it.
    events.wait_for(|event| matches!(event.kind, EventKind::Connected(_)));
    let own = [
        (tunnel.address, client.local_addr().unwrap()),
        (server.peer_addr().unwrap(), server.local_addr().unwrap()),
    ];
    assert_eq!(own.map(has_keepalive_timer), [true; 2], "one on each side");
    assert!(!SockRef::from(&client).keepalive().unwrap(), "the client's own is its own affair");
    drop((client, server));
    tunnel.stop();
}

/// Whether the socket with these two addresses has a keep-alive timer: kind 02 in /proc/net/tcp.
fn has_keepalive_timer((local, remote): (SocketAddr, SocketAddr)) -> bool {
    let [local, remote] = [local, remote].map(|address| {
        let SocketAddr::V4(address) = address else { panic!("{address}") };
        format!("{:08X}:{:04X}", u32::from_ne_bytes(address.ip().octets()), address.port())
    });
    let sockets = std::fs::read_to_string("/proc/net/tcp").unwrap();
    sockets.lines().any(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        fields[1] == local && fields[2] == remote && fields[5].starts_with("02:")
    })
}
