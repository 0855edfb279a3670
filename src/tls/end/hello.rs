//! The client's hello: where it begins, and what it asks for.

use bytes::BytesMut;
use rustls::crypto::CryptoProvider;
use rustls::server::{Accepted, Acceptor};
use rustls::{SignatureScheme, SupportedCipherSuite};

use crate::tls::find_hello::{self, HEAD_LEN};

/// A hello is shorter, or it is none that can be opened.
const HELLO_MAX: usize = 64 << 10;
/// No client cuts its hello into more records.
const RECORDS_MAX: usize = 16;
/// At the beginning of what a client sends in the middle of a connection, so much has to fit.
const DECISIVE: usize = 6;

/// Looks for the hello in what a client sends. What cannot be its beginning is let through.
///
/// It begins what the client sends first, or first after the server has said something: whoever
/// wants TLS in the middle of a connection asks for it and waits (`STARTTLS`, PostgreSQL's
/// SSLRequest, a proxy's `CONNECT`). A hello anywhere else is part of something that is sent.
#[derive(Default)]
pub(super) struct Search {
    held: Vec<u8>,
    /// How much of it was looked at in vain.
    looked_at: usize,
    /// Whether the client has sent anything before what is held.
    has_spoken: bool,
    /// Whether the server has said anything since.
    is_answered: bool,
}

/// What the client's bytes turned out to be.
pub(super) enum Said {
    /// No TLS so far.
    Nothing,
    /// A hello that can be answered; what came behind it.
    Hello(Box<Hello>),
    /// TLS that cannot be opened: its bytes, and why.
    Closed(Vec<u8>, String),
}

/// A hello that can be answered.
pub(super) struct Hello {
    pub(super) accepted: Accepted,
    pub(super) sni: Option<String>,
    pub(super) alpn: Vec<Vec<u8>>,
    /// The bytes, as they came.
    pub(super) raw: Vec<u8>,
    /// What of them comes behind the hello, and was not read with it.
    pub(super) early: Vec<u8>,
}

impl Search {
    /// Whether the client has sent anything that is no TLS.
    pub(super) const fn has_spoken(&self) -> bool {
        self.has_spoken
    }

    /// The server has said something; what is held now is no hello, since nobody answers half of
    /// one.
    pub(super) fn answered(&mut self) -> Vec<u8> {
        let held = self.release();
        self.is_answered = true;
        held
    }

    /// Lets go of what is held.
    pub(super) fn release(&mut self) -> Vec<u8> {
        let held = std::mem::take(&mut self.held);
        self.looked_at = 0;
        self.has_spoken |= !held.is_empty();
        held
    }

    /// Takes bytes of the client; what is no TLS goes to `clear`.
    pub(super) fn push(
        &mut self,
        bytes: &[u8],
        provider: &CryptoProvider,
        clear: &mut BytesMut,
    ) -> Said {
        self.held.extend_from_slice(bytes);
        if self.is_answered
            && let Some(len) = asks_for_tls(&self.held)
        {
            clear.extend_from_slice(&self.held[..len]);
            self.held.drain(..len);
            self.has_spoken = true;
            if self.held.is_empty() {
                return Said::Nothing;
            }
        }
        let looked = if self.may_be_hello() { self.look(provider) } else { Looked::Other };
        match looked {
            Looked::Incomplete => Said::Nothing,
            Looked::Other => {
                clear.extend_from_slice(&self.release());
                self.is_answered = false;
                Said::Nothing
            }
            Looked::Hello(mut hello) => {
                hello.raw = std::mem::take(&mut self.held);
                hello.early.extend_from_slice(&hello.raw[self.looked_at..]);
                Said::Hello(hello)
            }
            Looked::Closed(why) => Said::Closed(std::mem::take(&mut self.held), why),
        }
    }

    /// Looks at the records that are whole, and not with every byte that comes.
    fn look(&mut self, provider: &CryptoProvider) -> Looked {
        let Some(whole) = whole_records(&self.held) else { return Looked::Other };
        if self.held.len() < HEAD_LEN || whole == self.looked_at {
            return Looked::Incomplete;
        }
        self.looked_at = whole;
        look(&self.held[..whole], provider)
    }

    /// Whether what is held may be the beginning of a hello. In the middle of a connection a few
    /// bytes are not enough to be held back.
    fn may_be_hello(&self) -> bool {
        let is_first = !self.has_spoken;
        (is_first || self.is_answered && self.held.len() >= DECISIVE)
            && find_hello::may_be_head(&self.held)
    }
}

enum Looked {
    Incomplete,
    Other,
    Hello(Box<Hello>),
    Closed(String),
}

/// Reads a hello that `bytes` may begin with.
fn look(bytes: &[u8], provider: &CryptoProvider) -> Looked {
    let mut acceptor = Acceptor::default();
    let mut rest = bytes;
    while !rest.is_empty() {
        if acceptor.read_tls(&mut rest).is_err() {
            return Looked::Other;
        }
        match acceptor.accept() {
            Ok(None) => {}
            Ok(Some(accepted)) => return answerable(accepted, rest, provider),
            Err((rustls::Error::InvalidMessage(_), _)) => return Looked::Other,
            Err((error, _)) => return Looked::Closed(too_old(&error)),
        }
    }
    if bytes.len() > HELLO_MAX { Looked::Other } else { Looked::Incomplete }
}

/// How long the records are together that `bytes` begin with and have whole (RFC 8446 section 5.1);
/// `None` where there are more than a hello takes.
fn whole_records(bytes: &[u8]) -> Option<usize> {
    const HEADER_LEN: usize = 5;
    let mut end = 0;
    for _ in 0..=RECORDS_MAX {
        let Some(header) = bytes.get(end..end + HEADER_LEN) else { return Some(end) };
        let next = end + HEADER_LEN + usize::from(u16::from_be_bytes([header[3], header[4]]));
        if next > bytes.len() {
            return Some(end);
        }
        end = next;
    }
    None
}

fn too_old(error: &rustls::Error) -> String {
    match error {
        rustls::Error::PeerIncompatible(_) => {
            "the client speaks no TLS 1.2 or 1.3 (it is too old)".to_owned()
        }
        other => format!("the client's hello is not understood: {other}"),
    }
}

fn answerable(accepted: Accepted, early: &[u8], provider: &CryptoProvider) -> Looked {
    let hello = accepted.client_hello();
    let known = |suite| provider.cipher_suites.iter().find(|known| known.suite() == suite);
    let known: Vec<_> = hello.cipher_suites().iter().filter_map(|suite| known(*suite)).collect();
    if known.is_empty() {
        return Looked::Closed("the client offers old cipher suites only".to_owned());
    }
    let takes_ecdsa = |suite: &&SupportedCipherSuite| match suite {
        SupportedCipherSuite::Tls12(suite) => {
            suite.sign.contains(&SignatureScheme::ECDSA_NISTP256_SHA256)
        }
        SupportedCipherSuite::Tls13(_) => true,
    };
    let signs = hello.signature_schemes().contains(&SignatureScheme::ECDSA_NISTP256_SHA256);
    if !signs || !known.iter().any(takes_ecdsa) {
        return Looked::Closed("the client takes no certificate with an ECDSA key".to_owned());
    }
    let sni = hello.server_name().map(str::to_owned);
    let alpn = hello.alpn().into_iter().flatten().map(<[u8]>::to_vec).collect();
    let early = early.to_vec();
    Looked::Hello(Box::new(Hello { accepted, sni, alpn, raw: Vec::new(), early }))
}

/// The length of MySQL's request for TLS (`SSLRequest`), if that is what `bytes` begin with. The
/// hello follows without an answer.
fn asks_for_tls(bytes: &[u8]) -> Option<usize> {
    const LEN: usize = 36;
    const CLIENT_SSL: u8 = 8;
    let is_request = bytes.len() >= LEN && bytes.starts_with(&[32, 0, 0, 1]);
    (is_request && bytes[5] & CLIENT_SSL != 0).then_some(LEN)
}
