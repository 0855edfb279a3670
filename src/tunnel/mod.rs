//! Accepting, connecting and relaying: the tunnel itself.

mod address;
mod backoff;
mod builder;
mod clock;
mod connect;
mod connection;
mod counters;
mod driver;
mod error;
mod handle;
mod hops;
mod limits;
mod listen;
mod loops;
mod phases;
mod recording;
mod resolve;
mod route;
mod running;
mod shared;
mod slots;
mod transforming;
mod worker;
mod worker_pool;

pub use address::{Address, AddressError};
pub use builder::Builder;
pub use counters::Counts;
pub use error::{BindError, RingError, RunError};
pub use handle::{Handle, Stats, Summary};
pub use limits::Limits;
pub use route::Route;
pub use running::Tunnel;
pub use worker_pool::ChosenIo;

pub use crate::net::{Backend, raise_open_files_limit};
