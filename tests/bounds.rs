//! What a connection may take: time, places, memory, and the patience of others.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};
use tcp_tunn::event::{CloseReason, Direction, EventKind, Leg, Side};
use tcp_tunn::tunnel::{Limits, Tunnel};

use crate::support::bytes::bytes;
use crate::support::confined::confined;
use crate::support::end::{patient, reset, wait_for_hang_up};
use crate::support::events::check_contract;
use crate::support::tunnel::Running;

const SHORT: Duration = Duration::from_millis(100);

/// A listener whose queue is full: further connects get no answer.
struct Full {
    listener: Socket,
    address: SocketAddr,
    _waiting: Vec<TcpStream>,
}

fn full() -> Full {
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    listener.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
    listener.listen(0).unwrap();
    let address = listener.local_addr().unwrap().as_socket().unwrap();
    let mut waiting = Vec::new();
    // The queue is one longer than asked for; a connect that hangs shows that it is full.
    while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
        waiting.push(stream);
    }
    Full { listener, address, _waiting: waiting }
}

fn read_end(mut stream: &TcpStream) -> ErrorKind {
    stream.read(&mut [0; 1]).unwrap_err().kind()
}

#[test]
fn connect_timeout_resets_client() {
    let full = full();
    let limits = Limits::default().connect_timeout(SHORT);
    let (tunnel, events) = Running::recorded_with(full.address, |b| b.limits(limits));
    let client = patient(tunnel.connect());
    assert_eq!(read_end(&client), ErrorKind::ConnectionReset);
    assert_eq!(events.wait_for_close(), CloseReason::ConnectTimeout);
    tunnel.stop();
    check_contract(&events.all());
}

#[test]
fn client_reset_ends_pending_connect() {
    let full = full();
    let (tunnel, events) = Running::recorded(full.address);
    let client = tunnel.connect();
    events.wait_for(|event| matches!(event.kind, EventKind::Open(_)));
    let given_up = Instant::now();
    reset(client);
    assert_eq!(events.wait_for_close(), CloseReason::Reset { by: Side::Client });
    assert!(given_up.elapsed() < Limits::default().connect_timeout, "not the time-out");
    drop(full.listener);
    tunnel.stop();
    check_contract(&events.all());
}

#[test]
fn stop_ends_pending_connect() {
    let full = full();
    let limits = Limits::default().shutdown_timeout(SHORT);
    let (tunnel, events) = Running::recorded_with(full.address, |b| b.limits(limits));
    let client = patient(tunnel.connect());
    events.wait_for(|event| matches!(event.kind, EventKind::Open(_)));
    tunnel.stop();
    assert_eq!(read_end(&client), ErrorKind::ConnectionReset);
    assert_eq!(events.wait_for_close(), CloseReason::Stopped);
    check_contract(&events.all());
}

/// A tunnel and the two ends of a connection through it.
fn connection(limits: Limits) -> (Running, crate::support::events::Events, TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = listener.local_addr().unwrap();
    let (tunnel, events) = Running::recorded_with(to, |b| b.limits(limits));
    let client = patient(tunnel.connect());
    let server = patient(listener.accept().unwrap().0);
    (tunnel, events, client, server)
}

#[test]
fn idle_connection_is_reset_at_timeout() {
    let limits = Limits::default().idle_timeout(SHORT * 3);
    let (tunnel, events, mut client, mut server) = connection(limits);
    // Talks for longer than the time-out, with pauses shorter than it, machine willing.
    let started = Instant::now();
    while started.elapsed() < SHORT * 5 && client.write_all(b"a").is_ok() {
        let _ = server.read_exact(&mut [0; 1]);
        std::thread::sleep(SHORT / 10);
    }
    wait_for_hang_up(&client);
    wait_for_hang_up(&server);
    assert_eq!(events.wait_for_close(), CloseReason::IdleTimeout);
    tunnel.stop();
    let all = events.all();
    check_contract(&all);
    let silent = match all.as_slice() {
        [.., last, close] => Duration::from_nanos(close.time.nanos_since(last.time)),
        _ => unreachable!("opened and closed"),
    };
    assert!(silent >= SHORT * 3, "ended after a silence of {silent:?}");
}

#[test]
fn half_close_timeout_ends_connection() {
    let limits = Limits::default().half_close_timeout(SHORT);
    let (tunnel, events, client, mut server) = connection(limits);
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(server.read(&mut [0; 1]).unwrap(), 0);
    assert_eq!(read_end(&client), ErrorKind::ConnectionReset);
    wait_for_hang_up(&server);
    assert_eq!(events.wait_for_close(), CloseReason::HalfCloseTimeout);
    tunnel.stop();
    check_contract(&events.all());
}

#[test]
fn client_over_limit_waits() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let limits = Limits::default().max_connections(2);
    let to = listener.local_addr().unwrap();
    let (tunnel, events) = Running::recorded_with(to, |b| b.limits(limits));
    let clients: Vec<_> = (0..8).map(|_| patient(tunnel.connect())).collect();
    for (number, mut client) in (0..).zip(&clients) {
        client.write_all(&[number]).unwrap();
    }
    let accept = || {
        let server = patient(listener.accept().unwrap().0);
        let stats = tunnel.handle.stats().counts;
        assert!(stats.connections - stats.closed <= 2, "{stats:?}");
        server
    };
    let mut before = accept();
    for _ in 1..8 {
        let server = accept();
        let mut number = [0];
        before.read_exact(&mut number).unwrap();
        clients[usize::from(number[0])].shutdown(Shutdown::Write).unwrap();
        before = server;
    }
    drop((before, clients));
    events.wait_for_closes(8);
    tunnel.stop();
    check_contract(&events.all());
}

#[test]
fn stop_resets_waiting_clients() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let limits = Limits::default().max_connections(1).shutdown_timeout(SHORT);
    let to = listener.local_addr().unwrap();
    let (tunnel, events) = Running::recorded_with(to, |b| b.limits(limits));
    let clients: Vec<_> = (0..5).map(|_| patient(tunnel.connect())).collect();
    events.wait_for(|event| matches!(event.kind, EventKind::Connected(_)));
    tunnel.stop();
    for client in &clients {
        assert_eq!(read_end(client), ErrorKind::ConnectionReset);
    }
    assert_eq!(events.wait_for_closes(1), [CloseReason::Stopped]);
    check_contract(&events.all());
}

/// Bytes that this process has resident.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

#[test]
fn hundred_slow_readers_hold_little_memory() {
    const SLOW: usize = 100;
    // Memory is measured, which the other tests' would spoil.
    if !confined("exec") {
        return;
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = listener.local_addr().unwrap();
    let tunnel = Running::start(Tunnel::builder("127.0.0.1:0", to).workers(2));
    let before = resident();
    // Their servers say as much as there is room for on the way; nobody reads it.
    let mut stuck = Vec::new();
    let mut said = 0;
    for _ in 0..SLOW {
        let client = patient(tunnel.connect());
        let mut server = listener.accept().unwrap().0;
        server.set_nonblocking(true).unwrap();
        while let Ok(len) = server.write(&[7; 65536]) {
            said += len;
        }
        stuck.push((client, server));
    }
    let grown = resident().saturating_sub(before);
    println!("{SLOW} slow readers, {said} bytes said to them: {} KiB grown", grown / 1024);
    // The registered buffers, a medium one for each direction that is stuck, and a little.
    let bound = (16 << 20) + SLOW * 65536 + (8 << 20);
    assert!(grown < bound && said > bound, "{grown} bytes grown by {said}, not {bound}");
    // Another connection passes much and fast.
    let mut client = patient(tunnel.connect());
    let mut server = patient(listener.accept().unwrap().0);
    let data = bytes(1, 16 << 20);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            client.write_all(&data).unwrap();
            client.shutdown(Shutdown::Write).unwrap();
        });
        let mut got = Vec::with_capacity(data.len());
        server.read_to_end(&mut got).unwrap();
        assert!(got == data);
    });
    drop((stuck, client, server));
    assert_eq!(tunnel.stop().counts.connections, SLOW as u64 + 1);
}

#[test]
fn bytes_of_connections_stay_apart() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = listener.local_addr().unwrap();
    let (tunnel, events) = Running::recorded_with(to, |b| b.workers(1));
    // Fills buffers of every size with a secret.
    for len in [100, 8192, 70_000, 3 << 20] {
        let mut client = patient(tunnel.connect());
        let mut server = patient(listener.accept().unwrap().0);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                client.write_all(&vec![b'S'; len]).unwrap();
                client.shutdown(Shutdown::Write).unwrap();
            });
            let mut got = Vec::new();
            server.read_to_end(&mut got).unwrap();
            assert_eq!(got.len(), len);
        });
    }
    // Then short messages through the same buffers, on many connections at once.
    let mut pairs = Vec::new();
    for _ in 0..50 {
        let mut client = patient(tunnel.connect());
        client.write_all(b"p").unwrap();
        pairs.push((client, patient(listener.accept().unwrap().0)));
    }
    for (client, mut server) in pairs {
        client.shutdown(Shutdown::Write).unwrap();
        let mut got = Vec::new();
        server.read_to_end(&mut got).unwrap();
        assert_eq!(got, b"p");
    }
    events.wait_for_closes(54);
    tunnel.stop();
    for id in 5..=54 {
        for leg in [Leg::Received, Leg::Sent] {
            assert_eq!(events.bytes(id, Direction::ClientToServer, leg), b"p");
        }
    }
    check_contract(&events.all());
}
