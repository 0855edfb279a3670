//! Dialogues with each handshake, and random input.

mod filter;
mod http;
mod proxy_protocol;
mod random;
mod socks4;
mod socks5;
mod talk;
mod via;
