//! Reading and writing a socket with as much memory as the traffic deserves.

use std::io;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;

use super::chunk::Chunk;
use super::memory::{Memory, SMALL};
use super::socket::Socket;
use super::splice::PipePool;

/// Reads one direction of a connection.
///
/// The wait holds no memory. What comes is read into a small piece of memory; but once it has
/// filled that, as much as has come by then is read into a large one, or moved into a pipe where
/// nobody is to see it.
pub(crate) struct Reader {
    socket: Socket,
    memory: Rc<Memory>,
    pipes: Option<PipePool>,
    bulk: bool,
    is_lively: bool,
}

impl Reader {
    /// With `pipes` where nobody is to see what passes.
    pub(crate) const fn new(socket: Socket, memory: Rc<Memory>, pipes: Option<PipePool>) -> Self {
        Self { socket, memory, pipes, bulk: false, is_lively: false }
    }

    /// Whether the last read may have left something, so that others should come first.
    pub(crate) const fn is_lively(&self) -> bool {
        self.is_lively
    }

    /// What came next; nothing at the end of the stream.
    pub(crate) fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Chunk>> {
        // A handle of its own, which what is found ready may borrow.
        let socket = self.socket.clone();
        loop {
            let ready = ready!(socket.readiness()?.poll_readable(context))?;
            if self.bulk {
                let waiting = self.socket.bytes_waiting()?;
                if waiting == 0 && !ready.is_ended() {
                    ready.is_over();
                    continue;
                }
                if waiting > SMALL
                    && let Some(chunk) = self.read_bulk(waiting)?
                {
                    self.is_lively = true;
                    return Poll::Ready(Ok(chunk));
                }
            }
            match self.memory.fill_small(|room| self.receive(room)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready.is_over(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => {
                    let bytes = result?;
                    self.bulk = bytes.len() == SMALL;
                    // A read ends before an urgent byte, and nothing wakes again for what is there.
                    self.is_lively = self.bulk
                        || self.socket.reads_end_early()
                        || self.socket.bytes_waiting()? > 0;
                    if !self.is_lively && !bytes.is_empty() && !ready.is_ended() {
                        ready.is_over();
                    }
                    return Poll::Ready(Ok(Chunk::Bytes(bytes)));
                }
            }
        }
    }

    fn receive(&self, room: &mut [std::mem::MaybeUninit<u8>]) -> io::Result<usize> {
        self.socket.options().recv_with_flags(room, libc::MSG_DONTWAIT)
    }

    /// As much as has come; nothing where there is an urgent byte before it.
    fn read_bulk(&mut self, waiting: usize) -> io::Result<Option<Chunk>> {
        if let Some(pipe) = self.fill_pipe()? {
            return Ok(Some(pipe));
        }
        match self.memory.fill_large(waiting, |room| self.receive(room)) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            result => result.map(|bytes| Some(Chunk::Bytes(bytes))),
        }
    }

    /// A pipe with what has come, where that is possible; nothing is taken where it is not.
    fn fill_pipe(&mut self) -> io::Result<Option<Chunk>> {
        let Some(mut pipe) = self.pipes.as_ref().and_then(PipePool::lend) else { return Ok(None) };
        if self.socket.never_block().is_err() {
            return Ok(None);
        }
        match pipe.fill(self.socket.as_fd()) {
            Ok(0) => Ok(None),
            Ok(_) => Ok(Some(Chunk::Piped(Rc::new(pipe)))),
            // At an urgent byte, which is only ever read.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => match error.raw_os_error() {
                Some(libc::EINVAL | libc::ENOSYS | libc::EPERM | libc::ENOMEM) => {
                    self.pipes = None;
                    Ok(None)
                }
                _ => Err(error),
            },
        }
    }
}

/// Writes one chunk.
pub(crate) struct Write {
    chunk: Chunk,
    written: usize,
}

impl Write {
    pub(crate) const fn new(chunk: Chunk) -> Self {
        Self { chunk, written: 0 }
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
        let readiness = socket.readiness()?;
        let result = match &self.chunk {
            Chunk::Bytes(bytes) => {
                readiness.poll_write(context, || send(socket, bytes, self.written))
            }
            Chunk::Piped(pipe) => {
                socket.never_block()?;
                readiness.poll_write(context, || pipe.drain(socket.as_fd()))
            }
        };
        if let Poll::Ready(Ok(len)) = result {
            self.written += len;
        }
        result
    }
}

fn send(socket: &Socket, bytes: &Bytes, from: usize) -> io::Result<usize> {
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    match socket.options().send_with_flags(&bytes[from..], flags) {
        Ok(0) => Err(io::ErrorKind::WriteZero.into()),
        result => result,
    }
}
