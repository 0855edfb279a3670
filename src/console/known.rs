//! What the formats have to know of a connection beside an event.

use super::text;
use crate::event::Timestamp;

/// What a format has to know of an open connection.
pub(super) struct Known {
    pub(super) opened: Timestamp,
    pub(super) last: Timestamp,
    /// By direction: what of the last chunk has not been shown, see [`text`].
    pub(super) text: [text::Line; 2],
}
