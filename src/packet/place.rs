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

/// The `attempt`th address that stands for the client's end of a connection that has none of its
/// own: a unix socket's client, the tunnel's end of a connection that never came to be, one of
/// two that cannot be told apart.
///
/// It lies in `198.19.0.0/16`, the other half of RFC 2544's. The connection's number decides its
/// port, `toward` what it speaks to its address; every 16384 connections, or with each attempt,
/// comes the next address.
pub(super) fn stand_in(id: ConnectionId, toward: &str, attempt: u64) -> SocketAddr {
    const PORTS: u64 = 1 << 14;
    let first = hash(toward.as_bytes());
    let host = first.wrapping_add((id.0 / PORTS).wrapping_add(attempt) as u16);
    synthetic(19, host, 49152 + (id.0 % PORTS) as u16)
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
    client.socket_addr().unwrap_or_else(|| stand_in(id, &listener.to_string(), 0))
}

/// Where a server's end is drawn; `target` names it where it is not known.
pub(super) fn server_place(endpoint: Option<&Endpoint>, target: &str) -> SocketAddr {
    match endpoint {
        Some(Endpoint::Tcp(address)) => *address,
        Some(Endpoint::Unix(Some(path))) => synthetic_address(path),
        Some(Endpoint::Unix(None)) | None => unknown_server(target),
    }
}

/// The name of a target's host, `None` where it is an address. The name of a unix socket is
/// `unix:` and its path.
pub(super) fn host_name(target: &str) -> Option<&str> {
    if target.starts_with("unix:") {
        return Some(target);
    }
    let host = target.rsplit_once(':').map_or(target, |(host, _)| host);
    // A link-local address may have its interface's name in it.
    let host = host.split_once('%').map_or(host, |(address, _)| address);
    host.trim_matches(['[', ']']).parse::<IpAddr>().is_err().then_some(host)
}

/// Both in one family: IPv4 where both can be that, otherwise IPv6, an IPv4 address mapped into it
/// (RFC 4291 section 2.5.5.2).
pub(super) fn one_family(ends: [SocketAddr; 2]) -> [SocketAddr; 2] {
    let plain = ends.map(|end| SocketAddr::new(end.ip().to_canonical(), end.port()));
    if plain.iter().all(SocketAddr::is_ipv4) {
        return plain;
    }
    plain.map(|end| match end.ip() {
        IpAddr::V4(ip) => SocketAddr::new(ip.to_ipv6_mapped().into(), end.port()),
        IpAddr::V6(_) => end,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_ending_in_port_has_that_port() {
        let port = |path: &str| synthetic_address(Path::new(path)).port();
        assert_eq!(port("/run/postgresql/.s.PGSQL.5432"), 5432);
        assert_eq!(port("/run/docker.sock"), 1);
        assert_eq!(port("/run/x99999"), 1, "no port is that high");
        assert_eq!(port("/run/x0"), 1);
    }

    #[test]
    fn mixed_families_meet_in_ipv6() {
        let meet = |a: &str, b: &str| {
            one_family([a.parse().unwrap(), b.parse().unwrap()]).map(|end| end.to_string())
        };
        assert_eq!(meet("1.2.3.4:5", "[::1]:6"), ["[::ffff:1.2.3.4]:5", "[::1]:6"]);
        assert_eq!(meet("[::1]:6", "1.2.3.4:5"), ["[::1]:6", "[::ffff:1.2.3.4]:5"]);
        assert_eq!(meet("[::ffff:1.2.3.4]:5", "[::1]:6"), ["[::ffff:1.2.3.4]:5", "[::1]:6"]);
    }

    #[test]
    fn mapped_ipv4_address_becomes_ipv4() {
        let ends =
            one_family(["[::ffff:1.2.3.4]:5".parse().unwrap(), "5.6.7.8:9".parse().unwrap()]);
        assert_eq!(ends.map(|end| end.to_string()), ["1.2.3.4:5", "5.6.7.8:9"]);
    }

    #[test]
    fn address_is_not_taken_for_a_name() {
        assert_eq!(host_name("example.com:80"), Some("example.com"));
        assert_eq!(host_name("unix:/run/x.sock"), Some("unix:/run/x.sock"));
        assert_eq!(host_name("10.0.0.1:80"), None);
        assert_eq!(host_name("[::1]:80"), None);
    }

    #[test]
    fn synthetic_addresses_of_neighbors_differ() {
        let ends: std::collections::HashSet<_> =
            (0..100_000).map(|id| stand_in(ConnectionId(id), "unix:/run/x", 0)).collect();
        assert_eq!(ends.len(), 100_000);
        let next = stand_in(ConnectionId(1), "unix:/run/x", 1);
        assert_eq!(next, stand_in(ConnectionId(16385), "unix:/run/x", 0));
    }
}
