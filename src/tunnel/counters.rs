//! What passed, counted.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::event::{BothTotals, Direction, Leg};

/// The counts of one worker, which alone writes them.
#[derive(Debug, Default)]
pub(super) struct Counters {
    opened: AtomicU64,
    closed: AtomicU64,
    /// By direction, then leg.
    bytes: [[AtomicU64; 2]; 2],
}

impl Counters {
    pub(super) fn opened(&self) {
        self.opened.fetch_add(1, Relaxed);
    }

    pub(super) fn closed(&self) {
        self.closed.fetch_add(1, Relaxed);
    }

    pub(super) fn passed(&self, direction: Direction, leg: Leg, len: usize) {
        self.bytes[direction as usize][leg as usize].fetch_add(len as u64, Relaxed);
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
    /// Bytes that passed, those of open connections included.
    pub totals: BothTotals,
}

impl Counts {
    /// The sum over all workers. What is read while they work may be a moment apart.
    pub(super) fn sum<'a>(workers: impl IntoIterator<Item = &'a Counters>) -> Self {
        let mut sum = Self::default();
        for worker in workers {
            sum.closed += worker.closed.load(Relaxed);
            sum.connections += worker.opened.load(Relaxed);
            for direction in [Direction::ClientToServer, Direction::ServerToClient] {
                let bytes = &worker.bytes[direction as usize];
                let totals = sum.totals.get_mut(direction);
                totals.received += bytes[Leg::Received as usize].load(Relaxed);
                totals.sent += bytes[Leg::Sent as usize].load(Relaxed);
            }
        }
        sum
    }
}
