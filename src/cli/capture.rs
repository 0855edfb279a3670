//! The capture: `--pcap` and what shapes it.

use std::fs::File;
use std::io::{self, IsTerminal};
use std::num::NonZero;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use clap::ValueEnum;
use tcp_tunn::packet::{SegmentSize, View};
use tcp_tunn::sink::pcapng::{PcapngOptions, PcapngSink};

/// What is captured, and how.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Capture options")]
pub(super) struct CaptureArgs {
    /// Write a pcapng capture to this file, or with - to stdout
    #[arg(long, value_name = "FILE|-")]
    pcap: Option<PathBuf>,

    /// One stream from client to server, or both of the tunnel's sockets apart
    #[arg(long, value_enum, value_name = "WHICH", default_value_t)]
    legs: Legs,

    /// The most bytes that one TCP segment carries; 1460 looks like Ethernet
    #[arg(long, value_name = "N", default_value = "32768", value_parser = segment_size)]
    segment_size: SegmentSize,

    /// Keep only so many bytes of each packet, headers included [default: all]
    #[arg(long, value_name = "N")]
    snaplen: Option<NonZero<u32>>,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Legs {
    #[default]
    Direct,
    Both,
}

fn segment_size(input: &str) -> Result<SegmentSize, String> {
    let number = input.parse().map_err(|_| format!("'{input}' is no number (try '1460')"))?;
    SegmentSize::new(number).map_err(|error| error.to_string())
}

/// A capture that is ready to record.
pub(super) struct Capture {
    /// What it is called in messages.
    pub(super) name: String,
    pub(super) is_stdout: bool,
    pub(super) sink: PcapngSink,
}

impl CaptureArgs {
    /// What cannot work, if anything.
    pub(super) fn check(&self) -> Result<(), String> {
        if self.is_stdout() && io::stdout().is_terminal() {
            let what = "--pcap - would write a capture to the terminal";
            return Err(format!("{what} (try '--pcap - | wireshark -k -i -' or '--pcap FILE')"));
        }
        Ok(())
    }

    /// Starts the capture, if one is asked for.
    pub(super) fn open(&self) -> anyhow::Result<Option<Capture>> {
        let Some(path) = &self.pcap else { return Ok(None) };
        let is_stdout = self.is_stdout();
        let mut options = PcapngOptions::default();
        options.view = match self.legs {
            Legs::Direct => View::Direct,
            Legs::Both => View::Both,
        };
        options.segment_size = self.segment_size;
        options.snaplen = self.snaplen.map(NonZero::get);
        let (name, sink) = if is_stdout {
            let sink = stdout().and_then(|file| PcapngSink::new(file, options));
            ("stdout".to_owned(), sink)
        } else {
            (path.display().to_string(), PcapngSink::create(path, options))
        };
        match sink {
            Ok(sink) => Ok(Some(Capture { name, is_stdout, sink })),
            Err(error) => {
                let hint = hint(&error);
                Err(anyhow!("cannot write the capture to {name}: {error} ({hint})"))
            }
        }
    }

    /// Whether stdout carries the capture.
    pub(super) fn is_stdout(&self) -> bool {
        self.pcap.as_deref() == Some(Path::new("-"))
    }
}

/// Standard output without the standard library's line buffer, which would cut blocks apart.
fn stdout() -> io::Result<File> {
    io::stdout().as_fd().try_clone_to_owned().map(File::from)
}

/// What to try where a file cannot be written.
fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => "create the directory first",
        io::ErrorKind::StorageFull => "make room, or choose another place",
        io::ErrorKind::IsADirectory => "name a file in it",
        _ => "choose another file, or a directory of your own",
    }
}
