//! How many connections there may be at a time.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::phases::{Phase, Phases};
use crate::net;

/// Descriptors kept for other things than connections: what the program has open anyway and the
/// files of sinks, and for each worker its runtime and the like.
const OTHER_FILES: usize = 24;
const FILES_PER_WORKER: usize = 8;
/// More pipes a worker would share too little of what a user may have in pipes.
pub(super) const PIPES_MAX: usize = 16;
/// How often the same trouble is reported.
const REPORT_INTERVAL: Duration = Duration::from_secs(60);

/// A slot for each connection; it is free again when dropped.
pub(super) type Slot = OwnedSemaphorePermit;

/// The slots of all workers.
pub(super) struct Slots {
    free: Arc<Semaphore>,
    max: usize,
    /// How many pipes each worker may have: none where each would take a connection's slot.
    pub(super) pipes: usize,
    full: Reports,
    /// Of clients that could not be accepted.
    pub(super) scarce: Reports,
}

impl Slots {
    /// As many as asked for, but no more than there are descriptors for, so that a client that
    /// was accepted always finds one for its server.
    pub(super) fn new(max_connections: usize, workers: usize, listeners: usize) -> Self {
        let files = usize::try_from(net::open_files_limit()).unwrap_or(usize::MAX);
        let pipes = (files / 64).min(PIPES_MAX);
        let per_worker = FILES_PER_WORKER + 2 * pipes;
        let others = OTHER_FILES + per_worker * workers + listeners * (1 + 2 * workers);
        let possible = (files.saturating_sub(others) / 2).clamp(1, Semaphore::MAX_PERMITS);
        if possible < max_connections {
            tracing::info!(
                "at most {possible} connections at a time, not {max_connections}: the limit of \
                 open files is {files} (raise it with 'ulimit -n')"
            );
        }
        let max = max_connections.clamp(1, possible);
        Self {
            free: Arc::new(Semaphore::new(max)),
            max,
            pipes,
            full: Reports::default(),
            scarce: Reports::default(),
        }
    }

    /// Waits for a slot; `None` when the tunnel stops before there is one.
    pub(super) async fn take(&self, phases: &Phases) -> Option<Slot> {
        if let Ok(slot) = Arc::clone(&self.free).try_acquire_owned() {
            return Some(slot);
        }
        if self.full.is_due(Instant::now()) {
            tracing::warn!(
                "all {} connections are in use; more clients wait (raise --max-connections, or \
                 the limit of open files)",
                self.max
            );
        }
        tokio::select! {
            slot = Arc::clone(&self.free).acquire_owned() => slot.ok(),
            () = phases.reached(Phase::Draining) => None,
        }
    }
}

/// Says whether the same trouble should be reported again.
#[derive(Default)]
pub(super) struct Reports(Mutex<Option<Instant>>);

impl Reports {
    pub(super) fn is_due(&self, now: Instant) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let due = last.is_none_or(|at| now.saturating_duration_since(at) >= REPORT_INTERVAL);
        if due {
            *last = Some(now);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_trouble_is_reported_once_a_minute() {
        let (reports, started) = (Reports::default(), Instant::now());
        let reported: Vec<_> = (0..180_u32)
            .filter(|second| reports.is_due(started + Duration::from_secs(1) * *second))
            .collect();
        assert_eq!(reported, [0, 60, 120]);
    }
}
