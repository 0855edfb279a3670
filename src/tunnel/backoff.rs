//! Waiting longer each time, while something of the machine is short.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(10);
const MAX: Duration = Duration::from_millis(320);

/// Waits that double, from 10 to 320 ms.
pub(super) struct Backoff {
    next: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { next: FIRST }
    }
}

impl Backoff {
    pub(super) const fn reset(&mut self) {
        self.next = FIRST;
    }

    pub(super) async fn wait(&mut self) {
        let wait = self.next;
        self.next = (wait * 2).min(MAX);
        tokio::time::sleep(wait).await;
    }
}
