//! A listening socket and where its clients are connected to.

use std::fmt;
use std::net::SocketAddr;

use super::address::Address;
use super::listen::Listening;
use crate::event::Endpoint;
use crate::net::Socket;

/// A listening socket and where its clients are connected to.
pub struct Route {
    pub(super) listening: Listening,
    pub(super) target: Address,
}

impl Route {
    /// The address listened on, with the real port where port 0 was asked for.
    pub const fn listening(&self) -> &Endpoint {
        &self.listening.endpoint
    }

    /// The address that `client` connected to, which a wildcard address leaves open.
    pub(super) fn listening_towards(&self, client: &Socket) -> Endpoint {
        let wildcard = |address: SocketAddr| address.ip().is_unspecified();
        let own = || client.local_address().ok().flatten().map(Endpoint::Tcp);
        match &self.listening.endpoint {
            endpoint if !endpoint.socket_addr().is_some_and(wildcard) => endpoint.clone(),
            endpoint => own().unwrap_or_else(|| endpoint.clone()),
        }
    }

    /// Where clients are connected to.
    pub const fn target(&self) -> &Address {
        &self.target
    }
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} -> {}", self.listening(), self.target)
    }
}
