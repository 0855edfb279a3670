//! The same capture as readers see it that share no code with Wireshark.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use tcp_tunn::capture::PcapngSink;
use tcp_tunn::event::Side;
use tcp_tunn::packet::Legs;
use tcp_tunn::sink::Sink;

use super::{ends, options};
use crate::support::bytes::bytes;
use crate::support::skip::skip;
use crate::support::talk::{Ends, Talk, endpoint, interleave};

/// A Python that has scapy; the test script makes one in an environment of its own.
const PYTHON: &str = "TCP_TUNN_PYTHON";

/// The bytes of each direction, `client > server` or the other way, and the number of packets.
#[derive(Default, PartialEq)]
struct Read {
    packets: u64,
    said: BTreeMap<String, String>,
}

impl Read {
    fn packet(&mut self, ends: &str, hex: &str) {
        self.packets += 1;
        self.said.entry(ends.to_owned()).or_default().push_str(hex);
    }
}

fn run(program: &str, arguments: &[&str], path: &Path) -> String {
    let output = Command::new(program).args(arguments).arg(path).output();
    let output = output.unwrap_or_else(|error| panic!("{program} cannot be run: {error}"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn by_scapy(python: &str, path: &Path) -> Read {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/capture/dissect.py");
    let mut read = Read::default();
    for line in run(python, &[script], path).lines() {
        let (ends, hex) = line.split_once(": ").expect(line);
        read.packet(ends, hex);
    }
    read
}

/// A line tells of each packet, and lines of hex from its IP header on follow.
fn by_tcpdump(path: &Path) -> Read {
    let text = run("tcpdump", &["-nntx", "-r"], path);
    let mut read = Read::default();
    for packet in text.split("\nIP").filter(|packet| !packet.is_empty()) {
        let (line, rows) = packet.split_once('\n').unwrap_or((packet, ""));
        let (_, ends) = line.split_once(' ').expect(line);
        let (ends, what) = ends.split_once(": ").expect(line);
        let (_, len) = what.rsplit_once("length ").expect(line);
        let digits = len.find(|c: char| !c.is_ascii_digit()).unwrap_or(len.len());
        let len: usize = len[..digits].parse().unwrap();
        let hex: String = rows
            .lines()
            .flat_map(|row| row.split_once(':').expect(row).1.split_whitespace())
            .collect();
        read.packet(ends, &hex[hex.len() - 2 * len..]);
    }
    read
}

fn talks() -> Vec<Talk> {
    let v6 =
        Ends::new("[2001:db8::1]:20001", "[::1]:8080", "[2001:db8::9]:30001", "[2001:db8::7]:80");
    let unix = Ends { client: endpoint("unix:"), ..ends(4) };
    let all = [ends(1), ends(2), v6, unix].into_iter().enumerate().map(|(index, ends)| {
        let id = index as u64 + 1;
        let mut talk = Talk::open(id, id, ends);
        talk.connect();
        for turn in 0..30 {
            talk.say(Side::Client, &bytes(turn * id, 700 * id as usize));
            talk.say(Side::Server, &bytes(turn + id, 40_000));
        }
        talk.end(if id.is_multiple_of(2) { Side::Client } else { Side::Server });
        talk
    });
    all.collect()
}

fn captured(folder: &Path, talks: &[Talk]) -> (PathBuf, u64) {
    let path = folder.join("out.pcapng");
    let mut sink = PcapngSink::create(&path, options(Legs::Direct)).unwrap();
    interleave(talks).iter().for_each(|event| sink.record(event).unwrap());
    sink.finish().unwrap();
    (path, sink.stats().packets())
}

fn hold(read: Read, talks: &[Talk], packets: u64) {
    assert_eq!(read.packets, packets);
    let hex = |bytes: &Vec<u8>| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let mut said: Vec<_> = talks.iter().flat_map(|talk| talk.said.iter().map(hex)).collect();
    let mut seen: Vec<_> = read.said.into_values().collect();
    said.sort();
    seen.sort();
    assert!(said == seen, "{} directions instead of {}", seen.len(), said.len());
}

#[test]
fn tcpdump_reads_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let talks = talks();
    let (path, packets) = captured(folder.path(), &talks);
    hold(by_tcpdump(&path), &talks, packets);
}

#[test]
fn scapy_reads_the_same_bytes() {
    let Ok(python) = std::env::var(PYTHON) else {
        skip(&format!("{PYTHON} names no Python with scapy (try: scripts/test.sh)"));
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let talks = talks();
    let (path, packets) = captured(folder.path(), &talks);
    let read = by_scapy(&python, &path);
    assert!(read == by_tcpdump(&path), "scapy and tcpdump disagree");
    hold(read, &talks, packets);
}
