//! Socket addresses as they stand in a program's memory (`struct sockaddr_in`, ip(7), and
//! `struct sockaddr_in6`, ipv6(7)).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

/// The greatest length that is of interest.
pub(super) const MAX_LEN: usize = 28;

const IPV4_LEN: usize = 16;
/// Without the scope id, as RFC 2133 had it; the kernel takes that, too.
const IPV6_MIN_LEN: usize = 24;

/// What a program connects to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// An address of IPv4 or IPv6, in the socket's own family.
    Ip(SocketAddr),
    /// No address: the socket is to be disconnected.
    Disconnect,
    /// Another family, or an address that is too short.
    Other,
}

/// The address in `bytes`, which are as many as the program says.
pub(super) fn parse(bytes: &[u8]) -> Wanted {
    let Some(&[low, high]) = bytes.first_chunk() else { return Wanted::Other };
    let address = match i32::from(u16::from_ne_bytes([low, high])) {
        libc::AF_UNSPEC => return Wanted::Disconnect,
        libc::AF_INET => ipv4(bytes),
        libc::AF_INET6 => ipv6(bytes),
        _ => None,
    };
    address.map_or(Wanted::Other, Wanted::Ip)
}

fn ipv4(bytes: &[u8]) -> Option<SocketAddr> {
    let bytes: &[u8; IPV4_LEN] = bytes.first_chunk()?;
    let [_, _, port_high, port_low, a, b, c, d, ..] = *bytes;
    let port = u16::from_be_bytes([port_high, port_low]);
    Some((Ipv4Addr::new(a, b, c, d), port).into())
}

fn ipv6(bytes: &[u8]) -> Option<SocketAddr> {
    let fixed: &[u8; IPV6_MIN_LEN] = bytes.first_chunk()?;
    let port = u16::from_be_bytes([fixed[2], fixed[3]]);
    let flow = u32::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7]]);
    let ip = <[u8; 16]>::try_from(&fixed[8..]).ok()?;
    let scope = bytes[IPV6_MIN_LEN..].first_chunk().map_or(0, |scope| u32::from_ne_bytes(*scope));
    Some(SocketAddrV6::new(Ipv6Addr::from(ip), port, flow, scope).into())
}

/// The part of a structure that holds port and address, for `address`, and where it begins. The
/// structure is of `address`'s family.
pub(super) fn patch(address: SocketAddr) -> (usize, Vec<u8>) {
    let bytes = encode(address);
    (2, bytes[2..if address.is_ipv4() { 8 } else { IPV6_MIN_LEN }].to_vec())
}

/// The whole structure for an address.
pub(super) fn encode(address: SocketAddr) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(MAX_LEN);
    let family = if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    bytes.extend_from_slice(&(family as u16).to_ne_bytes());
    bytes.extend_from_slice(&address.port().to_be_bytes());
    match address {
        SocketAddr::V4(address) => {
            bytes.extend_from_slice(&address.ip().octets());
            bytes.resize(IPV4_LEN, 0);
        }
        SocketAddr::V6(address) => {
            bytes.extend_from_slice(&address.flowinfo().to_be_bytes());
            bytes.extend_from_slice(&address.ip().octets());
            bytes.extend_from_slice(&address.scope_id().to_ne_bytes());
        }
    }
    bytes
}

/// The address that the kernel connects to: the unspecified one stands for loopback.
pub(super) fn with_loopback(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.to_ipv4_mapped() == Some(Ipv4Addr::UNSPECIFIED) => {
            address.set_ip(Ipv4Addr::LOCALHOST.to_ipv6_mapped().into());
        }
        _ => {}
    }
    address
}

/// The same address for a server: IPv4 where it is IPv4 in an IPv6 socket.
pub(super) fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        IpAddr::V4(ip) => (ip, address.port()).into(),
        IpAddr::V6(_) => address,
    }
}

/// `own`, an address of this process, in the family of `like`.
pub(super) fn in_family_of(own: SocketAddr, like: SocketAddr) -> SocketAddr {
    match (own, like) {
        (SocketAddr::V4(own), SocketAddr::V6(_)) => (own.ip().to_ipv6_mapped(), own.port()).into(),
        _ => own,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses() -> Vec<SocketAddr> {
        let scoped = SocketAddrV6::new("fe80::1".parse().unwrap(), 443, 7, 2);
        let texts = ["1.2.3.4:258", "[2001:db8::1]:65535", "[::ffff:1.2.3.4]:80"];
        texts.iter().map(|text| text.parse().unwrap()).chain([scoped.into()]).collect()
    }

    #[test]
    fn addresses_are_read_as_they_are_written() {
        for address in addresses() {
            assert_eq!(parse(&encode(address)), Wanted::Ip(address));
            let longer = [encode(address), vec![7; 100]].concat();
            assert_eq!(parse(&longer), Wanted::Ip(address));
        }
    }

    #[test]
    fn short_and_foreign_structures_are_no_addresses() {
        let (ipv4, ipv6) =
            (encode("1.2.3.4:1".parse().unwrap()), encode("[::1]:1".parse().unwrap()));
        for bytes in [&[][..], &[2], &ipv4[..15], &ipv6[..23], b"\x01\0/run/socket"] {
            assert_eq!(parse(bytes), Wanted::Other, "{bytes:?}");
        }
        assert_eq!(parse(&ipv6[..24]), Wanted::Ip("[::1]:1".parse().unwrap()));
        assert_eq!(parse(&[0, 0]), Wanted::Disconnect);
    }

    #[test]
    fn patch_changes_port_and_address_alone() {
        for (from, to) in [("1.2.3.4:258", "127.1.2.3:9"), ("[2001:db8::1]:1", "[::1]:9")] {
            let (from, to): (SocketAddr, SocketAddr) = (from.parse().unwrap(), to.parse().unwrap());
            let mut bytes = encode(from);
            let (start, patch) = patch(to);
            bytes[start..start + patch.len()].copy_from_slice(&patch);
            assert_eq!(parse(&bytes), Wanted::Ip(to));
        }
    }

    #[test]
    fn unspecified_address_stands_for_loopback() {
        for (from, to) in [
            ("0.0.0.0:1", "127.0.0.1:1"),
            ("[::]:1", "[::1]:1"),
            ("[::ffff:0.0.0.0]:1", "[::ffff:127.0.0.1]:1"),
            ("1.2.3.4:1", "1.2.3.4:1"),
        ] {
            assert_eq!(with_loopback(from.parse().unwrap()), to.parse().unwrap());
        }
    }

    #[test]
    fn ipv4_in_an_ipv6_socket_is_ipv4_for_the_server() {
        let mapped = "[::ffff:1.2.3.4]:1".parse().unwrap();
        assert_eq!(canonical(mapped), "1.2.3.4:1".parse().unwrap());
        let own = "127.1.1.1:2".parse().unwrap();
        assert_eq!(in_family_of(own, mapped), "[::ffff:127.1.1.1]:2".parse().unwrap());
        assert_eq!(in_family_of(own, "1.2.3.4:1".parse().unwrap()), own);
    }
}
