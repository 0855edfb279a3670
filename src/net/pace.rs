//! How busy a ring is.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// Messages that come closer together than this are handled in one turn of the ring.
const SAME_TURN: Duration = Duration::from_micros(20);

/// Tells whether messages come alone or many at a time.
///
/// Many at a time are cheaper when they go through the ring together: one system call sends them
/// all, and their receivers are woken together. One alone is sooner there without the ring.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    last: Cell<Option<Instant>>,
}

impl Pace {
    /// Notes a message; whether another came in the same turn.
    pub(super) fn is_busy(&self) -> bool {
        let now = Instant::now();
        let last = self.last.replace(Some(now));
        last.is_some_and(|last| now.duration_since(last) < SAME_TURN)
    }
}
