//! Everything that touches a socket: the only layer that knows io_uring or epoll, and the only one
//! with `unsafe` code.
//!
//! It is given addresses, sockets and bytes, and gives bytes, ends of streams and errors. It knows
//! no connections and no events. The rules that keep tokio-uring correct live here, so that no
//! other layer has to know them:
//!
//! * A pending operation of the ring is never dropped: its bytes, or its client, would be lost.
//! * What is asked of tokio-uring goes to the kernel when no task of the thread can go on; one
//!   that may never have to wait calls [`Io::yield_turn`] now and then.
//! * What waits without an operation in flight goes through tokio's own epoll.
#![allow(unsafe_code)]

mod chunk;
mod connect;
mod diagnostics;
mod inherited;
mod io;
mod limits;
mod listener;
mod memory;
mod provided;
mod readiness;
mod ring;
mod runtime;
mod socket;
mod source;
mod splice;
mod stream;
#[cfg(test)]
mod tests;
mod turn;
mod uring;

pub(crate) use chunk::Chunk;
pub(crate) use connect::{
    ConnectOptions, can_send_to, connect_tcp, connect_unix, interface_name, interface_number,
    is_own_address, reserve_source,
};
pub(crate) use diagnostics::Diagnostics;
pub use inherited::inherited_sockets;
pub(crate) use io::Io;
pub(crate) use limits::open_files_limit;
pub use limits::raise_open_files_limit;
pub(crate) use listener::{
    Listener, adopt, bind_tcp, bind_unix, bound_address, bound_path, hops_left, is_abandoned_unix,
};
pub(crate) use memory::Memory;
pub use runtime::{Backend, RingError};
pub(crate) use runtime::{block_on, spawn};
pub(crate) use socket::Socket;
#[cfg(feature = "capture")]
pub(crate) use socket::unacknowledged;
pub(crate) use splice::PipePool;
pub(crate) use stream::{Reader, Write, failure};
