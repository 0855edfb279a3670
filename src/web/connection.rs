//! A connection, as far as it is held.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use crate::event::{
    CloseReason, Connected, ConnectionId, Direction, Event, EventKind, Leg, Open, Process,
    Timestamp, Tls, Verdict, View,
};

/// Bytes that passed, or the mark that they were sent on.
#[derive(Clone)]
pub(super) struct Chunk {
    /// Its place among all events.
    pub(super) number: u64,
    pub(super) time: Timestamp,
    pub(super) direction: Direction,
    pub(super) leg: Leg,
    pub(super) view: View,
    pub(super) offset: u64,
    pub(super) bytes: Bytes,
}

impl Chunk {
    /// The offset after it.
    pub(super) const fn end(&self) -> u64 {
        self.offset + self.bytes.len() as u64
    }
}

/// How a connection ended.
pub(super) struct Ended {
    pub(super) time: Timestamp,
    pub(super) reason: CloseReason,
}

/// Bytes of one side that lie side by side.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Range {
    /// They begin at the offset.
    Held { offset: u64, bytes: Vec<Bytes> },
    /// They are not held, but some from this offset on are.
    NotHeld { next: u64 },
    /// Nothing from there on is held.
    Beyond,
}

/// What is known of a connection.
pub(super) struct Connection {
    pub(super) id: ConnectionId,
    pub(super) opened: Timestamp,
    pub(super) open: Arc<Open>,
    pub(super) connected: Option<Arc<Connected>>,
    pub(super) process: Option<Process>,
    pub(super) tls: Option<Arc<Tls>>,
    pub(super) verdict: Option<Arc<Verdict>>,
    /// By direction: whether its sender is done.
    pub(super) is_shut: [bool; 2],
    pub(super) ended: Option<Ended>,
    /// Bytes of the page's that it never got, because it was slow.
    pub(super) missed: u64,
    /// Bytes that were let go.
    pub(super) let_go: u64,
    /// Of its last change that pages can know of.
    pub(super) version: u64,
    /// Whether it has changed since.
    pub(super) is_fresh: bool,
    /// By view, then direction: how many bytes passed.
    passed: [[u64; 2]; 2],
    /// Events without data, each with its place among all events.
    events: Vec<(u64, Event)>,
    data: VecDeque<Chunk>,
}

impl Connection {
    pub(super) fn open(id: ConnectionId, opened: Timestamp, open: Arc<Open>) -> Self {
        Self {
            id,
            opened,
            process: open.process.clone(),
            open,
            connected: None,
            tls: None,
            verdict: None,
            is_shut: [false; 2],
            ended: None,
            missed: 0,
            let_go: 0,
            version: 0,
            is_fresh: false,
            passed: [[0; 2]; 2],
            events: Vec::new(),
            data: VecDeque::new(),
        }
    }

    /// Takes an event without data.
    pub(super) fn note(&mut self, number: u64, event: &Event) {
        match &event.kind {
            EventKind::Connected(connected) => self.connected = Some(Arc::clone(connected)),
            EventKind::Tls(tls) => self.tls = Some(Arc::clone(tls)),
            EventKind::Process(process) => self.process = Some(process.clone()),
            EventKind::Verdict(verdict) => self.verdict = Some(Arc::clone(verdict)),
            EventKind::Shutdown { direction, view: View::Wire, .. } => {
                self.is_shut[*direction as usize] = true;
            }
            EventKind::Close { reason, totals } => {
                for direction in [Direction::ClientToServer, Direction::ServerToClient] {
                    let passed = &mut self.passed[View::Wire as usize][direction as usize];
                    let all = totals.get(direction).received;
                    self.missed += all.saturating_sub(*passed);
                    *passed = all;
                }
                self.ended = Some(Ended { time: event.time, reason: reason.clone() });
            }
            EventKind::Open(_) | EventKind::Secrets(_) | EventKind::Shutdown { .. } => {}
            // What may come again and again is not kept.
            _ => return,
        }
        self.events.push((number, event.clone()));
    }

    /// Takes data.
    pub(super) fn data(&mut self, chunk: Chunk) {
        if chunk.leg == Leg::Received {
            let passed = &mut self.passed[chunk.view as usize][chunk.direction as usize];
            if chunk.view == View::Wire {
                self.missed += chunk.offset.saturating_sub(*passed);
            }
            *passed = chunk.end();
        }
        self.data.push_back(chunk);
    }

    /// Lets the oldest data go, with the marks that it was sent on; how many chunks and bytes.
    pub(super) fn let_oldest_go(&mut self) -> (usize, usize) {
        let (mut chunks, mut bytes) = (0, 0);
        while let Some(first) = self.data.front()
            && (bytes == 0 || first.leg == Leg::Sent)
        {
            chunks += 1;
            bytes += first.bytes.len();
            self.data.pop_front();
        }
        self.let_go += bytes as u64;
        (chunks, bytes)
    }

    /// How many chunks and bytes are held.
    pub(super) fn held(&self) -> (usize, usize) {
        (self.data.len(), self.data.iter().map(|chunk| chunk.bytes.len()).sum())
    }

    /// How many bytes passed in one direction.
    pub(super) const fn passed(&self, view: View, direction: Direction) -> u64 {
        self.passed[view as usize][direction as usize]
    }

    /// Whether TLS is decrypted.
    pub(super) fn is_decrypted(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.state.has_plaintext())
    }

    /// The view that people want to read.
    pub(super) fn readable(&self) -> View {
        if self.is_decrypted() { View::Plain } else { View::Wire }
    }

    /// Data as it was received, in order.
    pub(super) fn chunks(&self, view: View) -> impl Iterator<Item = &Chunk> {
        let wanted = move |chunk: &&Chunk| chunk.leg == Leg::Received && chunk.view == view;
        self.data.iter().filter(wanted)
    }

    /// At most `len` bytes of one direction from `from` on, up to the next gap.
    pub(super) fn range(
        &self,
        view: View,
        direction: Direction,
        from: Option<u64>,
        len: u64,
    ) -> Range {
        let mut wanted = from;
        let mut found = Vec::new();
        let mut left = len;
        let chunks = self.chunks(view).filter(|chunk| chunk.direction == direction);
        for chunk in chunks.filter(|chunk| from.is_none_or(|from| chunk.end() > from)) {
            let at = *wanted.get_or_insert(chunk.offset);
            if left == 0 || chunk.offset > at {
                if found.is_empty() && left > 0 {
                    return Range::NotHeld { next: chunk.offset };
                }
                break;
            }
            let skip = (at - chunk.offset) as usize;
            let bytes = chunk.bytes.slice(skip..);
            let bytes = bytes.slice(..bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX)));
            left -= bytes.len() as u64;
            wanted = Some(at + bytes.len() as u64);
            found.push(bytes);
        }
        match wanted {
            Some(end) if !found.is_empty() => {
                let offset = end - found.iter().map(|bytes| bytes.len() as u64).sum::<u64>();
                Range::Held { offset, bytes: found }
            }
            _ => Range::Beyond,
        }
    }

    /// All that is held as events, each with its place among all events.
    pub(super) fn events(&self) -> impl Iterator<Item = (u64, Event)> {
        let data = self.data.iter().map(|chunk| {
            let Chunk { direction, leg, view, offset, ref bytes, .. } = *chunk;
            let kind = EventKind::Data { direction, leg, view, offset, bytes: bytes.clone() };
            (chunk.number, Event { connection: self.id, time: chunk.time, kind })
        });
        self.events.iter().cloned().chain(data)
    }
}
