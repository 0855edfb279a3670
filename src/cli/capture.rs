//! The capture: `--pcap` and what shapes it.

use std::fs::File;
use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::anyhow;
use clap::ValueEnum;
use clap::builder::TypedValueParser;
use tcp_tunn::capture::{self, PcapOverIpSink, PcapPushSink, PcapngOptions, PcapngSink, Rotation};
use tcp_tunn::os_error::Sentence;
use tcp_tunn::packet::{self, SegmentSize};
use tcp_tunn::sink::SinkOptions;
use tcp_tunn::tunnel::Address;

use super::ingress::without_password;
use super::look::LookArgs;
use super::ranges::{number, time};
use super::report::file_hint;
use super::stdio::Patient;
use super::stop::{StopAfter, stop_after};
use super::tls::TlsArgs;
use super::values::{collector, tcp_address};

/// What is captured, and how.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Capture options")]
pub(super) struct CaptureArgs {
    /// Write a pcapng capture to this file; - is stdout
    ///
    /// Write a pcapng capture to this file; - is stdout. A file that exists is overwritten, unless
    /// another process writes to it. A name that ends in .gz or .zst makes a compressed file.
    #[arg(long, value_name = "FILE|-", env = "TCP_TUNN_PCAP", hide_env = true)]
    pcap: Option<PathBuf>,

    /// Capture one stream a connection, or both of the tunnel's: direct or both
    ///
    /// Which streams to capture. direct: one from the client to the server, as without a tunnel.
    /// both: two interfaces, the client to the tunnel and the tunnel to the server.
    #[arg(long, value_enum, value_name = "WHICH", default_value_t, hide_possible_values = true)]
    #[arg(hide_short_help = true)]
    legs: Legs,

    /// Put at most this many bytes into one TCP segment
    ///
    /// Put at most this many bytes into one TCP segment; 1460 looks like Ethernet.
    #[arg(long, value_name = "N", default_value = "32768", value_parser = segment_size())]
    #[arg(hide_short_help = true)]
    segment_size: SegmentSize,

    /// Keep at most this many bytes of each packet, headers included [default: all]
    #[arg(long, value_name = "N", value_parser = number("snaplen"), hide_short_help = true)]
    snaplen: Option<u64>,

    /// Serve the capture to Wireshark at this address
    ///
    /// Serve the capture to everyone who connects to this address, such as wireshark -k -i
    /// TCP@127.0.0.1:19000.
    #[arg(long, value_name = "ADDR", env = "TCP_TUNN_PCAP_OVER_IP", hide_env = true)]
    #[arg(value_parser = tcp_address())]
    pcap_over_ip: Option<Address>,

    /// Send the capture to the collector that listens at this address
    ///
    /// Send the capture to the collector that listens at this address, such as nc -l 19000 >
    /// out.pcapng. It is connected to again when the connection breaks. Meanwhile --on-slow-sink
    /// says what happens.
    #[arg(long, value_name = "ADDR", value_parser = collector(), hide_short_help = true)]
    push: Option<Address>,

    /// Begin a new file when one has reached this size
    ///
    /// Begin a new file, with a number and the time in its name, when one has reached this size.
    #[arg(long, value_name = "SIZE", value_parser = number("rotate-size"), requires = "pcap")]
    #[arg(hide_short_help = true)]
    rotate_size: Option<u64>,

    /// Begin a new file when one has been open for this long
    #[arg(long, value_name = "DUR", value_parser = time("rotate-interval"), requires = "pcap")]
    #[arg(hide_short_help = true)]
    rotate_interval: Option<Duration>,

    /// Keep at most this many files and remove the oldest [default: all]
    #[arg(long, value_name = "N", value_parser = number("rotate-files"), requires = "pcap")]
    #[arg(hide_short_help = true)]
    rotate_files: Option<u64>,

    /// Stop at duration:90s, size:1GiB, connections:1
    ///
    /// Stop after duration:90s, size:1GiB, packets:1000 or connections:10. Of several, the first
    /// that is reached counts.
    #[arg(long, value_name = "KEY:VALUE", value_parser = stop_after)]
    pub(super) stop_after: Vec<StopAfter>,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Legs {
    #[default]
    Direct,
    Both,
}

fn segment_size() -> impl TypedValueParser<Value = SegmentSize> {
    let size = |bytes| SegmentSize::new(u32::try_from(bytes).unwrap_or(u32::MAX));
    number("segment-size").try_map(size)
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
        self.check_rotation()?;
        self.check_what_needs_a_capture()
    }

    fn check_rotation(&self) -> Result<(), String> {
        let rotates = self.rotate_size.is_some() || self.rotate_interval.is_some();
        if self.is_stdout() && rotates {
            return Err("cannot rotate stdout (try '--pcap FILE')".to_owned());
        }
        let is_other = |path: &PathBuf| path.metadata().is_ok_and(|meta| !meta.is_file());
        if let Some(path) = self.pcap.as_ref().filter(|path| rotates && is_other(path)) {
            let path = path.display();
            return Err(format!("cannot rotate '{path}', which is not a file (try '--pcap FILE')"));
        }
        if self.rotate_files.is_some() && !rotates {
            let what = "--rotate-files needs a size or an interval";
            return Err(format!("{what} (try '--rotate-size 1GiB')"));
        }
        Ok(())
    }

    /// Nobody gives an option that shall do nothing.
    fn check_what_needs_a_capture(&self) -> Result<(), String> {
        if self.pcap.is_none() && self.stop_after.iter().any(|stop| stop.is_of_capture()) {
            let what = "--stop-after size: and packets: have no effect without a capture";
            return Err(format!("{what} (try '--pcap FILE', or duration: or connections:)"));
        }
        let lonely = match self {
            _ if self.is_any() => return Ok(()),
            Self { snaplen: Some(_), .. } => "--snaplen has no effect without a capture",
            Self { legs: Legs::Both, .. } => "--legs has no effect without a capture",
            _ => return Ok(()),
        };
        Err(format!("{lonely} (try '--pcap FILE')"))
    }

    /// Captures into this file, whatever was asked for.
    pub(super) fn write_to(&mut self, path: PathBuf) {
        self.pcap = Some(path);
    }

    /// Starts the capture, if one is asked for. `stop` is called when it has come to its end.
    pub(super) fn open(
        &self,
        tls: &TlsArgs,
        look: &LookArgs,
        stop: impl FnOnce() + Send + 'static,
    ) -> anyhow::Result<Option<Capture>> {
        let Some(path) = &self.pcap else { return Ok(None) };
        let is_stdout = self.is_stdout();
        let (name, sink) = if is_stdout {
            // Without the standard library's line buffer, which would cut blocks apart.
            let stdout = io::stdout().as_fd().try_clone_to_owned().map(File::from);
            let sink =
                stdout.and_then(|stdout| PcapngSink::new(Patient(stdout), self.options(tls, look)));
            ("stdout".to_owned(), sink)
        } else {
            let sink = PcapngSink::create_series(path, self.options(tls, look), self.rotation());
            (path.display().to_string(), sink)
        };
        let sink = sink.map_err(|error| {
            let hint = file_hint(&error);
            anyhow!("cannot write the capture to {name}: {} ({hint})", Sentence(&error))
        })?;
        Ok(Some(Capture { name, is_stdout, sink: sink.stop_after(self.limit(), stop) }))
    }

    /// Starts to serve the capture, if that is asked for, under the rules for all sinks.
    pub(super) fn serve(
        &self,
        tls: &TlsArgs,
        look: &LookArgs,
        rules: &SinkOptions,
    ) -> anyhow::Result<Option<PcapOverIpSink>> {
        let Some(address) = &self.pcap_over_ip else { return Ok(None) };
        let (on_slow, room) = (rules.on_slow, rules.buffer_bytes);
        let sink =
            PcapOverIpSink::bind(address.to_string(), self.options(tls, look), on_slow, room);
        sink.map(Some).map_err(|error| {
            let hint = match error.kind() {
                io::ErrorKind::AddrInUse => "choose another port, or 0 for any that is free",
                io::ErrorKind::PermissionDenied => "choose a port from 1024 up",
                _ => "choose an address of this machine, such as 127.0.0.1:19000",
            };
            anyhow!("cannot serve the capture on {address}: {} ({hint})", Sentence(&error))
        })
    }

    /// Starts to send the capture to a collector, if that is asked for; with its address.
    pub(super) fn push(
        &self,
        tls: &TlsArgs,
        look: &LookArgs,
    ) -> anyhow::Result<Option<(String, PcapPushSink)>> {
        let Some(address) = self.push.as_ref().map(Address::to_string) else { return Ok(None) };
        let sink = PcapPushSink::new(&address, self.options(tls, look)).map_err(|error| {
            let hint = "are there too many threads?";
            anyhow!("cannot push the capture to {address}: {} ({hint})", Sentence(&error))
        })?;
        Ok(Some((address, sink)))
    }

    /// How a capture is made.
    pub(super) fn options(&self, tls: &TlsArgs, look: &LookArgs) -> PcapngOptions {
        let mut options = PcapngOptions::default();
        options.legs = match self.legs {
            Legs::Direct => packet::Legs::Direct,
            Legs::Both => packet::Legs::Both,
        };
        options.segment_size = self.segment_size;
        options.snaplen = self.snaplen.map(|most| u32::try_from(most).unwrap_or(u32::MAX));
        options.comment = Some(command_line());
        options.tls_keylog = tls.key_log().map(Path::to_owned);
        options.tls_ends = tls.is_ending();
        options.views = tls.views();
        options.info = look.wants_info();
        options
    }

    fn rotation(&self) -> Rotation {
        let mut rotation = Rotation::default();
        rotation.size = self.rotate_size;
        rotation.interval = self.rotate_interval;
        rotation.files = self.rotate_files.map(|most| usize::try_from(most).unwrap_or(usize::MAX));
        rotation
    }

    /// The smallest of each kind: whatever comes first counts.
    fn limit(&self) -> capture::StopAfter {
        let mut limit = capture::StopAfter::default();
        for stop in &self.stop_after {
            let (kind, value) = match *stop {
                StopAfter::Size(bytes) => (&mut limit.size, bytes),
                StopAfter::Packets(packets) => (&mut limit.packets, packets),
                StopAfter::Duration(_) | StopAfter::Connections(_) => continue,
            };
            *kind = Some(kind.map_or(value, |smaller| smaller.min(value)));
        }
        limit
    }

    /// Whether there is to be a capture of any kind.
    pub(super) const fn is_any(&self) -> bool {
        self.pcap.is_some() || self.pcap_over_ip.is_some() || self.push.is_some()
    }

    /// Whether stdout carries the capture.
    pub(super) fn is_stdout(&self) -> bool {
        self.pcap.as_deref() == Some(Path::new("-"))
    }
}

/// The command line, for who finds the capture later.
pub(super) fn command_line() -> String {
    let words: Vec<_> =
        std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
    let before = std::iter::once(None).chain(words.iter().map(|word| Some(word.as_str())));
    let shown = words.iter().zip(before).map(|(word, before)| without_password(word, before));
    shown.collect::<Vec<_>>().join(" ")
}
