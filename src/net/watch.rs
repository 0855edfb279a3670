//! Waiting for a socket without an operation in flight, through tokio's own epoll.

use std::io;

use tokio::io::Interest;
use tokio::io::unix::{AsyncFd, AsyncFdReadyGuard};

use super::socket::Socket;

/// A socket's registration with epoll. Waits on it may be dropped at any time.
pub(super) struct Watch(AsyncFd<Socket>);

impl Watch {
    /// Fails where the socket has one already: epoll takes it only once.
    pub(super) fn new(socket: Socket) -> io::Result<Self> {
        let interest = Interest::READABLE | Interest::PRIORITY | Interest::ERROR;
        // SAFETY: the `AsyncFd` owns a handle of the socket, whose descriptor is the same, and
        // open, for as long as it lives.
        Ok(Self(unsafe { AsyncFd::register_with_interest(socket, interest) }?))
    }

    /// Completes when there may be bytes, an end of stream or an error to read. What comes after
    /// [`Ready::drained`] is told anew.
    pub(super) async fn readable(&self) -> io::Result<Ready<'_>> {
        self.0.ready(Interest::READABLE | Interest::PRIORITY).await.map(Ready)
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

/// That a socket was found readable.
pub(super) struct Ready<'a>(AsyncFdReadyGuard<'a, Socket>);

impl Ready<'_> {
    /// Whether a byte that the peer calls urgent is among what came; a read ends before it.
    pub(super) fn is_urgent(&self) -> bool {
        self.0.ready().is_priority()
    }

    /// Whether the end of the stream has come.
    pub(super) fn is_ended(&self) -> bool {
        self.0.ready().is_read_closed()
    }

    /// Nothing is left to read: what comes from now on is told anew.
    pub(super) fn drained(mut self) {
        self.0.clear_ready();
    }
}
