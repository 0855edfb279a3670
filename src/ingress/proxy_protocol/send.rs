//! The sender's side.

use std::net::SocketAddr;
use std::str::FromStr;

use thiserror::Error;

use super::{v1, v2};
use crate::event::Endpoint;

/// A version of the PROXY protocol, written `v1` or `v2`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProxyVersion {
    /// One line of text.
    V1,
    /// Binary.
    V2,
}

/// A text that is not `v1` or `v2`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the PROXY protocol has the versions v1 and v2")]
pub struct ProxyVersionError;

impl FromStr for ProxyVersion {
    type Err = ProxyVersionError;

    fn from_str(input: &str) -> Result<Self, ProxyVersionError> {
        match input {
            "v1" => Ok(Self::V1),
            "v2" => Ok(Self::V2),
            _ => Err(ProxyVersionError),
        }
    }
}

/// The header that tells a server who its client is, to be written before any byte of the
/// conversation. `source` is the client, `destination` the address that the client connected to.
///
/// An IPv4 address beside an IPv6 one is written as its IPv4-mapped IPv6 address. Version 1 cannot
/// name unix sockets, and neither version can name one of each kind: the header says then that
/// the addresses are not known.
pub fn encode_proxy_header(
    version: ProxyVersion,
    source: &Endpoint,
    destination: &Endpoint,
) -> Vec<u8> {
    match (version, source, destination) {
        (ProxyVersion::V1, Endpoint::Tcp(source), Endpoint::Tcp(destination)) => {
            v1::encode(Some(same_family(*source, *destination)))
        }
        (ProxyVersion::V1, ..) => v1::encode(None),
        (ProxyVersion::V2, Endpoint::Tcp(source), Endpoint::Tcp(destination)) => {
            v2::encode_tcp(*source, *destination)
        }
        (ProxyVersion::V2, Endpoint::Unix(source), Endpoint::Unix(destination)) => {
            v2::encode_unix(source.as_deref(), destination.as_deref())
        }
        (ProxyVersion::V2, ..) => v2::encode_unspecified(),
    }
}

/// Both as IPv6 where one of them is.
fn same_family(a: SocketAddr, b: SocketAddr) -> (SocketAddr, SocketAddr) {
    let as_ipv6 = |address: SocketAddr| match address {
        SocketAddr::V4(address) => (address.ip().to_ipv6_mapped(), address.port()).into(),
        SocketAddr::V6(_) => address,
    };
    if a.is_ipv4() == b.is_ipv4() { (a, b) } else { (as_ipv6(a), as_ipv6(b)) }
}
