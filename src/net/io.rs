//! The two ways to the kernel: io_uring, and epoll where that is forbidden.

use std::io;
use std::rc::Rc;

use tokio::task::yield_now;

use super::ring::Ring;
use super::turn::yield_to_ring;

/// How a worker talks to the kernel. Clones are the same way.
#[derive(Clone)]
pub(crate) enum Io {
    /// tokio's epoll: sockets are waited for, then read and written by calls of their own.
    Epoll,
    /// A ring for data beside tokio-uring's runtime.
    Uring(Rc<Ring>),
}

impl Io {
    /// A way by io_uring, on a tokio-uring runtime.
    pub(crate) fn uring() -> io::Result<Self> {
        Ok(Self::Uring(Ring::start()?))
    }

    /// Waits until nothing is under way that nobody waits for.
    pub(crate) async fn drained(&self) {
        if let Self::Uring(ring) = self {
            ring.drained().await;
        }
    }

    /// Lets the other tasks of this thread go on, and whatever waits for a turn of a ring. To be
    /// called now and then by whoever goes on without ever waiting.
    pub(crate) async fn yield_turn(&self) {
        match self {
            Self::Epoll => yield_now().await,
            Self::Uring(_) => yield_to_ring().await,
        }
    }
}
