//! What the two hellos and the messages after them say (RFC 8446 section 4, RFC 5246 section 7.4).

use super::reader::Reader;
use crate::tls::keylog::Random;

/// The random number of a ServerHello that asks for another ClientHello (RFC 8446 section 4.1.3).
const RETRY: Random = [
    0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91,
    0xc2, 0xa2, 0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
];

/// Numbers of extensions.
const SERVER_NAME: u16 = 0;
const ALPN: u16 = 16;
const EARLY_DATA: u16 = 42;
const SUPPORTED_VERSIONS: u16 = 43;

/// What a client offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ClientHello {
    pub(super) random: Random,
    /// The name of the server that it wants.
    pub(super) server_name: Option<String>,
    /// Whether it sends data ahead of the server's answer.
    pub(super) has_early_data: bool,
}

/// What a server chose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ServerHello {
    pub(super) random: Random,
    /// The version as on the wire: 0x0303 is TLS 1.2, 0x0304 TLS 1.3.
    pub(super) version: u16,
    pub(super) suite: u16,
    pub(super) is_compressed: bool,
    /// The protocol inside, where TLS 1.2 says it.
    pub(super) alpn: Option<String>,
}

/// What a server adds to its hello in TLS 1.3, encrypted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct EncryptedExtensions {
    pub(super) alpn: Option<String>,
    pub(super) accepts_early_data: bool,
}

impl ClientHello {
    /// Reads the body of the message; `None` where it is none.
    pub(super) fn parse(body: &[u8]) -> Option<Self> {
        let mut body = Reader(body);
        body.u16()?;
        let random = body.take(32)?.try_into().ok()?;
        let session = body.vector(1)?;
        let suites = body.vector(2)?;
        let compressions = body.vector(1)?;
        if session.0.len() > 32 || suites.is_empty() || compressions.is_empty() {
            return None;
        }
        let mut hello = Self { random, server_name: None, has_early_data: false };
        each_extension(body, |number, mut content| {
            match number {
                // A list, of which the first name has type 0: a host name (RFC 6066 section 3).
                SERVER_NAME => {
                    let mut list = content.vector(2)?;
                    if list.u8()? == 0 {
                        hello.server_name = Some(text(list.vector(2)?.0));
                    }
                }
                EARLY_DATA => hello.has_early_data = true,
                _ => {}
            }
            Some(())
        })?;
        Some(hello)
    }
}

impl ServerHello {
    /// Reads the body of the message; `None` where it is none.
    pub(super) fn parse(body: &[u8]) -> Option<Self> {
        let mut body = Reader(body);
        let version = body.u16()?;
        let random = body.take(32)?.try_into().ok()?;
        body.vector(1)?;
        let suite = body.u16()?;
        let is_compressed = body.u8()? != 0;
        let mut hello = Self { random, version, suite, is_compressed, alpn: None };
        each_extension(body, |number, mut content| {
            match number {
                SUPPORTED_VERSIONS => hello.version = content.u16()?,
                ALPN => hello.alpn = Some(first_protocol(content)?),
                _ => {}
            }
            Some(())
        })?;
        Some(hello)
    }

    /// Whether it only asks for another ClientHello.
    pub(super) fn is_retry(&self) -> bool {
        self.random == RETRY
    }
}

impl EncryptedExtensions {
    /// Reads the body of the message; `None` where it is none.
    pub(super) fn parse(body: &[u8]) -> Option<Self> {
        let mut extensions = Self::default();
        each_extension(Reader(body), |number, content| {
            match number {
                ALPN => extensions.alpn = Some(first_protocol(content)?),
                EARLY_DATA => extensions.accepts_early_data = true,
                _ => {}
            }
            Some(())
        })?;
        Some(extensions)
    }
}

/// Goes through a list of extensions, which old messages may lack.
fn each_extension<'a>(
    mut rest: Reader<'a>,
    mut look: impl FnMut(u16, Reader<'a>) -> Option<()>,
) -> Option<()> {
    if rest.is_empty() {
        return Some(());
    }
    let mut list = rest.vector(2)?;
    while !list.is_empty() {
        let number = list.u16()?;
        look(number, list.vector(2)?)?;
    }
    Some(())
}

/// The first name of a list of protocols (RFC 7301 section 3.1).
fn first_protocol(mut content: Reader<'_>) -> Option<String> {
    let name = content.vector(2)?.vector(1)?;
    Some(text(name.0))
}

/// What a peer calls something: it may hold any bytes.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
