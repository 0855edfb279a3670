//! The values that options may have. The builder keeps to them; a command line reads them, too.

use std::ops::RangeInclusive;
use std::time::Duration;

/// Worker threads, for [`Builder::workers`](super::Builder::workers): each has a ring of its own,
/// and no machine has more cores.
pub const WORKERS: RangeInclusive<u64> = 1..=1024;

/// Connections at a time, for [`Limits::max_connections`](super::Limits::max_connections).
pub const MAX_CONNECTIONS: RangeInclusive<u64> = 1..=1_000_000;

/// No timer runs longer.
const LONGEST: Duration = Duration::from_secs(100 * 31_557_600);

/// The time-outs of [`Limits`](super::Limits), but for the one below: up to a hundred years.
pub const TIMEOUT: RangeInclusive<Duration> = Duration::from_nanos(1)..=LONGEST;

/// [`Limits::shutdown_timeout`](super::Limits::shutdown_timeout): none at all is a time, too.
pub const SHUTDOWN_TIMEOUT: RangeInclusive<Duration> = Duration::ZERO..=LONGEST;

/// [`Outgoing::keepalive`](super::Outgoing::keepalive): what the kernel takes as `TCP_KEEPIDLE`
/// and `TCP_KEEPINTVL` (`MAX_TCP_KEEPIDLE` in its `include/net/tcp.h`).
pub const KEEPALIVE: RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(32_767);

/// [`Builder::sample`](super::Builder::sample): often enough to see a single slow answer.
pub const SAMPLE: RangeInclusive<Duration> = Duration::from_millis(10)..=LONGEST;

/// The time of `range` that is nearest to `value`.
pub(super) fn clamp_time(range: &RangeInclusive<Duration>, value: Duration) -> Duration {
    value.clamp(*range.start(), *range.end())
}

/// The number of `range` that is nearest to `value`.
pub(super) fn clamp(range: &RangeInclusive<u64>, value: usize) -> usize {
    let nearest = (value as u64).clamp(*range.start(), *range.end());
    usize::try_from(nearest).unwrap_or(usize::MAX)
}
