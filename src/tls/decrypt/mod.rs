//! Decrypts a connection that is watched, by the secrets of a key log.

mod aead;
mod backlog;
mod certificates;
mod closed;
mod half;
mod handshake;
mod hello;
mod messages;
mod observer;
mod reader;
mod schedule;
mod seen;
mod session;
mod suite;
#[cfg(test)]
mod tests;

pub use observer::Observer;
pub use seen::{Limits, Seen};
