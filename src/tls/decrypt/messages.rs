//! Puts handshake messages together: records cut and join them (RFC 8446 section 5.1).

use super::aead::HEADER_LEN;
use super::hello::ClientHello;

/// Types of messages (RFC 8446 section 4).
pub(super) const CLIENT_HELLO: u8 = 1;
pub(super) const SERVER_HELLO: u8 = 2;
pub(super) const END_OF_EARLY_DATA: u8 = 5;
pub(super) const ENCRYPTED_EXTENSIONS: u8 = 8;
pub(super) const CERTIFICATE: u8 = 11;
pub(super) const FINISHED: u8 = 20;
pub(super) const KEY_UPDATE: u8 = 24;

/// A message's type and length.
const HEAD_LEN: usize = 4;
/// A chain of certificates is long; no message is longer than this.
const MESSAGE_MAX: usize = 1 << 20;

/// The messages of one direction.
#[derive(Default)]
pub(super) struct Messages {
    bytes: Vec<u8>,
    /// How many of them were read.
    read: usize,
}

/// A message: its type and its body.
pub(super) struct Message {
    pub(super) kind: u8,
    pub(super) body: Vec<u8>,
}

impl Messages {
    /// Takes what a record holds; `None` where it makes a message that is too long.
    pub(super) fn push(&mut self, content: &[u8]) -> Option<()> {
        self.bytes.drain(..std::mem::take(&mut self.read));
        self.bytes.extend_from_slice(content);
        (self.bytes.len() <= MESSAGE_MAX + HEAD_LEN).then_some(())
    }

    /// The next message that is whole.
    pub(super) fn next(&mut self) -> Option<Message> {
        let rest = &self.bytes[self.read..];
        let &[kind, a, b, c] = rest.first_chunk()?;
        let end = HEAD_LEN + u32::from_be_bytes([0, a, b, c]) as usize;
        let body = rest.get(HEAD_LEN..end)?.to_vec();
        self.read += end;
        Some(Message { kind, body })
    }
}

/// What a ClientHello at the beginning of some bytes is.
pub(super) enum Hello {
    /// It goes on in bytes that have not come.
    Incomplete,
    Whole(ClientHello),
    /// It is none.
    Other,
}

/// Reads the ClientHello that `bytes` begin with, over as many records as it takes.
pub(super) fn client_hello(mut bytes: &[u8]) -> Hello {
    const HANDSHAKE: u8 = 22;
    let mut messages = Messages::default();
    while let Some((header, rest)) = bytes.split_first_chunk::<HEADER_LEN>() {
        if header[0] != HANDSHAKE {
            return Hello::Other;
        }
        let len = usize::from(u16::from_be_bytes([header[3], header[4]]));
        // No record of a handshake is empty (RFC 8446 section 5.1).
        if len == 0 {
            return Hello::Other;
        }
        let Some((content, rest)) = rest.split_at_checked(len) else { break };
        if messages.push(content).is_none() {
            return Hello::Other;
        }
        if let Some(message) = messages.next() {
            let is_hello = message.kind == CLIENT_HELLO;
            let hello = is_hello.then(|| ClientHello::parse(&message.body)).flatten();
            return hello.map_or(Hello::Other, Hello::Whole);
        }
        bytes = rest;
    }
    Hello::Incomplete
}
