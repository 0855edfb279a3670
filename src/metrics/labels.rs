//! The labels of metrics. Each has few values, whatever clients do.

use prometheus_client::encoding::EncodeLabelSet;

/// How a connection ended, and by whom.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct End {
    pub(super) reason: &'static str,
    /// `client`, `server`, or `tunnel` where neither did.
    pub(super) by: &'static str,
}

/// Which way bytes passed which tunnel.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Way {
    pub(super) tunnel: String,
    pub(super) direction: &'static str,
}

/// To whom the tunnel's socket leads: `client` or `server`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct LegName {
    pub(super) leg: &'static str,
}

/// A sink by its name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct SinkName {
    pub(super) sink: String,
}

/// What runs.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Build {
    pub(super) version: &'static str,
    pub(super) backend: String,
}
