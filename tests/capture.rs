//! The capture, judged by Wireshark and tcpdump.

#[cfg(feature = "compress")]
mod compressed;
mod dialogues;
mod files;
#[cfg(feature = "cli")]
mod killed;
mod others;
mod pushed;
mod readers;
#[cfg(feature = "cli")]
mod secrets;
mod served;

use std::path::{Path, PathBuf};

use tcp_tunn::capture::{PcapngOptions, PcapngSink};
use tcp_tunn::event::Event;
use tcp_tunn::packet::Legs;
use tcp_tunn::sink::Sink;

use crate::support::talk::{Ends, Talk};

/// The options of a legs.
fn options(legs: Legs) -> PcapngOptions {
    let mut options = PcapngOptions::default();
    options.legs = legs;
    options
}

/// Captures events into a file in `folder`.
fn captured(folder: &Path, options: PcapngOptions, events: &[Event]) -> PathBuf {
    let path = folder.join("out.pcapng");
    let mut sink = PcapngSink::create(&path, options).unwrap();
    events.iter().for_each(|event| sink.record(event).unwrap());
    sink.finish().unwrap();
    path
}

/// A client of its own for each number, and one server.
fn ends(id: u64) -> Ends {
    let client = format!("127.0.0.1:{}", 20_000 + id);
    Ends::new(&client, "127.0.0.1:8080", "127.0.0.9:30001", "192.0.2.7:80")
}

/// A connection that was accepted a moment after those of lower numbers.
fn talk(id: u64) -> Talk {
    Talk::open(id, id * 1_000_033, ends(id))
}
