//! Events to packets to blocks, the same for every output.
//!
//! The encoder appends whole blocks to a buffer that the caller owns.

use std::hash::{BuildHasher, RandomState};
use std::io;

use super::blocks::{self, Held};
use super::options::{CaptureStats, PcapngOptions, SNAPLEN};
use super::output::{Output, Place};
use super::secrets::{KeySpace, Keys, Secrets, Wait};
use super::section::{Preamble, Section};
#[cfg(feature = "fleet")]
use crate::event::ConnectionId;
use crate::event::{Event, EventKind, Views};
use crate::packet::{ConversationConfig, Conversations, SegmentSize, Snapshot};
use crate::sink::Interest;

/// What the blocks that were not yet handed over begin with.
enum Pending {
    /// A section's header, which nothing may come before.
    Header,
    /// Anything else.
    Blocks,
}

/// Encodes events as the blocks of a capture.
pub(super) struct Encoder {
    conversations: Conversations,
    segment_size: SegmentSize,
    section: Section,
    secrets: Option<Secrets>,
    interest: Interest,
    pending: Pending,
    stats: CaptureStats,
    /// What all blocks hold that were handed over.
    held: Held,
}

impl Encoder {
    /// An encoder whose section has begun, but whose header was not written.
    pub(super) fn new(options: PcapngOptions) -> io::Result<Self> {
        let interest = options.interest();
        let PcapngOptions {
            legs,
            segment_size,
            snaplen,
            comment,
            tls_keylog,
            tls_ends,
            views,
            info: _,
            isn_seed,
            environment,
            is_merged,
        } = options;
        let snaplen = snaplen.map(|most| most.max(*SNAPLEN.start() as u32));
        Ok(Self {
            conversations: conversations(
                ConversationConfig { legs, segment_size, views },
                isn_seed,
            ),
            segment_size,
            section: Section::new(Preamble { legs, is_merged, snaplen, comment, environment })?,
            // Plaintext needs no keys.
            secrets: (interest.views != Views::Readable)
                .then(|| Secrets::of(tls_keylog, tls_ends))
                .flatten(),
            interest,
            pending: Pending::Blocks,
            stats: CaptureStats::default(),
            held: Held::default(),
        })
    }

    /// Which events it encodes.
    pub(super) const fn interest(&self) -> Interest {
        self.interest
    }

    /// What the capture holds. Clones count the same.
    pub(super) fn stats(&self) -> CaptureStats {
        self.stats.clone()
    }

    /// Writes at most this many packets from now on.
    pub(super) const fn limit_packets(&mut self, packets: Option<u64>) {
        self.section.packets_left = packets;
    }

    /// Whether no packet may be written any more.
    pub(super) fn is_full(&self) -> bool {
        self.section.packets_left == Some(0)
    }

    /// Whether the capture has keys, so that blocks may have to wait for them.
    pub(super) const fn has_secrets(&self) -> bool {
        self.secrets.is_some()
    }

    /// More than the packets of an event take: their data, and for each segment of it, and for
    /// what else comes with it, a block with headers and comments.
    pub(super) fn room_for(&self, event: &Event) -> usize {
        const BLOCK: usize = 256;
        let len = if let EventKind::Data { bytes, .. } = &event.kind { bytes.len() } else { 0 };
        len + (len / usize::from(self.segment_size.get()) + 64) * BLOCK
    }

    /// Begins a section: its header, keys of open connections, and room for later keys where
    /// `place`, at which `blocks` will lie, can be patched.
    pub(super) fn begin_section(&mut self, blocks: &mut Vec<u8>, place: Place) -> KeySpace {
        self.section.restart(blocks);
        self.pending = Pending::Header;
        match &mut self.secrets {
            Some(secrets) => secrets.begin_section(blocks, place),
            None => KeySpace::Unchanged,
        }
    }

    /// Opens every live connection again, with new sequence numbers, in a section that has just
    /// begun.
    pub(super) fn continue_connections(&mut self, blocks: &mut Vec<u8>) -> io::Result<()> {
        self.conversations.renumber();
        self.conversations.resume(&mut self.section.writing(blocks))
    }

    /// How all connections stand now.
    pub(super) fn snapshot(&self) -> Snapshot {
        self.conversations.snapshot()
    }

    /// Goes back to how all connections stood, and from there over `events`, which are in a section
    /// already. A section has to [begin again](Self::begin_again) before anything is recorded.
    pub(super) fn rewind(&mut self, before: Snapshot, events: &[Event]) -> io::Result<()> {
        self.conversations.restore(before);
        let mut discarded = Vec::new();
        for event in events {
            self.conversations.event(event, &mut self.section.writing(&mut discarded))?;
            discarded.clear();
        }
        self.section.take_counts();
        Ok(())
    }

    /// Begins a section for a reader who has seen nothing and is the only one: its header, the
    /// known keys, also of connections that have closed lately, and the open connections.
    pub(super) fn begin_again(&mut self, blocks: &mut Vec<u8>) -> io::Result<()> {
        self.conversations.flush_acks(&mut self.section.writing(&mut Vec::new()))?;
        self.section.take_counts();
        self.section.restart(blocks);
        self.pending = Pending::Header;
        if let Some(secrets) = &mut self.secrets {
            secrets.begin_again(blocks);
        }
        self.continue_connections(blocks)
    }

    /// The beginning of a capture for a reader who comes now: a header, known keys, names, and the
    /// handshakes of open connections. [`flush_acks`](Self::flush_acks) must come before it.
    pub(super) fn late_subscriber(&self) -> io::Result<Vec<u8>> {
        let mut blocks = Vec::new();
        let mut section = self.section.new_alike()?;
        section.restart(&mut blocks);
        if let Some(secrets) = &self.secrets {
            secrets.write_existing_keys(&mut blocks);
        }
        self.section.write_names(&mut section, &mut blocks)?;
        self.conversations.resume(&mut section.writing(&mut blocks))?;
        Ok(blocks)
    }

    /// Looks at an event for TLS, without writing it.
    pub(super) fn observe(&mut self, event: &Event) {
        if let Some(secrets) = &mut self.secrets {
            secrets.watch(event);
        }
    }

    /// Appends the packets of an event.
    pub(super) fn record(&mut self, event: &Event, blocks: &mut Vec<u8>) -> io::Result<()> {
        self.conversations.event(event, &mut self.section.writing(blocks))
    }

    /// Adds an interface, of which the next packets are; its number.
    #[cfg(feature = "fleet")]
    pub(super) fn add_interface(
        &mut self,
        name: &str,
        description: &str,
        blocks: &mut Vec<u8>,
    ) -> io::Result<usize> {
        self.section.add_interface(name, description, blocks)
    }

    /// The interface of the next packets.
    #[cfg(feature = "fleet")]
    pub(super) const fn select_interface(&mut self, number: usize) {
        self.section.select_interface(number);
    }

    /// Continues a connection whose client and server sent `said` bytes before this capture began.
    #[cfg(feature = "fleet")]
    pub(super) fn begin_at(&mut self, id: ConnectionId, said: [u64; 2]) {
        self.conversations.begin_at(id, said);
    }

    /// Appends the acknowledgments that are still owed.
    pub(super) fn flush_acks(&mut self, blocks: &mut Vec<u8>) -> io::Result<()> {
        self.conversations.flush_acks(&mut self.section.writing(blocks))
    }

    /// Ends the section.
    pub(super) fn end(&mut self, blocks: &mut Vec<u8>) -> io::Result<()> {
        self.section.end(blocks)
    }

    /// Writes new keys into `output`, or into `blocks`, which it does not have yet.
    pub(super) fn update_secrets(
        &mut self,
        wait: Wait,
        blocks: &mut Vec<u8>,
        output: Option<&mut dyn Output>,
    ) -> io::Result<Keys> {
        let Some(secrets) = &mut self.secrets else { return Ok(Keys::NotAwaited) };
        // Before all packets that wait for them.
        let at = match self.pending {
            Pending::Header => self.section.header_len(),
            Pending::Blocks => 0,
        };
        secrets.update(wait, blocks, at, output)
    }

    /// Appends more room for keys if there is little left and `place`, at which `blocks` will lie,
    /// can be patched.
    pub(super) fn reserve_secrets(&mut self, blocks: &mut Vec<u8>, place: Place) -> KeySpace {
        match &mut self.secrets {
            Some(secrets) => secrets.reserve(blocks, place),
            None => KeySpace::Unchanged,
        }
    }

    /// Counts blocks, `len` bytes long, that were handed over.
    pub(super) fn count(&mut self, len: usize) {
        if len > 0 {
            self.pending = Pending::Blocks;
        }
        let (held, dropped_bytes) = self.section.take_counts();
        self.held.add(held);
        self.stats.add(held.packets, len as u64, dropped_bytes);
    }

    /// Takes lost blocks out of the counts, and returns what the capture holds without them.
    pub(super) fn discount(&mut self, lost: &[u8]) -> Held {
        self.count(0);
        let held = self.held.without(blocks::held(lost, self.section.legs()));
        self.stats.set_packets(held.packets);
        held
    }
}

/// Conversations with numbers that nobody can guess from those before, from the standard
/// library's hash keys; or with such that a seed fixes, the same with every version of Rust.
fn conversations(config: ConversationConfig, isn_seed: Option<u64>) -> Conversations {
    let mut count = 0_u64;
    let isn: Box<dyn FnMut() -> u32 + Send> = if let Some(seed) = isn_seed {
        // Knuth's multiplicative hash: neighbors come to lie far apart.
        Box::new(move || {
            count += 1;
            (seed.wrapping_add(count).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as u32
        })
    } else {
        let keys = RandomState::new();
        Box::new(move || {
            count += 1;
            keys.hash_one(count) as u32
        })
    };
    Conversations::new(config, isn)
}
