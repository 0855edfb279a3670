//! What the formats have to know of a connection beside an event.

use std::sync::Arc;

use super::text;
use crate::event::{Timestamp, Verdict};

/// What a format has to know of an open connection.
pub(super) struct Known {
    pub(super) opened: Timestamp,
    pub(super) last: Timestamp,
    /// Where its time went, shortly before it closes.
    pub(super) verdict: Option<Arc<Verdict>>,
    /// By direction: what of the last chunk has not been shown, see [`text`].
    pub(super) text: [text::Line; 2],
}
