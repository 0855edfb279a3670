//! Tunnels that would lead back to themselves.

use std::fs;
use std::io::Read;
use std::net::TcpListener;
use std::path::Path;
use std::sync::atomic::{AtomicU16, Ordering::Relaxed};

use tcp_tunn::event::CloseReason;
use tcp_tunn::tunnel::{BindError, Tunnel};

use crate::support::end::patient;
use crate::support::events::Events;
use crate::support::tunnel::{Running, backend};

/// A port that is free, and outside the range from which the kernel chooses for other tests.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let begin = std::process::id() as u16 % 5000 * 2;
    loop {
        let port = 20_000 + (begin + NEXT.fetch_add(1, Relaxed)) % 10_000;
        if TcpListener::bind(("0.0.0.0", port)).is_ok() {
            return port;
        }
    }
}

fn bind(pairs: &[(String, String)]) -> Result<Tunnel, BindError> {
    let ((from, to), more) = pairs.split_first().unwrap();
    let first = Tunnel::builder(from, to).workers(1).io(backend());
    more.iter().fold(first, |builder, (from, to)| builder.route(from, to)).bind()
}

fn is_refused(pairs: &[(String, String)]) {
    match bind(pairs) {
        Err(BindError::Loop { routes }) => assert!(routes.contains(&pairs[0].0), "{routes}"),
        other => panic!("{pairs:?}: {other:?}"),
    }
}

#[test]
fn evident_loop_is_refused_when_it_is_bound() {
    for (from, to) in [
        ("127.0.0.1", "127.0.0.1"),
        ("127.0.0.1", "localhost"),
        ("127.0.0.1", "[::ffff:127.0.0.1]"),
        ("127.0.0.1", "0.0.0.0"),
        ("0.0.0.0", "127.0.0.1"),
        ("0.0.0.0", "localhost"),
        ("[::]", "127.0.0.1"),
        ("[::]", "[::1]"),
    ] {
        let port = free_port();
        is_refused(&[(format!("{from}:{port}"), format!("{to}:{port}"))]);
    }
}

#[test]
fn loop_of_unix_paths_is_refused_however_they_are_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| format!("unix:{}", folder.path().join(name).display());
    is_refused(&[(path("a"), path("a"))]);
    is_refused(&[(path("b"), path("./b"))]);
    std::os::unix::fs::symlink(Path::new("c"), folder.path().join("link")).unwrap();
    is_refused(&[(path("c"), path("link"))]);
    assert!(fs::metadata(folder.path().join("c")).is_err(), "a socket is left behind");
}

#[test]
fn two_pairs_that_point_at_each_other_are_refused() {
    let [a, b] = [free_port(), free_port()].map(|port| format!("127.0.0.1:{port}"));
    is_refused(&[(a.clone(), b.clone()), (b, a)]);
}

#[test]
fn chain_of_pairs_is_no_loop() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let [a, b] = [free_port(), free_port()].map(|port| format!("127.0.0.1:{port}"));
    let to = server.local_addr().unwrap();
    let tunnel = Tunnel::builder(&a, &b).route(&b, to);
    let tunnel = Running::start(tunnel);
    let mut client = patient(tunnel.connect());
    let mut served = patient(server.accept().unwrap().0);
    std::io::Write::write_all(&mut served, b"hello").unwrap();
    client.read_exact(&mut [0; 5]).unwrap();
    assert_eq!(tunnel.abort().counts.connections, 2);
}

#[test]
fn loop_through_two_tunnels_resets_the_client_and_ends() {
    // Not evident to either: the second listens only after the first was bound.
    let [a, b] = [free_port(), free_port()].map(|port| format!("127.0.0.1:{port}"));
    let events = Events::default();
    let start = |from: &str, to: &str| {
        Running::start(Tunnel::builder(from, to).workers(1).sink(events.lifecycle_sink()))
    };
    let (first, second) = (start(&a, &b), start(&b, &a));
    let mut client = patient(first.connect());
    let error = client.read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    let connections = |tunnel: &Running| tunnel.handle.stats().counts.connections;
    let all = connections(&first) + connections(&second);
    assert!(all <= 64, "one client became {all} connections");
    let closes = events.wait_for_closes(usize::try_from(all).unwrap());
    assert!(closes.contains(&CloseReason::Loop), "{closes:?}");
    first.stop();
    second.stop();
}
