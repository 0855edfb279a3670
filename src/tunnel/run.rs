//! Running a tunnel to its end.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use tokio::task::JoinError;

use super::builder::Tunnel;
use super::clock::Clock;
use super::counters::{Counters, Counts};
use super::crew::Crew;
use super::error::RunError;
use super::stop::{Phase, Phases};
use super::worker::{Shared, Station, serve};
use crate::event::Progress;
use crate::net;
use crate::sink::{Recorder, SINKS_MAX, SinkReport, SinkStats, SinkThreads, words_of};

/// How long a sink may take to finish once everything is to end at once.
const ABORT_PATIENCE: Duration = Duration::from_secs(2);

/// Stops a tunnel, and tells how it does. Clones belong to the same tunnel.
#[derive(Clone)]
pub struct Handle {
    pub(super) phases: Phases,
    counters: Arc<[Counters]>,
    recorder: Arc<OnceLock<Recorder>>,
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

impl Tunnel {
    /// Relays on threads of its own until [`Handle::stop`] is called or a sink fails whose
    /// [`OnError`](crate::sink::OnError) says stop. Returns when everything has ended.
    ///
    /// # Errors
    ///
    /// A worker could not go on. A sink that failed is no error here: it is told in the
    /// [`Summary`].
    pub fn run(self) -> Result<Summary, RunError> {
        let (shared, threads, crew) = self.start()?;
        let result = crew.serve(&shared);
        let summary = shared.finish(threads);
        result.map(|()| summary)
    }

    /// Relays on the tokio-uring runtime that this is awaited on, as one worker, until
    /// [`Handle::stop`] is called or a sink fails whose [`OnError`](crate::sink::OnError) says
    /// stop. Sinks have their own threads all the same, and the runtime goes on while they finish.
    ///
    /// Dropped before it is done, as by a time-out, it ends as by [`Handle::abort`], with nobody to
    /// take the [`Summary`]: the runtime has to go on for a while for that.
    ///
    /// # Errors
    ///
    /// As for [`run`](Self::run).
    ///
    /// # Panics
    ///
    /// When awaited outside a tokio-uring runtime.
    pub async fn run_here(self) -> Result<Summary, RunError> {
        let _abort = AbortOnDrop(self.handle.clone());
        // A task of its own goes on to the end whatever becomes of the one that waits for it.
        net::spawn(self.relay_here()).await.unwrap_or_else(|error| Err(panicked(error)))
    }

    async fn relay_here(mut self) -> Result<Summary, RunError> {
        self.workers = 1;
        let (shared, threads, crew) = self.start()?;
        drop(crew);
        let station = Station::new(&shared.routes, 1).map_err(RunError::Listener);
        let result = match station {
            Ok(station) => {
                serve(&shared, station, 0).await;
                Ok(())
            }
            Err(error) => Err(error),
        };
        // A sink may need something of this very runtime before it can finish.
        let finishing = tokio::task::spawn_blocking(move || shared.finish(threads));
        let summary = finishing.await.map_err(panicked)?;
        result.map(|()| summary)
    }

    fn start(self) -> Result<(Arc<Shared>, SinkThreads, Crew), RunError> {
        if self.sinks.len() > SINKS_MAX {
            return Err(RunError::TooManySinks { count: self.sinks.len(), max: SINKS_MAX });
        }
        let clock = Clock::start();
        let phases = self.handle.phases.clone();
        let (recorder, threads) = Recorder::start(
            self.sinks,
            move || clock.now(),
            move || phases.advance(Phase::Draining),
        )
        .map_err(RunError::Thread)?;
        let _ = self.handle.recorder.set(recorder.clone());
        let shared = Shared::new(
            self.routes,
            self.limits,
            self.workers,
            self.codec,
            clock,
            self.handle.phases.clone(),
            Arc::clone(&self.handle.counters),
            recorder,
        );
        Ok((Arc::new(shared), threads, self.crew))
    }
}

fn panicked(error: JoinError) -> RunError {
    let words = error.try_into_panic().map(|panic| words_of(&*panic).to_owned());
    RunError::Panic(words.unwrap_or_else(|error| error.to_string()))
}

/// Nobody waits for the tunnel any more, so it ends; nothing happens where it has ended anyway.
struct AbortOnDrop(Handle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Shared {
    /// Waits for the sinks after the workers have ended.
    fn finish(&self, threads: SinkThreads) -> Summary {
        let mut aborted_at = None;
        let patience = || {
            (self.phases.get() >= Phase::Aborting).then(|| {
                let since = *aborted_at.get_or_insert_with(Instant::now);
                ABORT_PATIENCE.saturating_sub(since.elapsed())
            })
        };
        let sinks = self.recorder.finish(threads, patience);
        Summary { counts: Counts::sum(self.counters.iter()), sinks }
    }
}
