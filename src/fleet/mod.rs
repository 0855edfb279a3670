//! Many hosts, one place: events are published to NATS JetStream and collected from there.
//!
//! [`PublishSink`] takes a tunnel's events, makes compressed batches of them ([`wire`]) and ships
//! these until the server has acknowledged each. [`Collector`] reads the batches of any number of
//! hosts, puts their events in the order of time, and writes one capture; [`Archive`] writes
//! Parquet tables. None of them knows a tunnel.

mod archive;
mod collect;
mod merge;
mod origin;
mod outbox;
mod publish;
mod read;
mod server;
mod ship;
mod spill;
mod tables;
pub mod wire;

pub use archive::Archive;
pub use collect::{Collected, Collector, CollectorOptions, StopHandle};
pub use merge::{Gap, Lost};
pub use origin::{Kind, Origin};
pub use publish::{PublishOptions, PublishSink};
pub use read::Since;
pub use server::{Credentials, Server};
