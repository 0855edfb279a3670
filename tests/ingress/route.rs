//! Who decides where a client goes.

use std::io::{ErrorKind, Read, Write};
use std::sync::atomic::{AtomicUsize, Ordering};

use tcp_tunn::event::CloseReason;
use tcp_tunn::tunnel::{Address, Arrival, Builder, Decision, Tunnel};

use super::ways::ask_by_socks5;
use super::{LOCAL, accept, read, read_to_end, refusing, server};
use crate::support::end::patient;
use crate::support::events::Events;
use crate::support::tunnel::Running;

#[test]
fn route_sends_a_client_elsewhere() {
    let (listener, address) = server();
    let events = Events::default();
    let route = move |_: &Arrival| Decision::Connect(Address::Ip(address));
    let builder = Tunnel::builder(LOCAL, refusing()).route_by(route).sink(events.sink());
    let tunnel = Running::start(builder);
    let mut client = patient(tunnel.connect());
    client.write_all(b"here").unwrap();
    assert_eq!(read(&accept(&listener)), *b"here");
    drop(client);
    assert_ne!(events.wait_for_close(), CloseReason::Refused);
    tunnel.stop();
}

#[test]
fn route_sees_what_a_proxy_s_client_asks_for() {
    let (listener, address) = server();
    let route = move |arrival: &Arrival| {
        assert!(arrival.client.socket_addr().is_some());
        match &arrival.wanted {
            Address::Ip(wanted) if *wanted == address => Decision::Connect(arrival.wanted.clone()),
            other => panic!("{other}"),
        }
    };
    let tunnel = Running::start(Builder::default().proxy(LOCAL, None).route_by(route));
    let client = patient(tunnel.connect());
    ask_by_socks5(&client, address);
    drop((accept(&listener), client));
    tunnel.stop();
}

#[test]
fn rejected_client_is_told_or_reset_and_counted() {
    let (_listener, address) = server();
    let reject = |_: &Arrival| Decision::Reject { reason: "not today".to_owned() };
    let tunnel = Running::start(Tunnel::builder(LOCAL, address).route_by(reject));
    let mut client = patient(tunnel.connect());
    assert_eq!(client.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    let summary = tunnel.stop();
    assert_eq!((summary.counts.rejected, summary.counts.connections), (1, 0));

    let tunnel = Running::start(Builder::default().proxy(LOCAL, None).route_by(reject));
    let mut client = patient(tunnel.connect());
    client.write_all(b"\x05\x01\x00\x05\x01\x00\x01\x7f\x00\x00\x01\x00\x50").unwrap();
    // RFC 1928: connection not allowed by ruleset.
    assert_eq!(read_to_end(&client)[..4], [5, 0, 5, 2]);
    assert_eq!(tunnel.stop().counts.rejected, 1);
}

#[test]
fn panic_of_a_route_rejects_the_client_only() {
    let (listener, address) = server();
    let calls = AtomicUsize::new(0);
    let route = move |arrival: &Arrival| {
        assert_ne!(calls.fetch_add(1, Ordering::Relaxed), 0, "out of order");
        Decision::Connect(arrival.wanted.clone())
    };
    let tunnel = Running::start(Tunnel::builder(LOCAL, address).workers(1).route_by(route));
    let mut client = patient(tunnel.connect());
    assert_eq!(client.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    let mut next = patient(tunnel.connect());
    next.write_all(b"served").unwrap();
    assert_eq!(read(&accept(&listener)), *b"served");
    drop(next);
    let summary = tunnel.stop();
    assert_eq!((summary.counts.rejected, summary.counts.connections), (1, 1));
}
