//! Reaching the server of a connection, and telling its client.

use std::fmt::Display;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::rc::Rc;

use bytes::Bytes;

use super::address::Address;
use super::answer::{Answer, Failure};
use super::connect::{Candidate, connect};
use super::handshaking::{Failed, shake_hands, write};
use super::hops::Hops;
use super::routing::Arrival;
use super::shared::Worker;
use crate::event::{CloseReason, Connected, Endpoint, Side};
use crate::ingress::{Rejection, Via, encode_proxy_header};
use crate::net::{ConnectOptions, Socket};

/// A server that was reached.
pub(super) struct Reached {
    pub(super) client: Socket,
    pub(super) server: Socket,
    pub(super) connected: Connected,
    /// What each side has sent already, by side.
    pub(super) before: [Bytes; 2],
}

/// A server whose client may still leave, and which is reset then.
struct Unclaimed {
    server: Socket,
    is_claimed: bool,
}

impl Unclaimed {
    fn claim(mut self) -> Socket {
        self.is_claimed = true;
        self.server.clone()
    }
}

impl Drop for Unclaimed {
    fn drop(&mut self) {
        if !self.is_claimed {
            self.server.abort();
        }
    }
}

/// Why a server was not reached, and whether the client has an answer that says so.
pub(super) struct Unreached {
    pub(super) reason: CloseReason,
    pub(super) is_answered: bool,
}

/// What the resolver says of a name.
pub(super) type Found = Pin<Box<dyn Future<Output = Result<Vec<Candidate>, CloseReason>>>>;

/// A server to be reached.
pub(super) struct Reach {
    pub(super) worker: Rc<Worker>,
    pub(super) arrival: Arrival,
    pub(super) answer: Answer,
    pub(super) hops: Hops,
    /// The number of the listening socket that its client came by.
    pub(super) listening: Option<usize>,
    /// The places to connect to: the server's, or those of a proxy on the way.
    pub(super) found: Found,
    /// The address that is held for the connection.
    pub(super) source: Option<(OwnedFd, SocketAddr)>,
}

impl Reach {
    /// Reaches the server and tells the client. May be dropped at any time.
    pub(super) async fn run(mut self) -> Result<Reached, Unreached> {
        let worker = Rc::clone(&self.worker);
        match self.server().await {
            Ok((server, connected, server_before)) => {
                let Ok(client) = self.answer.accept(&worker, &connected).await else {
                    let reason = CloseReason::Reset { by: Side::Client };
                    return Err(Unreached { reason, is_answered: false });
                };
                let server = server.claim();
                if let Some(after) = worker.shared.outgoing.keepalive {
                    client.set_keepalive(after);
                    server.set_keepalive(after);
                }
                let before = [std::mem::take(&mut self.answer.before), server_before];
                Ok(Reached { client, server, connected, before })
            }
            Err(failure) => {
                let is_answered = self.answer.fail(&worker, &failure).await;
                Err(Unreached { reason: failure.reason, is_answered })
            }
        }
    }

    /// The server's socket, and what it has sent behind a proxy's reply.
    async fn server(&mut self) -> Result<(Unclaimed, Connected, Bytes), Failure> {
        let shared = &self.worker.shared;
        let (outgoing, limit) = (&shared.outgoing, shared.limits.connect_timeout);
        let found = self.found.as_mut().await.map_err(|reason| self.blame_proxy(reason))?;
        let found = shared.without_loops(self.listening, found, self.hops)?;
        // A proxy may be elsewhere.
        let held = self.source.as_ref().map(|(_, source)| *source);
        let source = held.filter(|_| outgoing.via.is_none()).or(outgoing.bind);
        let options = ConnectOptions { hops: self.hops.for_next(), source };
        let connected = connect(&found, limit, options).await;
        let (server, mut connected) = connected.map_err(|reason| self.blame_proxy(reason))?;
        let unclaimed = Unclaimed { server: server.clone(), is_claimed: false };
        let mut before = Bytes::new();
        if let Some(via) = &outgoing.via {
            before = self.through(via, &server).await?;
            match self.arrival.wanted {
                Address::Ip(address) => connected.server = Endpoint::Tcp(address),
                Address::Scoped { address, .. } => connected.server = Endpoint::Tcp(address.into()),
                _ => {}
            }
        }
        if let Some(version) = outgoing.send_proxy {
            let Arrival { client, listener, .. } = &self.arrival;
            let header = encode_proxy_header(version, client, listener);
            write(&self.worker, &server, header.into())
                .await
                .map_err(|error| connect_failed(&error))?;
        }
        Ok((unclaimed, connected, before))
    }

    /// Has a proxy reach the server; what the server has sent already.
    async fn through(&self, via: &Via, proxy: &Socket) -> Result<Bytes, Failure> {
        let wanted = self.arrival.wanted.destination();
        let wanted = wanted.ok_or_else(|| connect_failed(&"a proxy reaches no unix socket"))?;
        let mut handshake = via.handshake(&wanted);
        let failed = match shake_hands(&self.worker, proxy, &mut handshake).await {
            Ok((_, leftover)) => return Ok(leftover),
            Err(failed) => failed,
        };
        Err(match failed {
            Failed::Rejected { reason: reason @ Rejection::ProxySaid { .. }, .. } => {
                let proxy_said = Some(reason.failure());
                Failure { proxy_said, ..connect_failed(&reason).into() }
            }
            Failed::Rejected { reason, .. } => connect_failed(&unusable(via, &reason)).into(),
            Failed::Io(error) => connect_failed(&unusable(via, &error)).into(),
        })
    }

    /// Names the proxy in a failure to resolve or reach what comes first on the way.
    fn blame_proxy(&self, reason: CloseReason) -> CloseReason {
        match (&self.worker.shared.outgoing.via, reason) {
            // Its own words speak of the server.
            (Some(via), CloseReason::Refused) => {
                connect_failed(&unusable(via, &"connection refused"))
            }
            (Some(via), reason) => connect_failed(&unusable(via, &reason)),
            (None, reason) => reason,
        }
    }
}

/// The message for a proxy that could not be reached or did not speak its protocol.
fn unusable(via: &Via, what: &impl Display) -> String {
    format!("the proxy {via} cannot be used: {what}")
}

fn connect_failed(message: &impl ToString) -> CloseReason {
    CloseReason::ConnectFailed { message: message.to_string().into() }
}
