//! How many tunnels of this machine a client's connection may still go through.

use std::net::SocketAddr;

use crate::net::{self, Socket};

/// What a tunnel takes off the hops of a client of the same machine. Such packets meet no router,
/// so that nobody else sees it; sixteen tunnels in a row use up the usual 64.
const COST: u8 = 4;

/// The hops that a client's first packet had left; unknown of one that came from elsewhere.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hops(Option<u8>);

impl Hops {
    pub(super) const fn unknown() -> Self {
        Self(None)
    }

    pub(super) fn left_to(client: &Socket, peer: Option<SocketAddr>) -> Self {
        let is_here = peer.is_some_and(|peer| {
            let own = || client.local_address().ok().flatten();
            peer.ip().is_loopback() || own().is_some_and(|own| own.ip() == peer.ip())
        });
        Self(if is_here { net::hops_left(client) } else { None })
    }

    /// Whether the client comes from so many tunnels that they must go round in a circle.
    pub(super) const fn are_used_up(self) -> bool {
        matches!(self.0, Some(left) if left <= COST)
    }

    /// What the connection to the server gets.
    pub(super) fn for_next(self) -> Option<u8> {
        self.0.map(|left| left.saturating_sub(COST).max(1))
    }
}
