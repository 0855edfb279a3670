//! Many hosts, one place: what they publish is one perfect capture, whatever fails on the way.
//!
//! A program of its own: the other tests need not be built once more for the feature `fleet`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(dead_code, unused_imports, reason = "of what all tests share, some is of no use here")]

mod cli;
mod nats;
mod questions;
#[path = "../support/mod.rs"]
mod support;

use std::fs;
use std::io::{self, PipeWriter, Read};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tcp_tunn::capture::PcapngOptions;
use tcp_tunn::event::{Event, EventKind, Side, Timestamp};
use tcp_tunn::fleet::{
    Collected, Collector, CollectorOptions, PublishOptions, PublishSink, Since, StopHandle,
};
use tcp_tunn::sink::Sink;
use tempfile::tempdir;

use self::nats::Nats;
use crate::support::bytes::bytes;
use crate::support::events::PATIENCE;
use crate::support::oracle::{Expect, follow_all, judge};
use crate::support::talk::{BEGIN, Ends, Talk, interleave};

const TURN: Duration = Duration::from_millis(20);

/// A host that publishes.
fn host(nats: &Nats, name: &str) -> PublishSink {
    host_with(nats, name, None)
}

fn host_with(nats: &Nats, name: &str, spill: Option<&Path>) -> PublishSink {
    let mut options = PublishOptions::new(nats.server());
    options.host = name.to_owned();
    options.site = "lab".to_owned();
    options.spill = spill.map(Path::to_owned);
    PublishSink::new(&options).unwrap()
}

/// Gives the sink events as a tunnel does, each when it is ready.
fn give(sink: &mut PublishSink, events: &[Event]) {
    let end = Instant::now() + PATIENCE;
    for event in events {
        while !sink.ready(TURN).unwrap() {
            assert!(Instant::now() < end, "the sink is never ready");
        }
        sink.record(event).unwrap();
    }
}

/// A connection of a client on a host of its own, which says something and is answered.
fn talk(host: u64, id: u64, len: usize) -> Talk {
    let client = format!("10.0.{host}.1:{}", 20_000 + id);
    let ends = Ends::new(&client, "127.0.0.1:8080", "127.0.0.9:30001", "192.0.2.7:80");
    let mut talk = Talk::open(id, (host + id) * 1_000_033, ends);
    talk.connect();
    for (round, part) in bytes(host * 1000 + id, len).chunks(5000).enumerate() {
        talk.say(Side::Client, part);
        if round % 3 == 0 {
            talk.say(Side::Server, format!("{round}").as_bytes());
        }
    }
    talk.end(Side::Server);
    talk
}

/// Collects all that the server has.
fn collected(nats: &Nats, path: &Path) -> Collected {
    let options = CollectorOptions::new(nats.server());
    Collector::to_file(options, path, PcapngOptions::default()).unwrap().run().unwrap()
}

/// Waits until the server has a batch of what the sink was given.
fn wait_until_published(nats: &Nats, sink: &mut PublishSink) {
    let end = Instant::now() + PATIENCE;
    let batches = || {
        let options = CollectorOptions::new(nats.server());
        let all = Collector::to_writer(options, io::sink(), PcapngOptions::default()).unwrap();
        // Before the first there is no stream.
        all.run().map_or(0, |collected| collected.batches)
    };
    while batches() == 0 {
        assert!(Instant::now() < end, "nothing is published");
        sink.tick(Timestamp(BEGIN)).unwrap();
    }
}

/// A collector that follows, into a file.
struct Follower {
    thread: JoinHandle<Collected>,
    reading: JoinHandle<()>,
    path: PathBuf,
    stop: StopHandle,
    stats: tcp_tunn::capture::CaptureStats,
}

impl Follower {
    fn start(nats: &Nats, since: Since, path: &Path) -> Self {
        let mut options = CollectorOptions::new(nats.server());
        options.follow = true;
        options.since = since;
        let (mut reader, writer): (_, PipeWriter) = io::pipe().unwrap();
        let collector = Collector::to_writer(options, writer, PcapngOptions::default()).unwrap();
        let (stop, stats) = (collector.stop_handle(), collector.stats());
        let (path, mut file) = (path.to_owned(), fs::File::create(path).unwrap());
        let reading = std::thread::spawn(move || {
            io::copy(&mut reader, &mut file).unwrap();
        });
        let thread = std::thread::spawn(move || collector.run().unwrap());
        Self { thread, reading, path, stop, stats }
    }

    /// Waits until both sides of its one connection have ended it.
    fn wait_for_ends(&self) {
        let end = Instant::now() + PATIENCE;
        let ends = || {
            // It grows, so that its last block may be cut.
            let fins = Command::new("tshark")
                .args(["-Y", "tcp.flags.fin == 1", "-T", "fields", "-e", "frame.number", "-r"])
                .arg(&self.path)
                .output()
                .unwrap();
            fins.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).count()
        };
        while ends() < 2 {
            assert!(Instant::now() < end, "the connection does not end");
        }
    }

    /// Waits until it has written this many packets.
    fn wait_for_packets(&self, packets: u64) {
        let end = Instant::now() + PATIENCE;
        while self.stats.packets() < packets {
            assert!(Instant::now() < end, "{} of {packets} packets", self.stats.packets());
            std::thread::sleep(TURN);
        }
    }

    fn finish(self) -> (Collected, PathBuf) {
        self.stop.stop();
        let collected = self.thread.join().unwrap();
        self.reading.join().unwrap();
        (collected, self.path)
    }
}

/// Fails unless the capture is perfect and has these connections, each byte by byte.
fn check(path: &Path, talks: &[Talk]) {
    let expect = Expect { streams: Some(talks.len()), ..Expect::default() };
    let judged = judge(path, Expect { completeness: Some(31), ..expect }).unwrap();
    let numbers: Vec<_> = judged.streams.keys().copied().collect();
    let said = follow_all(path, &numbers);
    for talk in talks {
        let (client, server) = &said[&judged.stream_of(&talk.ends.client.to_string())];
        assert!(*client == talk.said[0], "{}: {} bytes", talk.ends.client, client.len());
        assert!(*server == talk.said[1], "{}: {} bytes", talk.ends.client, server.len());
    }
}

#[test]
fn capture_of_three_hosts_is_perfect() {
    let (nats, folder) = (Nats::start(), tempdir().unwrap());
    let mut all = Vec::new();
    for number in 1..=3 {
        let talks: Vec<_> = (1..=20).map(|id| talk(number, id, 50_000)).collect();
        let mut sink = host(&nats, &format!("web{number}.example"));
        give(&mut sink, &interleave(&talks));
        sink.finish().unwrap();
        all.extend(talks);
    }
    let path = folder.path().join("out.pcapng");
    let collected = collected(&nats, &path);
    assert_eq!((collected.lost_batches, collected.missing_bytes), (0, 0));
    assert!(collected.batches >= 3 * 4, "{collected:?}");
    check(&path, &all);
    let about = Command::new("capinfos").arg("-I").arg(&path).output().unwrap();
    let about = String::from_utf8(about.stdout).unwrap();
    for number in 1..=3 {
        assert!(about.contains(&format!("lab/web{number}_example/w0")), "{about}");
    }
}

#[test]
fn killed_server_loses_and_doubles_nothing() {
    let (mut nats, folder) = (Nats::start(), tempdir().unwrap());
    let path = folder.path().join("live.pcapng");
    let mut talks: Vec<_> = (1..=4).map(|id| talk(1, id, 8 << 20)).collect();
    let events = interleave(&talks);
    let mut sink = host(&nats, "web");
    let follower = Follower::start(&nats, Since::Start, &path);
    for (round, part) in events.chunks(events.len() / 3 + 1).enumerate() {
        give(&mut sink, part);
        if round > 0 {
            nats.kill();
            nats.come_back();
        }
    }
    // Its patience is measured in progress, which the last restart has held up.
    sink.finish().unwrap();
    let data: u64 = talks.iter().map(|talk| talk.said[0].len() as u64).sum();
    follower.wait_for_packets(data / 5000);
    let last = talk(2, 1, 10);
    let mut other = host(&nats, "other");
    give(&mut other, &last.events);
    other.finish().unwrap();
    talks.push(last);
    let written = collected(&nats, &folder.path().join("history.pcapng"));
    assert_eq!((written.lost_batches, written.missing_bytes), (0, 0));
    check(&folder.path().join("history.pcapng"), &talks);
    follower.wait_for_packets(written.packets);
    let (followed, path) = follower.finish();
    assert_eq!((followed.lost_batches, followed.missing_bytes), (0, 0));
    check(&path, &talks);
}

#[test]
fn spilled_batches_are_sent_by_the_next_run() {
    let (mut nats, folder) = (Nats::absent(), tempdir().unwrap());
    let spill = folder.path().join("spill");
    let talks = [talk(1, 1, 2 << 20), talk(1, 2, 100)];
    let mut sink = host_with(&nats, "web", Some(&spill));
    give(&mut sink, &talks[0].events);
    // As if it had crashed.
    drop(sink);
    let left = || fs::read_dir(&spill).unwrap().count() - 1;
    assert!(left() >= 7, "{} batches", left());
    nats.come_back();
    let mut sink = host_with(&nats, "web", Some(&spill));
    give(&mut sink, &talks[1].events);
    sink.finish().unwrap();
    assert_eq!(left(), 0);
    let path = folder.path().join("out.pcapng");
    let collected = collected(&nats, &path);
    assert_eq!((collected.lost_batches, collected.missing_bytes), (0, 0));
    // What was under way in memory when it crashed is gone: the first connection has no end.
    let judged = judge(&path, Expect { streams: Some(2), ..Expect::default() }).unwrap();
    let first = judged.stream_of(&talks[0].ends.client.to_string());
    let said = &follow_all(&path, &[first])[&first].0;
    assert!(talks[0].said[0].starts_with(said) && said.len() >= 7 * (256 << 10), "{}", said.len());
}

#[test]
fn absent_server_is_waited_for_within_the_window() {
    let nats = Nats::absent();
    let mut sink = host(&nats, "web");
    let said = bytes(1, 1 << 20);
    let mut talk = talk(1, 1, 10);
    talk.events.pop();
    give(&mut sink, &talk.take());
    let mut given = talk.said[0].len() as u64;
    while sink.ready(Duration::ZERO).unwrap() {
        talk.say(Side::Client, &said);
        // Both of them: there is room for the first.
        talk.take().iter().for_each(|event| sink.record(event).unwrap());
        given += said.len() as u64;
    }
    assert!(given > 30 << 20, "{given}");
    assert_eq!(sink.finish().unwrap_err().kind(), io::ErrorKind::TimedOut);
    // The server has none of it.
    assert_eq!(sink.salvage().unwrap().client_to_server, 0);
}

#[test]
fn follower_who_comes_late_gets_valid_capture() {
    let (nats, folder) = (Nats::start(), tempdir().unwrap());
    let mut sink = host(&nats, "web");
    let mut talk = talk(1, 1, 100);
    // All but its end: the connection stays open.
    talk.events.truncate(talk.events.len() - 3);
    give(&mut sink, &talk.take());
    wait_until_published(&nats, &mut sink);
    let follower = Follower::start(&nats, Since::Now, &folder.path().join("late"));
    let before = talk.said[0].len();
    let end = Instant::now() + PATIENCE;
    // It says when it reads only by what it has read.
    while follower.stats.packets() == 0 {
        assert!(Instant::now() < end, "nothing is followed");
        talk.say(Side::Client, b"more");
        give(&mut sink, &talk.take());
        sink.tick(Timestamp(BEGIN)).unwrap();
        std::thread::sleep(TURN);
    }
    talk.end(Side::Client);
    give(&mut sink, &talk.take());
    sink.finish().unwrap();
    follower.wait_for_ends();
    let (collected, path) = follower.finish();
    assert_eq!((collected.lost_batches, collected.missing_bytes), (0, 0));
    let judged = judge(&path, Expect { streams: Some(1), ..Expect::default() }).unwrap();
    assert_eq!(judged.streams[&0].completeness, 31);
    let said = &follow_all(&path, &[0])[&0].0;
    assert!(talk.said[0].ends_with(said) && said.len() + before <= talk.said[0].len());
}

#[test]
fn secrets_come_before_data() {
    let (nats, folder) = (Nats::start(), tempdir().unwrap());
    let mut sink = host(&nats, "web");
    let mut talk = talk(1, 1, 300_000);
    let line = format!("CLIENT_RANDOM {} {}", "ab".repeat(32), "cd".repeat(48));
    let last = talk.events.last().unwrap().clone();
    let kind = EventKind::Secrets(Arc::from([line.clone()]));
    talk.events.push(Event { kind, ..last });
    give(&mut sink, &talk.events);
    sink.finish().unwrap();
    let path = folder.path().join("out.pcapng");
    collected(&nats, &path);
    check(&path, std::slice::from_ref(&talk));
    let capture = fs::read(&path).unwrap();
    let at = |bytes: &[u8]| capture.windows(bytes.len()).position(|part| part == bytes);
    assert!(at(line.as_bytes()).unwrap() < at(&talk.said[0][..100]).unwrap());
}
