//! What is known of a connection that one peer has reset.

use std::time::Duration;

use crate::event::{CloseReason, Side};

/// What is known of a connection that one peer has reset.
#[derive(Debug)]
pub(super) struct Drain {
    pub(super) by: Side,
    pub(super) reason: CloseReason,
    pub(super) since: Duration,
    pub(super) acknowledged: Acknowledged,
}

/// How far the other peer has acknowledged what was written to it.
#[derive(Debug)]
pub(super) enum Acknowledged {
    /// Not all is written yet.
    NotAsked,
    /// The kernel, which wakes nobody for this, is asked again and again.
    Asking {
        /// How much was left when it was last asked.
        left: usize,
        /// When it last had become less.
        progress: Duration,
        pause: Duration,
        next: Duration,
    },
}
