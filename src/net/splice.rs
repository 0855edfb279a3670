//! Moving bytes from socket to socket inside the kernel, which copies none of them.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::rc::Rc;

use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};

/// What a pipe is asked to hold: as for buffers, the cost per byte falls up to this size.
const CAPACITY: usize = 1024 * 1024;

/// Holds bytes on their way from one socket to another, as [splice(2)] moves them.
///
/// [splice(2)]: https://man7.org/linux/man-pages/man2/splice.2.html
pub(crate) struct Pipe {
    /// Gone only when it is given back.
    ends: Option<Ends>,
    filled: usize,
    drained: Cell<usize>,
    pool: Rc<Shared>,
}

struct Ends {
    reader: OwnedFd,
    writer: OwnedFd,
}

impl Ends {
    fn new() -> io::Result<Self> {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        // Where the user's share of pipes is used up it keeps the size that all have.
        let _ = fcntl_setpipe_size(&writer, CAPACITY);
        Ok(Self { reader, writer })
    }
}

impl Pipe {
    /// How many bytes it was filled with.
    pub(super) const fn filled(&self) -> usize {
        self.filled
    }

    /// Takes what has come to a socket that never blocks; 0 at the end of its stream.
    pub(super) fn fill(&mut self, socket: BorrowedFd<'_>) -> io::Result<usize> {
        let Some(ends) = &self.ends else { return Ok(0) };
        let moved = move_bytes(socket, &ends.writer, CAPACITY)?;
        self.filled += moved;
        Ok(moved)
    }

    /// Gives a socket that never blocks what it takes; how much that was.
    pub(super) fn drain(&self, socket: BorrowedFd<'_>) -> io::Result<usize> {
        let Some(ends) = &self.ends else { return Ok(0) };
        match move_bytes(&ends.reader, socket, self.filled - self.drained.get())? {
            0 => Err(io::ErrorKind::WriteZero.into()),
            moved => {
                self.drained.set(self.drained.get() + moved);
                Ok(moved)
            }
        }
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        let ends = self.ends.take();
        // One with bytes in it is closed: what one connection said must never reach another.
        match ends.filter(|_| self.filled == self.drained.get()) {
            Some(ends) => self.pool.idle.borrow_mut().push(ends),
            None => self.pool.left.set(self.pool.left.get() + 1),
        }
    }
}

fn move_bytes(
    from: impl std::os::fd::AsFd,
    to: impl std::os::fd::AsFd,
    len: usize,
) -> io::Result<usize> {
    loop {
        let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
        match splice(&from, None, &to, None, len, flags) {
            Err(rustix::io::Errno::INTR) => {}
            result => return Ok(result?),
        }
    }
}

/// The pipes of one worker. Clones share them.
#[derive(Clone)]
pub(crate) struct PipePool(Rc<Shared>);

struct Shared {
    idle: RefCell<Vec<Ends>>,
    /// How many more there may be.
    left: Cell<usize>,
}

impl PipePool {
    /// At most `max` pipes, each made when it is needed; two descriptors each.
    pub(crate) fn new(max: usize) -> Self {
        Self(Rc::new(Shared { idle: RefCell::default(), left: Cell::new(max) }))
    }

    /// An empty pipe, unless all are in use.
    pub(super) fn lend(&self) -> Option<Pipe> {
        let idle = self.0.idle.borrow_mut().pop();
        let ends = idle.or_else(|| {
            let left = self.0.left.get().checked_sub(1)?;
            let ends = Ends::new().ok()?;
            self.0.left.set(left);
            Some(ends)
        })?;
        Some(Pipe { ends: Some(ends), filled: 0, drained: Cell::new(0), pool: Rc::clone(&self.0) })
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn pipe_given_back_with_bytes_in_it_is_never_lent_again() {
        let pool = PipePool::new(1);
        let (mut client, from) = UnixStream::pair().expect("a pair");
        let (to, mut server) = UnixStream::pair().expect("a pair");
        client.write_all(b"secret").expect("it is taken");
        let mut pipe = pool.lend().expect("it is free");
        assert_eq!(pipe.fill(from.as_fd()).expect("it is filled"), 6);
        assert!(pool.lend().is_none(), "there are two");
        drop(pipe);
        client.write_all(b"public").expect("it is taken");
        let mut pipe = pool.lend().expect("it is free again");
        assert_eq!(pipe.fill(from.as_fd()).expect("it is filled"), 6);
        assert_eq!(pipe.drain(to.as_fd()).expect("it is taken"), 6);
        let mut received = [0; 6];
        server.read_exact(&mut received).expect("it is received");
        assert_eq!(&received, b"public");
    }
}
