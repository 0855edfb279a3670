//! What the workers of a tunnel share, and what the connections of one worker share.

use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::catching::Catching;
use super::clock::Clock;
use super::connect::Candidate;
use super::counters::Counters;
#[cfg(feature = "tls")]
use super::ending_tls::TlsEnding;
use super::hops::Hops;
use super::limits::Limits;
use super::listening::Listening;
use super::loops::Loops;
use super::outgoing::Outgoing;
use super::phases::Phases;
use super::processes::Processes;
use super::resolve::Resolver;
use super::routing::Route;
use super::sampling::Samples;
use super::slots::{PIPES_MAX, Reports, Slots};
use crate::event::{CloseReason, ConnectionId};
use crate::ingress::Filter;
use crate::net::{Io, Memory, PipePool};
use crate::sink::Recorder;
use crate::transform::Codec;

/// What all workers of a tunnel share.
pub(super) struct Shared {
    pub(super) listening: Arc<[Listening]>,
    /// Who decides on destinations, if not the clients' own wish.
    pub(super) route: Option<Box<dyn Route>>,
    pub(super) outgoing: Outgoing,
    /// Which destinations are recorded.
    pub(super) filter: Filter,
    /// What brings caught connects to each worker.
    pub(super) catching: Mutex<Vec<Option<Catching>>>,
    pub(super) limits: Limits,
    pub(super) codec: Option<Arc<dyn Codec>>,
    /// How TLS ends in the tunnel, if it does.
    #[cfg(feature = "tls")]
    pub(super) tls: Option<TlsEnding>,
    pub(super) clock: Clock,
    pub(super) phases: Phases,
    pub(super) counters: Arc<[Counters]>,
    pub(super) recorder: Recorder,
    /// What finds the programs of clients, if a sink asks for them.
    pub(super) processes: Option<Processes>,
    /// How often the sockets of open connections are looked at, if a sink asks for it.
    pub(super) sample: Duration,
    pub(super) resolver: Resolver,
    pub(super) slots: Slots,
    pub(super) loops: Loops,
    pub(super) looped: Reports,
    pub(super) next_connection: AtomicU64,
}

impl Shared {
    /// What of `candidates` does not lead back to the clients of a listening socket.
    pub(super) fn without_loops(
        &self,
        from: Option<usize>,
        mut candidates: Vec<Candidate>,
        hops: Hops,
    ) -> Result<Vec<Candidate>, CloseReason> {
        let closes = |candidate: &Candidate| {
            from.is_some_and(|from| self.loops.closes(&self.listening, from, candidate))
        };
        candidates.retain(|candidate| !closes(candidate));
        if candidates.is_empty() || hops.are_used_up() {
            if self.looped.is_due(Instant::now()) {
                let from = from.map_or_else(
                    || "a program".to_owned(),
                    |from| self.listening[from].to_string(),
                );
                tracing::warn!("{from} leads back to itself; its connections are reset");
            }
            return Err(CloseReason::Loop);
        }
        Ok(candidates)
    }

    /// What brings caught connects to a worker; nothing where nobody catches any.
    pub(super) fn catching_of(&self, index: usize) -> Option<Catching> {
        let mut all = self.catching.lock().unwrap_or_else(PoisonError::into_inner);
        all.get_mut(index).and_then(Option::take)
    }

    pub(super) fn next_connection(&self) -> ConnectionId {
        ConnectionId(self.next_connection.fetch_add(1, Relaxed))
    }
}

/// What the connections of one worker share.
pub(super) struct Worker {
    pub(super) shared: Arc<Shared>,
    pub(super) index: usize,
    pub(super) io: Io,
    pub(super) memory: Rc<Memory>,
    pub(super) pipes: PipePool,
    pub(super) samples: Rc<Samples>,
}

impl Worker {
    pub(super) fn new(shared: &Arc<Shared>, index: usize, io: Io) -> Self {
        let workers = shared.counters.len();
        Self {
            shared: Arc::clone(shared),
            index,
            io,
            memory: Rc::new(Memory::new(workers)),
            samples: Rc::new(Samples::new(shared.clock.clone())),
            pipes: PipePool::new(PIPES_MAX.min(shared.slots.pipes)),
        }
    }

    pub(super) fn counters(&self) -> &Counters {
        &self.shared.counters[self.index]
    }
}
