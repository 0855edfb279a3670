//! Reaching the upstream of a connection.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::address::scoped;
use super::backoff::Backoff;
use crate::event::{CloseReason, Connected, Endpoint};
use crate::net::{self, ConnectOptions, Socket};
use crate::os_error::Sentence;

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

impl fmt::Display for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Self::Tcp(SocketAddr::V6(address)) = self
            && let Some(interface) = net::interface_name(address.scope_id())
        {
            return scoped(address, &interface).fmt(f);
        }
        Endpoint::from(self).fmt(f)
    }
}

/// Connects to the first candidate that answers, each within `limit`; the last one's failure
/// when none does. May be dropped at any time.
pub(super) async fn connect(
    candidates: &[Candidate],
    limit: Duration,
    options: ConnectOptions,
) -> Result<(Socket, Connected), CloseReason> {
    let mut reason = CloseReason::ConnectTimeout;
    for candidate in candidates {
        match timeout(limit, connect_when_possible(candidate, options)).await {
            Ok(Ok(socket)) => return Ok(connected(socket, candidate)),
            Ok(Err(error)) => reason = reason_of(&error),
            Err(_) => reason = CloseReason::ConnectTimeout,
        }
        tracing::debug!("connect to {candidate}: {reason}");
    }
    Err(reason)
}

/// Connects; where descriptors or ports are scarce, as soon as they are not.
async fn connect_when_possible(
    candidate: &Candidate,
    options: ConnectOptions,
) -> io::Result<Socket> {
    let mut backoff = Backoff::default();
    loop {
        let result = match candidate {
            Candidate::Tcp(address) => {
                let hops = options.hops.filter(|_| net::is_own_address(address.ip()));
                net::connect_tcp(*address, ConnectOptions { hops, ..options }).await
            }
            Candidate::Unix(path) => net::connect_unix(path).await,
        };
        match result {
            Err(error) if is_scarcity(&error, candidate) => {
                tracing::debug!("connect to {candidate}: {}, waiting", Sentence(&error));
                backoff.wait().await;
            }
            result => return result,
        }
    }
}

/// Whether the machine, not the upstream, is short of something that may come back. `EAGAIN` is
/// what a unix socket says whose queue of clients is full.
fn is_scarcity(error: &io::Error, candidate: &Candidate) -> bool {
    use libc::{EADDRNOTAVAIL, EAGAIN, EMFILE, ENFILE, ENOBUFS, ENOMEM};
    match (error.raw_os_error(), candidate) {
        (Some(EAGAIN | EMFILE | ENFILE | ENOBUFS | ENOMEM), _) => true,
        (Some(EADDRNOTAVAIL), Candidate::Tcp(address)) => net::can_send_to(*address),
        _ => false,
    }
}

fn connected(socket: Socket, candidate: &Candidate) -> (Socket, Connected) {
    let local = socket.local_address().ok().flatten();
    let local = local.map_or(Endpoint::Unix(None), Endpoint::Tcp);
    let server = Endpoint::from(candidate);
    (socket, Connected { server, local })
}

fn reason_of(error: &io::Error) -> CloseReason {
    use libc::{
        EADDRNOTAVAIL, EAFNOSUPPORT, ECONNREFUSED, ECONNRESET, EHOSTDOWN, EHOSTUNREACH, ENETDOWN,
        ENETUNREACH, ETIMEDOUT,
    };
    match error.raw_os_error() {
        Some(ECONNREFUSED | ECONNRESET) => CloseReason::Refused,
        Some(ETIMEDOUT) => CloseReason::ConnectTimeout,
        Some(
            errno @ (EADDRNOTAVAIL | EAFNOSUPPORT | EHOSTDOWN | EHOSTUNREACH | ENETDOWN
            | ENETUNREACH),
        ) => CloseReason::Unreachable { errno },
        _ => CloseReason::ConnectFailed { message: Sentence(error).to_string().into() },
    }
}
