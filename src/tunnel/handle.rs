//! Stopping a tunnel, and asking how it does.

use std::fmt;
use std::sync::{Arc, OnceLock};

use super::counters::{Counters, Counts};
use super::phases::{Phase, Phases};
use crate::event::Progress;
use crate::sink::{Recorder, SinkReport, SinkStats};

/// Stops a tunnel, and tells how it does. Clones belong to the same tunnel.
#[derive(Clone)]
pub struct Handle {
    pub(super) phases: Phases,
    pub(super) counters: Arc<[Counters]>,
    pub(super) recorder: Arc<OnceLock<Recorder>>,
}

/// How a tunnel does at the moment.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Stats {
    /// What passed so far.
    pub counts: Counts,
    /// The sinks' queues.
    pub sinks: Vec<SinkStats>,
}

/// What a tunnel did.
#[derive(Debug)]
#[non_exhaustive]
pub struct Summary {
    /// What passed.
    pub counts: Counts,
    /// What became of each sink, in the order they were given.
    pub sinks: Vec<SinkReport>,
}

impl Handle {
    pub(super) fn new(workers: usize) -> Self {
        Self {
            phases: Phases::new(),
            counters: (0..workers).map(|_| Counters::default()).collect(),
            recorder: Arc::new(OnceLock::new()),
        }
    }

    /// Ends the tunnel gracefully: no more clients; connections may finish for
    /// [`shutdown_timeout`](super::Limits::shutdown_timeout), what is open then is reset; sinks
    /// finish. Returns at once.
    pub fn stop(&self) {
        self.phases.advance(Phase::Draining);
    }

    /// Ends the tunnel at once: connections are reset, and sinks have 2 seconds to finish.
    /// Returns at once.
    pub fn abort(&self) {
        self.phases.advance(Phase::Aborting);
    }

    /// How the tunnel does at the moment. Before it runs there are no sinks yet.
    pub fn stats(&self) -> Stats {
        Stats {
            counts: Counts::sum(self.counters.iter()),
            sinks: self.recorder.get().map(Recorder::stats).unwrap_or_default(),
        }
    }

    /// How many times each worker has looked around, which it does every second: one whose number
    /// stands still hangs.
    pub fn beats(&self) -> Vec<u64> {
        self.counters.iter().map(Counters::beats).collect()
    }

    /// How far each connection that is open has come, in order of their numbers. What is read
    /// while the workers are at work may be a moment apart.
    pub fn connections(&self) -> Vec<Progress> {
        let mut open: Vec<_> = self.counters.iter().flat_map(Counters::progress).collect();
        open.sort_unstable_by_key(|progress| progress.connection);
        open
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("phase", &self.phases.get()).finish_non_exhaustive()
    }
}
