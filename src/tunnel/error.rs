//! Why a tunnel cannot start or go on.

use std::io;

use thiserror::Error;

use super::address::AddressError;
pub use crate::net::RingError;
use crate::os_error::Sentence;

/// Why a tunnel could not be set up. Nothing is left behind then.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BindError {
    /// An address makes no sense.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// A name to listen on could not be resolved.
    #[error(
        "cannot listen on {address}: {} (check the name, or try an IP address)",
        Sentence(.source)
    )]
    Resolve {
        /// The address to listen on.
        address: String,
        /// What the resolver said.
        source: io::Error,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {} ({hint})", Sentence(.source))]
    Listen {
        /// The address to listen on.
        address: String,
        /// What the operating system said.
        source: io::Error,
        /// What to try.
        hint: &'static str,
    },
    /// A listening socket was passed to the tunnel, and none of its listeners has that address.
    #[error("a socket on {address} was passed, but not asked for (try '--from {address}')")]
    Unused {
        /// The address of the socket.
        address: String,
    },
    /// A tunnel would connect to itself, straight or through another of its listeners.
    #[error("{routes} leads back to itself (give the server's own address to connect to)")]
    Loop {
        /// The listeners and their targets that go round in a circle.
        routes: String,
    },
    /// What changes bytes would be given TLS that the tunnel itself ends.
    #[error("a codec cannot be used where TLS ends in the tunnel (leave out one of them)")]
    CodecAndTls,
    /// A worker could not set up its ring.
    #[error(transparent)]
    Ring(#[from] RingError),
    /// A worker could not use the listening sockets.
    #[error(
        "cannot accept clients: {} (raise the limit of open files ('ulimit -n') or use fewer \
         workers)",
        Sentence(.0)
    )]
    Listener(io::Error),
    /// A worker could not be started.
    #[error(
        "cannot start a thread: {} (use fewer workers, or raise the limit of processes)",
        Sentence(.0)
    )]
    Thread(io::Error),
}

/// Why a tunnel ended that was not told to.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RunError {
    /// There are more sinks than a tunnel can feed.
    #[error("{count} sinks are more than {max} (let one sink feed several others)")]
    TooManySinks {
        /// How many there are.
        count: usize,
        /// How many there may be.
        max: usize,
    },
    /// A sink's thread could not be started.
    #[error(
        "cannot start a thread: {} (use fewer sinks, or raise the limit of processes)",
        Sentence(.0)
    )]
    Thread(io::Error),
    /// The caller's runtime could not use the listening sockets.
    #[error(
        "cannot accept clients: {} (raise the limit of open files ('ulimit -n'))",
        Sentence(.0)
    )]
    Listener(io::Error),
    /// A worker panicked: a bug.
    #[error("a worker panicked: {0}; this is a bug, please report it")]
    Panic(String),
}
