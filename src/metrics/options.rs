//! What the metrics need to know of a tunnel.

use crate::event::{Endpoint, Progress};
use crate::sink::SinkStats;

/// How a tunnel and what belongs to it are called.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct MetricsOptions {
    /// The names of tunnels, by the addresses on which they listen: the label `tunnel`.
    pub tunnels: Vec<(Endpoint, String)>,
    /// The name for connections that came by none of these.
    pub other: String,
    /// How the tunnel talks to the kernel: a label of `tcp_tunn_build_info`.
    pub backend: String,
}

/// What is asked at each scrape.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    /// The connections that are open.
    pub open: Vec<Progress>,
    /// The sinks.
    pub sinks: Vec<SinkStats>,
}
