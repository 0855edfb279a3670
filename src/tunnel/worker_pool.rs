//! The threads of a tunnel: each has all that it needs before the first client is served.

use std::any::Any;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use super::error::{BindError, RunError};
use super::listening::Listening;
use super::phases::{Phase, Phases};
use super::shared::Shared;
use super::worker::{WorkerSetup, serve};
use crate::net::{self, Backend, Io, RingError};
use crate::sink::words_of;

/// What a tunnel talks to the kernel by, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChosenIo {
    /// [`Backend::Uring`] or [`Backend::Epoll`].
    pub backend: Backend,
    /// Why it is epoll where io_uring was to be tried first.
    pub why: Option<String>,
}

/// The workers of a tunnel that does not run yet. Dropped, they end.
pub(super) struct WorkerPool(Vec<WorkerThread>);

/// A worker on its thread, with its runtime and its listeners, waiting to begin.
struct WorkerThread {
    begin: SyncSender<Arc<Shared>>,
    thread: JoinHandle<()>,
}

/// How a worker reports that it is ready, or why it will not be.
type Ready = SyncSender<Result<(), BindError>>;

impl WorkerPool {
    /// Spawns the workers, and waits until each is ready; what they talk to the kernel by.
    pub(super) fn spawn(
        routes: &Arc<[Listening]>,
        workers: usize,
        backend: Backend,
    ) -> Result<(Self, ChosenIo), BindError> {
        let spawn = |backend| Self::spawn_on(routes, workers, backend);
        if backend != Backend::Auto {
            return Ok((spawn(backend)?, ChosenIo { backend, why: None }));
        }
        match spawn(Backend::Uring) {
            Err(BindError::Ring(error)) if error.why_epoll().is_some() => {
                tracing::info!("io epoll: {}", error.why_epoll().unwrap_or_default());
                let why = error.why_epoll().map(str::to_owned);
                Ok((spawn(Backend::Epoll)?, ChosenIo { backend: Backend::Epoll, why }))
            }
            spawned => Ok((spawned?, ChosenIo { backend: Backend::Uring, why: None })),
        }
    }

    fn spawn_on(
        routes: &Arc<[Listening]>,
        workers: usize,
        backend: Backend,
    ) -> Result<Self, BindError> {
        let (ready, is_ready) = sync_channel(workers);
        let spawn = |index| WorkerThread::spawn(Arc::clone(routes), index, backend, ready.clone());
        let pool = Self((0..workers).map(spawn).collect::<Result<_, _>>()?);
        drop(ready);
        for _ in 0..workers {
            // A worker that reports nothing has panicked.
            let panicked = |gone| Err(RingError::from(io::Error::other(gone)).into());
            is_ready.recv().unwrap_or_else(panicked)?;
        }
        Ok(pool)
    }

    /// Has all of them serve, and waits until all have ended.
    pub(super) fn serve(mut self, shared: &Arc<Shared>) -> Result<(), RunError> {
        for worker in &self.0 {
            // Fails only if it panicked, which is reported when it is joined.
            let _ = worker.begin.send(Arc::clone(shared));
        }
        self.join().map_or(Ok(()), |message| Err(RunError::Panic(message)))
    }

    /// Waits for the end of all; the message of the first that panicked.
    fn join(&mut self) -> Option<String> {
        let ended = self.0.drain(..).map(|WorkerThread { begin, thread }| {
            drop(begin);
            thread.join()
        });
        let ended: Vec<_> = ended.collect();
        let panics = ended.into_iter().filter_map(Result::err);
        panics.map(|panic: Box<dyn Any + Send>| words_of(&*panic).to_owned()).next()
    }
}

impl Drop for WorkerPool {
    fn drop(&mut self) {
        self.join();
    }
}

impl WorkerThread {
    fn spawn(
        routes: Arc<[Listening]>,
        index: usize,
        backend: Backend,
        ready: Ready,
    ) -> Result<Self, BindError> {
        let (begin, may_begin) = sync_channel(1);
        let thread = std::thread::Builder::new().name(format!("worker-{index}"));
        let thread = thread.spawn(move || {
            let work = |io| work(io, &routes, index, &ready, &may_begin);
            if let Err(error) = net::block_on(backend, work) {
                let _ = ready.send(Err(error.into()));
            }
        });
        Ok(Self { begin, thread: thread.map_err(BindError::Thread)? })
    }
}

async fn work(
    io: Io,
    routes: &[Listening],
    index: usize,
    ready: &Ready,
    may_begin: &Receiver<Arc<Shared>>,
) {
    let setup = match WorkerSetup::new(io, routes) {
        Ok(setup) => setup,
        Err(error) => return drop(ready.send(Err(BindError::Listener(error)))),
    };
    let _ = ready.send(Ok(()));
    // Nothing else is on this runtime yet, so that the thread may wait.
    if let Ok(shared) = may_begin.recv() {
        let _others = StopOthers(shared.phases.clone());
        serve(&shared, setup, index).await;
    }
}

/// Stops the tunnel when a worker ends before it was told to: it panicked, and the others shall
/// not go on without it, as if nothing had happened.
struct StopOthers(Phases);

impl Drop for StopOthers {
    fn drop(&mut self) {
        self.0.advance(Phase::Draining);
    }
}
