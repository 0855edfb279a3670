//! A connected stream socket, TCP or unix.

use std::cell::{Cell, OnceCell};
use std::io;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::rc::Rc;
use std::time::Duration;

use rustix::net::connect_unspec;
use socket2::{Domain, SockRef, TcpKeepalive};

use super::readiness::Readiness;

/// A handle of a socket; clones are the same socket. It closes when the last one is dropped.
#[derive(Clone)]
pub(crate) struct Socket(Rc<Inner>);

struct Inner {
    /// The registration with epoll, made when somebody first waits. Before the descriptor, which
    /// has to be open when it ends.
    readiness: OnceCell<Readiness>,
    fd: Owner,
    family: Domain,
    /// Whether calls on the descriptor come back at once. They wait by default, which the ring
    /// needs.
    never_blocks: Cell<bool>,
}

/// Who closes the descriptor.
pub(super) enum Owner {
    Fd(OwnedFd),
    /// tokio-uring gives no descriptor away.
    Accepted(tokio_uring::net::TcpStream),
}

impl AsRawFd for Owner {
    fn as_raw_fd(&self) -> RawFd {
        match self {
            Self::Fd(fd) => fd.as_raw_fd(),
            Self::Accepted(stream) => stream.as_raw_fd(),
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the owner keeps the descriptor open for as long as `self.0` lives, and the
        // borrow is tied to it.
        unsafe { BorrowedFd::borrow_raw(self.0.fd.as_raw_fd()) }
    }
}

impl Socket {
    /// Takes a connected socket of a family, in blocking mode.
    pub(super) fn new(fd: Owner, family: Domain) -> Self {
        let (readiness, never_blocks) = (OnceCell::new(), Cell::new(false));
        Self(Rc::new(Inner { readiness, fd, family, never_blocks }))
    }

    /// Takes a connected TCP socket in blocking mode.
    pub(crate) fn adopt(stream: TcpStream) -> io::Result<Self> {
        let options = SockRef::from(&stream);
        keep_urgent_bytes(&options);
        let family = options.domain()?;
        let socket = Self::new(Owner::Fd(stream.into()), family);
        socket.set_nodelay();
        Ok(socket)
    }

    pub(super) fn options(&self) -> SockRef<'_> {
        SockRef::from(self)
    }

    /// What waits for the socket.
    pub(super) fn readiness(&self) -> io::Result<&Readiness> {
        if let Some(readiness) = self.0.readiness.get() {
            return Ok(readiness);
        }
        // SAFETY: the readiness is dropped before the owner, which keeps the descriptor open.
        let readiness = unsafe { Readiness::new(self.0.fd.as_raw_fd()) }?;
        Ok(self.0.readiness.get_or_init(|| readiness))
    }

    /// Makes calls on the descriptor come back at once, from now on: `splice` asks the sockets,
    /// not its flags, whether it may wait.
    pub(super) fn never_block(&self) -> io::Result<()> {
        if !self.0.never_blocks.get() {
            self.options().set_nonblocking(true)?;
            self.0.never_blocks.set(true);
        }
        Ok(())
    }

    /// Whether a read may leave something of what has come though it has room: a unix socket's
    /// ends where descriptors were sent along.
    pub(super) fn reads_end_early(&self) -> bool {
        self.0.family == Domain::UNIX
    }

    /// How many bytes a read would deliver now; 0 also at the end of the stream.
    pub(super) fn bytes_waiting(&self) -> io::Result<usize> {
        let bytes = rustix::io::ioctl_fionread(self)?;
        Ok(usize::try_from(bytes).unwrap_or(usize::MAX))
    }

    /// How many bytes were written that the peer has not acknowledged.
    pub(crate) fn unacknowledged(&self) -> usize {
        unacknowledged(&self.0.fd)
    }

    /// Fills in what the kernel knows of the connection, in the layout of its `struct tcp_info`,
    /// and says how many bytes it knows. `None` where it is no TCP socket.
    pub(crate) fn tcp_info(&self, room: &mut [u8]) -> Option<usize> {
        if self.0.family == Domain::UNIX {
            return None;
        }
        let mut len = libc::socklen_t::try_from(room.len()).ok()?;
        let (fd, value) = (self.0.fd.as_raw_fd(), room.as_mut_ptr().cast());
        // SAFETY: the option fills at most `len` bytes from the address on, which `room` has, and
        // sets `len` to how many it has filled; any bytes are valid there.
        let result =
            unsafe { libc::getsockopt(fd, libc::IPPROTO_TCP, libc::TCP_INFO, value, &raw mut len) };
        (result == 0).then_some(len as usize)
    }

    /// Sends what small segments there are at once. Without meaning on a unix socket.
    pub(crate) fn set_nodelay(&self) {
        // A socket that cannot (unix) needs none.
        let _ = self.options().set_tcp_nodelay(true);
    }

    /// Tells the peer that no more will come (FIN), after all that was written.
    pub(crate) fn shutdown_write(&self) -> io::Result<()> {
        match self.options().shutdown(Shutdown::Write) {
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
        if self.0.family == Domain::UNIX || connect_unspec(self).is_err() {
            let _ = self.options().set_linger(Some(Duration::ZERO));
            let _ = self.options().shutdown(Shutdown::Both);
        }
    }

    /// Has the kernel ask a peer that is silent for this long whether it is still there. Without
    /// meaning on a unix socket.
    pub(crate) fn set_keepalive(&self, after: Duration) {
        let keepalive = TcpKeepalive::new().with_time(after).with_interval(after);
        let _ = self.options().set_tcp_keepalive(&keepalive);
    }

    /// Where the client wanted to connect to before a rule of the firewall brought it here
    /// (`SO_ORIGINAL_DST` of netfilter); the socket's own address where none did, which is the
    /// destination of a client that TPROXY brought here.
    pub(crate) fn original_destination(&self) -> io::Result<Option<SocketAddr>> {
        let original = match self.0.family {
            Domain::IPV4 => self.options().original_dst_v4(),
            Domain::IPV6 => self.options().original_dst_v6(),
            _ => return Ok(None),
        };
        match original.map(|address| address.as_socket()) {
            Ok(Some(address)) => Ok(Some(canonical(address))),
            _ => self.local_address(),
        }
    }

    /// The socket's own address, `None` on a unix socket.
    pub(crate) fn local_address(&self) -> io::Result<Option<SocketAddr>> {
        Ok(self.options().local_addr()?.as_socket().map(canonical))
    }
}

/// Switches an option on that is a number.
pub(super) fn switch_on(
    socket: &impl AsRawFd,
    level: libc::c_int,
    option: libc::c_int,
) -> io::Result<()> {
    let on: libc::c_int = 1;
    let len = size_of::<libc::c_int>() as libc::socklen_t;
    let value = (&raw const on).cast();
    // SAFETY: the option reads one int from the address it is given, which is that of one.
    let result = unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, value, len) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Leaves urgent bytes at their place in the stream; by default a read skips them, and they
/// would be lost.
pub(super) fn keep_urgent_bytes(socket: &SockRef<'_>) {
    // A kernel that knows none on unix sockets loses none.
    let _ = socket.set_out_of_band_inline(true);
}

/// An IPv4 address as such, also where an IPv6 socket wrapped it.
pub(super) fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        ip if ip != address.ip() => SocketAddr::new(ip, address.port()),
        // As it is, for its scope.
        _ => address,
    }
}

/// How many bytes were written to a socket that its peer has not acknowledged. The kernel still
/// knows after the connection has broken.
pub(crate) fn unacknowledged(socket: &impl AsRawFd) -> usize {
    let mut length: libc::c_int = 0;
    // SAFETY: TIOCOUTQ writes one int to the address it is given, which is that of one.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut length) };
    if result < 0 { 0 } else { usize::try_from(length).unwrap_or(0) }
}
