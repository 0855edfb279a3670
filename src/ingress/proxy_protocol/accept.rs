//! The receiver's side.

use super::super::handshake::{Handshake, Input, Progress, Rejection};
use super::header::{PROTOCOL, ProxyHeader, malformed};
use super::{v1, v2};

/// Reads the header, version 1 or 2, that must precede a connection's own bytes.
///
/// Nothing is answered: where the header is missing or malformed, the caller resets the
/// connection.
#[derive(Debug, Default)]
pub struct ProxyHeaderReader {
    input: Input,
    is_over: bool,
}

impl ProxyHeaderReader {
    /// A reader at the start of a connection.
    pub fn new() -> Self {
        Self::default()
    }

    fn header(&mut self) -> Option<Progress<ProxyHeader>> {
        let bytes = self.input.bytes();
        let found = if begins_alike(bytes, v1::PREFIX) {
            v1::parse(bytes)?
        } else if begins_alike(bytes, v2::SIGNATURE) {
            v2::parse(bytes)?
        } else {
            Err(malformed("the header is missing (is the load balancer set to send one?)"))
        };
        Some(match found {
            Ok((output, len)) => {
                self.input.consume(len);
                Progress::Done { output, leftover: self.input.take() }
            }
            Err(reason) => Progress::rejected(reason),
        })
    }
}

/// Whether one is the beginning of the other.
fn begins_alike(bytes: &[u8], prefix: &[u8]) -> bool {
    bytes.iter().zip(prefix).all(|(a, b)| a == b)
}

impl Handshake for ProxyHeaderReader {
    type Output = ProxyHeader;

    fn feed(&mut self, bytes: &[u8]) -> Progress<ProxyHeader> {
        if self.is_over {
            return Progress::rejected(Rejection::Over);
        }
        self.input.push(bytes);
        let progress = self.header().unwrap_or(Progress::NeedMore);
        self.is_over = progress.is_final();
        progress
    }

    fn unfinished(&self) -> Rejection {
        self.input.unfinished(PROTOCOL)
    }
}
