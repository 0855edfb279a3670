//! The life of one connection, from accept to close.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::address::Address;
use super::arriving::{Accepted, Arrived, arrive, decide};
use super::counters::Passed;
use super::driver::Driver;
use super::hops::Hops;
use super::reaching::{Found, Reach};
use super::recording::{Finding, Recording};
use super::routing::{Arrival, Target};
use super::shared::Worker;
use super::transforming::Transforms;
use crate::event::{CloseReason, ConnectionId, Endpoint, EventKind, Open};
use crate::ingress::Subject;
use crate::sink::ConnectionRecorder;
use crate::verdict::Judge;

/// How long a name may take to resolve before the opening is recorded without its address.
const OPEN_AT_ONCE: Duration = Duration::from_millis(20);

/// Serves one client to its end, and records all of it.
pub(super) async fn serve(worker: Rc<Worker>, accepted: Accepted) {
    let finding = find_process(&worker, &accepted);
    if let Some(arrived) = arrive(&worker, accepted).await {
        serve_found(worker, arrived, finding).await;
    }
}

/// Has the client's program looked for, where that is on this machine and a sink wants to know.
fn find_process(worker: &Worker, accepted: &Accepted) -> Finding {
    let processes = worker.shared.processes.as_ref()?;
    let remote = match worker.shared.listening[accepted.listening].target {
        // The client knows nothing of the redirection.
        Target::Original => accepted.socket.original_destination().ok().flatten(),
        _ => accepted.listener.socket_addr(),
    };
    Some(processes.find(accepted.peer?, remote?))
}

/// Serves a client whose destination is known, and its program, if it is to be known at all.
pub(super) async fn serve_arrived(worker: Rc<Worker>, arrived: Arrived) {
    serve_found(worker, arrived, None).await;
}

async fn serve_found(worker: Rc<Worker>, mut arrived: Arrived, finding: Finding) {
    if decide(&worker, &mut arrived).await.is_none() {
        return;
    }
    let Arrived { arrival, at, answer, listening, peer, source } = arrived;
    let shared = &worker.shared;
    let id = shared.next_connection();
    let passed = worker.counters().opened(id);
    let (found, only) = find(&worker, &arrival).await;
    let is_recorded = listening.is_none() || is_recorded(&worker, &arrival, only.as_ref());
    let open =
        Open::new(arrival.client.clone(), arrival.listener.clone(), arrival.wanted.to_string());
    #[cfg(feature = "tls")]
    let session = shared.tls.as_ref().filter(|tls| is_recorded || !tls.ender.is_optional());
    #[cfg(feature = "tls")]
    let session = session.map(|tls| tls.session(&arrival, only.as_ref()));
    let open = Arc::new(open.server(only).process(arrival.process.clone()));
    let recorder =
        if is_recorded { shared.recorder.clone() } else { shared.recorder.without_sinks() };
    let mut judge = Judge::new(at);
    judge.sink_is_full(shared.clock.now().time);
    let tap = ConnectionRecorder::open(recorder, id, at, Arc::clone(&open)).await;
    judge.sink_has_room(shared.clock.now().time);

    let (tap, closed) = (Rc::new(tap), Cell::new(false));
    let closing = Closing { worker: &worker, id, tap: &tap, passed: &passed, closed: &closed };
    let client = answer.socket().cloned();
    let hops = client.as_ref().map_or_else(Hops::unknown, |client| Hops::left_to(client, peer));
    let worker_too = Rc::clone(&worker);
    let reach = Reach { worker: worker_too, arrival, answer, hops, listening, found, source };
    let recording = Recording::new(&worker, &tap, &passed, &closed, judge).finding(finding);
    let transforms = Transforms::new(shared.codec.as_deref(), id, open);
    #[cfg(feature = "tls")]
    let transforms = transforms.ending_tls(session);
    Driver::new(&worker, recording, client, Box::pin(reach.run()), transforms).run().await;
    drop(closing);
}

/// What the resolver says, or will say, of the places to connect to; and the server's address where
/// it is certain by now.
async fn find(worker: &Worker, arrival: &Arrival) -> (Found, Option<Endpoint>) {
    let shared = Arc::clone(&worker.shared);
    let proxy = shared.outgoing.via.as_ref().map(|via| Address::from(via.proxy().clone()));
    let is_direct = proxy.is_none();
    let address = proxy.unwrap_or_else(|| arrival.wanted.clone());
    let mut resolving: Found = Box::pin(async move { shared.resolver.resolve(&address).await });
    let early = tokio::time::timeout(OPEN_AT_ONCE, &mut resolving).await.ok();
    let server = match (&arrival.wanted, &early) {
        (Address::Ip(address), _) => Some(Endpoint::Tcp(*address)),
        (Address::Scoped { address, .. }, _) => Some(Endpoint::Tcp((*address).into())),
        (_, Some(Ok(found))) if is_direct && found.len() == 1 => found.first().map(Endpoint::from),
        _ => None,
    };
    match early {
        Some(found) => (Box::pin(std::future::ready(found)), server),
        None => (resolving, server),
    }
}

/// Whether the sinks are to see a connection.
fn is_recorded(worker: &Worker, arrival: &Arrival, server: Option<&Endpoint>) -> bool {
    let filter = &worker.shared.filter;
    if filter.is_empty() {
        return true;
    }
    let destination = arrival.wanted.destination();
    let name = destination.as_ref().and_then(|destination| destination.name());
    filter.matches(Subject {
        names: name.as_slice(),
        ip: server.and_then(Endpoint::socket_addr).map(|address| address.ip()),
        port: destination.as_ref().map(|destination| destination.port()),
    })
}

/// Records the close when the connection's task is done with, even by a panic.
struct Closing<'a> {
    worker: &'a Worker,
    id: ConnectionId,
    tap: &'a ConnectionRecorder,
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
