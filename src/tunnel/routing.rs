//! Where a client is to be connected to, and who decides it.

use std::fmt;
use std::sync::Arc;

use super::address::Address;
use crate::event::{Endpoint, Process};
use crate::ingress::{Credentials, Destination};

/// How the destination of a listener's clients is found.
///
/// [`Display`](fmt::Display) writes it as the line `listening on ADDRESS -> …` does.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Target {
    /// All are connected to one address.
    Address(Address),
    /// Each names its destination: by SOCKS4, SOCKS4a, SOCKS5 or HTTP CONNECT.
    Proxy {
        /// The user and the password that each has to give, if any.
        credentials: Option<Arc<Credentials>>,
    },
    /// Each is connected to where it was headed before a rule of the firewall (REDIRECT or TPROXY
    /// of netfilter) brought it here.
    Original,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Proxy { .. } => f.write_str("socks5/connect"),
            Self::Original => f.write_str("original destination"),
        }
    }
}

/// What is known of a client when its destination is decided.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Arrival {
    /// The client's address. With the PROXY protocol it is the one that the load balancer names.
    pub client: Endpoint,
    /// The address that the client connected to.
    pub listener: Endpoint,
    /// Where it is to be connected to, unless the [`Route`] decides otherwise: the listener's
    /// target, what the client asked a proxy for, its original destination, or where the program
    /// wanted to connect to.
    pub wanted: Address,
    /// The client's program, where it is known.
    pub process: Option<Process>,
}

/// What becomes of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Decision {
    /// It is connected to this address.
    Connect(Address),
    /// It is rejected: a client of a proxy is told that it is not allowed, any other is reset.
    Reject {
        /// Why, for the log.
        reason: String,
    },
}

/// Decides where each client is connected to. Without one, that is where it
/// [wants](Arrival::wanted) to go.
///
/// It is called on a worker's thread, whose other connections wait meanwhile: it must not block.
/// A function of the right shape is a route, too:
///
/// ```
/// use tcp_tunn::tunnel::{Arrival, Decision, Tunnel};
///
/// let builder = Tunnel::builder("127.0.0.1:0", "db.example:5432").route_by(|arrival: &Arrival| {
///     match arrival.client.socket_addr() {
///         Some(client) if client.ip().is_loopback() => Decision::Connect(arrival.wanted.clone()),
///         _ => Decision::Reject { reason: "only this machine may".to_owned() },
///     }
/// });
/// ```
pub trait Route: Send + Sync + 'static {
    /// Decides on one client.
    fn route(&self, arrival: &Arrival) -> Decision;
}

impl<F: Fn(&Arrival) -> Decision + Send + Sync + 'static> Route for F {
    fn route(&self, arrival: &Arrival) -> Decision {
        self(arrival)
    }
}

impl From<Destination> for Address {
    fn from(destination: Destination) -> Self {
        match destination {
            Destination::Ip(address) => Self::Ip(address),
            Destination::Name { host, port } => Self::Name { host, port },
        }
    }
}

impl Address {
    /// What a proxy is asked for, which knows no unix sockets.
    pub(super) fn destination(&self) -> Option<Destination> {
        match self {
            Self::Ip(address) => Some(Destination::Ip(*address)),
            Self::Scoped { address, .. } => Some(Destination::Ip((*address).into())),
            Self::Name { host, port } => {
                Some(Destination::Name { host: host.clone(), port: *port })
            }
            Self::Any { port } => {
                Some(Destination::Ip((std::net::Ipv4Addr::LOCALHOST, *port).into()))
            }
            Self::Unix(_) => None,
        }
    }
}
