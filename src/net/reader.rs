//! Reading with as much memory as the traffic deserves, or with none.

use std::io;
use std::rc::Rc;

use super::buffer::{Buffer, BufferPool, SMALL};
use super::pipe::{Pipe, PipePool};
use super::socket::Socket;
use super::turn::let_others_go_on;
use super::watch::Watch;

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
/// The wait holds no memory. What comes is read at once into a small buffer; but once it has
/// filled that, as many as have come by then are read on the ring into a large one, or moved into
/// a pipe where nobody is to see them.
pub(crate) struct Reader {
    socket: Socket,
    pool: Rc<BufferPool>,
    pipes: Option<PipePool>,
    watch: Option<Rc<Watch>>,
    bulk: bool,
    /// Whether something may be left to read, so that others come first.
    unfinished: bool,
}

impl Reader {
    /// With `pipes` where nobody is to see what passes.
    pub(crate) const fn new(socket: Socket, pool: Rc<BufferPool>, pipes: Option<PipePool>) -> Self {
        Self { socket, pool, pipes, watch: None, bulk: false, unfinished: false }
    }

    /// What came next. Must be awaited to its end.
    pub(crate) async fn read(&mut self) -> io::Result<Input> {
        if std::mem::take(&mut self.unfinished) {
            let_others_go_on().await;
        }
        let watch = self.watch()?;
        loop {
            let ready = watch.readable().await?;
            if self.bulk {
                let waiting = self.socket.bytes_waiting()?;
                if waiting == 0 && !ready.is_ended() {
                    ready.drained();
                    continue;
                }
                if waiting > SMALL
                    && let Some(input) = self.read_bulk().await?
                {
                    return Ok(input);
                }
            }
            let mut buffer = self.pool.small();
            match self.socket.read_now(&mut buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready.drained(),
                result => {
                    result?;
                    self.bulk = buffer.len() == buffer.capacity();
                    self.unfinished =
                        self.bulk || self.socket.reads_end_early() || ready.is_urgent();
                    if !self.unfinished {
                        ready.drained();
                    }
                    return Ok(Input::Bytes(buffer));
                }
            }
        }
    }

    /// What waits for the socket, from the first read to the last.
    fn watch(&mut self) -> io::Result<Rc<Watch>> {
        if let Some(watch) = &self.watch {
            return Ok(Rc::clone(watch));
        }
        let watch = self.socket.watch()?;
        Ok(Rc::clone(self.watch.insert(watch)))
    }

    /// As much as has come; nothing where that is too little for it.
    async fn read_bulk(&mut self) -> io::Result<Option<Input>> {
        if let Some(pipe) = self.pipe()? {
            self.unfinished = true;
            return Ok(Some(Input::Piped(pipe)));
        }
        match self.socket.read(self.pool.large()).await {
            // The other direction has made the socket one that never blocks.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            result => result.map(|buffer| Some(Input::Bytes(buffer))),
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
