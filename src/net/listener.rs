//! Listening sockets.

use std::io;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixListener as StdUnixListener;
use std::path::{Path, PathBuf};

use socket2::{Domain, SockAddr, SockRef, Socket as RawSocket, Type};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;

use super::io::Io;
use super::socket::{Owner, Socket, canonical, keep_urgent_bytes, switch_on};

/// Clients that may wait to be accepted; the kernel lowers it to `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// Binds a TCP address and listens. Fails when another socket listens there. Where `is_transparent`
/// it takes clients of other addresses, too, if the kernel allows it (`IP_TRANSPARENT`).
pub(crate) fn bind_tcp(address: SocketAddr, is_transparent: bool) -> io::Result<OwnedFd> {
    let socket = RawSocket::new(Domain::for_address(address), Type::STREAM.cloexec(), None)?;
    if is_transparent {
        // It needs CAP_NET_ADMIN, and only TPROXY needs it.
        let _ = match address {
            SocketAddr::V4(_) => socket.set_ip_transparent_v4(true),
            SocketAddr::V6(_) => switch_on(&socket, libc::IPPROTO_IPV6, libc::IPV6_TRANSPARENT),
        };
    }
    // So that the port is free at once for the next start. SO_REUSEPORT is left out on purpose:
    // it would let a second program listen here unseen.
    socket.set_reuse_address(true)?;
    // Accepted sockets inherit both: set after the accept it might be too late for the first byte.
    socket.set_tcp_nodelay(true)?;
    keep_urgent_bytes(&SockRef::from(&socket));
    // The kernel keeps the first packet of each client, for `hops_left`. Where it knows no such
    // option, a loop through other processes is not noticed.
    let _ = switch_on(&socket, libc::IPPROTO_TCP, libc::TCP_SAVE_SYN);
    if let SocketAddr::V6(v6) = address
        && v6.ip().is_unspecified()
    {
        // IPv4 as well, whatever net.ipv6.bindv6only says.
        let _ = socket.set_only_v6(false);
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Makes the listening socket that somebody else opened like one of ours.
pub(crate) fn adopt(socket: &OwnedFd) {
    let options = SockRef::from(socket);
    // A unix socket knows neither.
    let _ = options.set_tcp_nodelay(true);
    let _ = switch_on(socket, libc::IPPROTO_TCP, libc::TCP_SAVE_SYN);
    keep_urgent_bytes(&options);
}

/// How many hops the first packet of a client had left when it came here.
pub(crate) fn hops_left(client: &Socket) -> Option<u8> {
    // An IPv4 or IPv6 header and the options of TCP (RFC 791, RFC 8200).
    let mut packet = [0_u8; 256];
    let mut len = packet.len() as libc::socklen_t;
    let room = packet.as_mut_ptr().cast();
    // SAFETY: the option writes at most `len` bytes to the address it is given, and has as much
    // room there.
    let result = unsafe {
        let fd = client.as_fd().as_raw_fd();
        libc::getsockopt(fd, libc::IPPROTO_TCP, libc::TCP_SAVED_SYN, room, &raw mut len)
    };
    match (result, packet[0] >> 4) {
        (0, 4) if len >= 20 => Some(packet[8]),
        (0, 6) if len >= 40 => Some(packet[7]),
        _ => None,
    }
}

/// Binds a path and listens.
pub(crate) fn bind_unix(path: &Path) -> io::Result<OwnedFd> {
    Ok(StdUnixListener::bind(path)?.into())
}

/// Whether `path` is a socket that nobody listens on any more.
pub(crate) fn is_abandoned_unix(path: &Path) -> bool {
    use std::os::unix::fs::FileTypeExt;
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_socket());
    // Who listens may have no room for one more client: that is not waited for.
    let connected = RawSocket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)
        .and_then(|socket| socket.connect(&SockAddr::unix(path)?));
    let refused = |error: io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
    is_socket && connected.err().is_some_and(refused)
}

/// The path that a listening unix socket has.
pub(crate) fn bound_path(listening: &OwnedFd) -> Option<PathBuf> {
    let address = SockRef::from(listening).local_addr().ok()?;
    address.as_pathname().map(Path::to_owned)
}

/// The address that a listening socket has.
pub(crate) fn bound_address(listening: &OwnedFd) -> io::Result<Option<SocketAddr>> {
    Ok(SockRef::from(listening).local_addr()?.as_socket())
}

/// A listening socket on this thread's runtime.
pub(crate) struct Listener {
    fd: OwnedFd,
    family: Domain,
    way: Way,
    /// Whoever passed the socket may go on to listen.
    is_inherited: bool,
}

enum Way {
    Uring(tokio_uring::net::TcpListener),
    Epoll { listener: AsyncFd<OwnedFd>, stop: Notify },
}

impl Listener {
    /// A handle of `listening` for this thread; every worker makes its own of the same socket, and
    /// the kernel wakes one of them for each client. An inherited one is left as it is at the end:
    /// clients wait in its queue for the next start.
    pub(crate) fn new(io: &Io, listening: &OwnedFd, is_inherited: bool) -> io::Result<Self> {
        let fd = listening.try_clone()?;
        let family = SockRef::from(&fd).domain()?;
        let way = match io {
            // The ring's own unix listener does not work on recent kernels. Its accept ends only
            // with the socket, which must not end where it was inherited.
            Io::Uring(_) if family != Domain::UNIX && !is_inherited => {
                Way::Uring(tokio_uring::net::TcpListener::from_std(fd.try_clone()?.into()))
            }
            _ => {
                SockRef::from(&fd).set_nonblocking(true)?;
                let own = fd.try_clone()?;
                // SAFETY: the `AsyncFd` owns the descriptor, which stays open as long as it lives.
                let listener = unsafe { AsyncFd::register_with_interest(own, Interest::READABLE) }?;
                Way::Epoll { listener, stop: Notify::new() }
            }
        };
        Ok(Self { fd, family, way, is_inherited })
    }

    /// The next client, and its address if it has one. Must be awaited to its end: a dropped
    /// accept swallows a client. [`stop`](Self::stop) ends it.
    pub(crate) async fn accept(&self) -> io::Result<(Socket, Option<SocketAddr>)> {
        let (listener, stop) = match &self.way {
            Way::Uring(ring) => {
                let (stream, peer) = ring.accept().await?;
                let family = Domain::for_address(peer);
                return Ok((Socket::new(Owner::Accepted(stream), family), Some(canonical(peer))));
            }
            Way::Epoll { listener, stop } => (listener, stop),
        };
        loop {
            // Unlike a ring's, this accept may be dropped.
            let mut ready = tokio::select! {
                ready = listener.readable() => ready?,
                () = stop.notified() => return Err(io::ErrorKind::Interrupted.into()),
            };
            match SockRef::from(listener.get_ref()).accept() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready.clear_ready(),
                accepted => return accepted.map(|(socket, peer)| self.take_in(socket, &peer)),
            }
        }
    }

    fn take_in(&self, socket: RawSocket, peer: &SockAddr) -> (Socket, Option<SocketAddr>) {
        if self.family == Domain::UNIX {
            // Unlike a TCP socket it does not inherit it.
            keep_urgent_bytes(&SockRef::from(&socket));
        }
        let peer = peer.as_socket();
        let family = peer.map_or(self.family, Domain::for_address);
        (Socket::new(Owner::Fd(socket.into()), family), peer.map(canonical))
    }

    /// Refuses clients from now on; every worker's pending accept fails.
    pub(crate) fn stop(&self) {
        if self.family != Domain::UNIX && !self.is_inherited {
            // Fails only where it has been done already.
            let _ = SockRef::from(&self.fd).shutdown(Shutdown::Both);
        }
        if let Way::Epoll { stop, .. } = &self.way {
            stop.notify_one();
        }
    }
}
