//! The capture: a pcapng file that Wireshark opens as clean TCP conversations.

mod file;
mod section;

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use self::section::{Preamble, Section};
use super::{Interest, Sink};
use crate::event::Event;
use crate::packet::{ConversationConfig, Conversations, SegmentSize, View};

/// Blocks gather up to this size before they are written, unless a flush comes first.
const BATCH: usize = 1 << 20;

/// How a capture is made.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct PcapngOptions {
    /// One stream a connection, or one for each of the tunnel's sockets.
    pub view: View,
    /// The MSS that is announced, and the most that a segment carries.
    pub segment_size: SegmentSize,
    /// How many bytes of each packet, headers included, are kept; all by default.
    pub snaplen: Option<u32>,
    /// A comment on the whole capture, such as the command line.
    pub comment: Option<String>,
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
}

impl fmt::Debug for CaptureStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CaptureStats").field("packets", &self.packets()).finish_non_exhaustive()
    }
}

/// A sink that writes a pcapng capture.
///
/// Only ever writes whole blocks, and at the latest 100 ms after an event, so that a reader of
/// the growing file, or of what a killed process left, sees complete packets.
pub struct PcapngSink {
    conversations: Conversations,
    section: Section,
    output: Box<dyn Write + Send>,
    stats: CaptureStats,
}

impl PcapngSink {
    /// A capture into a new file, which only its owner may read. An existing one is overwritten.
    ///
    /// # Errors
    ///
    /// The file cannot be created, or is one that somebody else may have put there.
    pub fn create(path: impl AsRef<Path>, options: PcapngOptions) -> io::Result<Self> {
        Self::new(file::create(path.as_ref())?, options)
    }

    /// A capture into anything that can be written to.
    ///
    /// # Errors
    ///
    /// The options make no valid header.
    pub fn new(output: impl Write + Send + 'static, options: PcapngOptions) -> io::Result<Self> {
        let config = ConversationConfig { view: options.view, segment_size: options.segment_size };
        let PcapngOptions { view, snaplen, comment, .. } = options;
        let section = Section::begin(Preamble { view, snaplen, comment })?;
        Ok(Self {
            conversations: Conversations::new(config, Box::new(random_isn())),
            section,
            output: Box::new(output),
            stats: CaptureStats::default(),
        })
    }

    /// What the capture holds, also after the sink was given away.
    pub fn stats(&self) -> CaptureStats {
        self.stats.clone()
    }

    fn write_out(&mut self) -> io::Result<()> {
        let pending = self.section.pending();
        if pending.is_empty() {
            return Ok(());
        }
        self.output.write_all(pending)?;
        self.stats.0.bytes.fetch_add(pending.len() as u64, Relaxed);
        pending.clear();
        self.stats.0.packets.store(self.section.packets, Relaxed);
        self.stats.0.dropped_bytes.store(self.section.dropped_bytes, Relaxed);
        Ok(())
    }
}

impl Sink for PcapngSink {
    fn record(&mut self, event: &Event) -> io::Result<()> {
        self.conversations.event(event, &mut self.section)?;
        if self.section.pending().len() >= BATCH { self.write_out() } else { Ok(()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.write_out()?;
        self.output.flush()
    }

    fn finish(&mut self) -> io::Result<()> {
        self.section.end()?;
        self.flush()
    }

    fn interest(&self) -> Interest {
        Interest::ALL
    }
}

/// Numbers that nobody can guess from those before, from the standard library's hash keys.
fn random_isn() -> impl FnMut() -> u32 + Send {
    let keys = RandomState::new();
    let mut count = 0_u64;
    move || {
        count += 1;
        keys.hash_one(count) as u32
    }
}
