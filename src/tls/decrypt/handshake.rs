//! What both directions of a connection need to know of its handshake.

use bytes::Bytes;

use super::hello::ClientHello;
use super::suite::Suite;
use crate::tls::keylog::Random;

/// Versions as on the wire.
pub(super) const TLS12: u16 = 0x0303;
pub(super) const TLS13: u16 = 0x0304;

/// What both directions need to know of the handshake.
pub(super) struct Handshake {
    pub(super) hello: ClientHello,
    pub(super) chosen: Option<Chosen>,
    pub(super) early: Early,
    pub(super) alpn: Option<String>,
    /// Those that the server sent.
    pub(super) certificates: Vec<Bytes>,
    /// Whether the server's part of a handshake of TLS 1.3 was read to its end.
    pub(super) has_server_finished: bool,
    /// Whether the server asked for another ClientHello, which has not come yet.
    pub(super) awaits_second_hello: bool,
    /// Whether enough is known and opened to call it decrypted.
    pub(super) is_known: bool,
}

/// What the server chose, where it is understood.
#[derive(Clone, Copy)]
pub(super) struct Chosen {
    pub(super) version: u16,
    pub(super) suite: Suite,
    pub(super) random: Random,
}

/// What became of the data that the client sends before the server has answered (RFC 8446 section
/// 2.3).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Early {
    None,
    Offered,
    Accepted,
    Rejected,
}

impl Handshake {
    pub(super) fn new(hello: ClientHello) -> Self {
        let early = if hello.has_early_data { Early::Offered } else { Early::None };
        Self {
            hello,
            chosen: None,
            early,
            alpn: None,
            certificates: Vec::new(),
            has_server_finished: false,
            awaits_second_hello: false,
            is_known: false,
        }
    }

    pub(super) fn is_tls13(&self) -> bool {
        self.chosen.is_some_and(|chosen| chosen.version == TLS13)
    }
}
