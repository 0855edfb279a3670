//! Waiting for a socket through tokio's epoll, with no operation in flight.

use std::io;
use std::os::fd::RawFd;
use std::task::{Context, Poll, ready};

use tokio::io::Interest;
use tokio::io::unix::{AsyncFd, AsyncFdReadyGuard};

/// A socket's registration with epoll. Waits on it may be dropped at any time.
///
/// One task may poll for reading and one for writing, or one for both.
pub(super) struct Readiness(AsyncFd<RawFd>);

impl Readiness {
    /// # Safety
    ///
    /// The descriptor stays open, and its own, for as long as this lives.
    pub(super) unsafe fn new(fd: RawFd) -> io::Result<Self> {
        let interest = Interest::READABLE | Interest::WRITABLE | Interest::ERROR;
        // SAFETY: as the caller promises.
        Ok(Self(unsafe { AsyncFd::register_with_interest(fd, interest) }?))
    }

    /// Only for [`failed`](Self::failed).
    ///
    /// # Safety
    ///
    /// As for [`new`](Self::new).
    pub(super) unsafe fn for_errors(fd: RawFd) -> io::Result<Self> {
        // SAFETY: as the caller promises.
        Ok(Self(unsafe { AsyncFd::register_with_interest(fd, Interest::ERROR) }?))
    }

    /// Ready when there may be bytes, an end of stream or an error to read. What comes after
    /// [`Ready::clear`] wakes again.
    pub(super) fn poll_readable(&self, context: &mut Context<'_>) -> Poll<io::Result<Ready<'_>>> {
        self.0.poll_read_ready(context).map_ok(Ready)
    }

    /// Ready when there may be room to write, or never will be again.
    pub(super) fn poll_writable(&self, context: &mut Context<'_>) -> Poll<io::Result<Ready<'_>>> {
        self.0.poll_write_ready(context).map_ok(Ready)
    }

    /// What `call` gives, as soon as it would not have to wait.
    pub(super) fn poll_write<T>(
        &self,
        context: &mut Context<'_>,
        mut call: impl FnMut() -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        loop {
            // Asked at once: as a rule there is room.
            match call() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return Poll::Ready(result),
            }
            ready!(self.poll_writable(context))?.clear();
        }
    }

    /// Completes when the connection has failed.
    pub(super) async fn failed(&self) -> io::Result<()> {
        loop {
            let mut guard = self.0.ready(Interest::ERROR).await?;
            if guard.ready().is_error() {
                return Ok(());
            }
            guard.clear_ready();
        }
    }
}

/// That a socket was found ready.
pub(super) struct Ready<'a>(AsyncFdReadyGuard<'a, RawFd>);

impl Ready<'_> {
    /// Whether the end of the stream has come.
    pub(super) fn is_ended(&self) -> bool {
        self.0.ready().is_read_closed()
    }

    /// It is not ready any more: what comes from now on wakes again.
    pub(super) fn clear(mut self) {
        self.0.clear_ready();
    }
}
