//! Moving bytes from socket to socket inside the kernel, which copies none of them.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr::null_mut;
use std::rc::Rc;

/// What a pipe is asked to hold: as for buffers, the cost per byte falls up to this size.
const CAPACITY: usize = 1024 * 1024;

/// Holds bytes on their way from one socket to another, as [splice(2)] moves them.
///
/// [splice(2)]: https://man7.org/linux/man-pages/man2/splice.2.html
pub(crate) struct Pipe {
    /// Gone only when it is given back.
    ends: Option<Ends>,
    held: usize,
    pool: Rc<Shared>,
}

struct Ends {
    reader: OwnedFd,
    writer: OwnedFd,
}

impl Ends {
    fn new() -> io::Result<Self> {
        let mut fds = [0; 2];
        // SAFETY: pipe2 writes two descriptors to the array, which has room for them.
        if unsafe { libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC | libc::O_NONBLOCK) } < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: both were just opened, and nobody else knows of them.
        let [reader, writer] = fds.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) });
        // Where the user's share of pipes is used up it keeps the size that all have.
        // SAFETY: F_SETPIPE_SZ takes an int and touches no memory of this process.
        unsafe { libc::fcntl(writer.as_raw_fd(), libc::F_SETPIPE_SZ, CAPACITY as libc::c_int) };
        Ok(Self { reader, writer })
    }
}

impl Pipe {
    /// How many bytes it holds.
    pub(crate) const fn len(&self) -> usize {
        self.held
    }

    /// Takes what has come to a socket that never blocks; 0 at the end of its stream.
    pub(super) fn fill(&mut self, socket: BorrowedFd<'_>) -> io::Result<usize> {
        let Some(ends) = &self.ends else { return Ok(0) };
        let moved = splice(socket.as_raw_fd(), ends.writer.as_raw_fd(), CAPACITY)?;
        self.held += moved;
        Ok(moved)
    }

    /// Gives what a socket that never blocks takes; how much is left.
    pub(super) fn drain(&mut self, socket: BorrowedFd<'_>) -> io::Result<usize> {
        let Some(ends) = &self.ends else { return Ok(0) };
        match splice(ends.reader.as_raw_fd(), socket.as_raw_fd(), self.held)? {
            0 => Err(io::ErrorKind::WriteZero.into()),
            moved => {
                self.held -= moved;
                Ok(self.held)
            }
        }
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        let ends = self.ends.take();
        // One with bytes in it is closed: what one connection said must never reach another.
        match ends.filter(|_| self.held == 0) {
            Some(ends) => self.pool.idle.borrow_mut().push(ends),
            None => self.pool.left.set(self.pool.left.get() + 1),
        }
    }
}

fn splice(from: libc::c_int, to: libc::c_int, len: usize) -> io::Result<usize> {
    loop {
        let flags = libc::SPLICE_F_MOVE | libc::SPLICE_F_NONBLOCK;
        // SAFETY: splice touches no memory of this process but the offsets, of which it gets
        // none; sockets and pipes have none.
        let moved = unsafe { libc::splice(from, null_mut(), to, null_mut(), len, flags) };
        match usize::try_from(moved) {
            Ok(moved) => return Ok(moved),
            Err(_) => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::Interrupted => {}
                error => return Err(error),
            },
        }
    }
}

/// The pipes of one ring. Clones share them.
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
        Some(Pipe { ends: Some(ends), held: 0, pool: Rc::clone(&self.0) })
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn a_pipe_that_is_given_back_with_bytes_in_it_is_never_lent_again() {
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
        assert_eq!(pipe.drain(to.as_fd()).expect("it is taken"), 0);
        let mut heard = [0; 6];
        server.read_exact(&mut heard).expect("it is heard");
        assert_eq!(&heard, b"public");
    }
}
