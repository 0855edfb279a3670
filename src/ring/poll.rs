//! Waiting on the ring until a socket has something to read.

use std::io;
use std::os::fd::AsRawFd;
use std::rc::Rc;

use io_uring::{cqueue, opcode, types};
use tokio_uring::net::TcpStream;
use tokio_uring::{OneshotOutputTransform, UnsubmittedOneshot};

struct PollResult;

impl OneshotOutputTransform for PollResult {
    type Output = io::Result<()>;
    type StoredData = Rc<TcpStream>;

    fn transform_oneshot_output(self, _: Self::StoredData, cqe: cqueue::Entry) -> Self::Output {
        match cqe.result() {
            error if error < 0 => Err(io::Error::from_raw_os_error(-error)),
            _ => Ok(()),
        }
    }
}

/// Completes when the socket has bytes, an end of stream or an error to read.
///
/// Must be awaited to its end, like every operation on the ring.
pub(super) async fn readable(stream: &Rc<TcpStream>) -> io::Result<()> {
    let entry = opcode::PollAdd::new(types::Fd(stream.as_raw_fd()), libc::POLLIN as u32).build();
    // The operation owns a handle of the stream, so that its descriptor stays open and its own.
    UnsubmittedOneshot::new(Rc::clone(stream), PollResult, entry).submit().await
}
