//! A worker: one thread with its runtime, and its share of the connections.

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::arriving::{Accepted, Arrived};
use super::backoff::Backoff;
use super::catching::Catching;
use super::connection;
use super::listening::Listening;
use super::phases::Phase;
use super::sampling::sample;
use super::shared::{Shared, Worker};
use super::slots::Slot;
use crate::net::{self, Io, Listener};
use crate::os_error::Sentence;

/// No longer than any time-out is by default.
const BEAT: Duration = Duration::from_secs(1);

/// What a worker needs to serve; all that it will ever ask the system for on its own behalf.
pub(super) struct WorkerSetup {
    pub(super) io: Io,
    /// One for each route.
    listeners: Vec<Listener>,
}

impl WorkerSetup {
    /// On the runtime of this thread.
    pub(super) fn new(io: Io, listening: &[Listening]) -> io::Result<Self> {
        let listeners = listening.iter().map(|listening| {
            let socket = &listening.socket;
            Listener::new(&io, &socket.fd, socket.is_inherited)
        });
        let listeners = listeners.collect::<io::Result<_>>()?;
        Ok(Self { io, listeners })
    }
}

/// Serves clients until the tunnel stops and all connections of this worker have ended.
pub(super) async fn serve(shared: &Arc<Shared>, setup: WorkerSetup, index: usize) {
    let WorkerSetup { io, listeners } = setup;
    let worker = Rc::new(Worker::new(shared, index, io));
    let connections = Rc::new(OpenConnections::default());
    let accepting = listeners.iter().enumerate().map(|(listening, listener)| {
        let (worker, connections) = (&worker, &connections);
        let accept = AcceptLoop { worker, connections, listener, listening };
        Box::pin(accept.run()) as Pin<Box<dyn Future<Output = ()>>>
    });
    let mut accepting: Vec<_> = accepting.collect();
    if let Some(catching) = shared.catching_of(index) {
        accepting.push(Box::pin(take_caught(&worker, &connections, catching)));
    }
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
        drain(shared, &connections).await;
    };
    tokio::select! {
        () = serving => {}
        () = beat(&worker) => {}
        () = sample_if_wanted(&worker) => {}
    }
}

/// Gives unused memory back, and keeps a timer that is due before those of connections: each that
/// is due before all others costs tokio a system call, and one thus costs every connection none.
async fn beat(worker: &Worker) {
    loop {
        tokio::time::sleep(BEAT).await;
        worker.counters().beat();
        worker.memory.trim();
    }
}

/// Looks at the sockets of open connections, if a sink asks for that.
async fn sample_if_wanted(worker: &Worker) {
    if worker.shared.recorder.wants_info() {
        sample(&worker.samples, worker.shared.sample).await;
    } else {
        std::future::pending().await
    }
}

/// Waits for the connections, as long as they may take.
async fn drain(shared: &Shared, connections: &OpenConnections) {
    tokio::select! {
        () = connections.wait_closed() => return,
        () = tokio::time::sleep(shared.limits.shutdown_timeout) => {}
        () = shared.phases.reached(Phase::Ending) => {}
    }
    shared.phases.advance(Phase::Ending);
    // A connection may be waiting for a sink that hangs.
    shared.recorder.stop_waiting();
    connections.wait_closed().await;
}

/// How many connections of a worker are open.
#[derive(Default)]
struct OpenConnections {
    count: Cell<usize>,
    all_closed: Notify,
}

impl OpenConnections {
    async fn wait_closed(&self) {
        while self.count.get() > 0 {
            self.all_closed.notified().await;
        }
    }
}

/// Counts a connection for as long as it lives, however it ends.
struct Counted {
    connections: Rc<OpenConnections>,
    _slot: Slot,
}

impl Counted {
    fn new(connections: &Rc<OpenConnections>, slot: Slot) -> Self {
        connections.count.set(connections.count.get() + 1);
        Self { connections: Rc::clone(connections), _slot: slot }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let left = self.connections.count.get() - 1;
        self.connections.count.set(left);
        if left == 0 {
            self.connections.all_closed.notify_waiters();
            self.connections.all_closed.notify_one();
        }
    }
}

/// Accepts the clients of one listening socket.
struct AcceptLoop<'a> {
    worker: &'a Rc<Worker>,
    connections: &'a Rc<OpenConnections>,
    listener: &'a Listener,
    listening: usize,
}

impl AcceptLoop<'_> {
    async fn run(self) {
        let shared = &self.worker.shared;
        let mut backoff = Backoff::default();
        loop {
            match self.listener.accept().await {
                Ok((socket, peer)) => {
                    backoff.reset();
                    let at = shared.clock.now().time;
                    let Some(slot) = shared.slots.take(&shared.phases).await else {
                        return socket.abort();
                    };
                    let listening = self.listening;
                    let listener = shared.listening[listening].address_towards(&socket);
                    let accepted = Accepted { socket, peer, at, listener, listening };
                    let serving = connection::serve(Rc::clone(self.worker), accepted);
                    start(self.connections, slot, serving);
                }
                Err(_) if shared.phases.get() > Phase::Running => return,
                Err(error) if is_about_one_client(&error) => {}
                Err(error) => {
                    if shared.slots.scarce.is_due(Instant::now()) {
                        let error = Sentence(&error);
                        tracing::warn!("cannot accept a client yet, trying again: {error}");
                    }
                    backoff.wait().await;
                }
            }
        }
    }
}

/// Serves the connects that were caught elsewhere, until the tunnel stops.
async fn take_caught(
    worker: &Rc<Worker>,
    connections: &Rc<OpenConnections>,
    mut catching: Catching,
) {
    let shared = &worker.shared;
    loop {
        let caught = tokio::select! {
            caught = catching.recv() => caught,
            () = shared.phases.reached(Phase::Draining) => return,
        };
        // Nobody is left who might catch one; the tunnel goes on until it is stopped.
        let Some(caught) = caught else { return shared.phases.reached(Phase::Draining).await };
        let Some(slot) = shared.slots.take(&shared.phases).await else { return };
        let arrived = Arrived::of_caught(caught, shared);
        start(connections, slot, connection::serve_arrived(Rc::clone(worker), arrived));
    }
}

fn start(
    connections: &Rc<OpenConnections>,
    slot: Slot,
    serving: impl Future<Output = ()> + 'static,
) {
    let counted = Counted::new(connections, slot);
    net::spawn(async move {
        serving.await;
        drop(counted);
    });
}

/// Whether the accept failed because of the client that came, and the next may do better.
fn is_about_one_client(error: &io::Error) -> bool {
    use libc::{ECONNABORTED, EINTR, EPROTO};
    matches!(error.raw_os_error(), Some(ECONNABORTED | EINTR | EPROTO))
}
