//! A worker: one thread, one ring, its share of the connections.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use super::builder::Route;
use super::clock::Clock;
use super::connection;
use super::counters::Counters;
use super::limits::Limits;
use super::resolve::Resolver;
use super::stop::{Phase, Phases};
use crate::event::{ConnectionId, Timestamp};
use crate::net::{self, BufferPool, Listener, Pace, PipePool, Socket};
use crate::sink::{ChunkPool, Recorder};
use crate::transform::Codec;

/// Registered buffers of all workers together.
const REGISTERED_BYTES: usize = 16 * 1024 * 1024;
/// Descriptors kept for other things than connections: what the program has open anyway and the
/// files of sinks, and for each worker its ring and the like.
const OTHER_FILES: usize = 24;
const FILES_OF_A_WORKER: usize = 8;
/// More of them would share too little of what a user may have in pipes.
const PIPES_MAX: usize = 16;
/// How often the same trouble is told.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(60);

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
    next_connection: AtomicU64,
    places: Arc<Semaphore>,
    places_max: usize,
    full: Complaint,
    scarce: Complaint,
}

impl Shared {
    #[expect(clippy::too_many_arguments, reason = "called once; each is a part of its own")]
    pub(super) fn new(
        routes: Arc<[Route]>,
        limits: Limits,
        workers: usize,
        codec: Option<Arc<dyn Codec>>,
        clock: Clock,
        phases: Phases,
        counters: Arc<[Counters]>,
        recorder: Recorder,
    ) -> Self {
        let listeners = routes.len() * (1 + 2 * workers);
        let of_a_worker = FILES_OF_A_WORKER + 2 * pipes_of_a_worker();
        let others = OTHER_FILES + of_a_worker * workers + listeners;
        let places_max = places(limits.max_connections, others);
        Self {
            routes,
            limits,
            codec,
            clock,
            phases,
            counters,
            recorder,
            resolver: Resolver::new(),
            next_connection: AtomicU64::new(1),
            places: Arc::new(Semaphore::new(places_max)),
            places_max,
            full: Complaint::default(),
            scarce: Complaint::default(),
        }
    }
}

/// How many connections there can be: as many as asked for, but no more than there are
/// descriptors for, so that a client that was accepted always finds one for its upstream.
fn places(max_connections: usize, other_files: usize) -> usize {
    let files = net::open_files_limit().unwrap_or(u64::MAX);
    let files = usize::try_from(files).unwrap_or(usize::MAX);
    let possible = (files.saturating_sub(other_files) / 2).clamp(1, Semaphore::MAX_PERMITS);
    if possible < max_connections {
        tracing::info!(
            "at most {possible} connections at once, not {max_connections}: the limit of open \
             files is {files} (raise it with 'ulimit -n')"
        );
    }
    max_connections.clamp(1, possible)
}

/// How many pipes a worker has: one for each bulk transfer whose receiver does not take all at
/// once, and none where each takes a place from a connection.
fn pipes_of_a_worker() -> usize {
    let files = net::open_files_limit().unwrap_or(u64::MAX);
    usize::try_from(files / 64).map_or(PIPES_MAX, |pipes| pipes.min(PIPES_MAX))
}

/// No longer than any time-out is by default.
const BEAT: Duration = Duration::from_secs(1);

/// What the connections of one worker share.
pub(super) struct Worker {
    pub(super) shared: Arc<Shared>,
    pub(super) index: usize,
    pub(super) buffers: Rc<BufferPool>,
    pub(super) pipes: PipePool,
    pub(super) chunks: RefCell<ChunkPool>,
    pub(super) pace: Pace,
    connections: Cell<usize>,
    all_closed: Notify,
}

impl Worker {
    pub(super) fn counters(&self) -> &Counters {
        &self.shared.counters[self.index]
    }
}

/// What a worker needs to serve; all that it will ever ask the system for on its own behalf.
pub(super) struct Station {
    buffers: BufferPool,
    /// One for each route.
    listeners: Vec<Listener>,
}

impl Station {
    /// For one of so many workers, on the ring of this thread.
    pub(super) fn new(routes: &[Route], workers: usize) -> io::Result<Self> {
        let listeners = routes.iter().map(|route| Listener::new(&route.listening.fd));
        let listeners = listeners.collect::<io::Result<_>>()?;
        Ok(Self { buffers: BufferPool::register(REGISTERED_BYTES / workers), listeners })
    }
}

/// Serves clients until the tunnel is told to stop and all connections of this worker have ended.
pub(super) async fn serve(shared: &Arc<Shared>, station: Station, index: usize) {
    let Station { buffers, listeners } = station;
    let worker = Rc::new(Worker {
        shared: Arc::clone(shared),
        index,
        buffers: Rc::new(buffers),
        pipes: PipePool::new(pipes_of_a_worker()),
        chunks: RefCell::new(ChunkPool::new()),
        pace: Pace::default(),
        connections: Cell::new(0),
        all_closed: Notify::new(),
    });
    let accepting = listeners.iter().zip(0..).map(|(listener, route)| {
        let loops = AcceptLoop { worker: &worker, listener, route };
        Box::pin(loops.run())
    });
    let mut accepting: Vec<_> = accepting.collect();
    let stopping = async {
        shared.phases.reached(Phase::Draining).await;
        listeners.iter().for_each(Listener::stop);
    };
    let serving = async {
        tokio::join!(
            stopping,
            poll_fn(|context| {
                accepting.retain_mut(|accept| accept.as_mut().poll(context).is_pending());
                if accepting.is_empty() { Poll::Ready(()) } else { Poll::Pending }
            })
        );
        worker.drain().await;
    };
    tokio::select! {
        () = serving => {}
        () = beat() => {}
    }
}

/// Keeps a timer that is due before those of connections: each that is due before all others
/// costs tokio a system call, and one thus costs every connection none.
async fn beat() {
    loop {
        tokio::time::sleep(BEAT).await;
    }
}

impl Worker {
    /// Waits for the connections, as long as they may take.
    async fn drain(&self) {
        let shared = &self.shared;
        tokio::select! {
            () = self.wait_closed() => return,
            () = tokio::time::sleep(shared.limits.shutdown_timeout) => {}
            () = shared.phases.reached(Phase::Ending) => {}
        }
        shared.phases.advance(Phase::Ending);
        // A connection may be waiting for a sink that hangs.
        shared.recorder.stop_waiting();
        self.wait_closed().await;
    }

    async fn wait_closed(&self) {
        while self.connections.get() > 0 {
            self.all_closed.notified().await;
        }
    }
}

/// Counts a connection for as long as it lives, however it ends.
struct Counted {
    worker: Rc<Worker>,
    _place: OwnedSemaphorePermit,
}

impl Counted {
    fn new(worker: &Rc<Worker>, place: OwnedSemaphorePermit) -> Self {
        worker.connections.set(worker.connections.get() + 1);
        Self { worker: Rc::clone(worker), _place: place }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let left = self.worker.connections.get() - 1;
        self.worker.connections.set(left);
        if left == 0 {
            self.worker.all_closed.notify_waiters();
            self.worker.all_closed.notify_one();
        }
    }
}

/// Accepts the clients of one listening socket.
struct AcceptLoop<'a> {
    worker: &'a Rc<Worker>,
    listener: &'a Listener,
    route: usize,
}

impl AcceptLoop<'_> {
    async fn run(self) {
        let shared = &self.worker.shared;
        let mut trouble = Backoff::default();
        loop {
            match self.listener.accept().await {
                Ok((client, peer)) => {
                    trouble.reset();
                    let accepted = shared.clock.now();
                    let Some(place) = self.place().await else { return client.abort() };
                    self.start(client, peer, accepted, place);
                }
                Err(_) if shared.phases.get() > Phase::Running => return,
                Err(error) if is_about_one_client(&error) => {}
                Err(error) => {
                    if shared.scarce.is_due(Instant::now()) {
                        tracing::warn!("a client could not be accepted yet, trying again: {error}");
                    }
                    trouble.wait().await;
                }
            }
        }
    }

    /// Waits for a place among the connections; `None` when the tunnel stops before there is one.
    async fn place(&self) -> Option<OwnedSemaphorePermit> {
        let shared = &self.worker.shared;
        let places = &shared.places;
        if let Ok(place) = Arc::clone(places).try_acquire_owned() {
            return Some(place);
        }
        if shared.full.is_due(Instant::now()) {
            tracing::warn!(
                "all {} connections are in use; further clients wait (see --max-connections)",
                shared.places_max
            );
        }
        tokio::select! {
            place = Arc::clone(places).acquire_owned() => place.ok(),
            () = shared.phases.reached(Phase::Draining) => None,
        }
    }

    fn start(
        &self,
        client: Socket,
        peer: Option<SocketAddr>,
        accepted: Timestamp,
        place: OwnedSemaphorePermit,
    ) {
        let counted = Counted::new(self.worker, place);
        let worker = Rc::clone(self.worker);
        let route = self.route;
        let id = ConnectionId(worker.shared.next_connection.fetch_add(1, Relaxed));
        net::spawn(async move {
            connection::serve(&worker, route, id, client, peer, accepted).await;
            drop(counted);
        });
    }
}

/// Whether the accept failed because of the client that came, and the next may do better.
fn is_about_one_client(error: &io::Error) -> bool {
    use libc::{ECONNABORTED, EINTR, EPROTO};
    matches!(error.raw_os_error(), Some(ECONNABORTED | EINTR | EPROTO))
}

/// Waits longer each time, while descriptors or memory are scarce.
#[derive(Default)]
struct Backoff {
    waits: u32,
}

impl Backoff {
    fn reset(&mut self) {
        self.waits = 0;
    }

    async fn wait(&mut self) {
        let backoff = Duration::from_millis(10 << self.waits.min(5));
        self.waits += 1;
        tokio::time::sleep(backoff).await;
    }
}

/// Says whether something should be told again.
#[derive(Default)]
struct Complaint(std::sync::Mutex<Option<Instant>>);

impl Complaint {
    fn is_due(&self, now: Instant) -> bool {
        let mut last = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let due = last.is_none_or(|at| now.saturating_duration_since(at) >= COMPLAINT_INTERVAL);
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
    fn the_same_trouble_is_told_once_a_minute() {
        let (complaint, started) = (Complaint::default(), Instant::now());
        let told: Vec<_> = (0..180_u32)
            .filter(|second| complaint.is_due(started + Duration::from_secs(1) * *second))
            .collect();
        assert_eq!(told, [0, 60, 120]);
    }
}
