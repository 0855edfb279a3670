//! The addresses that a conversation is drawn between.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;

use crate::event::{ConnectionId, Endpoint};

/// The port of a unix socket whose path does not end in one.
const UNNAMED_PORT: u16 = 1;

/// The address that stands for a unix socket's path in a capture, where only IP addresses fit.
///
/// It lies in `198.18.0.0/16`, which RFC 2544 sets aside for tests, so that it is nobody's real
/// one; its last two bytes come from the path, so that the same path has the same address in
/// every capture. The port is the number that the path ends with, as `5432` in
/// `/run/postgresql/.s.PGSQL.5432`, by which Wireshark knows the protocol; otherwise 1.
pub fn synthetic_address(path: &Path) -> SocketAddr {
    let name = path.to_string_lossy();
    let digits = name.trim_end_matches(|c: char| c.is_ascii_digit()).len();
    let port = name[digits..].parse().ok().filter(|port| *port > 0);
    synthetic(18, hash(name.as_bytes()), port.unwrap_or(UNNAMED_PORT))
}

/// The address that stands for a server that is not known, because its name was not resolved or
/// no address of several was reached.
fn unknown_server(target: &str) -> SocketAddr {
    let (host, port) = target.rsplit_once(':').unwrap_or((target, ""));
    synthetic(18, hash(host.as_bytes()), port.parse().unwrap_or(UNNAMED_PORT))
}

/// The address that stands for a client of a unix socket: `198.19.0.0/16` with two bytes from the
/// listener's path, and a port from the connection's number.
fn unix_client(id: ConnectionId, listener: &Endpoint) -> SocketAddr {
    let path = listener.to_string();
    synthetic(19, hash(path.as_bytes()), 49152 + (id.0 % 16384) as u16)
}

const fn synthetic(second: u8, host: u16, port: u16) -> SocketAddr {
    let [high, low] = host.to_be_bytes();
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(198, second, high, low)), port)
}

/// FNV-1a, folded to 16 bits; spread is all that is asked of it.
fn hash(bytes: &[u8]) -> u16 {
    let mix = |hash: u32, byte: &u8| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
    let hash = bytes.iter().fold(0x811c_9dc5, mix);
    (hash ^ (hash >> 16)) as u16
}

/// Where a client's end is drawn.
pub(super) fn client_place(id: ConnectionId, client: &Endpoint, listener: &Endpoint) -> SocketAddr {
    client.socket_addr().unwrap_or_else(|| unix_client(id, listener))
}

/// Where a server's end is drawn; `target` names it where it is not known.
pub(super) fn server_place(endpoint: Option<&Endpoint>, target: &str) -> SocketAddr {
    match endpoint {
        Some(Endpoint::Tcp(address)) => *address,
        Some(Endpoint::Unix(Some(path))) => synthetic_address(path),
        Some(Endpoint::Unix(None)) | None => unknown_server(target),
    }
}

/// Both in one family: an IPv4 address beside an IPv6 one is drawn mapped (RFC 4291 section
/// 2.5.5.2).
pub(super) fn one_family(a: SocketAddr, b: SocketAddr) -> (SocketAddr, SocketAddr) {
    if a.is_ipv4() == b.is_ipv4() {
        return (a, b);
    }
    let map = |address: SocketAddr| match address.ip() {
        IpAddr::V4(ip) => SocketAddr::new(ip.to_ipv6_mapped().into(), address.port()),
        IpAddr::V6(_) => address,
    };
    (map(a), map(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_ends_in_a_port_has_that_port() {
        let port = |path: &str| synthetic_address(Path::new(path)).port();
        assert_eq!(port("/run/postgresql/.s.PGSQL.5432"), 5432);
        assert_eq!(port("/run/docker.sock"), 1);
        assert_eq!(port("/run/x99999"), 1, "no port is that high");
        assert_eq!(port("/run/x0"), 1);
    }

    #[test]
    fn mixed_families_meet_in_ipv6() {
        let (a, b) = one_family("1.2.3.4:5".parse().unwrap(), "[::1]:6".parse().unwrap());
        assert_eq!((a.to_string(), b.to_string()), ("[::ffff:1.2.3.4]:5".into(), "[::1]:6".into()));
    }
}
