//! A connected stream socket, TCP or unix.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use socket2::{Domain, SockRef};
use tokio::time::sleep;
use tokio_uring::buf::BoundedBuf;
use tokio_uring::net::TcpStream;

use super::buffer::{Buffer, Memory, SMALL};
use super::pace::Pace;
use super::pipe::Pipe;
use super::poll;
use super::watch::Watch;

/// A handle of a socket; clones are the same socket. It closes when the last one is dropped and
/// no operation is in flight.
///
/// Unix sockets are held as a `TcpStream` too: the ring reads and writes descriptors and does
/// not ask of which family.
#[derive(Clone)]
pub(crate) struct Socket(Rc<Inner>);

struct Inner {
    stream: TcpStream,
    family: Domain,
    /// Whether calls on the descriptor come back at once; they wait by default, which saves the
    /// ring from polling.
    never_blocks: Cell<bool>,
    /// The registration with epoll, while anybody waits for it.
    watch: RefCell<Weak<Watch>>,
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        self.0.stream.as_raw_fd()
    }
}

impl Socket {
    /// Takes a connected socket of a family, in blocking mode.
    pub(super) fn new(stream: TcpStream, family: Domain) -> Self {
        let (never_blocks, watch) = (Cell::new(false), RefCell::default());
        Self(Rc::new(Inner { stream, family, never_blocks, watch }))
    }

    pub(super) fn stream(&self) -> &TcpStream {
        &self.0.stream
    }

    fn fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the descriptor is open for as long as `self.0` lives, and the borrow is tied
        // to it.
        unsafe { BorrowedFd::borrow_raw(self.as_raw_fd()) }
    }

    /// Reads what has come into `buffer`, empty at the end of the stream; fails with `WouldBlock`
    /// where nothing has come.
    pub(super) fn read_now(&self, buffer: &mut Buffer) -> io::Result<()> {
        buffer.receive(&SockRef::from(&self.fd()))
    }

    /// Reads into `buffer`; comes back with it, empty at the end of the stream.
    pub(super) async fn read(&self, mut buffer: Buffer) -> io::Result<Buffer> {
        let (result, memory) = match buffer.take_memory() {
            Memory::Fixed(fixed) => {
                let (result, fixed) = self.stream().read_fixed(fixed).await;
                (result, Memory::Fixed(fixed))
            }
            Memory::Heap(heap) => {
                let (result, heap) = self.stream().read(heap).await;
                (result, Memory::Heap(heap))
            }
            Memory::Gone => (Ok(0), Memory::Gone),
        };
        buffer.put_memory(memory, *result.as_ref().unwrap_or(&0));
        result.map(|_| buffer)
    }

    /// Writes all that `buffer` shows. Comes back with the buffer when the kernel has taken it.
    pub(crate) async fn write_all(&self, mut buffer: Buffer, pace: &Pace) -> io::Result<Buffer> {
        let filled = buffer.len();
        // Bulk is sent at once because the copy outweighs the call; a small message because the
        // trip through the ring would make it late, unless others go along and share the trip.
        let at_once = filled > SMALL || !pace.is_busy();
        let mut sent = if at_once { self.send_now(&buffer)? } else { 0 };
        while sent < filled {
            // The slice is what keeps a buffer's older bytes from being sent along.
            let (result, memory) = match buffer.take_memory() {
                Memory::Fixed(fixed) => {
                    let slice = fixed.slice(sent..filled);
                    let (result, slice) = self.stream().write_fixed(slice).await;
                    (result, Memory::Fixed(slice.into_inner()))
                }
                Memory::Heap(heap) => {
                    let slice = heap.slice(sent..filled);
                    let (result, slice) = self.stream().write(slice).submit().await;
                    (result, Memory::Heap(slice.into_inner()))
                }
                Memory::Gone => return Ok(buffer),
            };
            buffer.put_memory(memory, filled);
            sent += self.written(result).await?;
        }
        Ok(buffer)
    }

    /// Writes all of `bytes`.
    pub(crate) async fn write_bytes(&self, bytes: Bytes) -> io::Result<()> {
        let mut sent = self.send_now(&bytes)?;
        while sent < bytes.len() {
            let (result, _) = self.stream().write(Bytes::slice(&bytes, sent..)).submit().await;
            sent += self.written(result).await?;
        }
        Ok(())
    }

    /// How much a write has written; waits for room where there was none.
    async fn written(&self, result: io::Result<usize>) -> io::Result<usize> {
        match result {
            Ok(0) => Err(io::ErrorKind::WriteZero.into()),
            // A socket that never blocks does not let the ring wait, on some kernels.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                poll::writable(self).await?;
                Ok(0)
            }
            result => result,
        }
    }

    /// Makes calls on the descriptor come back at once, from now on: `splice` asks the sockets,
    /// not its flags, whether it may wait.
    pub(super) fn never_block(&self) -> io::Result<()> {
        if !self.0.never_blocks.get() {
            SockRef::from(&self.fd()).set_nonblocking(true)?;
            self.0.never_blocks.set(true);
        }
        Ok(())
    }

    /// Whether a read may leave something of what has come though it has room: a unix socket's
    /// ends where descriptors were sent along.
    pub(super) fn reads_end_early(&self) -> bool {
        self.0.family == Domain::UNIX
    }

    /// Moves what has come into `pipe`; how much, 0 at the end of the stream.
    pub(super) fn fill(&self, pipe: &mut Pipe) -> io::Result<usize> {
        pipe.fill(self.fd())
    }

    /// Writes all that `pipe` holds. Comes back when the kernel has taken it.
    pub(crate) async fn write_piped(&self, mut pipe: Pipe) -> io::Result<()> {
        self.never_block()?;
        loop {
            match pipe.drain(self.fd()) {
                Ok(0) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    poll::writable(self).await?;
                }
                result => drop(result?),
            }
        }
    }

    /// Sends what the kernel takes at once, which most of the time is all.
    fn send_now(&self, bytes: &[u8]) -> io::Result<usize> {
        let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
        match SockRef::from(&self.fd()).send_with_flags(bytes, flags) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(0),
            result => result,
        }
    }

    /// How many bytes a read would deliver now; 0 also at the end of the stream.
    pub(super) fn bytes_waiting(&self) -> io::Result<usize> {
        self.queue_length(libc::FIONREAD)
    }

    /// How many bytes were written that the peer has not acknowledged.
    fn unacknowledged(&self) -> usize {
        self.queue_length(libc::TIOCOUTQ).unwrap_or(0)
    }

    fn queue_length(&self, request: libc::Ioctl) -> io::Result<usize> {
        let mut length: libc::c_int = 0;
        // SAFETY: FIONREAD and TIOCOUTQ write one int to the address they are given, which is
        // that of one.
        let result = unsafe { libc::ioctl(self.as_raw_fd(), request, &raw mut length) };
        if result < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(usize::try_from(length).unwrap_or(0))
    }

    /// Sends what small segments there are at once. Without meaning on a unix socket.
    pub(crate) fn set_nodelay(&self) {
        // A socket that cannot (unix) needs none.
        let _ = SockRef::from(&self.fd()).set_tcp_nodelay(true);
    }

    /// Tells the peer that no more will come (FIN), after all that was written.
    pub(crate) fn shutdown_write(&self) -> io::Result<()> {
        match self.stream().shutdown(Shutdown::Write) {
            // The peer has reset the connection meanwhile: the read side tells.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
            result => result,
        }
    }

    /// Ends the connection with RST at once: pending operations on it fail, unsent and unread
    /// bytes are gone. A unix socket, which knows no RST, is closed both ways instead.
    pub(crate) fn abort(&self) {
        // Connecting a TCP socket to "no address" disconnects it; unlike close with SO_LINGER 0
        // that works while operations hold the socket, and unlike shutdown it sends no FIN.
        let mut nowhere: libc::sockaddr = zeroed_address();
        nowhere.sa_family = libc::AF_UNSPEC as libc::sa_family_t;
        let len = size_of::<libc::sockaddr>() as libc::socklen_t;
        // SAFETY: the address is a valid sockaddr of the length given and outlives the call.
        let result = unsafe { libc::connect(self.as_raw_fd(), &raw const nowhere, len) };
        if result < 0 {
            let _ = SockRef::from(&self.fd()).set_linger(Some(Duration::ZERO));
            let _ = self.stream().shutdown(Shutdown::Both);
        }
    }

    /// Reads nothing more: a pending read comes back. The peer is not told.
    pub(crate) fn stop_reading(&self) {
        // Fails only where there is nothing left to read from.
        let _ = self.stream().shutdown(Shutdown::Read);
    }

    /// Waits until the connection has failed, by a reset of the peer as a rule, and says how.
    /// Holds no operation in flight, so it may be dropped at any time; an error of its own means
    /// that it cannot tell.
    pub(crate) async fn failure(&self) -> io::Result<io::Error> {
        self.watch()?.failed().await?;
        // None where a read or a write has taken the error meanwhile: a reset then.
        let error = SockRef::from(&self.fd()).take_error()?;
        Ok(error.unwrap_or_else(|| io::ErrorKind::ConnectionReset.into()))
    }

    /// What waits for the socket without an operation in flight: one, shared by all who do.
    pub(super) fn watch(&self) -> io::Result<Rc<Watch>> {
        if let Some(watch) = self.0.watch.borrow().upgrade() {
            return Ok(watch);
        }
        let watch = Rc::new(Watch::new(self.clone())?);
        self.0.watch.replace(Rc::downgrade(&watch));
        Ok(watch)
    }

    /// Waits until the peer has acknowledged all that was written to it, or none of it for
    /// `stall`. May be dropped at any time.
    pub(crate) async fn acknowledged(&self, stall: Duration) {
        // The kernel wakes nobody for this, so it is asked; seldom, when it takes longer.
        let mut pause = Duration::from_millis(1);
        let mut left = self.unacknowledged();
        let mut since = Instant::now();
        while left > 0 && since.elapsed() < stall {
            sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(50));
            let before = std::mem::replace(&mut left, self.unacknowledged());
            if left < before {
                since = Instant::now();
            }
        }
    }

    /// The socket's own address, `None` on a unix socket.
    pub(crate) fn local_address(&self) -> io::Result<Option<SocketAddr>> {
        Ok(SockRef::from(&self.fd()).local_addr()?.as_socket().map(canonical))
    }
}

/// Leaves urgent bytes at their place in the stream; by default a read skips them, and they
/// would be lost.
pub(super) fn keep_urgent_bytes(socket: &SockRef<'_>) {
    // A kernel that knows none on unix sockets loses none.
    let _ = socket.set_out_of_band_inline(true);
}

const fn zeroed_address() -> libc::sockaddr {
    libc::sockaddr { sa_family: 0, sa_data: [0; 14] }
}

/// An IPv4 address as such, also where an IPv6 socket wrapped it.
pub(super) fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
