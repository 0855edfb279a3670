//! Why TLS cannot be decrypted, in words.

use std::fmt;

use super::suite;
use crate::event::Side;

/// Why a connection's TLS stays closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Closed {
    /// It is not TLS at all: what looked like a ClientHello was none.
    NoTls,
    /// The key log has no keys for it.
    NoKeys,
    /// It has keys that do not open the records.
    WrongKeys,
    /// A version other than TLS 1.2 and 1.3.
    Version(u16),
    /// A suite that is not understood.
    Suite(u16),
    /// The records are compressed.
    Compressed,
    /// A record or a message makes no sense.
    Damaged { sender: Side },
    /// Some bytes were left out before they came here.
    Gap,
    /// A peer refused to go on.
    Alert { sender: Side, description: u8 },
    /// More came than is held back before its handshake was done.
    Overlong,
    /// The handshake takes its time; it may still come to an end.
    Slow,
    /// The connection ended before the handshake did.
    Unfinished,
    /// The connection ended inside a record.
    Truncated { sender: Side },
}

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NoTls => f.write_str("not TLS"),
            Self::NoKeys => f.write_str("the key log has no keys for this connection"),
            Self::WrongKeys => f.write_str("the keys in the key log do not open this connection"),
            Self::Version(0x0300) => f.write_str("SSL 3.0 is not supported"),
            Self::Version(version @ 0x0301..=0x0302) => {
                write!(f, "TLS 1.{} is not supported (only TLS 1.2 and 1.3)", version - 0x0301)
            }
            Self::Version(version) => write!(f, "TLS version 0x{version:04x} is not supported"),
            Self::Suite(number) => {
                let name = suite::name(number);
                write!(f, "{name} is not supported (only AES-GCM and ChaCha20-Poly1305)")
            }
            Self::Compressed => f.write_str("compression is not supported"),
            Self::Damaged { sender } => write!(f, "a record from the {sender} is damaged"),
            Self::Gap => f.write_str("some of its bytes were dropped"),
            Self::Alert { sender, description } => {
                write!(f, "the {sender} sent the alert {}", alert(description))
            }
            Self::Overlong => f.write_str("too much came before its handshake was done"),
            Self::Slow => f.write_str("its handshake is not done yet"),
            Self::Unfinished => f.write_str("the connection ended during the handshake"),
            Self::Truncated { sender } => {
                write!(f, "the connection ended inside a record from the {sender}")
            }
        }
    }
}

/// The name of an alert (RFC 8446 section 6).
fn alert(description: u8) -> String {
    let name = match description {
        0 => "close_notify",
        10 => "unexpected_message",
        20 => "bad_record_mac",
        22 => "record_overflow",
        40 => "handshake_failure",
        42 => "bad_certificate",
        43 => "unsupported_certificate",
        44 => "certificate_revoked",
        45 => "certificate_expired",
        46 => "certificate_unknown",
        47 => "illegal_parameter",
        48 => "unknown_ca",
        49 => "access_denied",
        50 => "decode_error",
        51 => "decrypt_error",
        70 => "protocol_version",
        71 => "insufficient_security",
        80 => "internal_error",
        86 => "inappropriate_fallback",
        90 => "user_canceled",
        109 => "missing_extension",
        110 => "unsupported_extension",
        112 => "unrecognized_name",
        113 => "bad_certificate_status_response",
        115 => "unknown_psk_identity",
        116 => "certificate_required",
        120 => "no_application_protocol",
        other => return format!("number {other}"),
    };
    name.to_owned()
}
