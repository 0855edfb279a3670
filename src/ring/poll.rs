//! Waiting on the ring until a socket has room to write, or for the ring's other operations.

use std::cell::Cell;
use std::io;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use io_uring::{cqueue, opcode, types};
use tokio::task::yield_now;
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

/// How long what others ask of the ring may wait for one that never waits.
const TURN: Duration = Duration::from_millis(1);

thread_local! {
    /// When this thread's ring last had a turn because somebody let it.
    static LAST_TURN: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Lets the other tasks of this thread go on, and the ring.
///
/// Whoever goes on without ever waiting must call this: what others have asked of the ring goes
/// to the kernel only when none of this thread's tasks can go on, and one that merely yields can.
pub(super) async fn let_others_go_on() {
    let now = Instant::now();
    if LAST_TURN.get().is_some_and(|last| now.duration_since(last) < TURN) {
        return yield_now().await;
    }
    LAST_TURN.set(Some(now));
    // Whether it failed or not, the ring had its turn.
    let _ = tokio_uring::no_op().await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring;

    #[test]
    fn what_others_ask_of_the_ring_is_done_beside_one_that_never_waits() {
        let turns = ring::block_on(async {
            let others = ring::spawn(async {
                for _ in 0..10 {
                    tokio_uring::no_op().await.expect("the ring does nothing");
                }
            });
            let mut turns = 0;
            while !others.is_finished() {
                assert!(turns < 10_000_000, "the others had no turn");
                turns += 1;
                let_others_go_on().await;
            }
            turns
        });
        assert!(turns.expect("there is a ring") > 0);
    }
}
