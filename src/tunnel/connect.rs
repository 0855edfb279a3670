//! Finding and reaching the upstream of a connection.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::address::Address;
use crate::event::{CloseReason, Connected, Endpoint};
use crate::ring::{self, Socket};

/// A place to connect to.
#[derive(Clone, Debug)]
pub(super) enum Candidate {
    Tcp(SocketAddr),
    Unix(Arc<std::path::Path>),
}

impl From<&Candidate> for Endpoint {
    fn from(candidate: &Candidate) -> Self {
        match candidate {
            Candidate::Tcp(address) => Self::Tcp(*address),
            Candidate::Unix(path) => Self::Unix(Some(Arc::clone(path))),
        }
    }
}

/// The places that a target stands for, in the resolver's order; never none.
pub(super) async fn resolve(target: &Address) -> Result<Vec<Candidate>, CloseReason> {
    match target {
        Address::Ip(address) => Ok(vec![Candidate::Tcp(*address)]),
        Address::Unix(path) => Ok(vec![Candidate::Unix(path.as_path().into())]),
        Address::Name { host, port } => {
            let failed = |message: String| CloseReason::ResolveFailed { message: message.into() };
            let found = tokio::net::lookup_host((host.as_str(), *port)).await;
            let mut candidates: Vec<SocketAddr> =
                found.map_err(|error| failed(error.to_string()))?.collect();
            let mut seen = std::collections::HashSet::new();
            candidates.retain(|address| seen.insert(*address));
            if candidates.is_empty() {
                return Err(failed("it has no address".to_owned()));
            }
            Ok(candidates.into_iter().map(Candidate::Tcp).collect())
        }
    }
}

/// Connects to the first candidate that answers, each within `limit`; the last one's failure
/// when none does. May be dropped at any time.
pub(super) async fn connect(
    candidates: &[Candidate],
    limit: Duration,
) -> Result<(Socket, Connected), CloseReason> {
    let mut reason = CloseReason::ConnectTimeout;
    for candidate in candidates {
        match timeout(limit, connect_when_possible(candidate)).await {
            Ok(Ok(socket)) => return Ok(connected(socket, candidate)),
            Ok(Err(error)) => reason = reason_of(&error),
            Err(_) => reason = CloseReason::ConnectTimeout,
        }
        tracing::debug!("connect to {}: {reason}", Endpoint::from(candidate));
    }
    Err(reason)
}

/// Connects; where descriptors or ports are scarce, as soon as they are not.
async fn connect_when_possible(candidate: &Candidate) -> io::Result<Socket> {
    let mut backoff = Duration::from_millis(10);
    loop {
        let result = match candidate {
            Candidate::Tcp(address) => ring::connect_tcp(*address).await,
            Candidate::Unix(path) => ring::connect_unix(path).await,
        };
        match result {
            Err(error) if is_scarcity(&error) => {
                tracing::debug!("connect to {}: {error}, waiting", Endpoint::from(candidate));
                sleep(backoff).await;
                backoff = (backoff * 2).min(Duration::from_millis(200));
            }
            result => return result,
        }
    }
}

/// Whether the machine, not the upstream, is short of something that may come back. `EAGAIN` is
/// what a unix socket says whose queue of clients is full.
fn is_scarcity(error: &io::Error) -> bool {
    use libc::{EADDRNOTAVAIL, EAGAIN, EMFILE, ENFILE, ENOBUFS, ENOMEM};
    matches!(
        error.raw_os_error(),
        Some(EADDRNOTAVAIL | EAGAIN | EMFILE | ENFILE | ENOBUFS | ENOMEM)
    )
}

fn connected(socket: Socket, candidate: &Candidate) -> (Socket, Connected) {
    let local = socket.local_address().ok().flatten();
    let local = local.map_or(Endpoint::Unix(None), Endpoint::Tcp);
    let server = Endpoint::from(candidate);
    (socket, Connected { server, local })
}

fn reason_of(error: &io::Error) -> CloseReason {
    use libc::{
        ECONNREFUSED, ECONNRESET, EHOSTDOWN, EHOSTUNREACH, ENETDOWN, ENETUNREACH, ETIMEDOUT,
    };
    match error.raw_os_error() {
        Some(ECONNREFUSED | ECONNRESET) => CloseReason::Refused,
        Some(ETIMEDOUT) => CloseReason::ConnectTimeout,
        Some(errno @ (EHOSTUNREACH | ENETUNREACH | ENETDOWN | EHOSTDOWN)) => {
            CloseReason::Unreachable { errno }
        }
        _ => CloseReason::ConnectFailed { message: error.to_string().into() },
    }
}
