//! How a capture is made, and what it holds.

use std::fmt;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::event::Views;
use crate::packet::{Legs, SegmentSize};
use crate::sink::Interest;

/// [`PcapngOptions::snaplen`].
pub const SNAPLEN: RangeInclusive<u64> = 1..=u32::MAX as u64;

/// How a capture is made.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct PcapngOptions {
    /// One stream a connection, or one for each of the tunnel's sockets.
    pub legs: Legs,
    /// The MSS that is announced, and the most that a segment carries.
    pub segment_size: SegmentSize,
    /// How many bytes of each packet, headers included, are kept; all by default.
    pub snaplen: Option<u32>,
    /// A comment on the whole capture, such as the command line.
    pub comment: Option<String>,
    /// A key log, as `SSLKEYLOGFILE` names it, whose keys go into the capture once a connection
    /// that they belong to is in it. It need not exist yet.
    pub tls_keylog: Option<PathBuf>,
    /// Whether TLS ends in the tunnel ([`Builder::end_tls`](crate::tunnel::Builder::end_tls)),
    /// whose keys then go into the capture.
    pub tls_ends: bool,
    /// The wire, what can be read, or both, as
    /// [`ConversationConfig::views`](crate::packet::ConversationConfig::views) says.
    pub views: Views,
    /// Comments the last packet of each connection with what the kernel knows of its sockets.
    pub info: bool,
    /// What the initial sequence numbers are made of: with the same seed, the same events make
    /// the same capture, byte for byte. Random by default.
    pub isn_seed: Option<u64>,
    /// The machine and the program that make the capture; this machine and tcp_tunn by default.
    pub environment: Environment,
    /// Whether interfaces are added one by one.
    pub(super) is_merged: bool,
}

impl PcapngOptions {
    /// What a capture with these options wants to see.
    pub(super) const fn interest(&self) -> Interest {
        let interest = match (self.legs, self.views) {
            (Legs::Direct, Views::Readable) => Interest::RECEIVED.views(Views::Readable),
            (Legs::Direct, views) => Interest::ALL.views(views).joining_legs(),
            (Legs::Both, _) => Interest::ALL,
        };
        let interest = interest.secrets(self.tls_ends).process();
        if self.info { interest.info() } else { interest }
    }
}

/// What a capture says of the machine and the program that made it (pcapng, sections 4.1 and 4.2).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Environment {
    /// The operating system and its release: `shb_os` and `if_os`.
    pub os: String,
    /// The program and its version: `shb_userappl`.
    pub application: String,
    /// The hardware: `shb_hardware`; left out by default.
    pub hardware: Option<String>,
}

impl Default for Environment {
    fn default() -> Self {
        let name = rustix::system::uname();
        let [system, release] = [name.sysname(), name.release()].map(|text| text.to_string_lossy());
        Self::new(format!("{system} {release}"), concat!("tcp_tunn ", env!("CARGO_PKG_VERSION")))
    }
}

impl Environment {
    /// An operating system and a program, on hardware that is not named.
    pub fn new(os: impl Into<String>, application: impl Into<String>) -> Self {
        Self { os: os.into(), application: application.into(), hardware: None }
    }
}

/// When the next file of a series begins. Whatever comes first does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rotation {
    /// After a file has come to this many bytes, before compression; but not before half of it is
    /// more than what each file begins with, such as the handshakes of open connections.
    pub size: Option<u64>,
    /// After a file has been open for this long.
    pub interval: Option<Duration>,
    /// How many files are kept; the oldest of the series goes when there are more.
    pub files: Option<usize>,
}

/// Where a capture ends by itself. Whatever comes first counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StopAfter {
    /// After this many bytes, before compression and over all files.
    pub size: Option<u64>,
    /// After this many packets; there will not be one more.
    pub packets: Option<u64>,
}

/// Begins a new file of a series on demand. Clones belong to the same capture.
#[derive(Clone, Debug, Default)]
pub struct RotateHandle(Arc<AtomicBool>);

impl RotateHandle {
    /// Asks for a new file; it comes within 100 ms.
    pub fn rotate(&self) {
        self.0.store(true, Relaxed);
    }

    pub(super) fn take(&self) -> bool {
        self.0.load(Relaxed) && self.0.swap(false, Relaxed)
    }
}

/// What a capture holds so far. Clones count the same.
#[derive(Clone, Default)]
pub struct CaptureStats(Arc<Counted>);

#[derive(Default)]
struct Counted {
    packets: AtomicU64,
    bytes: AtomicU64,
    dropped_bytes: AtomicU64,
}

impl CaptureStats {
    /// Packets written.
    pub fn packets(&self) -> u64 {
        self.0.packets.load(Relaxed)
    }

    /// Bytes written, before compression.
    pub fn bytes(&self) -> u64 {
        self.0.bytes.load(Relaxed)
    }

    /// Bytes of the conversations that were dropped, and stand in the capture as gaps.
    pub fn dropped_bytes(&self) -> u64 {
        self.0.dropped_bytes.load(Relaxed)
    }

    /// What it holds after all, where a failure has lost some of it.
    pub(super) fn set_packets(&self, packets: u64) {
        self.0.packets.store(packets, Relaxed);
    }

    pub(super) fn add(&self, packets: u64, bytes: u64, dropped_bytes: u64) {
        self.0.packets.fetch_add(packets, Relaxed);
        self.0.bytes.fetch_add(bytes, Relaxed);
        self.0.dropped_bytes.fetch_add(dropped_bytes, Relaxed);
    }
}

impl fmt::Debug for CaptureStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CaptureStats")
            .field("packets", &self.packets())
            .field("bytes", &self.bytes())
            .finish()
    }
}
