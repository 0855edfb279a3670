//! Reading and writing a socket with as much memory as the traffic deserves.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;

use super::chunk::Chunk;
use super::io::Io;
use super::memory::Memory;
use super::readiness::Readiness;
use super::socket::Socket;
use super::source::Source;
use super::splice::PipePool;
use super::uring::{RingRead, RingWrite};

/// Reads one direction of a connection.
///
/// The wait holds no memory. What comes is read into a small piece of memory; but once it has
/// filled that, as much as has come by then is read into a large one, or moved into a pipe where
/// nobody is to see it.
pub(crate) struct Reader {
    source: Source,
    /// What was read before, to be read again.
    before: Bytes,
    is_lively: bool,
    way: Way,
}

/// What a way to the kernel has to remember between two reads.
enum Way {
    Epoll { bulk: bool },
    Uring(RingRead),
}

impl Reader {
    /// With `pipes` where nobody is to see what passes.
    pub(crate) fn new(
        io: &Io,
        socket: Socket,
        memory: Rc<Memory>,
        pipes: Option<PipePool>,
    ) -> Self {
        let way = match io {
            Io::Epoll => Way::Epoll { bulk: false },
            Io::Uring(ring) => Way::Uring(RingRead::new(Rc::clone(ring))),
        };
        let source = Source { socket, memory, pipes };
        Self { source, before: Bytes::new(), is_lively: false, way }
    }

    /// The same, which first reads what was read `before`.
    pub(crate) fn after(mut self, before: Bytes) -> Self {
        self.before = before;
        self
    }

    /// Whether the last read may have left something and took no wait, so that others should come
    /// first.
    pub(crate) const fn is_lively(&self) -> bool {
        self.is_lively
    }

    /// What came next; nothing at the end of the stream.
    pub(crate) fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Chunk>> {
        self.is_lively = false;
        if !self.before.is_empty() {
            return Poll::Ready(Ok(Chunk::Bytes(std::mem::take(&mut self.before))));
        }
        match &mut self.way {
            Way::Epoll { bulk } => self.source.poll_read(bulk, &mut self.is_lively, context),
            Way::Uring(read) => {
                let chunk = ready!(read.poll_read(&mut self.source, context));
                // A pipe was filled by a call of its own, for which nobody waited.
                self.is_lively = matches!(chunk, Ok(Chunk::Piped(_)));
                Poll::Ready(chunk)
            }
        }
    }
}

/// Writes one chunk.
pub(crate) struct Write {
    chunk: Chunk,
    written: usize,
    /// On a ring, what is under way.
    ring: Option<RingWrite>,
}

impl Write {
    pub(crate) fn new(io: &Io, chunk: Chunk) -> Self {
        let ring = match io {
            Io::Epoll => None,
            Io::Uring(ring) => Some(RingWrite::new(Rc::clone(ring))),
        };
        Self { chunk, written: 0, ring }
    }

    /// Whether the kernel has taken all of it.
    pub(crate) fn is_done(&self) -> bool {
        self.written >= self.chunk.len()
    }

    /// How many bytes the kernel took; not to be polled once it is done.
    pub(crate) fn poll_write(
        &mut self,
        socket: &Socket,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let result = match (&self.chunk, &mut self.ring) {
            (Chunk::Bytes(bytes), None) => {
                let rest = &bytes[self.written..];
                socket.readiness()?.poll_write(context, || send(socket, rest))
            }
            (Chunk::Bytes(bytes), Some(ring)) => {
                ring.poll_send(socket, || bytes.slice(self.written..), context)
            }
            (Chunk::Piped(pipe), None) => {
                socket.never_block()?;
                socket.readiness()?.poll_write(context, || pipe.drain(socket.as_fd()))
            }
            (Chunk::Piped(pipe), Some(ring)) => {
                socket.never_block()?;
                ring.poll_call(socket, || pipe.drain(socket.as_fd()), context)
            }
        };
        if let Poll::Ready(Ok(len)) = result {
            self.written += len;
        }
        result
    }
}

/// Waits until the connection has failed, by a reset of the peer as a rule, and says how. May be
/// dropped at any time; an error of its own means that it cannot tell.
pub(crate) async fn failure(io: &Io, socket: &Socket) -> io::Result<io::Error> {
    match io {
        Io::Epoll => socket.readiness()?.failed().await?,
        // The ring's poll cannot leave out that a peer has half-closed.
        Io::Uring(_) => {
            // SAFETY: the readiness ends before this, which the socket outlives.
            unsafe { Readiness::for_errors(socket.as_fd().as_raw_fd()) }?.failed().await?;
        }
    }
    // None where a read or a write has taken the error meanwhile: a reset then.
    let error = socket.options().take_error()?;
    Ok(error.unwrap_or_else(|| io::ErrorKind::ConnectionReset.into()))
}

fn send(socket: &Socket, bytes: &[u8]) -> io::Result<usize> {
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    match socket.options().send_with_flags(bytes, flags) {
        Ok(0) => Err(io::ErrorKind::WriteZero.into()),
        result => result,
    }
}
