//! Captures that are compressed as they are written.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use tcp_tunn::capture::PcapngSink;
use tcp_tunn::event::{Side, Timestamp};
use tcp_tunn::sink::Sink;
use tempfile::tempdir;

use super::files::{connected, create, record};
use crate::support::bytes::bytes;
use crate::support::events::PATIENCE;
use crate::support::talk::BEGIN;
use crate::support::verdict::{follow, judge};

/// Ticks until `done`; what a running tunnel does.
fn tick_until(sink: &mut PcapngSink, done: impl Fn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < end, "it does not happen");
        sink.tick(Timestamp(BEGIN)).unwrap();
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn len(path: &Path) -> u64 {
    fs::metadata(path).unwrap().len()
}

#[test]
fn truncated_compressed_file_shows_flushed_packets() {
    let folder = tempdir().unwrap();
    for name in ["out.pcapng.gz", "out.pcapng.zst"] {
        let path = folder.path().join(name);
        let mut sink = create(&path).unwrap();
        let mut talk = connected();
        let said = bytes(7, 300_000);
        record(&mut sink, &talk.say(Side::Client, &said).take());
        tick_until(&mut sink, || len(&path) > 300_000);
        let flushed = len(&path);
        let answer = bytes(8, 300_000);
        talk.say(Side::Server, &answer).end(Side::Client);
        record(&mut sink, &talk.events);
        sink.finish().unwrap();
        assert_eq!(follow(&path, 1)[0], [said.clone(), answer]);
        // Wireshark reads it as it is, tcpdump does not.
        let program = if name.ends_with(".gz") { "gzip" } else { "zstd" };
        let plain = Command::new(program).arg("-dc").arg(&path).output().unwrap();
        assert!(plain.status.success(), "{plain:?}");
        let plain_path = folder.path().join("plain.pcapng");
        fs::write(&plain_path, plain.stdout).unwrap();
        judge(&plain_path, &[]);
        for cut in [flushed, flushed + 1000] {
            let short = folder.path().join(format!("short-{name}"));
            fs::write(&short, &fs::read(&path).unwrap()[..cut as usize]).unwrap();
            let args = ["-n", "-Y", "tcp.srcport == 20001", "-T", "fields", "-e", "tcp.len", "-r"];
            let read = Command::new("tshark").args(args).arg(&short).output().unwrap();
            let read = String::from_utf8(read.stdout).unwrap();
            let shown: usize = read.lines().map(|len| len.parse::<usize>().unwrap()).sum();
            assert_eq!(shown, said.len(), "{name} cut at {cut}");
        }
    }
}

#[test]
fn idle_compressed_file_does_not_grow() {
    let folder = tempdir().unwrap();
    for name in ["out.pcapng.gz", "out.pcapng.zst"] {
        let path = folder.path().join(name);
        let mut sink = create(&path).unwrap();
        record(&mut sink, &connected().events);
        tick_until(&mut sink, || len(&path) > 100);
        let flushed = len(&path);
        let end = Instant::now() + Duration::from_millis(300);
        tick_until(&mut sink, || Instant::now() > end);
        assert_eq!(len(&path), flushed, "{name}");
    }
}
