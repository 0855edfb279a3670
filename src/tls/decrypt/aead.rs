//! Opens records: RFC 8446 section 5.2, RFC 5246 section 6.2.3.3, RFC 5288, RFC 7905.

use std::ops::Range;

use ring::aead::{Aad, LessSafeKey, Nonce, UnboundKey};

use super::suite::Suite;

/// A record's header.
pub(super) const HEADER_LEN: usize = 5;
/// The bytes of the nonce that a record carries, where it does.
const EXPLICIT_LEN: usize = 8;

/// Opens the records of one direction, one after another.
pub(super) struct Opener {
    key: LessSafeKey,
    iv: [u8; 12],
    form: Form,
    /// How many records it has opened.
    sequence: u64,
}

/// What a record looks like.
#[derive(Clone, Copy)]
enum Form {
    /// The record's header is authenticated as it is; its type stands inside.
    Tls13,
    /// The number, the type and the length of what is inside are authenticated.
    Tls12 { has_explicit_nonce: bool },
}

impl Opener {
    pub(super) fn tls13(suite: Suite, key: &[u8], iv: &[u8]) -> Option<Self> {
        Self::new(suite, key, iv, Form::Tls13)
    }

    pub(super) fn tls12(suite: Suite, key: &[u8], iv: &[u8]) -> Option<Self> {
        let has_explicit_nonce = suite.has_explicit_nonce;
        Self::new(suite, key, iv, Form::Tls12 { has_explicit_nonce })
    }

    fn new(suite: Suite, key: &[u8], iv: &[u8], form: Form) -> Option<Self> {
        let key = LessSafeKey::new(UnboundKey::new(suite.aead, key).ok()?);
        let mut whole = [0; 12];
        whole[..iv.len()].copy_from_slice(iv);
        Some(Self { key, iv: whole, form, sequence: 0 })
    }

    /// Opens a record in place: where in `record`, which begins with its header, the plaintext is.
    /// `None` where it is not of this key or was damaged; then the record's bytes are lost.
    pub(super) fn open(&mut self, record: &mut [u8]) -> Option<Range<usize>> {
        let (header, body) = record.split_first_chunk_mut::<HEADER_LEN>()?;
        let explicit = match self.form {
            Form::Tls12 { has_explicit_nonce: true } => EXPLICIT_LEN,
            _ => 0,
        };
        let (carried, sealed) = body.split_at_mut_checked(explicit)?;
        let inside = sealed.len().checked_sub(self.key.algorithm().tag_len())?;
        let nonce = self.nonce(carried);
        let opened = match self.form {
            Form::Tls13 => self.key.open_in_place(nonce, Aad::from(*header), sealed),
            Form::Tls12 { .. } => {
                let mut aad = [0; 13];
                aad[..8].copy_from_slice(&self.sequence.to_be_bytes());
                aad[8..11].copy_from_slice(&header[..3]);
                aad[11..].copy_from_slice(&(inside as u16).to_be_bytes());
                self.key.open_in_place(nonce, Aad::from(aad), sealed)
            }
        };
        opened.ok()?;
        self.sequence += 1;
        let start = HEADER_LEN + explicit;
        Some(start..start + inside)
    }

    fn nonce(&self, carried: &[u8]) -> Nonce {
        let mut nonce = self.iv;
        if carried.is_empty() {
            for (byte, number) in nonce[4..].iter_mut().zip(self.sequence.to_be_bytes()) {
                *byte ^= number;
            }
        } else {
            nonce[4..].copy_from_slice(carried);
        }
        Nonce::assume_unique_for_key(nonce)
    }
}
