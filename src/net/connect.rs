//! Connecting, in a way that may be given up at any time.

use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;

use socket2::{Domain, SockAddr, SockRef, Socket as RawSocket, Type};

use super::readiness::Readiness;
use super::socket::{Owner, Socket, keep_urgent_bytes};

/// Connects to a TCP address. The future may be dropped, which closes the socket. The packets may
/// take no more than `hops`, where that is given.
pub(crate) async fn connect_tcp(address: SocketAddr, hops: Option<u8>) -> io::Result<Socket> {
    connect(Domain::for_address(address), &address.into(), hops).await
}

/// Connects to a unix socket. The future may be dropped, which closes the socket.
pub(crate) async fn connect_unix(path: &Path) -> io::Result<Socket> {
    connect(Domain::UNIX, &SockAddr::unix(path)?, None).await
}

/// Whether this machine can send to `address` at all, as far as it knows; no packet is sent.
///
/// Tells the two meanings of `EADDRNOTAVAIL` apart: a connect gives it when all local ports are
/// in use, and also when there is no local address to connect from, as for `::1` where IPv6 is
/// switched off.
pub(crate) fn can_send_to(address: SocketAddr) -> bool {
    let any: SocketAddr = match address {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    UdpSocket::bind(any).is_ok_and(|socket| socket.connect(address).is_ok())
}

/// Whether `ip` is one of this machine's addresses.
pub(crate) fn is_own_address(ip: IpAddr) -> bool {
    ip.is_loopback() || UdpSocket::bind((ip, 0)).is_ok()
}

async fn connect(domain: Domain, address: &SockAddr, hops: Option<u8>) -> io::Result<Socket> {
    let socket = RawSocket::new(domain, Type::STREAM.nonblocking().cloexec(), None)?;
    match hops {
        Some(hops) if domain == Domain::IPV4 => socket.set_ttl_v4(hops.into())?,
        Some(hops) => socket.set_unicast_hops_v6(hops.into())?,
        None => {}
    }
    keep_urgent_bytes(&SockRef::from(&socket));
    let mut result = socket.connect(address);
    if result.as_ref().is_err_and(|error| error.raw_os_error() == Some(libc::EINPROGRESS)) {
        // On loopback the answer has come by now; asking again saves the wait.
        result = socket.connect(address);
    }
    let socket = Socket::new(Owner::Fd(socket.into()), domain);
    match result {
        Ok(()) => {}
        Err(error) if error.raw_os_error() == Some(libc::EISCONN) => {}
        Err(error) if matches!(error.raw_os_error(), Some(libc::EALREADY | libc::EINPROGRESS)) => {
            wait(&socket).await?;
        }
        Err(error) => return Err(error),
    }
    // A ring waits by itself on a blocking socket only.
    socket.options().set_nonblocking(false)?;
    Ok(socket)
}

/// Waits for the answer to a connect under way.
async fn wait(socket: &Socket) -> io::Result<()> {
    // SAFETY: the readiness ends before this, which the socket outlives.
    let readiness = unsafe { Readiness::new(socket.as_fd().as_raw_fd()) }?;
    poll_fn(|context| readiness.poll_writable(context).map_ok(drop)).await?;
    match socket.options().take_error()? {
        Some(error) => Err(error),
        None => Ok(()),
    }
}
