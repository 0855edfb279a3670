//! What passed, counted.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::event::Progress;
use crate::event::{BothTotals, ConnectionId, Direction, Leg};

/// Bytes by direction, then leg. One thread alone adds to them; any may read them.
#[derive(Debug, Default)]
struct Bytes([[AtomicU64; 2]; 2]);

impl Bytes {
    /// Adds so many; how many there were before.
    fn add(&self, direction: Direction, leg: Leg, len: usize) -> u64 {
        let count = &self.0[direction as usize][leg as usize];
        let before = count.load(Relaxed);
        count.store(before + len as u64, Relaxed);
        before
    }

    fn totals(&self) -> BothTotals {
        let mut both = BothTotals::default();
        for direction in [Direction::ClientToServer, Direction::ServerToClient] {
            let bytes = &self.0[direction as usize];
            let totals = both.get_mut(direction);
            totals.received = bytes[Leg::Received as usize].load(Relaxed);
            totals.sent = bytes[Leg::Sent as usize].load(Relaxed);
        }
        both
    }
}

/// What passed through one connection.
#[derive(Debug)]
pub(super) struct Passed {
    since: Instant,
    bytes: Bytes,
}

impl Passed {
    pub(super) fn totals(&self) -> BothTotals {
        self.bytes.totals()
    }
}

/// The counts of one worker, which alone writes them.
#[derive(Debug, Default)]
pub(super) struct Counters {
    opened: AtomicU64,
    closed: AtomicU64,
    rejected: AtomicU64,
    beats: AtomicU64,
    bytes: Bytes,
    open: Mutex<BTreeMap<ConnectionId, Arc<Passed>>>,
}

impl Counters {
    /// Counts a connection, and what will pass through it.
    pub(super) fn opened(&self, id: ConnectionId) -> Arc<Passed> {
        self.opened.fetch_add(1, Relaxed);
        let passed = Arc::new(Passed { since: Instant::now(), bytes: Bytes::default() });
        self.open().insert(id, Arc::clone(&passed));
        passed
    }

    pub(super) fn closed(&self, id: ConnectionId) {
        self.open().remove(&id);
        self.closed.fetch_add(1, Relaxed);
    }

    /// Counts that the worker has looked around.
    pub(super) fn beat(&self) {
        self.beats.fetch_add(1, Relaxed);
    }

    /// How many times the worker has looked around.
    pub(super) fn beats(&self) -> u64 {
        self.beats.load(Relaxed)
    }

    /// Counts a client that never became a connection.
    pub(super) fn rejected(&self) {
        self.rejected.fetch_add(1, Relaxed);
    }

    /// Counts bytes of a connection; how many of this direction and leg it had before.
    pub(super) fn passed(
        &self,
        connection: &Passed,
        direction: Direction,
        leg: Leg,
        len: usize,
    ) -> u64 {
        self.bytes.add(direction, leg, len);
        connection.bytes.add(direction, leg, len)
    }

    /// How far each connection that is open has come, in order of their numbers.
    pub(super) fn progress(&self) -> Vec<Progress> {
        let progress = |(id, passed): (&ConnectionId, &Arc<Passed>)| Progress {
            connection: *id,
            open_for: passed.since.elapsed(),
            totals: passed.totals(),
        };
        self.open().iter().map(progress).collect()
    }

    fn open(&self) -> MutexGuard<'_, BTreeMap<ConnectionId, Arc<Passed>>> {
        // Nothing is left half-done by whoever panicked.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a tunnel has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Connections accepted.
    pub connections: u64,
    /// Connections that have ended.
    pub closed: u64,
    /// Clients that were rejected before their destination was known, such as a port scan; they
    /// are no connections.
    pub rejected: u64,
    /// Bytes that passed, those of open connections included.
    pub totals: BothTotals,
}

impl Counts {
    /// The sum over all workers. What is read while they work may be a moment apart.
    pub(super) fn sum<'a>(workers: impl IntoIterator<Item = &'a Counters>) -> Self {
        let mut sum = Self::default();
        for worker in workers {
            sum.closed += worker.closed.load(Relaxed);
            sum.rejected += worker.rejected.load(Relaxed);
            sum.connections += worker.opened.load(Relaxed);
            let worker = worker.bytes.totals();
            for direction in [Direction::ClientToServer, Direction::ServerToClient] {
                let totals = sum.totals.get_mut(direction);
                totals.received += worker.get(direction).received;
                totals.sent += worker.get(direction).sent;
            }
        }
        sum
    }
}
