//! The bounds of a tunnel.

use std::time::Duration;

use super::ranges::{MAX_CONNECTIONS, SHUTDOWN_TIMEOUT, TIMEOUT, clamp, clamp_time};

/// What a tunnel allows. Each has a default that fits interactive use.
///
/// ```
/// use std::time::Duration;
/// use tcp_tunn::tunnel::Limits;
///
/// let limits = Limits::default().max_connections(100).idle_timeout(Duration::from_secs(60));
/// assert_eq!(limits.max_connections, 100);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// How long one address of the target may take to answer, 10 s by default.
    pub connect_timeout: Duration,
    /// How long a connection may be silent in both directions before it is reset. By default for
    /// ever, as on a wire.
    pub idle_timeout: Option<Duration>,
    /// How long the other direction may be silent once one has ended, before the connection is
    /// reset; 60 s by default.
    pub half_close_timeout: Duration,
    /// How many connections are served at once, 10,000 by default; lowered to what the limit of
    /// open files allows. Further clients wait to be accepted.
    pub max_connections: usize,
    /// How long connections may go on after [`stop`](super::Handle::stop), 5 s by default; what
    /// is open then is reset.
    pub shutdown_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            idle_timeout: None,
            half_close_timeout: Duration::from_secs(60),
            max_connections: 10_000,
            shutdown_timeout: Duration::from_secs(5),
        }
    }
}

impl Limits {
    /// The same, each moved into its range.
    pub(super) fn within_ranges(self) -> Self {
        let timeout = |value| clamp_time(&TIMEOUT, value);
        Self {
            connect_timeout: timeout(self.connect_timeout),
            idle_timeout: self.idle_timeout.map(timeout),
            half_close_timeout: timeout(self.half_close_timeout),
            max_connections: clamp(&MAX_CONNECTIONS, self.max_connections),
            shutdown_timeout: clamp_time(&SHUTDOWN_TIMEOUT, self.shutdown_timeout),
        }
    }

    /// The same with another [`connect_timeout`](field@Self::connect_timeout).
    #[must_use]
    pub const fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// The same with an [`idle_timeout`](field@Self::idle_timeout), or `None` for none.
    #[must_use]
    pub fn idle_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.idle_timeout = timeout.into();
        self
    }

    /// The same with another [`half_close_timeout`](field@Self::half_close_timeout).
    #[must_use]
    pub const fn half_close_timeout(mut self, timeout: Duration) -> Self {
        self.half_close_timeout = timeout;
        self
    }

    /// The same with another [`max_connections`](field@Self::max_connections).
    #[must_use]
    pub const fn max_connections(mut self, max: usize) -> Self {
        self.max_connections = max;
        self
    }

    /// The same with another [`shutdown_timeout`](field@Self::shutdown_timeout).
    #[must_use]
    pub const fn shutdown_timeout(mut self, timeout: Duration) -> Self {
        self.shutdown_timeout = timeout;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_outside_of_a_range_count_as_its_nearer_end() {
        let limits = |timeout, max_connections| Limits {
            connect_timeout: timeout,
            idle_timeout: Some(timeout),
            half_close_timeout: timeout,
            max_connections,
            shutdown_timeout: timeout,
        };
        let (least, most) = (*TIMEOUT.start(), *TIMEOUT.end());
        let none = limits(Duration::ZERO, 0).within_ranges();
        assert_eq!(none, limits(least, 1).shutdown_timeout(Duration::ZERO));
        assert_eq!(limits(Duration::MAX, usize::MAX).within_ranges(), limits(most, 1_000_000));
    }
}
