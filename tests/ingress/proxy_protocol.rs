//! Load balancers that say who the client is, and servers that are told.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};

use tcp_tunn::event::{Endpoint, EventKind};
use tcp_tunn::ingress::ProxyVersion;
use tcp_tunn::tunnel::{Outgoing, Tunnel};

use super::{LOCAL, accept, read, read_to_end, server};
use crate::support::end::patient;
use crate::support::events::Events;
use crate::support::tunnel::Running;

const V1: &[u8] = b"PROXY TCP4 192.0.2.1 192.0.2.9 1234 80\r\n";
const LOCAL_V2: &[u8] =
    b"\r\n\r\n\0\r\nQUIT\n\x20\x11\0\x0c\x01\x01\x01\x01\x02\x02\x02\x02\0\x01\0\x02";

/// A tunnel that expects a header, and its server's end of a client that has sent `said`.
fn served(said: &[u8]) -> (Events, TcpStream, TcpStream, Running) {
    let (listener, address) = server();
    let events = Events::default();
    let builder = Tunnel::builder(LOCAL, address).expect_proxy_header().sink(events.sink());
    let tunnel = Running::start(builder);
    let mut client = patient(tunnel.connect());
    client.write_all(said).unwrap();
    (events, client, accept(&listener), tunnel)
}

fn opened(events: &Events) -> (Endpoint, Endpoint) {
    let open = events.wait_for(|event| matches!(event.kind, EventKind::Open(_)));
    let EventKind::Open(open) = open.kind else { unreachable!() };
    (open.client.clone(), open.listener.clone())
}

fn endpoint(text: &str) -> Endpoint {
    Endpoint::Tcp(text.parse().unwrap())
}

#[test]
fn client_is_who_the_header_says() {
    let (events, _client, server, tunnel) = served(&[V1, b"hello"].concat());
    assert_eq!(read(&server), *b"hello");
    assert_eq!(opened(&events), (endpoint("192.0.2.1:1234"), endpoint("192.0.2.9:80")));
    drop((server, _client));
    tunnel.stop();
}

#[test]
fn client_of_a_local_header_is_itself() {
    let (events, client, server, tunnel) = served(&[LOCAL_V2, b"hello"].concat());
    assert_eq!(read(&server), *b"hello");
    let (from, _) = opened(&events);
    assert_eq!(from, Endpoint::Tcp(client.local_addr().unwrap()));
    drop((server, client));
    tunnel.stop();
}

#[test]
fn client_without_a_header_is_reset_and_counted() {
    let (_listener, address) = server();
    let tunnel = Running::start(Tunnel::builder(LOCAL, address).expect_proxy_header());
    for said in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"PROXY TCP4 nonsense\r\n"] {
        let mut client = patient(tunnel.connect());
        client.write_all(said).unwrap();
        assert_eq!(client.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    }
    assert_eq!(tunnel.stop().counts.rejected, 2);
}

#[test]
fn server_is_told_who_its_client_is() {
    for version in [ProxyVersion::V1, ProxyVersion::V2] {
        let (listener, address) = server();
        let outgoing = Outgoing::default().send_proxy(version);
        let tunnel = Running::start(Tunnel::builder(LOCAL, address).outgoing(outgoing));
        let mut client = patient(tunnel.connect());
        let from: SocketAddr = client.local_addr().unwrap();
        client.write_all(b"hello").unwrap();
        client.shutdown(std::net::Shutdown::Write).unwrap();
        let server = accept(&listener);
        let received = read_to_end(&server);
        let to = tunnel.address;
        let header = tcp_tunn::ingress::encode_proxy_header(version, &from.into(), &to.into());
        assert_eq!(received, [&header[..], b"hello"].concat(), "{version:?}");
        drop(server);
        tunnel.stop();
    }
}

#[test]
fn header_passes_a_chain_of_two_tunnels() {
    let (listener, address) = server();
    let second = Running::start(Tunnel::builder(LOCAL, address).expect_proxy_header());
    let outgoing = Outgoing::default().send_proxy(ProxyVersion::V1);
    let first = Running::start(Tunnel::builder(LOCAL, second.address).outgoing(outgoing));
    let mut client = patient(first.connect());
    client.write_all(b"through both").unwrap();
    let server = accept(&listener);
    assert_eq!(read(&server), *b"through both");
    drop((client, server));
    first.stop();
    second.stop();
}
