//! Connecting, in a way that may be given up at any time.

use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use socket2::{Domain, SockAddr, SockRef, Socket as RawSocket, Type};

use super::readiness::Readiness;
use super::socket::{Owner, Socket, keep_urgent_bytes, switch_on};

/// How a TCP connection is made.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ConnectOptions {
    /// No more hops than these for its packets.
    pub(crate) hops: Option<u8>,
    /// Where it comes from; port 0 is any.
    pub(crate) source: Option<SocketAddr>,
}

impl ConnectOptions {
    fn apply(self, socket: &RawSocket, domain: Domain) -> io::Result<()> {
        match self.hops {
            Some(hops) if domain == Domain::IPV4 => socket.set_ttl_v4(hops.into())?,
            Some(hops) => socket.set_unicast_hops_v6(hops.into())?,
            None => {}
        }
        let Some(source) = self.source else { return Ok(()) };
        if source.port() == 0 {
            // The kernel then chooses a port for the pair of addresses: as many as without.
            let _ = switch_on(socket, libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT);
        } else {
            socket.set_reuse_address(true)?;
        }
        socket.bind(&source.into())
    }
}

/// Connects to a TCP address. The future may be dropped, which closes the socket.
pub(crate) async fn connect_tcp(
    address: SocketAddr,
    options: ConnectOptions,
) -> io::Result<Socket> {
    connect(Domain::for_address(address), &address.into(), options).await
}

/// Connects to a unix socket. The future may be dropped, which closes the socket.
pub(crate) async fn connect_unix(path: &Path) -> io::Result<Socket> {
    connect(Domain::UNIX, &SockAddr::unix(path)?, ConnectOptions::default()).await
}

/// An address and a port of this machine that a connection to `destination` may come from, held
/// while the socket lives: `chosen`, whose port 0 is any, where that is given.
pub(crate) fn reserve_source(
    destination: SocketAddr,
    chosen: Option<SocketAddr>,
) -> io::Result<(OwnedFd, SocketAddr)> {
    let source = match chosen {
        Some(chosen) => chosen,
        // Connecting a UDP socket sends nothing, and finds the address that the routes choose.
        None => {
            let probe = UdpSocket::bind(unspecified_like(destination))?;
            probe.connect(destination)?;
            SocketAddr::new(probe.local_addr()?.ip(), 0)
        }
    };
    let socket = RawSocket::new(Domain::for_address(destination), Type::STREAM.cloexec(), None)?;
    // Two sockets may have one address if both say so and neither listens.
    socket.set_reuse_address(true)?;
    socket.bind(&source.into())?;
    let source = socket.local_addr()?.as_socket().ok_or(io::ErrorKind::InvalidInput)?;
    Ok((socket.into(), source))
}

const fn unspecified_like(address: SocketAddr) -> SocketAddr {
    let ip = match address {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    SocketAddr::new(ip, 0)
}

/// Whether this machine can send to `address` at all, as far as it knows; no packet is sent.
///
/// Tells the two meanings of `EADDRNOTAVAIL` apart: a connect gives it when all local ports are
/// in use, and also when there is no local address to connect from, as for `::1` where IPv6 is
/// switched off.
pub(crate) fn can_send_to(address: SocketAddr) -> bool {
    let any = unspecified_like(address);
    UdpSocket::bind(any).is_ok_and(|socket| socket.connect(address).is_ok())
}

/// The number of the network interface of this name, or the number itself.
pub(crate) fn interface_number(name: &str) -> Option<u32> {
    if let Ok(number) = name.parse() {
        return Some(number);
    }
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).ok()?;
    rustix::net::netdevice::name_to_index(&socket, name).ok()
}

/// The name of the interface with this number, if there is one.
pub(crate) fn interface_name(number: u32) -> Option<String> {
    if number == 0 {
        return None;
    }
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).ok()?;
    rustix::net::netdevice::index_to_name(&socket, number).ok()
}

/// Whether `ip` is one of this machine's addresses.
pub(crate) fn is_own_address(ip: IpAddr) -> bool {
    ip.is_loopback() || UdpSocket::bind((ip, 0)).is_ok()
}

async fn connect(
    domain: Domain,
    address: &SockAddr,
    options: ConnectOptions,
) -> io::Result<Socket> {
    let socket = RawSocket::new(domain, Type::STREAM.nonblocking().cloexec(), None)?;
    options.apply(&socket, domain)?;
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
