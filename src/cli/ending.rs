//! What is told while a tunnel that shall end does not.

use std::time::Duration;

use super::counters::Gauge;
use super::status::Stderr;

/// How long an end may take before a person wonders.
const PATIENCE: Duration = Duration::from_secs(1);

/// Tells what a tunnel waits for, from when it was told to end.
pub(super) struct Ending {
    pub(super) gauge: Gauge,
    pub(super) stderr: Stderr,
}

impl Ending {
    /// Tells it whenever it is something else, until the process ends.
    pub(super) async fn tell(self) {
        let mut told = None;
        loop {
            tokio::time::sleep(PATIENCE).await;
            let (what, state) = self.gauge.waits_for();
            if told.as_ref() != Some(&what) {
                self.stderr.tell(format_args!(
                    "waiting for {what}{state} (a second signal ends it at once)"
                ));
                told = Some(what);
            }
        }
    }
}
