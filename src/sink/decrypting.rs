//! A sink that sees the plaintext of TLS.

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{Interest, Kept, Sink};
use crate::event::{
    ConnectionId, Direction, Event, EventKind, Leg, Timestamp, Tls, TlsState, Totals, View, Views,
};
use crate::tls::follow::KeyLogFollower;
use crate::tls::keylog::{Random, random_of};
use crate::tls::{Observer, Seen};

/// How often the key log is looked at while events come, at most.
const POLL_INTERVAL: Duration = Duration::from_millis(2);
/// How much of what comes before TLS is kept for its plaintext conversation, at most.
const CLEAR_MAX: u64 = 64 << 10;

/// A sink that sees the plaintext of the connections whose keys stand in a key log, in the
/// [views](Interest::views) that it wants.
///
/// It keeps the [event contract](crate#the-event-contract). Made by
/// [`Builder::decrypt_tls`](crate::tunnel::Builder::decrypt_tls) around every sink that wants
/// more than the wire; of use by itself where events come from elsewhere.
///
/// While the keys of a connection have not come, up to 256 KiB of it wait for at most one second,
/// and so do its `Shutdown` and `Close`.
///
/// A key log that does not exist yet is waited for; one that cannot be read is logged once, and
/// has no keys.
///
/// # Errors
///
/// The sink's own.
pub struct Decrypting<S> {
    sink: S,
    interest: Interest,
    /// At which leg the bytes of each direction are decrypted.
    legs: [Leg; 2],
    /// What is told of connections that are decrypted.
    state: TlsState,
    key_log: KeyLogFollower,
    polled: Option<Instant>,
    connections: HashMap<ConnectionId, Watched>,
    /// The connections that wait for keys, or for time to pass.
    waiting: HashSet<ConnectionId>,
    /// Reused from event to event.
    seen: Vec<Seen>,
}

/// An open connection.
#[derive(Default)]
struct Watched {
    observer: Observer,
    /// When its last event happened.
    last: Timestamp,
    /// Ends that come after what waits for its keys.
    ends: Vec<Event>,
    /// What came before TLS, with its offsets, where it is wanted once more.
    clear: Clear,
    /// The connections of TLS whose secrets the tunnel told.
    told: Vec<Random>,
}

/// The clear bytes that a plaintext conversation begins with, unless there are too many.
#[derive(Default)]
struct Clear {
    /// Whether the conversation has begun, so that nothing is kept any longer.
    has_begun: bool,
    chunks: Vec<(Direction, u64, Bytes)>,
    /// All clear bytes, by direction.
    passed: [u64; 2],
    /// Where the conversation begins in each direction.
    start: [u64; 2],
}

impl Clear {
    /// Hands out what the conversation begins with; nothing when it has begun already.
    fn begin(&mut self) -> Vec<(Direction, u64, Bytes)> {
        self.has_begun = true;
        std::mem::take(&mut self.chunks)
    }

    fn push(&mut self, direction: Direction, offset: u64, bytes: Bytes) {
        if self.has_begun {
            return;
        }
        self.passed[direction as usize] += bytes.len() as u64;
        if self.passed.iter().sum::<u64>() <= CLEAR_MAX {
            self.chunks.push((direction, offset, bytes));
        } else {
            // A beginning with a gap is of no use: the conversation begins with TLS.
            self.chunks = Vec::new();
            self.start = self.passed;
        }
    }

    /// The offset in the conversation.
    const fn offset(&self, direction: Direction, offset: u64) -> u64 {
        offset.saturating_sub(self.start[direction as usize])
    }
}

impl<S: Sink> Decrypting<S> {
    /// Gives `sink` the plaintext of what the key log opens. The file is followed while it grows;
    /// it need not exist yet.
    pub fn new(sink: S, key_log: impl Into<PathBuf>) -> Self {
        let leg = if sink.interest().received { Leg::Received } else { Leg::Sent };
        Self::with(sink, KeyLogFollower::new(key_log.into()), [leg; 2], TlsState::Decrypted)
    }

    /// Gives `sink` the plaintext of connections whose TLS ends in the tunnel, which tells their
    /// secrets: of what passes at these legs, by direction.
    pub(crate) fn by_events(sink: S, legs: [Leg; 2], state: TlsState) -> Self {
        Self::with(sink, KeyLogFollower::of_nothing(), legs, state)
    }

    fn with(sink: S, key_log: KeyLogFollower, legs: [Leg; 2], state: TlsState) -> Self {
        let interest = sink.interest();
        Self {
            sink,
            interest,
            legs,
            state,
            key_log,
            polled: None,
            connections: HashMap::new(),
            waiting: HashSet::new(),
            seen: Vec::new(),
        }
    }

    /// Takes secrets that the tunnel tells.
    fn secrets(&mut self, event: &Event, lines: &[String]) -> io::Result<()> {
        lines.iter().for_each(|line| self.key_log.add(line));
        if let Some(watched) = self.connections.get_mut(&event.connection) {
            for random in lines.iter().filter_map(|line| random_of(line)) {
                if !watched.told.contains(&random) {
                    watched.told.push(random);
                }
            }
        }
        if self.interest.secrets {
            self.sink.record(event)?;
        }
        self.look_again(event.connection, event.time)
    }

    /// The tunnel says that it lets a connection pass, or why it failed: nothing is decrypted.
    fn closed(&mut self, event: &Event) -> io::Result<()> {
        if let Some(mut watched) = self.connections.remove(&event.connection) {
            watched.observer.stop(&mut self.seen);
            self.connections.insert(event.connection, watched);
            self.settle(event.connection)?;
            self.connections.remove(&event.connection);
        }
        self.sink.record(event)
    }

    /// What the observer says of a handshake, if the tunnel does not say it better.
    fn facts(&self, tls: Arc<Tls>) -> Option<EventKind> {
        match (self.state, tls.state) {
            (TlsState::Decrypted, _) => Some(EventKind::Tls(tls)),
            (state, TlsState::Decrypted) => {
                Some(EventKind::Tls(Arc::new(Tls { state, ..Tls::clone(&tls) })))
            }
            _ => None,
        }
    }

    fn poll(&mut self, at_most_every: Duration) {
        if self.polled.is_none_or(|polled| polled.elapsed() >= at_most_every) {
            self.polled = Some(Instant::now());
            self.key_log.poll();
        }
    }

    /// Takes the bytes of one leg.
    fn data(&mut self, event: &Event) -> io::Result<()> {
        let EventKind::Data { direction, offset, ref bytes, .. } = event.kind else {
            return Ok(());
        };
        if self.waiting.contains(&event.connection) {
            self.poll(POLL_INTERVAL);
        }
        let Some(watched) = self.connections.get_mut(&event.connection) else {
            return self.sink.record(event);
        };
        let (observer, seen) = (&mut watched.observer, &mut self.seen);
        let missing = offset.saturating_sub(observer.passed(direction));
        if missing > 0 {
            observer.gap(direction, missing, seen);
        }
        let keys = self.key_log.keys();
        observer.data(direction, bytes.clone(), event.time, keys, seen);
        if observer.needs_keys() && self.waiting.insert(event.connection) {
            self.poll(POLL_INTERVAL);
            return self.look_again(event.connection, event.time);
        }
        self.settle(event.connection)
    }

    /// Tries what waits once more.
    fn look_again(&mut self, id: ConnectionId, now: Timestamp) -> io::Result<()> {
        if let Some(watched) = self.connections.get_mut(&id) {
            watched.observer.advance(now, self.key_log.keys(), &mut self.seen);
        }
        self.settle(id)
    }

    fn all_again(&mut self, now: Option<Timestamp>) -> io::Result<()> {
        let waiting: Vec<_> = self.waiting.iter().copied().collect();
        for id in waiting {
            let last = self.connections.get(&id).map_or(Timestamp(0), |watched| watched.last);
            self.look_again(id, now.unwrap_or(last))?;
        }
        Ok(())
    }

    /// Hands on what was seen, and the ends that wait for nothing any longer.
    fn settle(&mut self, id: ConnectionId) -> io::Result<()> {
        self.hand_on(id)?;
        let Some(watched) = self.connections.get_mut(&id) else { return Ok(()) };
        if watched.observer.is_waiting() {
            self.waiting.insert(id);
        } else {
            self.waiting.remove(&id);
        }
        if watched.observer.needs_keys() {
            return Ok(());
        }
        for end in std::mem::take(&mut watched.ends) {
            self.end(&end)?;
        }
        Ok(())
    }

    /// Hands on the end of a direction or of a connection, not before what was handed on last.
    fn end(&mut self, event: &Event) -> io::Result<()> {
        let id = event.connection;
        let mut time = event.time;
        if let Some(watched) = self.connections.get_mut(&id) {
            time = time.max(watched.last);
            match event.kind {
                EventKind::Shutdown { direction, .. } => {
                    watched.observer.end(direction, &mut self.seen);
                }
                _ => watched.observer.finish(event.time, self.key_log.keys(), &mut self.seen),
            }
        }
        self.hand_on(id)?;
        if matches!(event.kind, EventKind::Close { .. }) {
            if let Some(watched) = self.connections.remove(&id) {
                watched.told.iter().for_each(|random| self.key_log.forget(random));
            }
            self.waiting.remove(&id);
        }
        self.sink.record(&Event { time, ..event.clone() })
    }

    /// Gives the sink what the observer saw.
    fn hand_on(&mut self, connection: ConnectionId) -> io::Result<()> {
        let mut seen = std::mem::take(&mut self.seen);
        let handed = seen.drain(..).try_for_each(|seen| self.hand_on_one(connection, seen));
        self.seen = seen;
        handed
    }

    fn hand_on_one(&mut self, connection: ConnectionId, seen: Seen) -> io::Result<()> {
        let (legs, is_both) = (self.legs, self.interest.views == Views::Both);
        let told = match &seen {
            Seen::Tls(tls) => self.facts(Arc::clone(tls)),
            _ => None,
        };
        let Some(watched) = self.connections.get_mut(&connection) else { return Ok(()) };
        let time = watched.last;
        let mut before = Vec::new();
        let kind = match seen {
            Seen::Wire { direction, offset, bytes } if is_both => {
                watched.clear.push(direction, offset, bytes);
                return Ok(());
            }
            Seen::Wire { direction, offset, bytes } => {
                let leg = legs[direction as usize];
                EventKind::Data { direction, leg, view: View::Wire, offset, bytes }
            }
            Seen::Plain { direction, offset, bytes } => {
                let offset = watched.clear.offset(direction, offset);
                let leg = legs[direction as usize];
                EventKind::Data { direction, leg, view: View::Plain, offset, bytes }
            }
            Seen::End { direction, offset } => {
                let offset = watched.clear.offset(direction, offset);
                let totals = Totals { received: offset, sent: offset };
                EventKind::Shutdown { direction, view: View::Plain, totals }
            }
            Seen::Tls(tls) => {
                if tls.state == TlsState::Decrypted {
                    before = watched.clear.begin();
                }
                let Some(told) = told else { return Ok(()) };
                told
            }
            Seen::Secrets(lines) => EventKind::Secrets(lines),
        };
        self.sink.record(&Event { connection, time, kind })?;
        for (direction, offset, bytes) in before {
            let leg = legs[direction as usize];
            let kind = EventKind::Data { direction, leg, view: View::Plain, offset, bytes };
            self.sink.record(&Event { connection, time, kind })?;
        }
        Ok(())
    }
}

impl<S: Sink> Sink for Decrypting<S> {
    fn record(&mut self, event: &Event) -> io::Result<()> {
        let id = event.connection;
        if matches!(event.kind, EventKind::Open(_)) {
            self.connections.insert(id, Watched::default());
        }
        if let Some(watched) = self.connections.get_mut(&id) {
            watched.last = event.time;
        }
        match event.kind {
            EventKind::Secrets(ref lines) => self.secrets(event, lines),
            EventKind::Tls(ref tls) if !tls.state.has_plaintext() => self.closed(event),
            EventKind::Data { direction, leg, .. } if leg == self.legs[direction as usize] => {
                if self.interest.views == Views::Both {
                    self.sink.record(event)?;
                }
                self.data(event)
            }
            EventKind::Shutdown { .. } | EventKind::Close { .. } => {
                if self.waiting.contains(&id) {
                    self.poll(Duration::ZERO);
                }
                let Some(watched) = self.connections.get_mut(&id) else {
                    return self.sink.record(event);
                };
                watched.ends.push(event.clone());
                self.look_again(id, event.time)
            }
            // Of the other leg nobody knows what in it is TLS.
            EventKind::Data { .. } if self.interest.views == Views::Readable => Ok(()),
            _ => self.sink.record(event),
        }
    }

    fn ready(&mut self, limit: Duration) -> io::Result<bool> {
        self.sink.ready(limit)
    }

    fn flush(&mut self) -> io::Result<()> {
        if !self.waiting.is_empty() {
            self.poll(Duration::ZERO);
            self.all_again(None)?;
        }
        self.sink.flush()
    }

    fn tick(&mut self, now: Timestamp) -> io::Result<()> {
        if !self.waiting.is_empty() {
            self.poll(Duration::ZERO);
            self.all_again(Some(now))?;
        }
        if self.sink.wants_ticks() { self.sink.tick(now) } else { Ok(()) }
    }

    fn finish(&mut self) -> io::Result<()> {
        self.key_log.finish();
        self.all_again(None)?;
        let mut left: Vec<_> = self.connections.drain().collect();
        left.sort_by_key(|(id, _)| *id);
        for (id, mut watched) in left {
            watched.observer.finish(watched.last, self.key_log.keys(), &mut self.seen);
            let ends = std::mem::take(&mut watched.ends);
            self.connections.insert(id, watched);
            self.hand_on(id)?;
            for end in ends {
                self.end(&end)?;
            }
        }
        self.sink.finish()
    }

    fn salvage(&mut self) -> Option<Kept> {
        self.sink.salvage()
    }

    fn interest(&self) -> Interest {
        self.interest.secrets(true)
    }

    fn wants_ticks(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests;
