//! Which of a connection's two views a conversation shows.

use crate::event::{EventKind, View, Views};

/// What a conversation is drawn from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shows {
    /// What the sockets carried.
    Wire,
    /// What can be read, before it is known whether there is TLS: the wire so far.
    Readable,
    /// What TLS carried, and the clear bytes before it.
    Plain,
}

impl Shows {
    /// What the conversation that begins with the connection shows.
    pub(super) const fn first(views: Views) -> Self {
        match views {
            Views::Readable => Self::Readable,
            _ => Self::Wire,
        }
    }

    /// Takes notice of a handshake.
    pub(super) fn note(&mut self, kind: &EventKind) {
        if *self == Self::Readable && is_decrypted(kind) {
            *self = Self::Plain;
        }
    }

    /// Whether bytes of a view are drawn.
    pub(super) const fn wants(self, view: View) -> bool {
        matches!(
            (self, view),
            (Self::Wire | Self::Readable, View::Wire) | (Self::Plain, View::Plain)
        )
    }

    /// Whether the peer's acknowledgment is drawn with the bytes: nothing tells when it came.
    pub(super) const fn acknowledges_at_once(self) -> bool {
        !matches!(self, Self::Wire)
    }

    /// The port that the server is drawn at, by which readers know what is spoken there.
    pub(super) const fn server_port(self, port: u16) -> u16 {
        match self {
            Self::Wire => port,
            Self::Readable | Self::Plain => port_without_tls(port),
        }
    }
}

/// Whether plaintext follows.
pub(super) fn is_decrypted(kind: &EventKind) -> bool {
    matches!(kind, EventKind::Tls(tls) if tls.state.has_plaintext())
}

/// The port of the same protocol without TLS, by IANA's registry of ports; others stay. 8080 stands
/// for 8443, because readers look for HTTP there.
const fn port_without_tls(port: u16) -> u16 {
    match port {
        443 => 80,
        465 => 25,
        636 => 389,
        853 => 53,
        993 => 143,
        995 => 110,
        5671 => 5672,
        6697 => 6667,
        8443 => 8080,
        8883 => 1883,
        other => other,
    }
}
