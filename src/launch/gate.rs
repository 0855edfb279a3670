//! The addresses of this process that programs are sent to instead of their servers.
//!
//! Each connect gets an address of its own, so that the accepted socket tells which connect it
//! belongs to. For IPv4 these are the addresses of 127.0.0.0/8 on one port: one listener takes
//! them all, bound to the loopback device so that no other machine reaches it. IPv6 has a single
//! loopback address, so that each connect that is under way has a listener to itself.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream};

use socket2::{Domain, Socket, Type};

use super::request::RequestId;

/// Connects that the kernel completes before they are accepted here.
const BACKLOG: i32 = 4096;

/// Which listener is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entrance {
    Ipv4,
    /// One of those for IPv6, in the order in which they were opened.
    Ipv6(usize),
}

#[derive(Debug)]
pub(super) struct Gate {
    ipv4: TcpListener,
    ipv4_port: u16,
    /// The last three bytes of the next address: a walk through all of them that begins somewhere,
    /// so that nobody can foretell an address.
    next: u32,
    ipv6: Vec<(TcpListener, SocketAddr)>,
    /// The listeners for IPv6 that nobody is sent to, the one that was free longest first.
    free_ipv6: VecDeque<usize>,
    /// Bound, but listening to nobody: a connect to them is refused.
    closed_ipv4: Socket,
    closed_ipv6: Option<Socket>,
    /// The connects that were sent to an address and have not arrived. More than one where threads
    /// share the memory that the address was written to.
    expected: HashMap<SocketAddr, VecDeque<RequestId>>,
}

impl Gate {
    pub(super) fn open() -> io::Result<Self> {
        let ipv4 = loopback_socket()?;
        ipv4.listen(BACKLOG)?;
        ipv4.set_nonblocking(true)?;
        let ipv4 = TcpListener::from(ipv4);
        let (address, hasher) = (ipv4.local_addr()?, RandomState::new());
        Ok(Self {
            ipv4_port: address.port(),
            ipv4,
            next: hasher.hash_one(address) as u32,
            ipv6: Vec::new(),
            free_ipv6: VecDeque::new(),
            closed_ipv4: loopback_socket()?,
            closed_ipv6: bound_ipv6().ok(),
            expected: HashMap::new(),
        })
    }

    pub(super) const fn ipv4(&self) -> &TcpListener {
        &self.ipv4
    }

    /// An address for a connect to `like`. A listener that had to be opened for it is given to
    /// `opened` first.
    pub(super) fn issue(
        &mut self,
        like: SocketAddr,
        request: RequestId,
        opened: impl FnOnce(&TcpListener, Entrance) -> io::Result<()>,
    ) -> io::Result<SocketAddr> {
        let address = if is_ipv4(like) {
            let ip = self.next_ip();
            (ip, self.ipv4_port).into()
        } else if let Some(free) = self.free_ipv6.pop_front() {
            self.ipv6[free].1
        } else {
            let socket = bound_ipv6()?;
            socket.listen(BACKLOG)?;
            socket.set_nonblocking(true)?;
            let listener = TcpListener::from(socket);
            opened(&listener, Entrance::Ipv6(self.ipv6.len()))?;
            let address = listener.local_addr()?;
            self.ipv6.push((listener, address));
            address
        };
        self.expected.entry(address).or_default().push_back(request);
        Ok(address)
    }

    /// Adds a connect to those that are expected at an address; whether there are any.
    pub(super) fn join(&mut self, address: SocketAddr, request: RequestId) -> bool {
        let expected = self.expected.get_mut(&address);
        expected.map(|expected| expected.push_back(request)).is_some()
    }

    /// An address at which every connect is refused.
    pub(super) fn closed(&mut self, like: SocketAddr) -> io::Result<SocketAddr> {
        if is_ipv4(like) {
            let port = local_addr(&self.closed_ipv4)?.port();
            return Ok((self.next_ip(), port).into());
        }
        let closed = self.closed_ipv6.as_ref().ok_or(io::ErrorKind::AddrNotAvailable)?;
        local_addr(closed)
    }

    /// Accepts a connection; none if there is none now. The connect that it belongs to is `None`
    /// for a stranger.
    pub(super) fn accept(
        &mut self,
        entrance: Entrance,
    ) -> io::Result<Option<(TcpStream, SocketAddr, Option<RequestId>)>> {
        let listener = match entrance {
            Entrance::Ipv4 => &self.ipv4,
            Entrance::Ipv6(index) => match self.ipv6.get(index) {
                Some((listener, _)) => listener,
                None => return Ok(None),
            },
        };
        let (stream, _) = match listener.accept() {
            Ok(accepted) => accepted,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error),
        };
        let address = stream.local_addr()?;
        let request = self.expected.get_mut(&address).and_then(VecDeque::pop_front);
        self.release(address);
        Ok(Some((stream, address, request)))
    }

    /// Forgets a connect that will not arrive.
    pub(super) fn withdraw(&mut self, address: SocketAddr, request: RequestId) {
        if let Some(expected) = self.expected.get_mut(&address) {
            expected.retain(|expected| *expected != request);
        }
        self.release(address);
    }

    /// Whether a connect that was sent to `address` has not arrived.
    pub(super) fn is_expected(&self, address: SocketAddr) -> bool {
        self.expected.contains_key(&address)
    }

    /// Frees an address at which nobody is expected any more.
    fn release(&mut self, address: SocketAddr) {
        if self.expected.get(&address).is_some_and(VecDeque::is_empty) {
            self.expected.remove(&address);
            let index = self.ipv6.iter().position(|(_, known)| *known == address);
            self.free_ipv6.extend(index);
        }
    }

    fn next_ip(&mut self) -> Ipv4Addr {
        loop {
            // An odd number, so that every value comes once in 2^24 steps.
            self.next = self.next.wrapping_add(0x9e_3779) & 0xff_ffff;
            let [_, a, b, c] = self.next.to_be_bytes();
            // Neither 127.0.0.1, where others listen, nor the broadcast address.
            if !matches!(a, 0 | 255) {
                return Ipv4Addr::new(127, a, b, c);
            }
        }
    }
}

fn is_ipv4(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_ipv4()
}

/// A socket bound to all the addresses of the loopback device, and to no other's.
fn loopback_socket() -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind_device(Some(b"lo"))?;
    socket.bind(&SocketAddr::from(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0)).into())?;
    Ok(socket)
}

fn bound_ipv6() -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV6, Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((Ipv6Addr::LOCALHOST, 0)).into())?;
    Ok(socket)
}

fn local_addr(socket: &Socket) -> io::Result<SocketAddr> {
    socket.local_addr()?.as_socket().ok_or_else(|| io::ErrorKind::InvalidData.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn no_more(_: &TcpListener, _: Entrance) -> io::Result<()> {
        panic!("no listener should be opened")
    }

    #[test]
    fn accepted_socket_tells_its_connect() {
        let mut gate = Gate::open().unwrap();
        gate.ipv4.set_nonblocking(false).unwrap();
        let like = "192.0.2.1:80".parse().unwrap();
        let addresses: Vec<_> =
            (0..3).map(|id| gate.issue(like, RequestId(id), no_more).unwrap()).collect();
        for (id, address) in addresses.iter().enumerate().rev() {
            assert!(gate.is_expected(*address));
            let client = TcpStream::connect(address).unwrap();
            let (stream, at, request) = gate.accept(Entrance::Ipv4).unwrap().unwrap();
            assert_eq!(stream.peer_addr().unwrap(), client.local_addr().unwrap());
            assert_eq!((at, request), (*address, Some(RequestId(id as u64))));
            assert!(!gate.is_expected(*address));
        }
        let stranger = TcpStream::connect(addresses[0]).unwrap();
        let (stream, _, request) = gate.accept(Entrance::Ipv4).unwrap().unwrap();
        assert_eq!(stream.peer_addr().unwrap(), stranger.local_addr().unwrap());
        assert_eq!(request, None);
    }

    #[test]
    fn shared_address_takes_each_connect_in_turn() {
        let mut gate = Gate::open().unwrap();
        gate.ipv4.set_nonblocking(false).unwrap();
        let address = gate.issue("192.0.2.1:80".parse().unwrap(), RequestId(1), no_more).unwrap();
        assert!(gate.join(address, RequestId(2)));
        for id in [1, 2] {
            let _client = TcpStream::connect(address).unwrap();
            let (_, _, request) = gate.accept(Entrance::Ipv4).unwrap().unwrap();
            assert_eq!(request, Some(RequestId(id)));
        }
        assert!(!gate.join(address, RequestId(3)));
    }

    /// Needs IPv6 on the loopback device.
    #[test]
    fn listeners_for_ipv6_are_used_again() {
        let mut gate = Gate::open().unwrap();
        let like = "[2001:db8::1]:80".parse().unwrap();
        let mut opened = Vec::new();
        let mut issue = |gate: &mut Gate, id| {
            let open = |listener: &TcpListener, entrance| {
                opened.push(entrance);
                listener.set_nonblocking(false)
            };
            gate.issue(like, RequestId(id), open).unwrap()
        };
        let (first, second) = (issue(&mut gate, 1), issue(&mut gate, 2));
        assert_ne!(first, second);
        let _client = TcpStream::connect(second).unwrap();
        let (_, at, request) = gate.accept(Entrance::Ipv6(1)).unwrap().unwrap();
        assert_eq!((at, request), (second, Some(RequestId(2))));
        assert_eq!(issue(&mut gate, 3), second);
        gate.withdraw(first, RequestId(1));
        assert_eq!(issue(&mut gate, 4), first);
        assert_eq!(opened, [Entrance::Ipv6(0), Entrance::Ipv6(1)]);
    }

    #[test]
    fn closed_address_refuses() {
        let mut gate = Gate::open().unwrap();
        for like in ["192.0.2.1:80", "[::ffff:192.0.2.1]:80", "[2001:db8::1]:80"] {
            let like: SocketAddr = like.parse().unwrap();
            let Ok(address) = gate.closed(like) else {
                assert!(like.is_ipv6(), "only IPv6 may be missing");
                continue;
            };
            let error = TcpStream::connect(address).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused, "{like}");
        }
    }

    #[test]
    fn no_address_comes_twice_soon() {
        let mut gate = Gate::open().unwrap();
        let ips: std::collections::HashSet<_> = (0..100_000).map(|_| gate.next_ip()).collect();
        assert_eq!(ips.len(), 100_000);
        assert!(ips.iter().all(|ip| ip.is_loopback() && ip.octets()[1] != 0));
    }
}
