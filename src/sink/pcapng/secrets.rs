//! TLS keys in a capture: Decryption Secrets Blocks (4.7), placed so that Wireshark has them
//! when it needs them.
//!
//! TLS 1.3's keys must stand before the ServerHello in the file, yet the client logs them only
//! after it has read that. A file that can be patched has a place for them kept free at its
//! start; elsewhere the packets wait for them, for a moment.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::keylog::Keylog;
use super::output::Output;
use super::tls::{Beginning, DECISIVE, beginning};
use crate::event::{ConnectionId, Direction, Event, EventKind, Leg, Timestamp};

/// What is kept free at the start of a file: the keys of some 80 TLS 1.3 connections.
const PLACE: usize = 64 * 1024;
/// Type of the block, and of its secrets: "TLSK".
const BLOCK: u32 = 0x0A;
const KEY_LOG: u32 = 0x544c_534b;
/// How long packets wait for their keys at most.
const WAIT: Duration = Duration::from_millis(200);

/// How often the key log is looked at, at most.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// A connection that is, or may be, TLS.
enum Watched {
    /// The first bytes of its client.
    Beginning(Vec<u8>),
    Tls {
        random: [u8; 32],
        /// How many lines of its keys the capture has.
        written: usize,
        since: Timestamp,
    },
}

/// The keys of the connections in a capture.
pub(super) struct Secrets {
    keylog: Keylog,
    live: HashMap<ConnectionId, Watched>,
    /// Closed connections, whose keys may still come: their random number, and lines written.
    closed: Vec<([u8; 32], usize)>,
    /// Where the next line goes in the place kept free, and what is left of it.
    place: Option<(u64, usize)>,
    polled: Instant,
}

/// Closed connections that are remembered.
const CLOSED_MAX: usize = 1000;

impl Secrets {
    pub(super) fn new(path: PathBuf) -> Self {
        let (live, closed) = (HashMap::new(), Vec::new());
        Self { keylog: Keylog::new(path), live, closed, place: None, polled: Instant::now() }
    }

    /// A section begins, whose header is pending. Keys of open connections come at once, a place
    /// for others is kept if it can be filled.
    pub(super) fn begin_section(&mut self, can_patch: bool, pending: &mut Vec<u8>) {
        self.closed.clear();
        let mut known = String::new();
        for watched in self.live.values_mut() {
            if let Watched::Tls { random, written, .. } = watched {
                let lines = self.keylog.lines(random);
                *written = lines.len();
                lines.iter().for_each(|line| known.extend([line, "\n"]));
            }
        }
        self.place = None;
        if can_patch {
            // Line feeds are empty lines, which a key log may have.
            let first = (pending.len() + 16 + known.len()) as u64;
            self.place = Some((first, PLACE));
            known.push_str(&"\n".repeat(PLACE));
        }
        if !known.is_empty() {
            let at = pending.len();
            insert_block(pending, at, known.as_bytes());
        }
    }

    /// Appends at `at` the keys that older readers have had, for a new one.
    pub(super) fn known(&self, pending: &mut Vec<u8>, at: usize) {
        let mut known = String::new();
        for watched in self.live.values() {
            if let Watched::Tls { random, written, .. } = watched {
                let lines = self.keylog.lines(random).iter().take(*written);
                lines.for_each(|line| known.extend([line, "\n"]));
            }
        }
        if !known.is_empty() {
            insert_block(pending, at, known.as_bytes());
        }
    }

    /// Looks at an event for the beginning of TLS.
    pub(super) fn watch(&mut self, event: &Event) {
        let id = event.connection;
        match &event.kind {
            EventKind::Open(_) => drop(self.live.insert(id, Watched::Beginning(Vec::new()))),
            EventKind::Data {
                direction: Direction::ClientToServer,
                leg: Leg::Received,
                bytes,
                ..
            } => {
                let Some(Watched::Beginning(first)) = self.live.get_mut(&id) else { return };
                first.extend_from_slice(&bytes[..bytes.len().min(DECISIVE - first.len())]);
                match beginning(first) {
                    Beginning::Incomplete => {}
                    Beginning::Other => drop(self.live.remove(&id)),
                    Beginning::ClientRandom(random) => {
                        let tls = Watched::Tls { random, written: 0, since: event.time };
                        self.live.insert(id, tls);
                    }
                }
            }
            EventKind::Close { .. } => {
                if let Some(Watched::Tls { random, written, .. }) = self.live.remove(&id) {
                    self.closed.truncate(CLOSED_MAX);
                    self.closed.insert(0, (random, written));
                }
            }
            _ => {}
        }
    }

    /// Writes the keys that have come, into their place or at `at` in what is pending. True where
    /// what is pending should wait for more.
    pub(super) fn update(
        &mut self,
        now: Timestamp,
        pending: &mut Vec<u8>,
        at: usize,
        output: &mut dyn Output,
    ) -> io::Result<bool> {
        if self.live.is_empty() && self.closed.is_empty() {
            return Ok(false);
        }
        if self.polled.elapsed() < POLL_INTERVAL && now != Timestamp(u64::MAX) {
            return Ok(self.place.is_none() && self.is_waiting(now));
        }
        self.polled = Instant::now();
        self.keylog.poll()?;
        let mut new = String::new();
        let live = self.live.values_mut().filter_map(|watched| match watched {
            Watched::Tls { random, written, .. } => Some((&*random, written)),
            Watched::Beginning(_) => None,
        });
        let closed = self.closed.iter_mut().map(|(random, written)| (&*random, written));
        for (random, written) in live.chain(closed) {
            let lines = self.keylog.lines(random);
            lines.iter().skip(*written).for_each(|line| new.extend([line, "\n"]));
            *written = lines.len();
        }
        if !new.is_empty() && !self.fill_place(&new, output)? {
            insert_block(pending, at, new.as_bytes());
        }
        Ok(self.place.is_none() && self.is_waiting(now))
    }

    /// Writes into the place kept free; false where there is none, or no room.
    fn fill_place(&mut self, new: &str, output: &mut dyn Output) -> io::Result<bool> {
        let Some((at, left)) = self.place.filter(|(_, left)| *left >= new.len()) else {
            return Ok(false);
        };
        let patched = output.patch(at, new.as_bytes())?;
        if patched {
            self.place = Some((at + new.len() as u64, left - new.len()));
        }
        Ok(patched)
    }

    fn is_waiting(&self, now: Timestamp) -> bool {
        self.live.values().any(|watched| match watched {
            Watched::Tls { written: 0, since, .. } => {
                u128::from(now.nanos_since(*since)) < WAIT.as_nanos()
            }
            _ => false,
        })
    }
}

/// Puts a block with a key log at `at`.
fn insert_block(pending: &mut Vec<u8>, at: usize, log: &[u8]) {
    let padded = log.len().next_multiple_of(4);
    let total = (20 + padded) as u32;
    let mut block = Vec::with_capacity(20 + padded);
    for word in [BLOCK, total, KEY_LOG, log.len() as u32] {
        block.extend_from_slice(&word.to_le_bytes());
    }
    block.extend_from_slice(log);
    block.resize(16 + padded, 0);
    block.extend_from_slice(&total.to_le_bytes());
    pending.splice(at..at, block);
}
