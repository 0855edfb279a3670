//! Accepting, connecting and relaying: the tunnel itself.

mod address;
mod builder;
mod clock;
mod connect;
mod connection;
mod counters;
mod crew;
mod error;
mod limits;
mod listen;
mod pump;
mod relay;
mod resolve;
mod run;
mod stop;
mod worker;

pub use address::{Address, AddressError};
pub use builder::{Builder, Route, Tunnel};
pub use counters::Counts;
pub use error::{BindError, RingError, RunError};
pub use limits::Limits;
pub use run::{Handle, Stats, Summary};

pub use crate::net::raise_open_files_limit;
