//! Who speaks, which way, and where the bytes were seen.

use std::fmt;
use std::ops::Not;

/// One of the two peers that talk through the tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// Who connected to the tunnel.
    Client,
    /// Whom the tunnel connected to.
    Server,
}

impl Not for Side {
    type Output = Self;

    fn not(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}

impl Side {
    /// `client` or `server`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Server => "server",
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Which way bytes travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// What the client says.
    ClientToServer,
    /// What the server says.
    ServerToClient,
}

impl Direction {
    /// The direction in which `side` speaks.
    pub const fn from(side: Side) -> Self {
        match side {
            Side::Client => Self::ClientToServer,
            Side::Server => Self::ServerToClient,
        }
    }

    /// Who speaks in this direction.
    pub const fn sender(self) -> Side {
        match self {
            Self::ClientToServer => Side::Client,
            Self::ServerToClient => Side::Server,
        }
    }

    /// Who listens in this direction.
    pub const fn receiver(self) -> Side {
        match self {
            Self::ClientToServer => Side::Server,
            Self::ServerToClient => Side::Client,
        }
    }
}

impl From<Side> for Direction {
    fn from(side: Side) -> Self {
        Self::from(side)
    }
}

impl Not for Direction {
    type Output = Self;

    fn not(self) -> Self {
        Self::from(self.receiver())
    }
}

/// At which of the tunnel's two sockets bytes were seen.
///
/// Without a transform both legs carry the same bytes; they differ in time, and that difference
/// is how long the tunnel and the receiver took.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Leg {
    /// As received from the sender of the direction.
    Received,
    /// As sent on to the receiver, recorded when the receiver's socket had taken it all.
    Sent,
}

impl Leg {
    /// At which leg bytes of a direction pass the socket that the tunnel has toward `side`.
    pub fn at(side: Side, direction: Direction) -> Self {
        if direction.sender() == side { Self::Received } else { Self::Sent }
    }

    /// Toward which side the socket is at which bytes of a direction pass this leg.
    pub const fn side(self, direction: Direction) -> Side {
        match self {
            Self::Received => direction.sender(),
            Self::Sent => direction.receiver(),
        }
    }
}

/// Which of a connection's two texts bytes belong to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum View {
    /// What the sockets carried.
    #[default]
    Wire,
    /// What TLS carried inside it. Where clear bytes came before TLS (STARTTLS), they belong to
    /// this view too: it is one whole conversation.
    Plain,
}

impl View {
    /// `wire` or `plain`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Wire => "wire",
            Self::Plain => "plain",
        }
    }
}
