//! Slow, failing and hanging sinks under a running tunnel.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Duration;

use tcp_tunn::event::{CloseReason, Direction, Event, EventKind, Leg};
use tcp_tunn::sink::{Interest, Kept, OnError, OnSlow, Sink, SinkOptions, SinkReport};
use tcp_tunn::tunnel::{Limits, Summary, Tunnel};

use crate::support::bytes::bytes;
use crate::support::end::patient;
use crate::support::events::{Events, PATIENCE, check_contract};
use crate::support::tunnel::Running;

/// A sink that does in `record` what it was made of.
struct Does<F>(F);

impl<F: FnMut(&Event) -> io::Result<()> + Send> Sink for Does<F> {
    fn record(&mut self, event: &Event) -> io::Result<()> {
        (self.0)(event)
    }

    fn interest(&self) -> Interest {
        Interest::ALL
    }
}

fn is_data(event: &Event) -> bool {
    matches!(event.kind, EventKind::Data { .. })
}

/// A sink that stands still at the first data until the gate opens.
fn gated() -> (impl Sink + 'static, Sender<()>) {
    let (open, gate): (_, Receiver<()>) = mpsc::channel();
    let sink = Does(move |event: &Event| {
        if is_data(event) {
            let _ = gate.recv();
        }
        Ok(())
    });
    (sink, open)
}

fn options(on_slow: OnSlow, on_error: OnError, buffer_bytes: usize) -> SinkOptions {
    SinkOptions::named("test").on_slow(on_slow).on_error(on_error).buffer_bytes(buffer_bytes)
}

/// A server that takes all that comes and says it back when the client is done.
fn parrot() -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = patient(stream.unwrap());
            let mut said = Vec::new();
            if stream.read_to_end(&mut said).is_ok() {
                let _ = stream.write_all(&said);
            }
        }
    });
    address
}

/// A tunnel with `sink` and, before it, one that works.
fn start(options: SinkOptions, sink: impl Sink + 'static) -> (Running, Events) {
    let events = Events::default();
    let limits = Limits::default().shutdown_timeout(Duration::from_millis(100));
    let builder = Tunnel::builder("127.0.0.1:0", parrot()).limits(limits);
    let builder = builder.sink(events.sink()).sink_with(options, sink);
    (Running::start(builder), events)
}

fn say(mut client: &TcpStream, said: &[u8]) {
    client.write_all(said).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
}

fn hear(mut client: TcpStream) -> Vec<u8> {
    let mut heard = Vec::new();
    client.read_to_end(&mut heard).unwrap();
    heard
}

fn exchange(tunnel: &Running, said: &[u8]) {
    let client = patient(tunnel.connect());
    let mut speaker = client.try_clone().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            speaker.write_all(said).unwrap();
            speaker.shutdown(Shutdown::Write).unwrap();
        });
        assert!(hear(client) == said);
    });
}

fn report(summary: &Summary) -> &SinkReport {
    summary.sinks.iter().find(|sink| sink.name == "test").unwrap()
}

#[test]
fn tiny_blocking_queue_loses_nothing() {
    let kept = Events::default();
    let options = options(OnSlow::Block, OnError::Stop, 1);
    let (tunnel, events) = start(options, kept.sink());
    let said = bytes(1, 2 << 20);
    exchange(&tunnel, &said);
    kept.wait_for_close();
    let summary = tunnel.stop();
    assert_eq!((report(&summary).dropped_bytes, report(&summary).dropped_events), (0, 0));
    check_contract(&kept.all());
    for events in [&events, &kept] {
        for direction in [Direction::ClientToServer, Direction::ServerToClient] {
            for leg in [Leg::Received, Leg::Sent] {
                assert!(events.bytes(1, direction, leg) == said);
            }
        }
    }
}

#[test]
fn dropping_queue_counts_every_byte() {
    let (open, gate): (Sender<()>, _) = mpsc::channel();
    let kept = Events::default();
    let mut keeping = kept.sink();
    let sink = Does(move |event: &Event| {
        let _ = gate.recv();
        keeping.record(event)
    });
    let (tunnel, events) = start(options(OnSlow::Drop, OnError::Stop, 50_000), sink);
    let said = bytes(1, 4 << 20);
    // The sink takes nothing meanwhile.
    exchange(&tunnel, &said);
    events.wait_for_close();
    drop(open);
    let summary = tunnel.stop();
    let recorded: usize = [Direction::ClientToServer, Direction::ServerToClient]
        .map(|direction| kept.bytes(1, direction, Leg::Received).len())
        .iter()
        .sum();
    let dropped = report(&summary).dropped_bytes;
    assert!(recorded <= 50_000, "{recorded} bytes were in a queue of 50,000");
    assert_eq!(recorded as u64 + dropped, 2 * said.len() as u64);
    assert_eq!(summary.counts.totals.client_to_server.sent, said.len() as u64);
}

#[test]
fn sink_that_fails_stops_the_tunnel_and_resets_what_is_open() {
    let sink = Does(|event: &Event| match is_data(event) {
        true => Err(io::Error::from(io::ErrorKind::StorageFull)),
        false => Ok(()),
    });
    // A server that takes all and says nothing, so that nothing else ends the connection.
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let (to, events) = (server.local_addr().unwrap(), Events::default());
    let builder = Tunnel::builder("127.0.0.1:0", to)
        .sink_with(options(OnSlow::Block, OnError::Stop, 1), sink)
        .sink(events.sink());
    let tunnel = Running::start(builder);
    let mut client = patient(tunnel.connect());
    client.write_all(b"hello").unwrap();
    let summary = tunnel.ended();
    let error = client.read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    assert_eq!(events.wait_for_closes(1), [CloseReason::Stopped]);
    let report = report(&summary);
    assert_eq!(report.error.as_ref().unwrap().kind(), io::ErrorKind::StorageFull);
    assert_eq!(report.dropped_bytes, summary.counts.totals.client_to_server.received);
    check_contract(&events.all());
}

/// A sink that fails at the first data, and then takes its time to save what it can.
struct FailsSlowly {
    failed: Sender<()>,
    gate: Receiver<()>,
}

impl Sink for FailsSlowly {
    fn record(&mut self, event: &Event) -> io::Result<()> {
        if is_data(event) { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn salvage(&mut self) -> Option<Kept> {
        let _ = self.failed.send(());
        let _ = self.gate.recv();
        None
    }
}

#[test]
fn byte_after_the_failing_write_is_not_relayed() {
    for (on_slow, buffer_bytes) in [(OnSlow::Block, 1), (OnSlow::Drop, 10_000)] {
        let (failed, has_failed) = mpsc::channel();
        let (open, gate) = mpsc::channel();
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let builder = Tunnel::builder("127.0.0.1:0", server.local_addr().unwrap());
        let options = options(on_slow, OnError::Stop, buffer_bytes);
        let tunnel = Running::start(builder.sink_with(options, FailsSlowly { failed, gate }));
        let mut client = patient(tunnel.connect());
        let mut server = patient(server.accept().unwrap().0);
        client.write_all(b"first").unwrap();
        has_failed.recv_timeout(PATIENCE).unwrap();
        // The connection may be reset by now.
        let _ = client.write_all(b"second");
        let (mut heard, mut buffer) = (0, [0; 64]);
        let ended = loop {
            match server.read(&mut buffer) {
                Ok(len) if len > 0 && heard <= b"first".len() => heard += len,
                other => break other,
            }
        };
        assert!(heard <= b"first".len(), "{heard} bytes passed");
        assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        drop(open);
        assert!(report(&tunnel.ended()).error.is_some());
    }
}

#[test]
fn failing_sink_is_detached() {
    let fails = |event: &Event| match is_data(event) {
        true => Err(io::Error::other("no more")),
        false => Ok(()),
    };
    let panics = |event: &Event| match is_data(event) {
        true => panic!("no more"),
        false => Ok(()),
    };
    let detach = || options(OnSlow::Block, OnError::Detach, 1);
    for (tunnel, events) in [start(detach(), Does(fails)), start(detach(), Does(panics))] {
        exchange(&tunnel, b"first");
        exchange(&tunnel, b"second");
        events.wait_for_closes(2);
        let summary = tunnel.stop();
        let report = report(&summary);
        assert!(report.error.as_ref().unwrap().to_string().ends_with("no more"));
        assert_eq!(report.dropped_bytes, 2 * (5 + 6));
        assert_eq!(summary.counts.connections, 2);
        check_contract(&events.all());
    }
}

#[test]
fn abort_waits_briefly_for_hanging_sink() {
    let (sink, open) = gated();
    let (tunnel, events) = start(options(OnSlow::Block, OnError::Stop, 1), sink);
    let client = patient(tunnel.connect());
    say(&client, b"hello");
    events.wait_for(is_data);
    let summary = tunnel.abort();
    assert_eq!(report(&summary).error.as_ref().unwrap().kind(), io::ErrorKind::TimedOut);
    drop(open);
    check_contract(&events.all());
}

#[test]
fn stop_lets_slow_sink_finish() {
    let (sink, open) = gated();
    let (tunnel, events) = start(options(OnSlow::Block, OnError::Stop, 1), sink);
    let client = patient(tunnel.connect());
    say(&client, &bytes(1, 100_000));
    events.wait_for(is_data);
    let handle = tunnel.handle.clone();
    handle.stop();
    events.wait_for_close();
    drop(open);
    let summary = tunnel.ended();
    assert!(report(&summary).error.is_none());
    assert!(report(&summary).dropped_events > 0, "what did not fit while it hung");
    check_contract(&events.all());
}

#[test]
fn hanging_dropping_sink_delays_no_connection() {
    let (sink, open) = gated();
    let (tunnel, events) = start(options(OnSlow::Drop, OnError::Stop, 10_000), sink);
    for _ in 0..100 {
        exchange(&tunnel, b"hello");
    }
    events.wait_for_closes(100);
    drop(open);
    let summary = tunnel.stop();
    assert!(report(&summary).dropped_bytes > 0);
    check_contract(&events.all());
}
