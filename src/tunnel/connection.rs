//! The life of one connection, from accept to close.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::connect::{Candidate, connect};
use super::counters::Passed;
use super::driver::{Driver, Reached};
use super::hops::Hops;
use super::recording::Recording;
use super::shared::Worker;
use super::transforming::Transforms;
use crate::event::{CloseReason, ConnectionId, Endpoint, EventKind, Open, Timestamp};
use crate::net::Socket;
use crate::sink::Tap;

/// How long a name may take to resolve before the opening is recorded without its address.
const OPEN_AT_ONCE: Duration = Duration::from_millis(20);

/// A client that was accepted, and where it is to be connected.
pub(super) struct Accepted {
    pub(super) socket: Socket,
    pub(super) peer: Option<SocketAddr>,
    pub(super) at: Timestamp,
    /// The tunnel's address that the client connected to.
    pub(super) listener: Endpoint,
    /// The number of its route.
    pub(super) route: usize,
}

/// Serves one client to its end, and records all of it.
pub(super) async fn serve(worker: &Rc<Worker>, id: ConnectionId, accepted: Accepted) {
    let shared = &worker.shared;
    let passed = worker.counters().opened(id);
    let Accepted { socket, peer, at, listener, route } = accepted;
    let target = shared.routes[route].target.clone();

    let (resolver, name) = (Arc::clone(shared), target.clone());
    let mut resolving = Box::pin(async move { resolver.resolver.resolve(&name).await });
    let early = tokio::time::timeout(OPEN_AT_ONCE, &mut resolving).await.ok();
    let known = early.as_ref().and_then(|found| match found.as_deref() {
        Ok([only]) => Some(Endpoint::from(only)),
        _ => None,
    });
    let client = peer.map_or(Endpoint::Unix(None), Endpoint::Tcp);
    let open = Arc::new(Open::new(client, listener, target.to_string()).server(known));
    let tap = Tap::open(shared.recorder.clone(), id, at, Arc::clone(&open)).await;

    let (tap, closed) = (Rc::new(tap), Cell::new(false));
    let closing = Closing { worker, id, tap: &tap, passed: &passed, closed: &closed };
    let hops = Hops::left_to(&socket, peer);
    let (all, limit) = (Arc::clone(shared), shared.limits.connect_timeout);
    let reaching = Box::pin(async move {
        let found: Result<Vec<Candidate>, CloseReason> = match early {
            Some(found) => found,
            None => resolving.await,
        };
        let found = all.without_loops(route, found?, hops)?;
        let reached: Reached = connect(&found, limit, hops.for_next()).await;
        reached
    });
    let recording = Recording::new(worker, &tap, &passed, &closed);
    let transforms = Transforms::new(shared.codec.as_deref(), id, open);
    Driver::new(worker, recording, socket, reaching, transforms).run().await;
    drop(closing);
}

/// Records the close when the connection's task is done with, even by a panic.
struct Closing<'a> {
    worker: &'a Worker,
    id: ConnectionId,
    tap: &'a Tap,
    passed: &'a Passed,
    closed: &'a Cell<bool>,
}

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        if !self.closed.get() {
            let (reason, totals) = (CloseReason::Internal, self.passed.totals());
            let now = self.worker.shared.clock.now();
            self.tap.lifecycle(now.time, EventKind::Close { reason, totals });
        }
        self.worker.counters().closed(self.id);
    }
}
