//! Many hosts, one place: events are published to NATS JetStream and collected from there.
//!
//! [`PublishSink`] takes a tunnel's events, makes compressed batches of them ([`wire`]) and ships
//! these until the server has acknowledged each. It does not know the tunnel.

mod origin;
mod outbox;
mod publish;
mod server;
mod ship;
mod spill;
pub mod wire;

pub use origin::{Kind, Origin};
pub use publish::{PublishOptions, PublishSink};
pub use server::{Credentials, Server};
