//! What an observer says, and how long it may wait.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::backlog::Piece;
use crate::event::{Direction, Timestamp, Tls};

/// How much of a connection is held back, and for how long, while its keys have not come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Bytes of both directions together; 256 KiB by default.
    pub bytes: usize,
    /// From the first record that could not be opened on; one second by default.
    pub wait: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { bytes: 256 << 10, wait: Duration::from_secs(1) }
    }
}

/// What an [`Observer`](super::Observer) saw.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Seen {
    /// Bytes outside TLS, as the sockets carried them: before it began, or from where it stays
    /// closed.
    Wire {
        /// Who sent them.
        direction: Direction,
        /// How many bytes of the direction came before.
        offset: u64,
        /// The bytes, never none.
        bytes: Bytes,
    },
    /// What TLS carried.
    Plain {
        /// Who sent it.
        direction: Direction,
        /// How many bytes came before in the direction: the clear ones before TLS began, and the
        /// plaintext since.
        offset: u64,
        /// The bytes, never none.
        bytes: Bytes,
    },
    /// The sender ended its TLS (`close_notify`).
    End {
        /// Who ended it.
        direction: Direction,
        /// How many bytes of the direction came before, as in [`Plain`](Self::Plain).
        offset: u64,
    },
    /// A handshake was understood, or TLS stays closed from here on.
    Tls(Arc<Tls>),
    /// The key log's lines for the connection, before the first plaintext that needs them.
    Secrets(Arc<[String]>),
}

/// Reports bytes as the sockets carried them, from an offset of their direction on.
pub(super) fn wire(
    direction: Direction,
    mut offset: u64,
    pieces: Vec<Piece>,
    seen: &mut Vec<Seen>,
) {
    for Piece { bytes, .. } in pieces {
        let len = bytes.len() as u64;
        seen.push(Seen::Wire { direction, offset, bytes });
        offset += len;
    }
}

/// Adds a time to another.
pub(super) fn later(time: Timestamp, by: Duration) -> Timestamp {
    Timestamp(time.0.saturating_add(u64::try_from(by.as_nanos()).unwrap_or(u64::MAX)))
}
