//! Sockets and buffers on io_uring: the only module that knows tokio-uring, and the only one
//! with `unsafe` code.
//!
//! The rules that keep tokio-uring correct live here, so that no other layer has to know them:
//!
//! * A pending operation is never dropped: its bytes would be lost. It is ended by
//!   [`Socket::abort`], or a read by [`Socket::stop_reading`], and then awaited.
//! * What is asked of the ring goes to the kernel when no task of the thread can go on: one that
//!   may never have to wait, like a [`Reader`] of a fast sender, lets the ring have its turn.
//! * A [`Buffer`](buffer::Buffer) only ever shows the bytes of its last read.
//! * What waits without an operation in flight (a [`Reader`] for the next byte,
//!   [`Socket::failure`], [`connect_tcp`]) goes through tokio's own epoll.
#![allow(unsafe_code)]

mod arena;
mod buffer;
mod connect;
mod limits;
mod listener;
mod pace;
mod pipe;
mod poll;
mod reader;
mod runtime;
mod socket;
mod turn;
mod watch;

pub(crate) use buffer::BufferPool;
pub(crate) use connect::{can_send_to, connect_tcp, connect_unix};
pub(crate) use limits::open_files_limit;
pub use limits::raise_open_files_limit;
pub(crate) use listener::{Listener, bind_tcp, bind_unix};
pub(crate) use pace::Pace;
pub(crate) use pipe::PipePool;
pub(crate) use reader::{Input, Reader};
pub use runtime::RingError;
pub(crate) use runtime::{block_on, spawn};
pub(crate) use socket::Socket;
