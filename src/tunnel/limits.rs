//! The bounds of a tunnel.

use std::time::Duration;

/// What a tunnel allows. Each has a default that fits interactive use.
#[derive(Clone, Debug, PartialEq, Eq)]
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
