//! The format of a batch of events, version 1, as `docs/fleet.md` describes it.
//!
//! A batch stands alone: where an event is of a connection that opened in an earlier batch, what
//! is known of the connection comes before it. So a reader may begin anywhere, and loses nothing
//! but what it did not read.

mod decode;
mod encode;
mod fields;
mod tag;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use thiserror::Error;

pub use decode::decode;
pub use encode::BatchEncoder;

use crate::event::{Connected, ConnectionId, Event, Open, Timestamp};

/// What a batch begins with; the last byte is the version.
pub(super) const MAGIC: [u8; 4] = *b"TTB\x01";

/// The longest body of a batch, before compression.
pub const BODY_MAX: usize = 64 << 20;

/// A connection that opened in an earlier batch, as it stood then.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Known {
    /// Which it is.
    pub connection: ConnectionId,
    /// When it was accepted.
    pub opened: Timestamp,
    /// What was known then.
    pub open: Arc<Open>,
    /// The server's answer, where there was one, and when it came.
    pub connected: Option<(Timestamp, Arc<Connected>)>,
    /// How many bytes client and server had sent.
    pub said: [u64; 2],
}

/// One entry of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Record {
    /// Something that happened.
    Event(Event),
    /// What a reader needs that has not read the batches before.
    Known(Known),
    /// The run has ended: no batch of it follows.
    End,
}

/// A batch of events.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Batch {
    /// Its number among those of its worker and kind, from 1 on.
    pub number: u64,
    /// What is in it, in order. Records that this version does not know are left out.
    pub records: Vec<Record>,
}

/// Why bytes are no batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum WireError {
    /// It does not begin as one.
    #[error("it is not a batch of tcp_tunn")]
    Magic,
    /// Its version is one that this program does not know.
    #[error("its format is version {0} (expected 1)")]
    Version(u8),
    /// The body is longer than [`BODY_MAX`].
    #[error("its body is longer than {BODY_MAX} bytes")]
    TooLong,
    /// The body cannot be decompressed.
    #[error("its body is damaged")]
    Damaged,
    /// A field ends early, or holds what it cannot.
    #[error("a field of it makes no sense")]
    Field,
}
