//! Connects that were caught elsewhere.

use std::io::Write;
use std::sync::mpsc::channel;

use tcp_tunn::event::{CloseReason, Endpoint, EventKind, Process};
use tcp_tunn::tunnel::{Backend, Builder};

use super::ways::Program;
use super::{accept, read, refusing, server};
use crate::support::events::{Events, PATIENCE, check_contract};
use crate::support::skip::skip_without_kernel_feature;
use crate::support::tunnel::Running;

#[test]
fn caught_connect_is_shown_with_its_process_and_its_address_on_the_wire() {
    let (listener, address) = server();
    let events = Events::default();
    let (tunnel, catcher) = Running::start_catching(Builder::default().sink(events.sink()));
    let (sender, client) = channel();
    catcher.catch(address, Some(Process::new(42, "curl")), Program(sender));
    let mut client = client.recv_timeout(PATIENCE).unwrap().unwrap();
    let server = accept(&listener);
    client.write_all(b"hello").unwrap();
    assert_eq!(read(&server), *b"hello");
    let from = server.peer_addr().unwrap();
    drop((client, server));
    events.wait_for_close();
    tunnel.stop();
    let events = events.all();
    check_contract(&events);
    let EventKind::Open(open) = &events[0].kind else { panic!("{events:?}") };
    assert_eq!(open.process, Some(Process::new(42, "curl")));
    assert_eq!(open.client, Endpoint::Tcp(from), "as on the wire");
    assert_eq!(open.listener, Endpoint::Tcp(address));
}

#[test]
fn failure_of_a_caught_connect_is_the_program_s() {
    let events = Events::default();
    let (tunnel, catcher) = Running::start_catching(Builder::default().sink(events.sink()));
    let (sender, result) = channel();
    catcher.catch(refusing(), None, Program(sender));
    let errno = result.recv_timeout(PATIENCE).unwrap().unwrap_err();
    assert_eq!(errno, libc::ECONNREFUSED);
    assert_eq!(events.wait_for_close(), CloseReason::Refused);
    tunnel.stop();
    check_contract(&events.all());
}

#[test]
fn connect_caught_after_the_end_is_dropped() {
    let (tunnel, catcher) = Running::start_catching(Builder::default());
    tunnel.stop();
    let (sender, result) = channel();
    catcher.catch(refusing(), None, Program(sender));
    assert!(result.recv_timeout(PATIENCE).is_err(), "the program hears that nobody answers");
}

#[test]
fn every_connect_is_served_by_a_tunnel_on_the_callers_thread() {
    const CONNECTS: usize = 8;
    let (listener, address) = server();
    let (sender, clients) = channel();
    let mut tunnel = Builder::default().workers(4).io(Backend::Auto).bind().unwrap();
    if tunnel.io().backend == Backend::Epoll {
        return skip_without_kernel_feature("io_uring");
    }
    let (catcher, handle) = (tunnel.catcher(), tunnel.handle());
    // With several workers these would be spread over them; there is only the caller's.
    for _ in 0..CONNECTS {
        catcher.catch(address, None, Program(sender.clone()));
    }
    let program = std::thread::spawn(move || {
        let clients: Vec<_> =
            (0..CONNECTS).map(|_| clients.recv_timeout(PATIENCE).unwrap().unwrap()).collect();
        let servers: Vec<_> = clients.iter().map(|_| accept(&listener)).collect();
        drop((clients, servers));
        handle.stop();
    });
    let summary = tokio_uring::start(tunnel.run_here()).unwrap();
    program.join().unwrap();
    assert_eq!(summary.counts.connections, CONNECTS as u64);
}
