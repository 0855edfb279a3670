//! Waiting on the ring for something to happen on a socket.

use std::io;
use std::os::fd::AsRawFd;
use std::rc::Rc;

use io_uring::{cqueue, opcode, types};
use tokio_uring::net::TcpStream;
use tokio_uring::{OneshotOutputTransform, UnsubmittedOneshot};

struct PollResult;

impl OneshotOutputTransform for PollResult {
    type Output = io::Result<u32>;
    type StoredData = Rc<TcpStream>;

    fn transform_oneshot_output(self, _: Self::StoredData, cqe: cqueue::Entry) -> Self::Output {
        match cqe.result() {
            error if error < 0 => Err(io::Error::from_raw_os_error(-error)),
            events => Ok(events as u32),
        }
    }
}

/// Completes when the socket has bytes, an end of stream or an error to read.
///
/// Must be awaited to its end, like every operation on the ring.
pub(super) async fn readable(stream: &Rc<TcpStream>) -> io::Result<()> {
    poll(stream, libc::POLLIN as u32).await.map(drop)
}

/// Completes when both directions of the socket have ended, or it was reset: whether it was.
///
/// Must be awaited to its end, like every operation on the ring.
pub(super) async fn hung_up(stream: &Rc<TcpStream>) -> io::Result<bool> {
    // These two are always waited for, so there is nothing to ask for.
    let events = poll(stream, 0).await?;
    Ok(events & libc::POLLERR as u32 != 0)
}

async fn poll(stream: &Rc<TcpStream>, events: u32) -> io::Result<u32> {
    let entry = opcode::PollAdd::new(types::Fd(stream.as_raw_fd()), events).build();
    // The operation owns a handle of the stream, so that its descriptor stays open and its own.
    UnsubmittedOneshot::new(Rc::clone(stream), PollResult, entry).submit().await
}
