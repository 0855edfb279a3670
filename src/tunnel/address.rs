//! An address to listen on or to connect to, and what can be wrong with one.

use std::convert::Infallible;
use std::ffi::OsString;
use std::fmt;
use std::net::{SocketAddr, SocketAddrV6};
use std::path::PathBuf;

use thiserror::Error;

/// Where to listen or to connect to.
///
/// | written | means |
/// |---|---|
/// | `IP:PORT`, `[IPv6]:PORT` | an IP address |
/// | `[IPv6%eth0]:PORT` | a link-local one, with its interface |
/// | `HOST:PORT` | a name, which is resolved whenever it is used |
/// | `PORT` | a port of 127.0.0.1 |
/// | `:PORT`, `*:PORT` | to listen: all addresses of this machine; to connect to: this machine |
/// | `SCHEME://[USER[:PASS]@]HOST[:PORT][/PATH]` | the host, by default at the scheme's port |
/// | `unix:/path` | a unix socket; any bytes make a path |
///
/// ```
/// use tcp_tunn::tunnel::Address;
///
/// let address: Address = "[::1]:8080".parse().unwrap();
/// assert_eq!(address.to_string(), "[::1]:8080");
/// let address: Address = "https://me:secret@example.com/path".parse().unwrap();
/// assert_eq!(address.to_string(), "example.com:443");
/// assert!("example.com".parse::<Address>().is_err(), "no port");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Address {
    /// An IP address and a port.
    Ip(SocketAddr),
    /// A link-local IPv6 address, and its interface by name.
    Scoped {
        /// The address and the port; its scope is the interface's number.
        address: SocketAddrV6,
        /// The interface, as it was written.
        interface: String,
    },
    /// A host name, resolved whenever it is used, and a port.
    Name {
        /// The host's name.
        host: String,
        /// The port.
        port: u16,
    },
    /// A port: of all addresses of this machine to listen on, of 127.0.0.1 to connect to.
    Any {
        /// The port.
        port: u16,
    },
    /// The path of a unix socket.
    Unix(PathBuf),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Scoped { address, interface } => scoped(address, interface).fmt(f),
            Self::Name { host, port } => write!(f, "{host}:{port}"),
            Self::Any { port } => write!(f, "*:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// The address with the name of its interface, not the number.
pub(super) fn scoped(address: &SocketAddrV6, interface: &str) -> impl fmt::Display {
    format!("[{}%{interface}]:{}", address.ip(), address.port())
}

/// An address that makes no sense. Its text names the address and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("invalid address '{input}': {problem}")]
pub struct AddressError {
    input: String,
    problem: AddressProblem,
}

impl AddressError {
    pub(super) const fn new(input: String, problem: AddressProblem) -> Self {
        Self { input, problem }
    }

    /// The address as it was given, without a user and a password.
    pub fn input(&self) -> &str {
        &self.input
    }

    /// What is wrong with it. Its text does not repeat the address.
    pub const fn problem(&self) -> &AddressProblem {
        &self.problem
    }
}

/// What is wrong with an address, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AddressProblem {
    /// There is no port.
    #[error("missing port (try '{host}:80')")]
    MissingPort {
        /// What was given, which probably is the host.
        host: String,
    },
    /// The port is not a number from 0 to 65535.
    #[error("invalid port '{port}' (expected 1 to 65535)")]
    BadPort {
        /// The part of the address that should be the port.
        port: String,
    },
    /// The address is a number that no port can have.
    #[error("the port is too large (expected 1 to 65535)")]
    LargePort,
    /// Port 0 cannot be connected to.
    #[error("port 0 is for listeners only (expected 1 to 65535)")]
    ZeroPort,
    /// An IPv6 address without brackets, whose port cannot be told from its last group.
    #[error("missing brackets around the IPv6 address (try '[{suggested}]:{port}')")]
    MissingBrackets {
        /// What probably is the address.
        suggested: String,
        /// What probably is the port.
        port: u16,
    },
    /// The host is empty.
    #[error("missing host (expected an IP address or a name)")]
    MissingHost,
    /// The host cannot be a host's name.
    #[error("invalid host '{host}' (expected an IP address or a name)")]
    BadHost {
        /// The part of the address that should be the host.
        host: String,
    },
    /// There is a space in it.
    #[error("no space is allowed (remove it)")]
    Space,
    /// There is no interface of this name.
    #[error("unknown interface '{name}' (try 'ip link')")]
    UnknownInterface {
        /// The name after the `%`.
        name: String,
    },
    /// A scheme that has no port that is known here.
    #[error("missing port (try '{scheme}://HOST:PORT')")]
    UnknownScheme {
        /// What stands before `://`.
        scheme: String,
    },
    /// `unix:` without a path.
    #[error("missing path (try 'unix:/run/name.sock')")]
    MissingPath,
    /// A path that is too long for a socket.
    #[error(
        "the path has {len} bytes (a socket's has at most {MAX_PATH}; try a shorter one, or one \
         relative to where this runs)"
    )]
    LongPath {
        /// The path's length in bytes.
        len: usize,
    },
    /// It is not UTF-8, as all but the path of a unix socket has to be.
    #[error("not UTF-8 (only the path of 'unix:/path' may be so)")]
    NotUtf8,
}

impl From<Infallible> for AddressError {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

/// What `sockaddr_un` has room for, without the NUL at the end (unix(7)).
pub(super) const MAX_PATH: usize = 107;

impl Address {
    /// The same, if it can be connected to.
    ///
    /// # Errors
    ///
    /// The port is 0, which only a listener may have.
    pub fn into_target(self) -> Result<Self, AddressError> {
        match self {
            Self::Ip(address) if address.port() != 0 => Ok(self),
            Self::Scoped { address, .. } if address.port() != 0 => Ok(self),
            Self::Ip(_)
            | Self::Scoped { .. }
            | Self::Name { port: 0, .. }
            | Self::Any { port: 0 } => {
                Err(AddressError::new(self.to_string(), AddressProblem::ZeroPort))
            }
            target => Ok(target),
        }
    }
}

impl TryFrom<OsString> for Address {
    type Error = AddressError;

    fn try_from(input: OsString) -> Result<Self, AddressError> {
        input.as_os_str().try_into()
    }
}

impl TryFrom<&str> for Address {
    type Error = AddressError;

    fn try_from(input: &str) -> Result<Self, AddressError> {
        input.parse()
    }
}

impl TryFrom<&String> for Address {
    type Error = AddressError;

    fn try_from(input: &String) -> Result<Self, AddressError> {
        input.parse()
    }
}

impl TryFrom<String> for Address {
    type Error = AddressError;

    fn try_from(input: String) -> Result<Self, AddressError> {
        input.parse()
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self::Ip(address)
    }
}

impl From<&Self> for Address {
    fn from(address: &Self) -> Self {
        address.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn port_zero_is_for_listeners() {
        for zero in ["127.0.0.1:0", "[fe80::1%lo]:0", "h:0", ":0"] {
            let address: Address = zero.parse().expect(zero);
            let error = address.into_target().expect_err(zero);
            assert_eq!(error.problem(), &AddressProblem::ZeroPort, "{zero}");
        }
    }
}
