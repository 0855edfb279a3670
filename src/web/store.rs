//! What the page can show: connections and their newest data, bounded in bytes.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;

use super::connection::{Chunk, Connection};
use crate::event::{ConnectionId, Event, EventKind, Leg};

/// What a chunk costs beside its bytes.
const CHUNK_COST: usize = 192;
/// What a connection costs beside its data: its row, and its events without data.
const CONNECTION_COST: usize = 1536;
/// Connections without their data may take this part of all memory.
const ROWS_SHARE: usize = 2;
/// As many entries of removed connections stay where they are, or as many as there are others.
const STALE_MAX: usize = 4096;
/// This many removals are remembered for pages that have not heard of them.
const REMOVED_MAX: usize = 4096;

/// Holds the connections of a tunnel.
pub(super) struct Store {
    budget: usize,
    /// What data takes of the budget, and what connections take.
    data_used: usize,
    rows_used: usize,
    connections: BTreeMap<ConnectionId, Connection>,
    /// Whose data came when: an entry for each chunk that is held, and for some that went with
    /// their connection.
    data_order: VecDeque<ConnectionId>,
    /// Entries of `data_order` at most whose connection is gone.
    stale: usize,
    /// Connections that have closed, the earliest first.
    closed: VecDeque<ConnectionId>,
    /// The number of the next event.
    next: u64,
    changes: Changes,
    let_go: LetGo,
    has_ended: bool,
}

/// What was let go to keep within the budget.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct LetGo {
    pub(super) bytes: u64,
    pub(super) connections: u64,
}

/// Which connections changed since when. Each change has a version of its own.
#[derive(Default)]
struct Changes {
    version: u64,
    by_version: BTreeMap<u64, ConnectionId>,
    removed: BTreeMap<u64, ConnectionId>,
    /// Removals up to this version are forgotten.
    forgotten: u64,
    /// Connections with changes that have no version yet.
    fresh: Vec<ConnectionId>,
}

/// What changed since a version.
pub(super) enum Since<'a> {
    /// It is not known any more.
    Unknown,
    Known {
        rows: Vec<&'a Connection>,
        removed: Vec<ConnectionId>,
        /// What to ask with next.
        version: u64,
        /// Whether more has changed already.
        more: bool,
    },
}

impl Store {
    /// Holds at most `budget` bytes.
    pub(super) fn new(budget: usize) -> Self {
        Self {
            budget,
            data_used: 0,
            rows_used: 0,
            connections: BTreeMap::new(),
            data_order: VecDeque::new(),
            stale: 0,
            closed: VecDeque::new(),
            next: 0,
            changes: Changes::default(),
            let_go: LetGo::default(),
            has_ended: false,
        }
    }

    /// Takes an event. `copy` are the bytes of its data, in memory of their own.
    pub(super) fn record(&mut self, event: &Event, copy: Bytes) {
        let id = event.connection;
        let number = self.next;
        self.next += 1;
        match &event.kind {
            EventKind::Open(open) => {
                self.rows_used += CONNECTION_COST;
                let new = Connection::open(id, event.time, Arc::clone(open));
                self.connections.insert(id, new);
            }
            EventKind::Data { direction, leg, view, offset, .. } => {
                let (direction, leg, view, offset) = (*direction, *leg, *view, *offset);
                let Some(connection) = self.connections.get_mut(&id) else { return };
                self.data_used += CHUNK_COST + copy.len();
                if leg == Leg::Received {
                    self.data_order.push_back(id);
                }
                let time = event.time;
                connection.data(Chunk { number, time, direction, leg, view, offset, bytes: copy });
            }
            _ => {}
        }
        let Some(connection) = self.connections.get_mut(&id) else { return };
        if !matches!(event.kind, EventKind::Data { .. }) {
            connection.note(number, event);
        }
        if matches!(event.kind, EventKind::Close { .. }) {
            self.closed.push_back(id);
        }
        if !std::mem::replace(&mut connection.is_fresh, true) {
            self.changes.fresh.push(id);
        }
        self.make_room();
    }

    /// Lets the oldest go until the rest is within the budget.
    fn make_room(&mut self) {
        while self.rows_used > self.budget / ROWS_SHARE
            && let Some(id) = self.closed.pop_front()
        {
            self.remove(id);
        }
        while self.data_used + self.rows_used > self.budget
            && let Some(id) = self.data_order.pop_front()
        {
            let Some(connection) = self.connections.get_mut(&id) else {
                self.stale = self.stale.saturating_sub(1);
                continue;
            };
            let (chunks, bytes) = connection.let_oldest_go();
            self.data_used -= chunks * CHUNK_COST + bytes;
            self.let_go.bytes += bytes as u64;
            if !std::mem::replace(&mut connection.is_fresh, true) {
                self.changes.fresh.push(id);
            }
        }
    }

    fn remove(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.remove(&id) else { return };
        let (chunks, bytes) = connection.held();
        self.data_used -= chunks * CHUNK_COST + bytes;
        self.rows_used -= CONNECTION_COST;
        self.let_go.bytes += bytes as u64;
        self.let_go.connections += 1;
        self.changes.remove(id, connection.version);
        self.stale += chunks;
        if self.stale > STALE_MAX.max(self.data_order.len() / 2) {
            self.data_order.retain(|id| self.connections.contains_key(id));
            self.stale = 0;
        }
    }

    /// Gives what has changed a version; the newest.
    pub(super) fn publish(&mut self) -> u64 {
        for id in std::mem::take(&mut self.changes.fresh) {
            if let Some(connection) = self.connections.get_mut(&id) {
                connection.is_fresh = false;
                connection.version = self.changes.change(id, connection.version);
            }
        }
        self.changes.version
    }

    /// There are no more events.
    pub(super) const fn end(&mut self) {
        self.has_ended = true;
        self.changes.version += 1;
    }

    /// Whether there are no more events.
    pub(super) const fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// What was published after `version`, of at most `most` connections.
    pub(super) fn since(&self, version: u64, most: usize) -> Since<'_> {
        let Changes { by_version, removed, forgotten, version: newest, .. } = &self.changes;
        if version > *newest || version > 0 && version < *forgotten {
            return Since::Unknown;
        }
        let mut changed = by_version.range(version + 1..);
        let found: Vec<_> = changed.by_ref().take(most).collect();
        let more = changed.next().is_some();
        let reached = found.last().filter(|_| more).map_or(*newest, |(version, _)| **version);
        let removed = removed.range(version + 1..=reached.max(version + 1));
        Since::Known {
            rows: found.iter().filter_map(|(_, id)| self.connections.get(id)).collect(),
            removed: if version == 0 { Vec::new() } else { removed.map(|(_, id)| *id).collect() },
            version: reached,
            more,
        }
    }

    /// All connections, in order of their numbers.
    pub(super) fn connections(&self) -> impl ExactSizeIterator<Item = &Connection> {
        self.connections.values()
    }

    pub(super) fn get(&self, id: ConnectionId) -> Option<&Connection> {
        self.connections.get(&id)
    }

    /// The events of some connections, in the order in which they came.
    pub(super) fn events(&self, wanted: impl Fn(ConnectionId) -> bool) -> Vec<Event> {
        let chosen = self.connections().filter(|connection| wanted(connection.id));
        let mut events: Vec<_> = chosen.flat_map(Connection::events).collect();
        events.sort_unstable_by_key(|(number, _)| *number);
        events.into_iter().map(|(_, event)| event).collect()
    }

    /// How many bytes may be held, and how many are.
    pub(super) const fn room(&self) -> (usize, usize) {
        (self.budget, self.data_used + self.rows_used)
    }

    pub(super) const fn let_go(&self) -> LetGo {
        self.let_go
    }
}

impl Changes {
    /// A new version for a connection whose last was `before`.
    fn change(&mut self, id: ConnectionId, before: u64) -> u64 {
        self.by_version.remove(&before);
        self.version += 1;
        self.by_version.insert(self.version, id);
        self.version
    }

    fn remove(&mut self, id: ConnectionId, before: u64) {
        self.by_version.remove(&before);
        self.version += 1;
        self.removed.insert(self.version, id);
        if self.removed.len() > REMOVED_MAX
            && let Some((version, _)) = self.removed.pop_first()
        {
            self.forgotten = version;
        }
    }
}

#[cfg(test)]
mod tests;
