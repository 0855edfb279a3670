//! The life of one connection, from accept to close.

use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::connect::{Candidate, connect};
use super::counters::Passed;
use super::relay::Relay;
use super::stop::Phase;
use super::worker::Worker;
use crate::event::{
    CloseReason, ConnectionId, Direction, Endpoint, EventKind, Open, Side, Timestamp,
};
use crate::net::Socket;
use crate::sink::{Tap, words_of};
use crate::transform::{Codec, Pair};

/// How long a name may take to resolve before the opening is recorded without its address.
const OPEN_AT_ONCE: Duration = Duration::from_millis(20);

/// Serves one client to its end, and records all of it.
pub(super) async fn serve(
    worker: &Rc<Worker>,
    route: usize,
    id: ConnectionId,
    client: Socket,
    peer: Option<SocketAddr>,
    accepted: Timestamp,
) {
    let shared = &worker.shared;
    let route = &shared.routes[route];
    let passed = worker.counters().opened(id);

    let resolving = shared.resolver.resolve(&route.target);
    tokio::pin!(resolving);
    let early = tokio::time::timeout(OPEN_AT_ONCE, &mut resolving).await.ok();
    let known = early.as_ref().and_then(|found| match found.as_deref() {
        Ok([only]) => Some(Endpoint::from(only)),
        _ => None,
    });
    let open = Arc::new(Open {
        client: peer.map_or(Endpoint::Unix(None), Endpoint::Tcp),
        listener: route.listening_towards(&client),
        target: route.target.to_string().into(),
        server: known,
    });
    let tap = Tap::open(shared.recorder.clone(), id, accepted, Arc::clone(&open)).await;

    let found = async {
        match early {
            Some(found) => found,
            None => resolving.await,
        }
    };
    let reason = CloseReason::Internal;
    let mut closing = Closing { worker, id, tap: &tap, client: &client, passed: &passed, reason };
    let reached = async {
        let (server, connected) = reach(worker, &client, found).await?;
        server.set_nodelay();
        tap.lifecycle(shared.clock.now(), EventKind::Connected(Arc::new(connected)));
        let pair = pair(shared.codec.as_deref(), id, &open).inspect_err(|_| server.abort())?;
        Ok(Relay::new(worker, &tap, &passed, client.clone(), server).run(pair).await)
    };
    closing.reason = reached.await.unwrap_or_else(|reason| reason);
    tracing::debug!("connection {id}: {}", closing.reason);
}

/// The transforms of a connection; a codec that panics harms no other.
fn pair(codec: Option<&dyn Codec>, id: ConnectionId, open: &Open) -> Result<Pair, CloseReason> {
    let Some(codec) = codec else { return Ok(Pair::default()) };
    catch_unwind(AssertUnwindSafe(|| codec.pair(id, open))).map_err(|panic| {
        let message = format!("the codec panicked: {}", words_of(&*panic)).into();
        CloseReason::Transform { direction: Direction::ClientToServer, message }
    })
}

/// Connects to the upstream, unless the client gives up or the tunnel is to end before.
async fn reach(
    worker: &Worker,
    client: &Socket,
    found: impl Future<Output = Result<Vec<Candidate>, CloseReason>>,
) -> Result<(Socket, crate::event::Connected), CloseReason> {
    let limit = worker.shared.limits.connect_timeout;
    let reaching = async { connect(&found.await?, limit).await };
    tokio::select! {
        biased;
        result = reaching => result,
        Ok(_) = client.failure() => Err(CloseReason::Reset { by: Side::Client }),
        () = worker.shared.phases.reached(Phase::Ending) => Err(CloseReason::Stopped),
    }
}

/// Records the close when the connection's task is done with, even by a panic.
struct Closing<'a> {
    worker: &'a Worker,
    id: ConnectionId,
    tap: &'a Tap,
    client: &'a Socket,
    passed: &'a Passed,
    reason: CloseReason,
}

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        let reason = self.reason.clone();
        if !reason.is_clean() {
            // Never a clean end of stream: the client shall see, say, that nobody was there.
            self.client.abort();
        }
        let now = self.worker.shared.clock.now();
        let totals = self.passed.totals();
        self.tap.lifecycle(now, EventKind::Close { reason, totals });
        self.worker.counters().closed(self.id);
    }
}
