//! A tunnel that listens, and running it to its end.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::task::JoinError;

use super::catching::{Catcher, Catching};
use super::clock::{Clock, WallClock};
use super::counters::Counts;
use super::decryption::Decryption;
use super::error::RunError;
use super::handle::{Handle, Summary};
use super::limits::Limits;
use super::listening::Listening;
use super::loops::Loops;
use super::outgoing::Outgoing;
use super::phases::Phase;
use super::processes::Processes;
use super::resolve::Resolver;
use super::routing::Route;
use super::shared::Shared;
use super::slots::{Reports, Slots};
use super::worker::{WorkerSetup, serve};
use super::worker_pool::{ChosenIo, WorkerPool};
use crate::ingress::Filter;
use crate::net::{self, Backend, Io};
use crate::sink::{Recorder, SINKS_MAX, Sink, SinkOptions, StartedSinks, words_of};
use crate::transform::Codec;

/// How long a sink may take to finish once everything is to end at once.
const ABORT_PATIENCE: Duration = Duration::from_secs(2);

/// A tunnel that listens: clients may connect, and wait until it runs.
///
/// ```no_run
/// use tcp_tunn::tunnel::Tunnel;
///
/// let tunnel = Tunnel::builder("127.0.0.1:0", "example.com:80").bind()?;
/// println!("listening on {}", tunnel.listening()[0].address());
/// let summary = tunnel.run()?;
/// println!("{} connections", summary.counts.connections);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Tunnel {
    pub(super) listening: Arc<[Listening]>,
    pub(super) route: Option<Box<dyn Route>>,
    pub(super) outgoing: Outgoing,
    pub(super) filter: Filter,
    /// What brings caught connects to each worker; nothing where nobody catches any.
    pub(super) catching: Vec<Option<Catching>>,
    pub(super) pool: WorkerPool,
    pub(super) limits: Limits,
    pub(super) workers: usize,
    pub(super) codec: Option<Arc<dyn Codec>>,
    pub(super) sinks: Vec<(SinkOptions, Box<dyn Sink>)>,
    pub(super) handle: Handle,
    pub(super) wall_clock: WallClock,
    pub(super) io: ChosenIo,
    pub(super) loops: Loops,
    pub(super) decryption: Decryption,
    pub(super) sample: Duration,
}

impl Tunnel {
    /// Where it listens, in the order given; a name may stand for more than one address.
    pub fn listening(&self) -> &[Listening] {
        &self.listening
    }

    /// What brings connects into the tunnel that were caught elsewhere, such as those of a
    /// program. Once it was asked for, a tunnel without listeners goes on until it is stopped.
    /// Only the catcher that was asked for last is connected.
    pub fn catcher(&mut self) -> Catcher {
        let (catcher, catching) = Catcher::new(self.workers);
        self.catching = catching;
        catcher
    }

    /// Gives every event to `sink` too. For sinks that must not exist before the listening
    /// sockets do, such as a file that a failed bind should not leave behind.
    pub fn add_sink(&mut self, options: SinkOptions, sink: impl Sink + 'static) {
        self.sinks.push((options, Box::new(sink)));
    }

    /// What it talks to the kernel by.
    pub const fn io(&self) -> &ChosenIo {
        &self.io
    }

    /// What stops the tunnel and tells how it does, from any thread.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }
}

impl fmt::Debug for Tunnel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Tunnel");
        debug
            .field("listening", &self.listening)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
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
        let (shared, threads, pool) = self.start()?;
        let result = pool.serve(&shared);
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
        // There is only one worker, who serves what was or would be caught for the others, too.
        let mut ends = std::mem::take(&mut self.catching).into_iter().flatten();
        if let Some(mut first) = ends.next() {
            for other in ends {
                first.take_over(other).await;
            }
            self.catching.push(Some(first));
        }
        let chosen = self.io.backend;
        let (shared, threads, pool) = self.start()?;
        drop(pool);
        let io = if chosen == Backend::Epoll { Ok(Io::Epoll) } else { Io::uring() };
        let setup = io.and_then(|io| WorkerSetup::new(io, &shared.listening));
        let result = match setup {
            Ok(setup) => {
                let io = setup.io.clone();
                serve(&shared, setup, 0).await;
                io.drained().await;
                Ok(())
            }
            Err(error) => Err(RunError::Listener(error)),
        };
        // A sink may need something of this very runtime before it can finish.
        let finishing = tokio::task::spawn_blocking(move || shared.finish(threads));
        let summary = finishing.await.map_err(panicked)?;
        result.map(|()| summary)
    }

    fn start(self) -> Result<(Arc<Shared>, StartedSinks, WorkerPool), RunError> {
        if self.sinks.len() > SINKS_MAX {
            return Err(RunError::TooManySinks { count: self.sinks.len(), max: SINKS_MAX });
        }
        let clock = Clock::start(self.wall_clock);
        let (phases, now) = (self.handle.phases.clone(), clock.clone());
        // Better no traffic than traffic unrecorded.
        let on_failure = move || phases.advance(Phase::Aborting);
        let decryption = &self.decryption;
        let sinks = self.sinks.into_iter().map(|sink| decryption.of(sink)).collect();
        let (recorder, threads) =
            Recorder::start(sinks, move || now.now().time, on_failure).map_err(RunError::Thread)?;
        let _ = self.handle.recorder.set(recorder.clone());
        let processes = recorder.wants_processes().then(Processes::start);
        let processes = processes.transpose().map_err(RunError::Thread)?;
        let slots = Slots::new(self.limits.max_connections, self.workers, self.listening.len());
        let shared = Shared {
            listening: self.listening,
            route: self.route,
            outgoing: self.outgoing,
            filter: self.filter,
            catching: Mutex::new(self.catching),
            limits: self.limits,
            codec: self.codec,
            #[cfg(feature = "tls")]
            tls: self.decryption.ending.clone(),
            clock,
            phases: self.handle.phases.clone(),
            counters: Arc::clone(&self.handle.counters),
            recorder,
            processes,
            sample: self.sample,
            resolver: Resolver::new(),
            slots,
            loops: self.loops,
            looped: Reports::default(),
            next_connection: 1.into(),
        };
        Ok((Arc::new(shared), threads, self.pool))
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
    fn finish(&self, threads: StartedSinks) -> Summary {
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
