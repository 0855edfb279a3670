//! The values that options may have. The builder keeps to them; a command line reads them, too.

use std::ops::RangeInclusive;

/// Worker threads, for [`Builder::workers`](super::Builder::workers): each has a ring of its own,
/// and no machine has more cores.
pub const WORKERS: RangeInclusive<u64> = 1..=1024;

/// Connections at a time, for [`Limits::max_connections`](super::Limits::max_connections).
pub const MAX_CONNECTIONS: RangeInclusive<u64> = 1..=1_000_000;

/// The number of `range` that is nearest to `value`.
pub(super) fn clamp(range: &RangeInclusive<u64>, value: usize) -> usize {
    let nearest = (value as u64).clamp(*range.start(), *range.end());
    usize::try_from(nearest).unwrap_or(usize::MAX)
}
