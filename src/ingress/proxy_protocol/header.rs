//! What a header says.

use super::super::handshake::Rejection;
use crate::event::Endpoint;

pub(super) const PROTOCOL: &str = "PROXY protocol";

/// What a PROXY protocol header says of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProxyHeader {
    /// The connection's own endpoints are the real ones: the load balancer connects by itself, as
    /// for a health check (`LOCAL`), or does not tell (`UNKNOWN`).
    Direct,
    /// The load balancer connects for a client.
    Proxied {
        /// The client.
        source: Endpoint,
        /// The address that the client connected to.
        destination: Endpoint,
    },
}

/// The header at the start of some bytes, and its length.
pub(super) type Found = (ProxyHeader, usize);

pub(super) const fn malformed(what: &'static str) -> Rejection {
    Rejection::Malformed { protocol: PROTOCOL, what }
}
