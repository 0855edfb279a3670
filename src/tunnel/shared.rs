//! What the workers of a tunnel share, and what the connections of one worker share.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use super::clock::Clock;
use super::connect::Candidate;
use super::counters::Counters;
use super::hops::Hops;
use super::limits::Limits;
use super::loops::Loops;
use super::phases::Phases;
use super::resolve::Resolver;
use super::route::Route;
use super::slots::{PIPES_MAX, Reports, Slots};
use crate::event::{CloseReason, ConnectionId};
use crate::net::{Io, Memory, PipePool};
use crate::sink::Recorder;
use crate::transform::Codec;

/// What all workers of a tunnel share.
pub(super) struct Shared {
    pub(super) routes: Arc<[Route]>,
    pub(super) limits: Limits,
    pub(super) codec: Option<Arc<dyn Codec>>,
    pub(super) clock: Clock,
    pub(super) phases: Phases,
    pub(super) counters: Arc<[Counters]>,
    pub(super) recorder: Recorder,
    pub(super) resolver: Resolver,
    pub(super) slots: Slots,
    pub(super) loops: Loops,
    pub(super) looped: Reports,
    pub(super) next_connection: AtomicU64,
}

impl Shared {
    /// What of `candidates` does not lead back to the clients of a route.
    pub(super) fn without_loops(
        &self,
        route: usize,
        mut candidates: Vec<Candidate>,
        hops: Hops,
    ) -> Result<Vec<Candidate>, CloseReason> {
        candidates.retain(|candidate| !self.loops.closes(&self.routes, route, candidate));
        if candidates.is_empty() || hops.are_used_up() {
            if self.looped.is_due(Instant::now()) {
                let route = &self.routes[route];
                tracing::warn!("{route:?} leads back to itself; its connections are reset");
            }
            return Err(CloseReason::Loop);
        }
        Ok(candidates)
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
}

impl Worker {
    pub(super) fn new(shared: &Arc<Shared>, index: usize, io: Io) -> Self {
        let workers = shared.counters.len();
        Self {
            shared: Arc::clone(shared),
            index,
            io,
            memory: Rc::new(Memory::new(workers)),
            pipes: PipePool::new(PIPES_MAX.min(shared.slots.pipes)),
        }
    }

    pub(super) fn counters(&self) -> &Counters {
        &self.shared.counters[self.index]
    }
}
