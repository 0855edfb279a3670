//! Many hosts, one place: events are published to NATS JetStream and collected from there.

pub mod wire;
