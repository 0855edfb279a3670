//! All live connections, drawn by one hand in one order.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;

use thiserror::Error;

use super::conversation::{Conversation, Drawing};
use super::shows::{Shows, is_decrypted};
use super::stream::At;
use super::{Legs, PacketWriter};
use crate::event::{ConnectionId, Event, EventKind, Open, Timestamp, View, Views};

/// The largest number of bytes in a segment that is drawn. Checked when it is made.
///
/// The maximum leaves room for the headers in an IP packet of either family: 65535 octets less
/// IPv6's and TCP's with its options (RFC 8200, RFC 9293).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentSize(u16);

/// A segment size that no TCP could have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "invalid segment size '{given}' (expected {min} to {max})",
    min = SegmentSize::MIN,
    max = SegmentSize::MAX
)]
pub struct SegmentSizeError {
    /// What was given.
    pub given: u32,
}

impl SegmentSize {
    /// The smallest: anything less makes more headers than sense, and Wireshark complain.
    pub const MIN: u16 = 64;
    /// The largest that fits an IPv6 packet.
    pub const MAX: u16 = 65475;

    /// Checks a size, in bytes.
    ///
    /// # Errors
    ///
    /// It is below [`MIN`](Self::MIN) or above [`MAX`](Self::MAX).
    pub fn new(bytes: u32) -> Result<Self, SegmentSizeError> {
        match u16::try_from(bytes) {
            Ok(size @ Self::MIN..=Self::MAX) => Ok(Self(size)),
            _ => Err(SegmentSizeError { given: bytes }),
        }
    }

    /// The size in bytes.
    pub const fn get(self) -> u16 {
        self.0
    }
}

/// 32768 bytes: a 64 KiB chunk makes two equal segments, and a frame stays below the 65535 bytes
/// that older tools take.
impl Default for SegmentSize {
    fn default() -> Self {
        Self(32768)
    }
}

/// How connections are drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConversationConfig {
    /// One stream a connection or two.
    pub legs: Legs,
    /// The MSS that both sides announce and no segment exceeds.
    pub segment_size: SegmentSize,
    /// The wire, what can be read, or both, as two conversations. Where there is a stream for each
    /// leg, it shows the wire. What can be read is drawn at the port of the same protocol without
    /// TLS, such as 80 for 443, by which readers know it.
    pub views: Views,
}

impl ConversationConfig {
    /// What is shown in fact.
    const fn drawn_views(self) -> Views {
        match self.legs {
            Legs::Direct => self.views,
            Legs::Both => Views::Wire,
        }
    }
}

/// Turns the events of all connections into packets, in strict order of time.
///
/// Events may come in any order and with anything in them; what makes no sense is left out.
pub struct Conversations {
    config: ConversationConfig,
    isn: Box<dyn FnMut() -> u32 + Send>,
    /// By what they show: the plaintext has a conversation of its own where the wire has one.
    live: HashMap<(ConnectionId, View), Conversation>,
    /// Of all live streams, the lower one first.
    ends: HashSet<[SocketAddr; 2]>,
    /// When the last packet was drawn.
    drawn: Timestamp,
}

/// All live connections as they stood at one moment.
#[derive(Clone)]
pub(crate) struct Snapshot {
    live: HashMap<(ConnectionId, View), Conversation>,
    ends: HashSet<[SocketAddr; 2]>,
    drawn: Timestamp,
}

impl Conversations {
    /// How all connections stand now.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let (live, ends) = (self.live.clone(), self.ends.clone());
        Snapshot { live, ends, drawn: self.drawn }
    }

    /// Goes back to how all connections stood.
    pub(crate) fn restore(&mut self, snapshot: Snapshot) {
        let Snapshot { live, ends, drawn } = snapshot;
        (self.live, self.ends, self.drawn) = (live, ends, drawn);
    }

    /// No connection yet. `isn` is asked for two initial sequence numbers for each stream; they
    /// should be random, because Wireshark takes a used pair of addresses with near numbers for
    /// retransmissions.
    pub fn new(config: ConversationConfig, isn: Box<dyn FnMut() -> u32 + Send>) -> Self {
        let (live, ends) = (HashMap::new(), HashSet::new());
        Self { config, isn, live, ends, drawn: Timestamp(0) }
    }

    /// How many connections are open.
    pub fn len(&self) -> usize {
        self.live.len()
    }

    /// Whether no connection is open.
    pub fn is_empty(&self) -> bool {
        self.live.is_empty()
    }

    /// Draws what an event makes visible.
    ///
    /// # Errors
    ///
    /// What `writer` said. The state is undefined then.
    pub fn event<W: PacketWriter>(
        &mut self,
        event: &Event,
        writer: &mut W,
    ) -> Result<(), W::Error> {
        match &event.kind {
            EventKind::Open(open) => self.open(event, open, writer),
            kind => {
                if self.config.drawn_views() == Views::Both {
                    if is_decrypted(kind) {
                        self.begin_plaintext(event, writer)?;
                    }
                    self.go_on(View::Plain, event, writer)?;
                }
                self.go_on(View::Wire, event, writer)
            }
        }
    }

    /// A connection begins.
    fn open<W: PacketWriter>(
        &mut self,
        event: &Event,
        open: &Arc<Open>,
        writer: &mut W,
    ) -> Result<(), W::Error> {
        let Self { config, isn, live, ends, drawn } = self;
        let mut at = At::new(event.time.max(*drawn), drawn, writer);
        if let Entry::Vacant(place) = live.entry((event.connection, View::Wire)) {
            let taken = |pair| ends.contains(&sorted(pair));
            let mut drawing = drawing(*config, &mut **isn, &taken);
            let new = Conversation::open(event.connection, open, &mut drawing, &mut at)?;
            ends.extend(ends_of(&new));
            place.insert(new);
        }
        Ok(())
    }

    /// The plaintext of a connection begins, beside its wire.
    fn begin_plaintext<W: PacketWriter>(
        &mut self,
        event: &Event,
        writer: &mut W,
    ) -> Result<(), W::Error> {
        let Self { config, isn, live, ends, drawn } = self;
        let mut at = At::new(event.time.max(*drawn), drawn, writer);
        let [wire, plain] = [View::Wire, View::Plain].map(|view| (event.connection, view));
        let Some(beside) = live.get(&wire).filter(|_| !live.contains_key(&plain)) else {
            return Ok(());
        };
        let taken = |pair| ends.contains(&sorted(pair));
        let mut drawing = drawing(*config, &mut **isn, &taken);
        let new = beside.plaintext(&mut drawing, &mut at)?;
        ends.extend(ends_of(&new));
        live.insert(plain, new);
        Ok(())
    }

    /// A conversation goes on, or ends.
    fn go_on<W: PacketWriter>(
        &mut self,
        view: View,
        event: &Event,
        writer: &mut W,
    ) -> Result<(), W::Error> {
        let Self { config, isn, live, ends, drawn } = self;
        let mut at = At::new(event.time.max(*drawn), drawn, writer);
        let Entry::Occupied(mut place) = live.entry((event.connection, view)) else {
            return Ok(());
        };
        let taken = |pair| ends.contains(&sorted(pair));
        let mut drawing = drawing(*config, &mut **isn, &taken);
        let conversation = place.get_mut();
        let streams = conversation.streams.len();
        if let EventKind::Close { reason, totals } = &event.kind {
            let before: Vec<_> = ends_of(conversation).collect();
            conversation.close(reason, *totals, &mut drawing, &mut at)?;
            place.remove();
            for key in &before {
                ends.remove(key);
            }
        } else {
            conversation.event(&event.kind, &mut drawing, &mut at)?;
            if conversation.streams.len() > streams {
                ends.extend(ends_of(conversation));
            }
        }
        Ok(())
    }

    /// Continues a connection that has just been drawn: its client and server sent `said` bytes
    /// before.
    #[cfg(feature = "fleet")]
    pub(crate) fn begin_at(&mut self, id: ConnectionId, said: [u64; 2]) {
        if let Some(conversation) = self.live.get_mut(&(id, View::Wire)) {
            conversation.streams.iter_mut().for_each(|(_, stream)| stream.begin_at(said));
        }
    }

    /// Draws the acknowledgements that are still owed, so that [`resume`](Self::resume) can
    /// follow.
    ///
    /// # Errors
    ///
    /// What `writer` said.
    pub fn flush_acks<W: PacketWriter>(&mut self, writer: &mut W) -> Result<(), W::Error> {
        let mut at = At::new(self.drawn, &mut self.drawn, writer);
        self.live.values_mut().try_for_each(|conversation| conversation.flush_acks(&mut at))
    }

    /// Gives every open connection new sequence numbers, so that a capture that begins now can be
    /// read together with the one before it: its handshakes do not look like repeated ones.
    /// Between [`flush_acks`](Self::flush_acks) and [`resume`](Self::resume), where nobody reads
    /// on.
    pub fn renumber(&mut self) {
        // Later than all before, so that programs which merge captures keep the two apart.
        self.drawn.0 += 1;
        let isn = &mut *self.isn;
        self.live.values_mut().for_each(|conversation| conversation.renumber(isn));
    }

    /// Draws every open connection anew as it stands, for a reader who has seen nothing so far:
    /// names, and handshakes whose sequence numbers are the current ones. Changes nothing;
    /// [`flush_acks`](Self::flush_acks) for all older readers must have come before.
    ///
    /// # Errors
    ///
    /// What `writer` said.
    pub fn resume<W: PacketWriter>(&self, writer: &mut W) -> Result<(), W::Error> {
        let mut drawn = self.drawn;
        let mut at = At::new(self.drawn, &mut drawn, writer);
        let mut ids: Vec<_> = self.live.keys().collect();
        ids.sort_unstable();
        ids.into_iter().try_for_each(|id| self.live[id].resume(&mut at))
    }
}

fn drawing<'a>(
    config: ConversationConfig,
    isn: &'a mut dyn FnMut() -> u32,
    taken: &'a dyn Fn([SocketAddr; 2]) -> bool,
) -> Drawing<'a> {
    let (shows, segment_size) = (Shows::first(config.drawn_views()), config.segment_size.get());
    Drawing { legs: config.legs, shows, segment_size, isn, taken }
}

fn ends_of(conversation: &Conversation) -> impl Iterator<Item = [SocketAddr; 2]> {
    conversation.streams.iter().map(|(_, stream)| sorted(stream.ends()))
}

/// Readers of a capture tell streams apart by both ends, whichever is the client, and by nothing
/// else, not even the interface.
fn sorted(mut ends: [SocketAddr; 2]) -> [SocketAddr; 2] {
    ends.sort_unstable();
    ends
}
