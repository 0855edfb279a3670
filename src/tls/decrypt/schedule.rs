//! Keys from secrets: RFC 8446 section 7, RFC 5246 sections 5 and 6.3.

use ring::{hkdf, hmac};

use super::aead::Opener;
use super::suite::Suite;
use crate::event::Side;

/// The bytes of the nonce that all suites share between records.
const IV_LEN: usize = 12;
/// The part of it that AES-GCM in TLS 1.2 shares (RFC 5288 section 3).
const SALT_LEN: usize = 4;

/// What opens the records of a TLS 1.3 traffic secret; `None` where the secret does not fit.
pub(super) fn tls13_opener(suite: Suite, secret: &[u8]) -> Option<Opener> {
    let key = expand_label(suite, secret, b"key", suite.aead.key_len())?;
    let iv = expand_label(suite, secret, b"iv", IV_LEN)?;
    Opener::tls13(suite, &key, &iv)
}

/// The traffic secret that follows another (RFC 8446 section 7.2).
pub(super) fn next_secret(suite: Suite, secret: &[u8]) -> Option<Vec<u8>> {
    expand_label(suite, secret, b"traffic upd", suite.hash.len())
}

/// HKDF-Expand-Label without a context.
fn expand_label(suite: Suite, secret: &[u8], label: &[u8], len: usize) -> Option<Vec<u8>> {
    const PREFIX: &[u8] = b"tls13 ";
    struct Len(usize);
    impl hkdf::KeyType for Len {
        fn len(&self) -> usize {
            self.0
        }
    }
    if secret.len() != suite.hash.len() {
        return None;
    }
    let lengths = [0, len as u8, (PREFIX.len() + label.len()) as u8];
    let info = [&lengths[..], PREFIX, label, &[0]];
    let prk = hkdf::Prk::new_less_safe(suite.hash.hkdf(), secret);
    let mut out = vec![0; len];
    prk.expand(&info, Len(len)).and_then(|okm| okm.fill(&mut out)).ok()?;
    Some(out)
}

/// What opens the records that `side` sends under a TLS 1.2 master secret.
pub(super) fn tls12_opener(
    suite: Suite,
    master: &[u8],
    [client, server]: [&[u8; 32]; 2],
    side: Side,
) -> Option<Opener> {
    const MASTER_LEN: usize = 48;
    if master.len() != MASTER_LEN {
        return None;
    }
    let key_len = suite.aead.key_len();
    let iv_len = if suite.has_explicit_nonce { SALT_LEN } else { IV_LEN };
    let seed = [b"key expansion", &server[..], &client[..]].concat();
    let block = pseudo_random(suite, master, &seed, 2 * (key_len + iv_len));
    let (keys, ivs) = block.split_at(2 * key_len);
    let at = side as usize;
    Opener::tls12(suite, &keys[at * key_len..][..key_len], &ivs[at * iv_len..][..iv_len])
}

/// `P_hash` of a secret and a seed (RFC 5246 section 5).
fn pseudo_random(suite: Suite, secret: &[u8], seed: &[u8], len: usize) -> Vec<u8> {
    let key = hmac::Key::new(suite.hash.hmac(), secret);
    let mut out = Vec::new();
    let mut a = hmac::sign(&key, seed);
    while out.len() < len {
        let mut block = hmac::Context::with_key(&key);
        block.update(a.as_ref());
        block.update(seed);
        out.extend_from_slice(block.sign().as_ref());
        a = hmac::sign(&key, a.as_ref());
    }
    out.truncate(len);
    out
}
