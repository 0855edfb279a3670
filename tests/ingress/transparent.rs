//! Clients that the firewall brings here.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};

use tcp_tunn::event::{CloseReason, Endpoint, EventKind};
use tcp_tunn::tunnel::Builder;

use super::{accept, read, server};
use crate::support::confined::confined;
use crate::support::end::patient;
use crate::support::events::{Events, check_contract};
use crate::support::tunnel::Running;

/// A network in which connects to 192.0.2.7 and 2001:db8::7, addresses of this machine, are
/// brought to the ports 7000 and 7001 by the rules of docs/transparent.md.
fn redirecting() -> String {
    let addresses = "ip link set lo up; ip addr add 192.0.2.7/32 dev lo;\
                     ip addr add 2001:db8::7/128 dev lo nodad;";
    let rules = "nft \"add table inet tcp_tunn;\
                 add chain inet tcp_tunn output { type nat hook output priority -100; };\
                 add rule inet tcp_tunn output meta mark 1 accept;\
                 add rule inet tcp_tunn output ip daddr 192.0.2.7 tcp dport 80 redirect to :7000;\
                 add rule inet tcp_tunn output ip6 daddr 2001:db8::7 tcp dport 80 \
                 redirect to :7001\";";
    format!("exec unshare --net sh -ec '{addresses} {rules} exec \"$@\"' sh")
}

#[test]
fn redirected_client_is_connected_to_its_original_destination() {
    if !confined(&redirecting()) {
        return;
    }
    let events = Events::default();
    // The tunnel's own connects would be brought back to it: here it is sent to another port.
    let (listener, _) = server();
    let port = listener.local_addr().unwrap().port();
    let route = move |arrival: &tcp_tunn::tunnel::Arrival| {
        assert!(["192.0.2.7:80", "[2001:db8::7]:80"].contains(&&*arrival.wanted.to_string()));
        let other: SocketAddr = ([127, 0, 0, 1], port).into();
        tcp_tunn::tunnel::Decision::Connect(tcp_tunn::tunnel::Address::Ip(other))
    };
    let builder = Builder::default().transparent("127.0.0.1:7000").transparent("[::1]:7001");
    let tunnel = Running::start(builder.route_by(route).sink(events.sink()));
    for destination in ["192.0.2.7:80", "[2001:db8::7]:80"] {
        let destination: SocketAddr = destination.parse().unwrap();
        let mut client = patient(TcpStream::connect(destination).unwrap());
        client.write_all(b"hello").unwrap();
        assert_eq!(read(&accept(&listener)), *b"hello");
        drop(client);
    }
    events.wait_for_closes(2);
    tunnel.stop();
    let events = events.all();
    check_contract(&events);
    let listeners = events.iter().filter_map(|event| match &event.kind {
        EventKind::Open(open) => Some(open.listener.to_string()),
        _ => None,
    });
    assert_eq!(listeners.collect::<Vec<_>>(), ["192.0.2.7:80", "[2001:db8::7]:80"]);
}

#[test]
fn client_that_nothing_redirected_would_be_a_loop() {
    let events = Events::default();
    let builder = Builder::default().transparent("127.0.0.1:0").sink(events.sink());
    let tunnel = Running::start(builder);
    let mut client = patient(tunnel.connect());
    assert_eq!(client.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(events.wait_for_close(), CloseReason::Loop);
    let own = Endpoint::Tcp(tunnel.address);
    tunnel.stop();
    let EventKind::Open(open) = &events.all()[0].kind else { panic!() };
    assert_eq!(open.listener, own);
}
