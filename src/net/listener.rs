//! Listening sockets.

use std::io;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener as StdUnixListener;
use std::path::Path;

use socket2::{Domain, SockAddr, SockRef, Socket as RawSocket, Type};
use tokio::net::UnixListener;
use tokio::sync::Notify;

use super::socket::{Owner, Socket, canonical, keep_urgent_bytes};

/// Clients that may wait to be accepted; the kernel lowers it to `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// Binds a TCP address and listens. Fails when another socket listens there.
pub(crate) fn bind_tcp(address: SocketAddr) -> io::Result<OwnedFd> {
    let socket = RawSocket::new(Domain::for_address(address), Type::STREAM.cloexec(), None)?;
    // So that the port is free at once for the next start. SO_REUSEPORT is left out on purpose:
    // it would let a second program listen here unseen.
    socket.set_reuse_address(true)?;
    // Accepted sockets inherit both: set after the accept it might be too late for the first byte.
    socket.set_tcp_nodelay(true)?;
    keep_urgent_bytes(&SockRef::from(&socket));
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
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

/// The address that a listening socket has.
pub(crate) fn bound_address(listening: &OwnedFd) -> io::Result<Option<SocketAddr>> {
    Ok(SockRef::from(listening).local_addr()?.as_socket())
}

/// A listening socket on this thread's runtime.
pub(crate) enum Listener {
    Tcp { ring: tokio_uring::net::TcpListener, fd: OwnedFd },
    Unix { listener: UnixListener, stop: Notify },
}

impl Listener {
    /// A handle of `listening` for this thread; every worker makes its own of the same socket,
    /// and the kernel wakes one of them for each client.
    pub(crate) fn new(listening: &OwnedFd) -> io::Result<Self> {
        let fd = listening.try_clone()?;
        if SockRef::from(&fd).domain()? == Domain::UNIX {
            // The ring's own unix listener does not work on recent kernels.
            let listener = StdUnixListener::from(fd);
            listener.set_nonblocking(true)?;
            let listener = UnixListener::from_std(listener)?;
            return Ok(Self::Unix { listener, stop: Notify::new() });
        }
        let ring = tokio_uring::net::TcpListener::from_std(fd.try_clone()?.into());
        Ok(Self::Tcp { ring, fd })
    }

    /// The next client, and its address if it has one. Must be awaited to its end: a dropped
    /// accept swallows a client. [`stop`](Self::stop) ends it.
    pub(crate) async fn accept(&self) -> io::Result<(Socket, Option<SocketAddr>)> {
        match self {
            Self::Tcp { ring, .. } => {
                let (stream, peer) = ring.accept().await?;
                let family = Domain::for_address(peer);
                Ok((Socket::new(Owner::Accepted(stream), family), Some(canonical(peer))))
            }
            Self::Unix { listener, stop } => {
                // Unlike a ring's, this accept may be dropped.
                let (stream, _) = tokio::select! {
                    accepted = listener.accept() => accepted?,
                    () = stop.notified() => return Err(io::ErrorKind::Interrupted.into()),
                };
                let stream = stream.into_std()?;
                stream.set_nonblocking(false)?;
                // Unlike a TCP socket it does not inherit it.
                keep_urgent_bytes(&SockRef::from(&stream));
                Ok((Socket::new(Owner::Fd(stream.into()), Domain::UNIX), None))
            }
        }
    }

    /// Refuses clients from now on; every worker's pending accept fails.
    pub(crate) fn stop(&self) {
        match self {
            // Fails only where it has been done already.
            Self::Tcp { fd, .. } => drop(SockRef::from(fd).shutdown(Shutdown::Both)),
            // Shut down, it would be ready to accept for ever, and never have anybody.
            Self::Unix { stop, .. } => stop.notify_one(),
        }
    }
}
