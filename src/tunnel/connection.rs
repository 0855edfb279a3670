//! The life of one connection, from accept to close.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::connect::{Candidate, connect, resolve};
use super::relay::Relay;
use super::stop::Phase;
use super::worker::Worker;
use crate::event::{
    BothTotals, CloseReason, ConnectionId, Endpoint, EventKind, Open, Side, Timestamp,
};
use crate::ring::Socket;
use crate::sink::Tap;

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
    worker.counters().opened();

    let resolving = resolve(&route.target);
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
    let mut closing = Closing { worker, tap: &tap, close: None };
    closing.close = Some((CloseReason::Internal, BothTotals::default()));
    let close = match reach(worker, &client, found).await {
        Ok((server, connected)) => {
            server.set_nodelay();
            tap.lifecycle(shared.clock.now(), EventKind::Connected(Arc::new(connected)));
            let pair = shared.codec.as_ref().map(|codec| codec.pair(id, &open));
            Relay::new(worker, &tap, client, server).run(pair.unwrap_or_default()).await
        }
        Err(reason) => {
            // Never a clean end of stream: the client shall see that nobody was there.
            client.abort();
            (reason, BothTotals::default())
        }
    };
    tracing::debug!("connection {id}: {}", close.0);
    closing.close = Some(close);
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
        Ok(()) = client.reset_seen() => Err(CloseReason::Reset { by: Side::Client }),
        () = worker.shared.phases.reached(Phase::Ending) => Err(CloseReason::Stopped),
    }
}

/// Records the close when the connection's task is done with, even by a panic.
struct Closing<'a> {
    worker: &'a Worker,
    tap: &'a Tap,
    close: Option<(CloseReason, BothTotals)>,
}

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        if let Some((reason, totals)) = self.close.take() {
            let now = self.worker.shared.clock.now();
            self.tap.lifecycle(now, EventKind::Close { reason, totals });
            self.worker.counters().closed();
        }
    }
}
