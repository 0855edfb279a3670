//! TLS seen from outside: where it begins, and the plaintext that it carries.
//!
//! In go the bytes of a connection's two directions, the time, and the lines of a key log; out
//! come plaintext, the facts of the handshake, or the reason why there is none. Pure, but for
//! `follow`, which reads a key log while another program writes it.

#[cfg(feature = "capture")]
pub(crate) mod client_random;
#[cfg(feature = "tls")]
mod decrypt;
mod find_hello;
pub(crate) mod follow;
pub(crate) mod keylog;

#[cfg(feature = "tls")]
pub use decrypt::{Limits, Observer, Seen};
pub use keylog::KeyLog;
