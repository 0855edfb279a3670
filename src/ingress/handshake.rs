//! The shape that all handshakes have in common.

use thiserror::Error;

use super::reply::ConnectFailure;

/// A handshake as a state machine: a peer's bytes go in, in portions of any size, and what to do
/// next comes out.
///
/// How the bytes are split into portions never changes the outcome. No input makes it panic, and
/// the memory it uses is bounded.
pub trait Handshake {
    /// What a completed handshake yields.
    type Output;

    /// Takes the next bytes that the peer sent.
    ///
    /// A handshake that speaks first is started with no bytes. After [`Progress::Done`] or
    /// [`Progress::Rejected`] it is over, and every further call is rejected with
    /// [`Rejection::Over`].
    fn feed(&mut self, bytes: &[u8]) -> Progress<Self::Output>;

    /// Why nothing came of the handshake when the peer closes, resets or takes too long now.
    fn unfinished(&self) -> Rejection;
}

/// What to do next in a handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Progress<T> {
    /// Read from the peer, then feed what came.
    NeedMore,
    /// Write these bytes, then feed again: what has been read since, or nothing.
    Send(Vec<u8>),
    /// The handshake is complete.
    Done {
        /// What it was about.
        output: T,
        /// Bytes that the peer sent after its handshake. They belong to the conversation.
        leftover: Vec<u8>,
    },
    /// The handshake failed.
    Rejected {
        /// What to write before closing; it may be empty.
        reply: Vec<u8>,
        /// The reason, for the log.
        reason: Rejection,
    },
}

impl<T> Progress<T> {
    /// A failure that is not answered.
    pub(super) const fn rejected(reason: Rejection) -> Self {
        Self::Rejected { reply: Vec::new(), reason }
    }

    /// Whether the handshake is over.
    pub(super) const fn is_final(&self) -> bool {
        matches!(self, Self::Done { .. } | Self::Rejected { .. })
    }

    /// The same progress with another output.
    pub(super) fn map<U>(self, change: impl FnOnce(T) -> U) -> Progress<U> {
        match self {
            Self::NeedMore => Progress::NeedMore,
            Self::Send(bytes) => Progress::Send(bytes),
            Self::Done { output, leftover } => Progress::Done { output: change(output), leftover },
            Self::Rejected { reply, reason } => Progress::Rejected { reply, reason },
        }
    }
}

/// Why a handshake failed. [`Display`](std::fmt::Display) continues the sentence
/// "rejected ADDRESS: ".
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Rejection {
    /// The peer sent no byte at all, as a load balancer's probe does every few seconds.
    #[error("it sent nothing")]
    Silent,
    /// The peer ended, or was too slow, in the middle of the handshake.
    #[error("it ended in the middle of the {protocol} handshake")]
    Unfinished {
        /// Which handshake.
        protocol: &'static str,
    },
    /// The first byte belongs to no protocol that is accepted here.
    #[error("{}", unknown_protocol(*.first))]
    UnknownProtocol {
        /// The byte.
        first: u8,
    },
    /// The bytes break the protocol's rules.
    #[error("{protocol}: {what}")]
    Malformed {
        /// Which protocol.
        protocol: &'static str,
        /// What is wrong.
        what: &'static str,
    },
    /// The handshake is longer than it may be.
    #[error("{protocol}: it is longer than {limit} bytes")]
    TooLong {
        /// Which protocol.
        protocol: &'static str,
        /// The most bytes that are accepted.
        limit: usize,
    },
    /// The client wants something else than a TCP connection to a server.
    #[error("{protocol}: {command} is not supported (only CONNECT is)")]
    Command {
        /// Which protocol.
        protocol: &'static str,
        /// The command, such as `BIND`.
        command: String,
    },
    /// The proxy needs a user and a password, and the client gives none.
    #[error("{protocol}: it gives no user and password, and this proxy needs them")]
    LoginNeeded {
        /// Which protocol.
        protocol: &'static str,
    },
    /// The user or the password is wrong.
    #[error("{protocol}: wrong user or password")]
    WrongLogin {
        /// Which protocol.
        protocol: &'static str,
    },
    /// The upstream proxy refused, or could not reach the server.
    #[error("the proxy said: {message}")]
    ProxySaid {
        /// Its words, or those that its code stands for.
        message: String,
        /// The failure that it reports.
        failure: ConnectFailure,
    },
    /// The handshake was over before.
    #[error("the handshake is over")]
    Over,
}

impl Rejection {
    /// Whether the peer sent no byte at all.
    pub const fn is_silent(&self) -> bool {
        matches!(self, Self::Silent)
    }

    /// The failure that it means for a client whose server was to be reached this way.
    pub const fn failure(&self) -> ConnectFailure {
        match self {
            Self::ProxySaid { failure, .. } => *failure,
            _ => ConnectFailure::Other,
        }
    }
}

fn unknown_protocol(first: u8) -> String {
    // RFC 8446, 5.1: a TLS record that carries a handshake begins with 22.
    let guess = if first == 22 { " (TLS)" } else { "" };
    let speaks = "a client of this proxy speaks SOCKS4, SOCKS5 or HTTP CONNECT";
    format!("its first byte is {first:#04x}{guess}; {speaks}")
}

/// The bytes that a peer sent and that no step of a handshake has used yet.
#[derive(Debug, Default)]
pub(super) struct Input {
    bytes: Vec<u8>,
    is_touched: bool,
}

impl Input {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.is_touched |= !bytes.is_empty();
        self.bytes.extend_from_slice(bytes);
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Removes the first `len` bytes, which a step has used.
    pub(super) fn consume(&mut self, len: usize) {
        self.bytes.drain(..len);
    }

    /// All that is left when the handshake is complete.
    pub(super) fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.bytes)
    }

    /// Why a handshake that ends here failed.
    pub(super) const fn unfinished(&self, protocol: &'static str) -> Rejection {
        if self.is_touched { Rejection::Unfinished { protocol } } else { Rejection::Silent }
    }
}
