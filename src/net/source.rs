//! Where a reader reads from, and into what.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd};
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use super::chunk::Chunk;
use super::memory::{Memory, SMALL};
use super::socket::Socket;
use super::splice::PipePool;

/// Where a reader reads from, and into what.
pub(super) struct Source {
    pub(super) socket: Socket,
    pub(super) memory: Rc<Memory>,
    pub(super) pipes: Option<PipePool>,
}

impl Source {
    pub(super) fn poll_read(
        &mut self,
        bulk: &mut bool,
        is_lively: &mut bool,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<Chunk>> {
        // A handle of its own, which what is found ready may borrow.
        let socket = self.socket.clone();
        loop {
            let ready = ready!(socket.readiness()?.poll_readable(context))?;
            if *bulk {
                let waiting = socket.bytes_waiting()?;
                if waiting == 0 && !ready.is_ended() {
                    ready.clear();
                    continue;
                }
                if waiting > SMALL
                    && let Some(chunk) = self.read_bulk(waiting)?
                {
                    *is_lively = true;
                    return Poll::Ready(Ok(chunk));
                }
            }
            match self.memory.fill_small(|room| self.receive(room)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready.clear(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => {
                    let bytes = result?;
                    *bulk = bytes.len() == SMALL;
                    // A read ends before an urgent byte, and nothing wakes again for what is there.
                    *is_lively = *bulk || socket.reads_end_early() || socket.bytes_waiting()? > 0;
                    if !*is_lively && !bytes.is_empty() && !ready.is_ended() {
                        ready.clear();
                    }
                    return Poll::Ready(Ok(Chunk::Bytes(bytes)));
                }
            }
        }
    }

    fn receive(&self, room: &mut [MaybeUninit<u8>]) -> io::Result<usize> {
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
    pub(super) fn fill_pipe(&mut self) -> io::Result<Option<Chunk>> {
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

impl AsRawFd for Source {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        self.socket.as_fd().as_raw_fd()
    }
}
