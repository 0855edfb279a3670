//! Accepting, connecting and relaying: the tunnel itself.

mod address;
mod address_parsing;
mod answer;
mod arriving;
mod backoff;
mod builder;
mod catching;
mod clock;
mod connect;
mod connection;
mod counters;
mod decryption;
mod driver;
#[cfg(feature = "tls")]
mod ending_tls;
mod error;
mod handle;
mod handshaking;
mod hops;
mod limits;
mod listen;
mod listening;
mod loops;
mod outgoing;
mod phases;
mod processes;
#[cfg(feature = "run")]
mod program_connects;
pub mod ranges;
mod reaching;
mod recording;
mod resolve;
mod routing;
mod running;
mod sampling;
mod shared;
mod slots;
mod tcp_info;
mod transforming;
mod worker;
mod worker_pool;

pub use address::{Address, AddressError, AddressProblem};
pub use builder::Builder;
pub use catching::{Catcher, Caught};
pub use counters::Counts;
pub use error::{BindError, RingError, RunError};
pub use handle::{Handle, Stats, Summary};
pub use limits::Limits;
pub use listening::Listening;
pub use outgoing::Outgoing;
#[cfg(feature = "run")]
pub use program_connects::Launched;
pub use routing::{Arrival, Decision, Route, Target};
pub use running::Tunnel;
pub use worker_pool::ChosenIo;

pub use crate::net::{Backend, inherited_sockets, raise_open_files_limit};
