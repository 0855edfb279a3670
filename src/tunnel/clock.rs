//! The one clock of a tunnel.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::event::Timestamp;

/// What tells the time of day.
pub(super) type WallClock = Arc<dyn Fn() -> SystemTime + Send + Sync>;

/// By how much the time of day has to be ahead to be followed: less is the correction of a clock
/// that runs a little slow.
const JUMP: Duration = Duration::from_secs(1);

/// The time of day at its start, and monotonic time from then on, so that events stay in order
/// whatever is done to the system's clock.
///
/// Monotonic time stands still while a machine sleeps. When the time of day is suddenly far ahead,
/// it is followed; when it falls behind it never is. Clones are the same clock.
#[derive(Clone)]
pub(crate) struct Clock {
    started: Instant,
    wall: WallClock,
    /// The time of day at the start, in nanoseconds since 1970, moved on by each jump.
    base_ns: Arc<AtomicU64>,
}

/// A moment: for deadlines, and for events.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    /// Monotonic time since the clock started.
    pub(crate) elapsed: Duration,
    /// The time of day.
    pub(crate) time: Timestamp,
}

impl Clock {
    pub(super) fn start(wall: WallClock) -> Self {
        let base_ns = Arc::new(AtomicU64::new(since_1970_ns(wall())));
        Self { started: Instant::now(), wall, base_ns }
    }

    pub(crate) fn now(&self) -> Moment {
        let elapsed = self.started.elapsed();
        let elapsed_ns = u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX);
        let wall_ns = since_1970_ns((self.wall)());
        let mut base_ns = self.base_ns.load(Relaxed);
        let expected_ns = base_ns.saturating_add(elapsed_ns);
        if wall_ns > expected_ns.saturating_add(JUMP.as_nanos() as u64) {
            let ahead = wall_ns - elapsed_ns;
            base_ns = self.base_ns.fetch_max(ahead, Relaxed).max(ahead);
        }
        Moment { elapsed, time: Timestamp(base_ns.saturating_add(elapsed_ns)) }
    }

    /// The instant at which so much time will have passed since the start.
    pub(super) fn instant(&self, elapsed: Duration) -> Option<Instant> {
        self.started.checked_add(elapsed)
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clock").field("started", &self.started).finish_non_exhaustive()
    }
}

fn since_1970_ns(time: SystemTime) -> u64 {
    let since_1970 = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_1970.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A clock whose time of day stands still, in seconds since 1970, unless it is set.
    fn clock() -> (Clock, Arc<AtomicU64>) {
        let seconds = Arc::new(AtomicU64::new(1000));
        let wall = Arc::clone(&seconds);
        let wall = move || UNIX_EPOCH + Duration::from_secs(wall.load(Relaxed));
        (Clock::start(Arc::new(wall)), seconds)
    }

    fn seconds(clock: &Clock) -> u64 {
        clock.now().time.0 / 1_000_000_000
    }

    #[test]
    fn wall_clock_that_jumps_ahead_is_followed() {
        let (clock, wall) = clock();
        let before = clock.now();
        assert_eq!(seconds(&clock), 1000);
        wall.store(9000, Relaxed);
        assert_eq!(seconds(&clock), 9000);
        assert!(clock.now().elapsed - before.elapsed < Duration::from_secs(1000));
        let (clone, later) = (clock.clone(), 10_000);
        wall.store(later, Relaxed);
        assert_eq!(seconds(&clone), later);
        assert_eq!(seconds(&clock), later);
    }

    #[test]
    fn wall_clock_that_steps_back_is_not_followed() {
        let (clock, wall) = clock();
        wall.store(9000, Relaxed);
        assert_eq!(seconds(&clock), 9000);
        wall.store(10, Relaxed);
        let before = clock.now().time;
        assert_eq!(seconds(&clock), 9000);
        assert!(clock.now().time >= before);
    }

    #[test]
    fn small_correction_of_the_wall_clock_is_ignored() {
        let (clock, wall) = clock();
        wall.store(1001, Relaxed);
        assert_eq!(seconds(&clock), 1000);
    }
}
