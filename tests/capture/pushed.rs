//! Captures that are pushed to a collector, which comes late, stalls, leaves and comes back.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use socket2::{Domain, SockRef, Socket, Type};
use tcp_tunn::capture::PcapPushSink;
use tcp_tunn::event::{Event, Side, Timestamp};
use tcp_tunn::packet::Legs;
use tcp_tunn::sink::{OnSlow, Sink, SinkOptions};
use tcp_tunn::tunnel::Tunnel;
use tempfile::tempdir;

use super::{options, talk};
use crate::support::bytes::bytes;
use crate::support::end::{patient, reset};
use crate::support::events::PATIENCE;
use crate::support::oracle::{self, Expect};
use crate::support::talk::BEGIN;
use crate::support::tunnel::Running;
use crate::support::verdict::{follow, judge};

const TURN: Duration = Duration::from_millis(10);

/// A collector that listens, and a sink that pushes to it.
fn collector() -> (TcpListener, PcapPushSink) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, PcapPushSink::new(&address, options(Legs::Direct)).unwrap())
}

/// A collector at an address that refuses connections until it listens.
fn absent_collector() -> (Socket, SocketAddr) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    (socket, address)
}

fn accept(listener: &TcpListener) -> TcpStream {
    patient(listener.accept().unwrap().0)
}

/// Gives the sink events as a tunnel does, each when it is ready.
fn give(sink: &mut PcapPushSink, events: &[Event]) {
    let end = Instant::now() + PATIENCE;
    for event in events {
        while !sink.ready(TURN).unwrap() {
            assert!(Instant::now() < end, "the sink is never ready");
        }
        sink.record(event).unwrap();
    }
    sink.flush().unwrap();
}

/// Reads to the end, into a file.
fn read_on(mut stream: TcpStream, path: &Path) -> JoinHandle<PathBuf> {
    let path = path.to_owned();
    std::thread::spawn(move || {
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        fs::write(&path, all).unwrap();
        path
    })
}

/// Ticks as a tunnel does until the sink has noticed that its collector is gone.
fn wait_until_away(sink: &mut PcapPushSink) {
    let end = Instant::now() + PATIENCE;
    loop {
        sink.tick(Timestamp(BEGIN)).unwrap();
        if !sink.ready(Duration::ZERO).unwrap() {
            return;
        }
        assert!(Instant::now() < end, "the sink does not notice");
        std::thread::sleep(TURN);
    }
}

#[test]
fn each_connection_carries_section_of_its_own() {
    let folder = tempdir().unwrap();
    let (listener, mut sink) = collector();
    let mut talk = talk(1);
    talk.connect().say(Side::Client, b"before");
    give(&mut sink, &talk.take());
    let mut first = accept(&listener);
    let mut all = vec![0; sink.stats().bytes() as usize];
    first.read_exact(&mut all).unwrap();
    let path = folder.path().join("first");
    fs::write(&path, all).unwrap();
    judge(&path, &[]);
    assert_eq!(follow(&path, 1)[0][0], b"before");
    reset(first);
    wait_until_away(&mut sink);
    talk.say(Side::Client, b"after").say(Side::Server, b"answer").end(Side::Server);
    give(&mut sink, &talk.take());
    let reading = read_on(accept(&listener), &folder.path().join("second"));
    sink.finish().unwrap();
    drop(sink);
    let path = reading.join().unwrap();
    // It has a handshake of its own, in which nothing is missing.
    assert_eq!(judge(&path, &[]).completeness[&0], 31);
    assert_eq!(follow(&path, 1)[0], [b"after".to_vec(), b"answer".to_vec()]);
}

/// The whole blocks at the beginning of what was received.
fn whole_blocks(received: &[u8]) -> &[u8] {
    let mut len = 0;
    while let Some(word) = received.get(len + 4..len + 8) {
        let next = len + u32::from_le_bytes(word.try_into().unwrap()) as usize;
        if next > received.len() {
            break;
        }
        len = next;
    }
    &received[..len]
}

/// What the kernel holds for a reader, without reading it: all that it has acknowledged.
fn acknowledged(stream: &TcpStream) -> Vec<u8> {
    let end = Instant::now() + PATIENCE;
    loop {
        let mut held = vec![0; rustix::io::ioctl_fionread(stream).unwrap() as usize];
        let peeked = stream.peek(&mut held).unwrap();
        if peeked == held.len() {
            return held;
        }
        assert!(Instant::now() < end, "{peeked} of {}", held.len());
    }
}

#[test]
fn what_a_stalled_collector_did_not_acknowledge_is_sent_again() {
    let folder = tempdir().unwrap();
    let (listener, mut sink) = collector();
    SockRef::from(&listener).set_recv_buffer_size(64 << 10).unwrap();
    let mut talk = talk(1);
    talk.connect();
    give(&mut sink, &talk.take());
    let stalled = accept(&listener);
    let said = bytes(7, 32 << 20);
    let mut chunks = said.chunks(10_000);
    // Until neither the collector's kernel nor ours takes any more.
    while sink.ready(20 * TURN).unwrap() {
        talk.say(Side::Client, chunks.next().unwrap());
        talk.take().iter().for_each(|event| sink.record(event).unwrap());
        sink.flush().unwrap();
    }
    let path = folder.path().join("first");
    let held = acknowledged(&stalled);
    fs::write(&path, whole_blocks(&held)).unwrap();
    reset(stalled);
    wait_until_away(&mut sink);
    talk.say(Side::Client, chunks.next().unwrap());
    talk.end(Side::Client);
    give_all(&mut sink, talk.take(), &listener, &folder.path().join("second"));
    let second = folder.path().join("second");
    let [before, after] = [&path, &second].map(|path| {
        judge(path, &[]);
        follow(path, 1).remove(0)[0].clone()
    });
    let said = &talk.said[0];
    assert!(said.starts_with(&before) && said.ends_with(&after));
    let doubled = (before.len() + after.len()).checked_sub(said.len()).expect("bytes are missing");
    // Of the one batch at most that the kernel had in part.
    assert!(!before.is_empty() && doubled <= 10_000, "{doubled} of {}", before.len());
}

/// Gives the sink its last events while a collector takes them.
fn give_all(sink: &mut PcapPushSink, events: Vec<Event>, listener: &TcpListener, path: &Path) {
    std::thread::scope(|scope| {
        let reading = scope.spawn(|| read_on(accept(listener), path).join().unwrap());
        give(sink, &events);
        sink.finish().unwrap();
        reading.join().unwrap();
    });
}

#[test]
fn collector_that_resets_in_bulk_gets_the_rest() {
    let folder = tempdir().unwrap();
    let (listener, sink) = collector();
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let tunnel =
        Running::start(Tunnel::builder("127.0.0.1:0", server.local_addr().unwrap()).sink(sink));
    let (mut client, said) = (tunnel.connect(), bytes(3, 32 << 20));
    let (mut upstream, _) = server.accept().unwrap();
    let reading = std::thread::scope(|scope| {
        let sending = scope.spawn(|| {
            client.write_all(&said).unwrap();
            client.shutdown(Shutdown::Write).unwrap();
            client.read_to_end(&mut Vec::new()).unwrap();
        });
        let receiving = scope.spawn(move || {
            let mut heard = Vec::new();
            upstream.read_to_end(&mut heard).unwrap();
            heard
        });
        for len in [0, 4 << 20] {
            let mut stream = accept(&listener);
            stream.read_exact(&mut vec![0; len]).unwrap();
            reset(stream);
        }
        let reading = read_on(accept(&listener), &folder.path().join("last"));
        sending.join().unwrap();
        assert!(receiving.join().unwrap() == said);
        reading
    });
    let summary = tunnel.stop();
    assert_eq!((summary.sinks[0].dropped_bytes, summary.sinks[0].error.is_none()), (0, true));
    let path = reading.join().unwrap();
    assert_eq!(judge(&path, &[]).completeness[&0], 31);
    let seen = &follow(&path, 1)[0][0];
    assert!(!seen.is_empty() && seen.len() < said.len() && said.ends_with(seen));
}

/// A tunnel whose capture is pushed to `address`, with a queue that is soon full.
fn pushing(address: SocketAddr, on_slow: OnSlow) -> (Running, TcpListener) {
    let sink = PcapPushSink::new(&address.to_string(), options(Legs::Direct)).unwrap();
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let rules = SinkOptions::named("push").buffer_bytes(256 << 10).on_slow(on_slow);
    let to = server.local_addr().unwrap();
    let builder = Tunnel::builder("127.0.0.1:0", to).sink_with(rules, sink);
    (Running::start(builder), server)
}

/// Sends all through the tunnel, and waits until the server has it.
fn upload(tunnel: SocketAddr, server: &TcpListener, said: &[u8]) {
    let mut client = patient(TcpStream::connect(tunnel).unwrap());
    let mut upstream = patient(server.accept().unwrap().0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            client.write_all(said).unwrap();
            client.shutdown(Shutdown::Write).unwrap();
            client.read_to_end(&mut Vec::new()).unwrap();
        });
        let mut heard = Vec::new();
        upstream.read_to_end(&mut heard).unwrap();
        assert!(heard == said);
        drop(upstream);
    });
}

#[test]
fn relay_waits_for_absent_collector() {
    let folder = tempdir().unwrap();
    let (socket, address) = absent_collector();
    let (tunnel, server) = pushing(address, OnSlow::Block);
    let said = bytes(5, 4 << 20);
    // More than all queues take: it ends only when the collector has come.
    let through = tunnel.address;
    let (path, uploading) = std::thread::scope(|scope| {
        let uploading = scope.spawn(|| upload(through, &server, &said));
        // Once a part has come through the queue is full, or will be.
        while tunnel.handle.stats().counts.totals.client_to_server.received == 0 {
            std::thread::yield_now();
        }
        socket.listen(1).unwrap();
        let path = read_on(accept(&socket.into()), &folder.path().join("out"));
        (path, uploading.join())
    });
    uploading.unwrap();
    assert_eq!(tunnel.stop().sinks[0].dropped_bytes, 0);
    let path = path.join().unwrap();
    assert_eq!(judge(&path, &[]).completeness[&0], 31);
    assert!(follow(&path, 1)[0][0] == said);
}

#[test]
fn what_absent_collector_misses_is_counted() {
    let folder = tempdir().unwrap();
    let (socket, address) = absent_collector();
    let (tunnel, server) = pushing(address, OnSlow::Drop);
    let said = bytes(5, 4 << 20);
    upload(tunnel.address, &server, &said);
    socket.listen(1).unwrap();
    let path = read_on(accept(&socket.into()), &folder.path().join("out"));
    let report = tunnel.stop().sinks.remove(0);
    assert!(report.error.is_none(), "{report:?}");
    let path = path.join().unwrap();
    let expect = Expect { allow_gaps: true, streams: Some(1), ..Expect::default() };
    let judged = oracle::judge(&path, expect).unwrap();
    assert!(report.dropped_to_server > 0);
    assert_eq!(judged.streams[&0].len + report.dropped_to_server, said.len() as u64);
}

#[test]
fn collector_that_never_comes_misses_everything() {
    let (_socket, address) = absent_collector();
    for (on_slow, len) in [(OnSlow::Drop, 4 << 20), (OnSlow::Block, 100_000)] {
        let (tunnel, server) = pushing(address, on_slow);
        upload(tunnel.address, &server, &bytes(5, len));
        let report = tunnel.stop().sinks.remove(0);
        assert_eq!(report.error.unwrap().kind(), ErrorKind::TimedOut);
        assert_eq!((report.dropped_to_server, report.dropped_to_client), (len as u64, 0));
    }
}

#[test]
fn collector_that_leaves_while_idle_is_noticed() {
    let (listener, mut sink) = collector();
    while !sink.ready(TURN).unwrap() {}
    drop(accept(&listener));
    wait_until_away(&mut sink);
    // It has nothing left to say.
    sink.finish().unwrap();
}
