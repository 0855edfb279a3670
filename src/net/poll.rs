//! Waiting on the ring until a socket has room to write.

use std::io;
use std::os::fd::AsRawFd;

use io_uring::{cqueue, opcode, types};
use tokio_uring::{OneshotOutputTransform, UnsubmittedOneshot};

use super::socket::Socket;

struct PollResult;

impl OneshotOutputTransform for PollResult {
    type Output = io::Result<()>;
    type StoredData = Socket;

    fn transform_oneshot_output(self, _: Self::StoredData, cqe: cqueue::Entry) -> Self::Output {
        match cqe.result() {
            error if error < 0 => Err(io::Error::from_raw_os_error(-error)),
            _ => Ok(()),
        }
    }
}

/// Completes when the socket takes more bytes, or never will again.
///
/// Must be awaited to its end, like every operation on the ring.
pub(super) async fn writable(socket: &Socket) -> io::Result<()> {
    let fd = types::Fd(socket.as_raw_fd());
    let entry = opcode::PollAdd::new(fd, libc::POLLOUT as u32).build();
    // The operation owns a handle of the socket, so that its descriptor stays open and its own.
    UnsubmittedOneshot::new(socket.clone(), PollResult, entry).submit().await
}
