//! Where a client wants to go.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// The host and port that a client names.
///
/// Written as `IP:PORT`, `[IPv6]:PORT` or `HOST:PORT`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Destination {
    /// An IP address and a port.
    Ip(SocketAddr),
    /// A host's name, to be resolved, and a port.
    Name {
        /// The name: 1 to 255 bytes of letters, digits, `-`, `_`, `.` and characters beyond
        /// ASCII.
        host: String,
        /// The port.
        port: u16,
    },
}

impl Destination {
    /// A destination from a host as text, which may be an IP address, and a port; `None` where no
    /// resolver could know the host.
    pub fn new(host: &str, port: u16) -> Option<Self> {
        if let Ok(ip) = host.parse::<IpAddr>() {
            return Some(Self::Ip((ip, port).into()));
        }
        is_host_name(host).then(|| Self::Name { host: host.to_owned(), port })
    }

    /// A destination from `HOST:PORT`, `IP:PORT` or `[IPv6]:PORT`.
    pub(super) fn from_authority(text: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        // `u16::from_str` takes a sign.
        let is_number = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
        let port = port.parse().ok().filter(|_| is_number)?;
        if let Some(host) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            return Some(Self::Ip((host.parse::<Ipv6Addr>().ok()?, port).into()));
        }
        // An IPv6 address without brackets is ambiguous.
        if host.contains(':') { None } else { Self::new(host, port) }
    }

    /// The port.
    pub const fn port(&self) -> u16 {
        match self {
            Self::Ip(address) => address.port(),
            Self::Name { port, .. } => *port,
        }
    }

    /// The host's name, unless the client named an IP address.
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Ip(_) => None,
            Self::Name { host, .. } => Some(host),
        }
    }

    /// The IP address, unless the client named a host.
    pub const fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Ip(address) => Some(address.ip()),
            Self::Name { .. } => None,
        }
    }
}

impl From<SocketAddr> for Destination {
    fn from(address: SocketAddr) -> Self {
        Self::Ip(address)
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Name { host, port } => write!(f, "{host}:{port}"),
        }
    }
}

/// Whether a resolver could know it (RFC 952 and 1123; the underscore is there in practice).
pub(super) fn is_host_name(host: &str) -> bool {
    let fits = |c: char| {
        c.is_ascii_alphanumeric()
            || "-_.".contains(c)
            || !c.is_ascii() && !c.is_control() && !c.is_whitespace()
    };
    // Only digits and dots is a mistyped IP address, which some resolvers would accept.
    let is_numeric = host.chars().all(|c| c.is_ascii_digit() || c == '.');
    !host.is_empty() && host.len() <= 255 && host.chars().all(fits) && !is_numeric
}
