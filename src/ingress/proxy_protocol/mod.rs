//! The PROXY protocol, versions 1 and 2 (haproxy's doc/proxy-protocol.txt): a load balancer's
//! header goes in, the real client's address comes out; and the other way round.

mod accept;
mod header;
mod send;
mod v1;
mod v2;

pub use accept::ProxyHeaderReader;
pub use header::ProxyHeader;
pub use send::{ProxyVersion, ProxyVersionError, encode_proxy_header};
