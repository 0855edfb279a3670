//! Reading with as much memory as the traffic deserves, or with none.

use std::io;
use std::rc::Rc;

use tokio::task::yield_now;

use super::buffer::{Buffer, BufferPool, SMALL};
use super::pipe::{Pipe, PipePool};
use super::poll;
use super::socket::Socket;

/// What came next in a direction.
pub(crate) enum Input {
    /// Bytes to be looked at; none at the end of the stream.
    Bytes(Buffer),
    /// Bytes that nobody asked to see.
    Piped(Pipe),
}

impl Input {
    /// The bytes, where they are to be looked at.
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::Bytes(buffer) => buffer,
            Self::Piped(_) => &[],
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Bytes(buffer) => buffer.len(),
            Self::Piped(pipe) => pipe.len(),
        }
    }
}

/// Reads one direction of a connection.
///
/// While little comes at a time the read itself waits, in a small buffer: one operation a
/// message. Once a read filled its buffer, or when small buffers are scarce, the wait holds no
/// buffer at all, and one as large as what has come is taken when there is something to read; or
/// a pipe, where nobody is to see the bytes.
pub(crate) struct Reader {
    socket: Socket,
    pool: Rc<BufferPool>,
    pipes: Option<PipePool>,
    bulk: bool,
    /// Whether a read does not wait.
    polls: bool,
}

impl Reader {
    /// With `pipes` where nobody is to see what passes.
    pub(crate) const fn new(socket: Socket, pool: Rc<BufferPool>, pipes: Option<PipePool>) -> Self {
        Self { socket, pool, pipes, bulk: false, polls: false }
    }

    /// What came next.
    pub(crate) async fn read(&mut self) -> io::Result<Input> {
        loop {
            let lent = if self.bulk || self.polls { None } else { self.pool.lend_small() };
            let buffer = match lent {
                Some(buffer) => buffer,
                None => {
                    let waiting = self.wait().await?;
                    if waiting > SMALL
                        && let Some(pipe) = self.pipe()?
                    {
                        // What is moved at once must not keep all others from their turn.
                        yield_now().await;
                        return Ok(Input::Piped(pipe));
                    }
                    if waiting > SMALL { self.pool.large() } else { self.pool.small() }
                }
            };
            let capacity = buffer.capacity();
            match self.socket.read(buffer).await {
                // The other direction has made the socket one that never blocks.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.polls = true,
                result => {
                    let buffer = result?;
                    self.bulk = buffer.len() == capacity || buffer.len() > SMALL;
                    return Ok(Input::Bytes(buffer));
                }
            }
        }
    }

    /// Waits for something to read; how much there is.
    async fn wait(&self) -> io::Result<usize> {
        match self.socket.bytes_waiting()? {
            0 => {
                poll::readable(&self.socket).await?;
                self.socket.bytes_waiting()
            }
            waiting => Ok(waiting),
        }
    }

    /// A pipe with what has come, where that is possible; nothing is taken where it is not.
    fn pipe(&mut self) -> io::Result<Option<Pipe>> {
        let Some(mut pipe) = self.pipes.as_ref().and_then(PipePool::lend) else { return Ok(None) };
        if self.socket.never_block().is_err() {
            return Ok(None);
        }
        match self.socket.fill(&mut pipe) {
            Ok(0) => Ok(None),
            Ok(_) => Ok(Some(pipe)),
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
