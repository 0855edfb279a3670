//! Version 2: binary.

use std::ffi::OsStr;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use super::super::handshake::Rejection;
use super::header::{Found, ProxyHeader, malformed};
use crate::event::Endpoint;

pub(super) const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// The signature, version and command, family and transport, length.
const FIXED: usize = 16;

const LOCAL: u8 = 0x20;
const PROXY: u8 = 0x21;

const UNSPECIFIED: u8 = 0;
const TCP4: u8 = 0x11;
const TCP6: u8 = 0x21;
const UNIX_STREAM: u8 = 0x31;

const TCP4_LEN: usize = 12;
const TCP6_LEN: usize = 36;
const UNIX_PATH: usize = 108;

/// The header that `bytes` begin with; none if it is incomplete. Extensions (TLVs) are skipped.
pub(super) fn parse(bytes: &[u8]) -> Option<Result<Found, Rejection>> {
    let command = *bytes.get(SIGNATURE.len())?;
    if command >> 4 != 2 {
        return Some(Err(malformed("the version is not 2")));
    }
    if command != LOCAL && command != PROXY {
        return Some(Err(malformed("the command is neither LOCAL nor PROXY")));
    }
    let family = *bytes.get(SIGNATURE.len() + 1)?;
    let len: [u8; 2] = bytes.get(SIGNATURE.len() + 2..FIXED)?.try_into().ok()?;
    let end = FIXED + usize::from(u16::from_be_bytes(len));
    let block = bytes.get(FIXED..end)?;
    // With LOCAL the block is skipped whatever the family says: load balancers put dummy
    // addresses there.
    let header =
        if command == LOCAL { Some(ProxyHeader::Direct) } else { parse_block(family, block) };
    let header = header.ok_or_else(|| malformed("the address block is not valid"));
    Some(header.map(|header| (header, end)))
}

fn parse_block(family: u8, block: &[u8]) -> Option<ProxyHeader> {
    let (source, destination) = match family {
        TCP4 => tcp4(block.get(..TCP4_LEN)?.try_into().ok()?),
        TCP6 => tcp6(block.get(..TCP6_LEN)?.try_into().ok()?),
        UNIX_STREAM => {
            let (source, rest) = block.split_at_checked(UNIX_PATH)?;
            (unix(source), unix(rest.get(..UNIX_PATH)?))
        }
        // Not specified, or a datagram's, which cannot be this connection's: the real endpoints.
        UNSPECIFIED | 0x12 | 0x22 | 0x32 => return Some(ProxyHeader::Direct),
        // "must be rejected as invalid by receivers"
        _ => return None,
    };
    Some(ProxyHeader::Proxied { source, destination })
}

fn tcp4(block: [u8; TCP4_LEN]) -> (Endpoint, Endpoint) {
    let [a, b, c, d, e, f, g, h, from_high, from_low, to_high, to_low] = block;
    let (from, to) = (Ipv4Addr::new(a, b, c, d), Ipv4Addr::new(e, f, g, h));
    let from = SocketAddr::from((from, u16::from_be_bytes([from_high, from_low])));
    let to = SocketAddr::from((to, u16::from_be_bytes([to_high, to_low])));
    (from.into(), to.into())
}

fn tcp6(block: [u8; TCP6_LEN]) -> (Endpoint, Endpoint) {
    let number = |range: std::ops::Range<usize>| {
        block[range].iter().fold(0, |sum: u128, byte| sum << 8 | u128::from(*byte))
    };
    let port = |at: usize| u16::from_be_bytes([block[at], block[at + 1]]);
    let from = SocketAddr::from((Ipv6Addr::from(number(0..16)), port(32)));
    let to = SocketAddr::from((Ipv6Addr::from(number(16..32)), port(34)));
    (from.into(), to.into())
}

/// A path that is padded with NUL. An abstract name begins with NUL and is no path.
fn unix(field: &[u8]) -> Endpoint {
    let path = field.split(|byte| *byte == 0).next().unwrap_or_default();
    let path = Path::new(OsStr::from_bytes(path));
    Endpoint::Unix((path != Path::new("")).then(|| Arc::from(path)))
}

/// The header for two addresses of the same family.
pub(super) fn encode_tcp(source: SocketAddr, destination: SocketAddr) -> Vec<u8> {
    let ports = [source.port().to_be_bytes(), destination.port().to_be_bytes()].concat();
    match (source, destination) {
        (SocketAddr::V4(from), SocketAddr::V4(to)) => {
            encode(TCP4, &[&from.ip().octets()[..], &to.ip().octets(), &ports].concat())
        }
        _ => {
            let octets = [to_ipv6(source), to_ipv6(destination)].map(|ip| ip.octets()).concat();
            encode(TCP6, &[&octets[..], &ports].concat())
        }
    }
}

fn to_ipv6(address: SocketAddr) -> Ipv6Addr {
    match address {
        SocketAddr::V4(address) => address.ip().to_ipv6_mapped(),
        SocketAddr::V6(address) => *address.ip(),
    }
}

/// The header for two unix sockets.
pub(super) fn encode_unix(source: Option<&Path>, destination: Option<&Path>) -> Vec<u8> {
    let mut block = Vec::with_capacity(2 * UNIX_PATH);
    for path in [source, destination] {
        let path = path.map_or(&[][..], |path| path.as_os_str().as_bytes());
        let path = &path[..path.len().min(UNIX_PATH)];
        block.extend_from_slice(path);
        block.resize(block.len() + UNIX_PATH - path.len(), 0);
    }
    encode(UNIX_STREAM, &block)
}

/// The header that tells no address.
pub(super) fn encode_unspecified() -> Vec<u8> {
    encode(UNSPECIFIED, &[])
}

fn encode(family: u8, block: &[u8]) -> Vec<u8> {
    // The longest block has twice `UNIX_PATH` bytes.
    let len = u16::try_from(block.len()).unwrap_or(u16::MAX);
    [SIGNATURE, &[PROXY, family], &len.to_be_bytes(), block].concat()
}
