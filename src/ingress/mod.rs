//! Handshakes that name a connection's destination: SOCKS and HTTP CONNECT, the PROXY protocol,
//! and the client's side of both kinds of proxy.
//!
//! This layer owns the bytes that a peer sends before its conversation begins. Those bytes go in;
//! a destination or addresses, the reply to send, and the bytes that already belong to the
//! conversation come out. It does no I/O, reads no clock and resolves no name: the caller reads,
//! writes, connects and counts the time.
//!
//! Each protocol is a machine with the same shape, [`Handshake`]:
//!
//! ```
//! use tcp_tunn::ingress::{ConnectReply, Handshake, Progress, ProxyHandshake};
//!
//! let mut handshake = ProxyHandshake::new(None);
//! // A SOCKS5 client that sends its greeting, its request and its first data at once.
//! let mut progress = handshake.feed(b"\x05\x01\x00\x05\x01\x00\x01\x7f\0\0\x01\x00\x50GET /");
//! while let Progress::Send(bytes) = progress {
//!     assert_eq!(bytes, b"\x05\x00"); // no login is needed
//!     progress = handshake.feed(b"");
//! }
//! let Progress::Done { output: request, leftover } = progress else { panic!("{progress:?}") };
//! assert_eq!(request.destination.to_string(), "127.0.0.1:80");
//! assert_eq!(leftover, b"GET /");
//! // When the connect has succeeded or failed, its result becomes the protocol's reply.
//! let local = "127.0.0.1:5000".parse().unwrap();
//! let reply = request.reply(ConnectReply::Connected { local: Some(local) });
//! assert_eq!(reply, b"\x05\x00\x00\x01\x7f\0\0\x01\x13\x88");
//! ```
//!
//! A caller writes each reply by itself before it relays anything: some clients hang when the
//! server's first bytes arrive in the reply's segment.

mod credentials;
mod destination;
mod filter;
mod handshake;
mod http;
mod pattern;
mod proxy;
mod proxy_protocol;
mod reply;
mod socks4;
mod socks5;
#[cfg(test)]
mod tests;
mod via;
mod via_http;
mod via_socks5;

pub use credentials::{Credentials, CredentialsError};
pub use destination::Destination;
pub use filter::{Filter, Subject};
pub use handshake::{Handshake, Progress, Rejection};
pub use pattern::{Pattern, PatternError, PatternProblem};
pub use proxy::{ProxyHandshake, ProxyRequest};
pub use proxy_protocol::{
    ProxyHeader, ProxyHeaderReader, ProxyVersion, ProxyVersionError, encode_proxy_header,
};
pub use reply::{ConnectFailure, ConnectReply};
pub use via::{Via, ViaConnected, ViaError, ViaHandshake, ViaProblem};
