//! Ending TLS in the tunnel: what a session wants done, as the relay does it.

use std::net::IpAddr;
use std::sync::Arc;

use super::routing::Arrival;
use crate::event::{Direction, Endpoint};
use crate::ingress::{Filter, Subject};
use crate::net::Chunk;
use crate::relay::Step;
use crate::tls::{Effects, Passes, Session, TlsEnder, Wanted};

/// How TLS ends in a tunnel.
#[derive(Clone)]
pub(super) struct TlsEnding {
    pub(super) ender: Arc<TlsEnder>,
    /// The servers that are left alone.
    pub(super) pass: Arc<Filter>,
}

impl TlsEnding {
    /// A connection's part of it.
    pub(super) fn session(&self, arrival: &Arrival, server: Option<&Endpoint>) -> Session {
        let destination = arrival.wanted.destination();
        let name = destination.as_ref().and_then(|wanted| wanted.name()).map(str::to_owned);
        let port = destination.as_ref().map(|wanted| wanted.port());
        let ip = server.and_then(Endpoint::socket_addr).map(|address| address.ip());
        let passes = self.passes(name.clone(), ip, port);
        let wanted = Wanted { name, ip, port, passes };
        Session::new(Arc::clone(&self.ender), wanted)
    }

    /// Tells whether a server is left alone, by all that it is called.
    fn passes(&self, wanted: Option<String>, ip: Option<IpAddr>, port: Option<u16>) -> Passes {
        let pass = Arc::clone(&self.pass);
        Box::new(move |sni| {
            let names: Vec<&str> = wanted.as_deref().into_iter().chain(sni).collect();
            !pass.is_empty() && pass.matches(Subject { names: &names, ip, port })
        })
    }
}

/// What a session wants done, as steps of the transform of the direction that it was given
/// something of.
pub(super) fn steps(direction: Direction, effects: Effects) -> Vec<Step<Chunk>> {
    let Effects { to: [to_client, to_server], ends, events, resets, holds, releases } = effects;
    let (forward, reply) = match direction {
        Direction::ClientToServer => (to_server, to_client),
        Direction::ServerToClient => (to_client, to_server),
    };
    let mut steps: Vec<_> = events.into_iter().map(Step::Record).collect();
    // Both are enciphered already, and the order of a leg's records must not change.
    let [reply, forward] = [reply, forward].map(|bytes| Chunk::Bytes(bytes.freeze()));
    steps.push(Step::Exchange(reply, forward));
    if ends[direction.receiver() as usize] {
        steps.push(Step::Finish);
    }
    if resets {
        steps.push(Step::Reset);
    }
    // Behind what this side is sent.
    if releases {
        steps.push(Step::Release);
    }
    if holds {
        steps.push(Step::Hold);
    }
    steps
}
