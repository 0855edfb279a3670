//! The capture, judged by Wireshark and tcpdump.

mod files;
#[cfg(feature = "cli")]
mod killed;
mod readers;
mod secrets;
mod served;

use std::path::{Path, PathBuf};

use tcp_tunn::event::Event;
use tcp_tunn::packet::View;
use tcp_tunn::sink::Sink;
use tcp_tunn::sink::pcapng::{PcapngOptions, PcapngSink};

/// The options of a view.
fn options(view: View) -> PcapngOptions {
    let mut options = PcapngOptions::default();
    options.view = view;
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
