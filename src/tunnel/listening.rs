//! A listening socket and where its clients are connected to.

use std::fmt;
use std::net::SocketAddr;

use super::address::scoped;
use super::listen::ListeningSocket;
use super::routing::Target;
use crate::event::Endpoint;
use crate::net::Socket;

/// A listening socket of a tunnel, and where its clients are connected to.
pub struct Listening {
    pub(super) socket: ListeningSocket,
    pub(super) target: Target,
    /// Whether each client's bytes begin with a header of the PROXY protocol.
    pub(super) expects_proxy_header: bool,
}

impl Listening {
    /// The address listened on, with the real port where port 0 was asked for.
    pub const fn address(&self) -> &Endpoint {
        &self.socket.endpoint
    }

    /// The address that `client` connected to, which a wildcard address leaves open.
    pub(super) fn address_towards(&self, client: &Socket) -> Endpoint {
        let wildcard = |address: SocketAddr| address.ip().is_unspecified();
        let own = || client.local_address().ok().flatten().map(Endpoint::Tcp);
        match self.address() {
            endpoint if !endpoint.socket_addr().is_some_and(wildcard) => endpoint.clone(),
            endpoint => own().unwrap_or_else(|| endpoint.clone()),
        }
    }

    /// Where clients are connected to.
    pub const fn target(&self) -> &Target {
        &self.target
    }
}

impl fmt::Display for Listening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.address(), &self.socket.interface) {
            (Endpoint::Tcp(SocketAddr::V6(address)), Some(interface)) => {
                write!(f, "{} -> {}", scoped(address, interface), self.target)
            }
            (address, _) => write!(f, "{address} -> {}", self.target),
        }
    }
}

impl fmt::Debug for Listening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}
