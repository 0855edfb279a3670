//! The result of a connect, as the proxy protocols need to know it.

use std::fmt;
use std::io;
use std::net::SocketAddr;

/// The result of the connect that a client asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectReply {
    /// The server was reached.
    Connected {
        /// The tunnel's address toward the server, where it is an IP address.
        local: Option<SocketAddr>,
    },
    /// The server was not reached.
    Failed(ConnectFailure),
}

/// Why a server was not reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ConnectFailure {
    /// No socket of the address's family can be made here.
    AddressFamily,
    /// A rule of the tunnel forbids the destination.
    Forbidden,
    /// The host does not answer, or a router says that there is no way to it.
    HostUnreachable,
    /// There is no route to the network.
    NetworkUnreachable,
    /// Another reason.
    Other,
    /// The server refused the connection.
    Refused,
    /// The host's name could not be resolved.
    ResolveFailed,
    /// The server did not answer in time.
    TimedOut,
}

impl ConnectFailure {
    /// The failure as words: `connection refused`.
    pub const fn words(self) -> &'static str {
        match self {
            Self::AddressFamily => "address family not supported",
            Self::Forbidden => "not allowed",
            Self::HostUnreachable => "host unreachable",
            Self::NetworkUnreachable => "network unreachable",
            Self::Other => "connect failed",
            Self::Refused => "connection refused",
            Self::ResolveFailed => "host not found",
            Self::TimedOut => "connection timed out",
        }
    }
}

impl fmt::Display for ConnectFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.words())
    }
}

impl From<&io::Error> for ConnectFailure {
    fn from(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Self::Refused,
            io::ErrorKind::HostUnreachable => Self::HostUnreachable,
            io::ErrorKind::NetworkUnreachable | io::ErrorKind::NetworkDown => {
                Self::NetworkUnreachable
            }
            io::ErrorKind::TimedOut => Self::TimedOut,
            _ => match error.raw_os_error() {
                Some(libc::EAFNOSUPPORT) => Self::AddressFamily,
                Some(libc::EHOSTDOWN) => Self::HostUnreachable,
                _ => Self::Other,
            },
        }
    }
}
