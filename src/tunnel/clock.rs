//! The one clock of a tunnel.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::event::Timestamp;

/// Real time at its start, monotonic time ever after: a step of the system's clock in the middle
/// of a capture would put packets out of order.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: Instant,
    base_ns: u64,
}

impl Clock {
    pub(crate) fn start() -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let base_ns = u64::try_from(since_epoch.as_nanos()).unwrap_or(0);
        Self { start: Instant::now(), base_ns }
    }

    pub(crate) fn now(&self) -> Timestamp {
        let elapsed = self.start.elapsed();
        let elapsed_ns = elapsed.as_secs() * 1_000_000_000 + u64::from(elapsed.subsec_nanos());
        Timestamp(self.base_ns.saturating_add(elapsed_ns))
    }
}
