//! What happened on a connection, as plain data.
//!
//! This module does no I/O and reads no clock: every other layer can know it without knowing
//! anything else. The guarantees that hold over a whole series of events stand in the
//! [crate documentation](crate#the-event-contract).

mod info;
mod side;
mod tls;
mod verdict;

use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

pub use info::{Info, TcpInfo};
pub use side::{Direction, Leg, Side, View};
pub use tls::{Tls, TlsState, Views};
pub use verdict::{Bound, Part, Phase, Request, TimeSpent, Verdict};

use crate::os_error::Sentence;

/// The number of a connection: 1 for the first that a tunnel accepted, then counting up.
///
/// The same number stands on the console, in the capture's comments and in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A moment in nanoseconds since 1970-01-01 00:00 UTC, leap seconds not counted.
///
/// Taken from the real-time clock once, at the start of a tunnel, and from the monotonic clock
/// ever after: a step of the system's clock never makes two of them change places.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// The whole seconds and the nanoseconds within the second.
    pub const fn seconds_and_nanos(self) -> (u64, u32) {
        (self.0 / 1_000_000_000, (self.0 % 1_000_000_000) as u32)
    }

    /// Nanoseconds from `earlier` to `self`, 0 where `earlier` is in fact the later one.
    pub const fn nanos_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// Where one end of a socket is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// An IPv4 or IPv6 address with a port.
    Tcp(SocketAddr),
    /// A unix socket, and its path where it has one (the connecting end has none).
    Unix(Option<Arc<Path>>),
}

impl Endpoint {
    /// The IP address and port, if it has one.
    pub const fn socket_addr(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }
}

impl From<SocketAddr> for Endpoint {
    fn from(address: SocketAddr) -> Self {
        Self::Tcp(address)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(Some(path)) => write!(f, "unix:{}", path.display()),
            Self::Unix(None) => f.write_str("unix:"),
        }
    }
}

/// A program on this machine.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Process {
    /// Its process number, as the tunnel sees it.
    pub pid: u32,
    /// Its name: the program's file name, of which the kernel keeps 15 bytes, unless the program
    /// changed it.
    pub name: Arc<str>,
}

impl Process {
    /// The process of a number and a name.
    pub fn new(pid: u32, name: impl Into<Arc<str>>) -> Self {
        Self { pid, name: name.into() }
    }
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (process {})", self.name, self.pid)
    }
}

/// What is known of a connection when it is accepted, or, where the client names its destination,
/// when it has done so.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Open {
    /// The client's own address.
    pub client: Endpoint,
    /// The tunnel's address that the client connected to.
    pub listener: Endpoint,
    /// Where the tunnel will connect to, as the user wrote it: `example.com:80`.
    pub target: Arc<str>,
    /// The target's address where it has exactly one, so that it is certain before the connect.
    pub server: Option<Endpoint>,
    /// The client's program, where it is known by now.
    pub process: Option<Process>,
}

impl Open {
    /// An opening of which no more is known than where it comes from and goes to.
    pub fn new(client: Endpoint, listener: Endpoint, target: impl Into<Arc<str>>) -> Self {
        Self { client, listener, target: target.into(), server: None, process: None }
    }

    /// The same with the address of the server, or none.
    #[must_use]
    pub fn server(mut self, server: impl Into<Option<Endpoint>>) -> Self {
        self.server = server.into();
        self
    }

    /// The same with the client's program, or none.
    #[must_use]
    pub fn process(mut self, process: impl Into<Option<Process>>) -> Self {
        self.process = process.into();
        self
    }
}

/// What is known of a connection when its upstream has answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connected {
    /// The address that answered.
    pub server: Endpoint,
    /// The tunnel's own address toward the server.
    pub local: Endpoint,
}

/// How many bytes of one direction passed each leg.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Bytes received from the sender.
    pub received: u64,
    /// Bytes that the receiver's socket took.
    pub sent: u64,
}

/// The totals of both directions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BothTotals {
    /// What the client said.
    pub client_to_server: Totals,
    /// What the server said.
    pub server_to_client: Totals,
}

impl BothTotals {
    /// The totals of one direction.
    pub const fn get(&self, direction: Direction) -> Totals {
        match direction {
            Direction::ClientToServer => self.client_to_server,
            Direction::ServerToClient => self.server_to_client,
        }
    }

    /// The totals of one direction, to be changed.
    pub const fn get_mut(&mut self, direction: Direction) -> &mut Totals {
        match direction {
            Direction::ClientToServer => &mut self.client_to_server,
            Direction::ServerToClient => &mut self.server_to_client,
        }
    }
}

/// How far a connection that is open has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Which it is.
    pub connection: ConnectionId,
    /// How long ago it was accepted.
    pub open_for: Duration,
    /// What passed through it so far.
    pub totals: BothTotals,
}

/// Why a connection ended, and by whom.
///
/// [`Display`](fmt::Display) gives a sentence for people, [`name`](Self::name) a stable word for
/// programs.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CloseReason {
    /// Both sides ended their direction with FIN.
    Finished {
        /// Whose FIN came first.
        first: Side,
    },
    /// A peer sent RST; the other was sent RST too.
    Reset {
        /// Who sent it.
        by: Side,
    },
    /// The upstream answered the connect with RST; so was the client's answered.
    Refused,
    /// The upstream did not answer within the connect time-out.
    ConnectTimeout,
    /// The network says that there is no way to the upstream.
    Unreachable {
        /// The operating system's error number (`EHOSTUNREACH`, `ENETUNREACH`, ...).
        errno: i32,
    },
    /// The upstream's name could not be resolved.
    ResolveFailed {
        /// What the resolver said.
        message: Arc<str>,
    },
    /// The connect failed in another way.
    ConnectFailed {
        /// What the operating system said.
        message: Arc<str>,
    },
    /// The server's address leads back to the tunnel itself.
    Loop,
    /// Nothing was said for the idle time-out.
    IdleTimeout,
    /// One side ended its direction and the other went silent for the half-close time-out.
    HalfCloseTimeout,
    /// The tunnel was stopped while the connection was open.
    Stopped,
    /// A socket failed in another way than by RST.
    Failed {
        /// Whose socket.
        side: Side,
        /// The operating system's error number.
        errno: i32,
    },
    /// A transform ended the connection, or failed.
    Transform {
        /// Which direction's transform.
        direction: Direction,
        /// What it said.
        message: Arc<str>,
    },
    /// The tunnel's own task for the connection failed: a bug, please report it, unless it was a
    /// transform that panicked while it was dropped.
    Internal,
}

impl CloseReason {
    /// A stable name for programs, in kebab case: `finished`, `reset`, `refused`, ...
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Finished { .. } => "finished",
            Self::Reset { .. } => "reset",
            Self::Refused => "refused",
            Self::ConnectTimeout => "connect-timeout",
            Self::Unreachable { .. } => "unreachable",
            Self::ResolveFailed { .. } => "resolve-failed",
            Self::ConnectFailed { .. } => "connect-failed",
            Self::Loop => "loop",
            Self::IdleTimeout => "idle-timeout",
            Self::HalfCloseTimeout => "half-close-timeout",
            Self::Stopped => "stopped",
            Self::Failed { .. } => "failed",
            Self::Transform { .. } => "transform",
            Self::Internal => "internal",
        }
    }

    /// The peer that ended the connection, `None` where the tunnel or the network did.
    pub const fn by(&self) -> Option<Side> {
        match self {
            Self::Finished { first } => Some(*first),
            Self::Reset { by } => Some(*by),
            Self::Refused => Some(Side::Server),
            Self::Failed { side, .. } => Some(*side),
            _ => None,
        }
    }

    /// Whether both peers said all they had to say.
    pub const fn is_clean(&self) -> bool {
        matches!(self, Self::Finished { .. })
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Finished { first } => write!(f, "finished, the {first} first"),
            Self::Reset { by } => write!(f, "reset by the {by}"),
            Self::Refused => f.write_str("refused by the server"),
            Self::ConnectTimeout => f.write_str("the server did not answer in time"),
            Self::Unreachable { errno } => write!(f, "server unreachable: {}", os(*errno)),
            Self::ResolveFailed { message } => write!(f, "server name not resolved: {message}"),
            Self::ConnectFailed { message } => write!(f, "connect failed: {message}"),
            Self::Loop => f.write_str("ended by tcp_tunn: the server's address leads back to it"),
            Self::IdleTimeout => f.write_str("ended by tcp_tunn: idle time-out"),
            Self::HalfCloseTimeout => f.write_str("ended by tcp_tunn: half-close time-out"),
            Self::Stopped => f.write_str("ended by tcp_tunn: it was stopped"),
            Self::Failed { side, errno } => {
                write!(f, "the {side}'s connection failed: {}", os(*errno))
            }
            Self::Transform { direction, message } => {
                write!(f, "ended by the {}'s transform: {message}", direction.sender())
            }
            Self::Internal => f.write_str("ended by tcp_tunn: internal error"),
        }
    }
}

/// What the operating system's error `errno` means.
fn os(errno: i32) -> String {
    Sentence(&std::io::Error::from_raw_os_error(errno)).to_string()
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EventKind {
    /// A client was accepted.
    Open(Arc<Open>),
    /// The client's program was found, some time after `Open`, which did not name it. Sinks get it
    /// that [ask](crate::sink::Interest::process) for it.
    Process(Process),
    /// The upstream answered.
    Connected(Arc<Connected>),
    /// Bytes passed one of the legs.
    Data {
        /// Which way they travel.
        direction: Direction,
        /// At which socket they were seen.
        leg: Leg,
        /// Whether they are the sockets' own or what TLS carried.
        view: View,
        /// How many bytes of this direction, leg and view came before.
        offset: u64,
        /// The bytes, never none. All sinks share this one copy.
        bytes: Bytes,
    },
    /// A TLS handshake was understood, or TLS stays closed. At most one of each kind comes for a
    /// handshake; sinks get it that [ask](crate::sink::Interest::views) for plaintext.
    Tls(Arc<Tls>),
    /// Lines of a key log for this connection, each without a line feed. They come before the
    /// first plaintext that needs them; sinks get them that ask for plaintext.
    Secrets(Arc<[String]>),
    /// The sender of a direction said that it is done (FIN), and the receiver was told.
    Shutdown {
        /// Which direction ended.
        direction: Direction,
        /// Whether the socket's stream ended, or the one that TLS carried.
        view: View,
        /// All that was said in it.
        totals: Totals,
    },
    /// What the kernel knows of one leg's socket: when the server was reached, at each sample
    /// where something has changed since, and at the end. Sinks get it that
    /// [ask](crate::sink::Interest::info) for it.
    Info(Arc<Info>),
    /// Where the connection's time went. It comes once, before `Close`, to sinks that
    /// [ask](crate::sink::Interest::verdict) for it.
    Verdict(Arc<Verdict>),
    /// The connection ended.
    Close {
        /// Why, and by whom.
        reason: CloseReason,
        /// All that was said.
        totals: BothTotals,
    },
}

/// One thing that happened on one connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// On which connection.
    pub connection: ConnectionId,
    /// When the I/O completed, not when a sink got to it.
    pub time: Timestamp,
    /// What happened.
    pub kind: EventKind,
}
