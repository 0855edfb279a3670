//! The cipher suites that are understood, and the names of the others that are in use.

use ring::{aead, hkdf, hmac};

/// How a suite makes keys and seals records.
#[derive(Clone, Copy)]
pub(super) struct Suite {
    pub(super) name: &'static str,
    pub(super) aead: &'static aead::Algorithm,
    /// Whether a record begins with 8 bytes of its nonce: AES-GCM in TLS 1.2 (RFC 5288 section 3).
    pub(super) has_explicit_nonce: bool,
    pub(super) hash: Hash,
}

#[derive(Clone, Copy)]
pub(super) enum Hash {
    Sha256,
    Sha384,
}

impl Hash {
    pub(super) fn hkdf(self) -> hkdf::Algorithm {
        match self {
            Self::Sha256 => hkdf::HKDF_SHA256,
            Self::Sha384 => hkdf::HKDF_SHA384,
        }
    }

    pub(super) const fn hmac(self) -> hmac::Algorithm {
        match self {
            Self::Sha256 => hmac::HMAC_SHA256,
            Self::Sha384 => hmac::HMAC_SHA384,
        }
    }

    /// The bytes of a secret.
    pub(super) const fn len(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha384 => 48,
        }
    }
}

const AES_128: &aead::Algorithm = &aead::AES_128_GCM;
const AES_256: &aead::Algorithm = &aead::AES_256_GCM;
const CHACHA: &aead::Algorithm = &aead::CHACHA20_POLY1305;

/// By number: the registry of TLS Cipher Suites at IANA.
const UNDERSTOOD: &[(u16, &str, &aead::Algorithm, Hash)] = &[
    (0x1301, "TLS_AES_128_GCM_SHA256", AES_128, Hash::Sha256),
    (0x1302, "TLS_AES_256_GCM_SHA384", AES_256, Hash::Sha384),
    (0x1303, "TLS_CHACHA20_POLY1305_SHA256", CHACHA, Hash::Sha256),
    (0x009c, "TLS_RSA_WITH_AES_128_GCM_SHA256", AES_128, Hash::Sha256),
    (0x009d, "TLS_RSA_WITH_AES_256_GCM_SHA384", AES_256, Hash::Sha384),
    (0x009e, "TLS_DHE_RSA_WITH_AES_128_GCM_SHA256", AES_128, Hash::Sha256),
    (0x009f, "TLS_DHE_RSA_WITH_AES_256_GCM_SHA384", AES_256, Hash::Sha384),
    (0x00a6, "TLS_DH_anon_WITH_AES_128_GCM_SHA256", AES_128, Hash::Sha256),
    (0x00a7, "TLS_DH_anon_WITH_AES_256_GCM_SHA384", AES_256, Hash::Sha384),
    (0x00a8, "TLS_PSK_WITH_AES_128_GCM_SHA256", AES_128, Hash::Sha256),
    (0x00a9, "TLS_PSK_WITH_AES_256_GCM_SHA384", AES_256, Hash::Sha384),
    (0x00aa, "TLS_DHE_PSK_WITH_AES_128_GCM_SHA256", AES_128, Hash::Sha256),
    (0x00ab, "TLS_DHE_PSK_WITH_AES_256_GCM_SHA384", AES_256, Hash::Sha384),
    (0x00ac, "TLS_RSA_PSK_WITH_AES_128_GCM_SHA256", AES_128, Hash::Sha256),
    (0x00ad, "TLS_RSA_PSK_WITH_AES_256_GCM_SHA384", AES_256, Hash::Sha384),
    (0xc02b, "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", AES_128, Hash::Sha256),
    (0xc02c, "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", AES_256, Hash::Sha384),
    (0xc02f, "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", AES_128, Hash::Sha256),
    (0xc030, "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", AES_256, Hash::Sha384),
    (0xcca8, "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", CHACHA, Hash::Sha256),
    (0xcca9, "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", CHACHA, Hash::Sha256),
    (0xccaa, "TLS_DHE_RSA_WITH_CHACHA20_POLY1305_SHA256", CHACHA, Hash::Sha256),
    (0xccab, "TLS_PSK_WITH_CHACHA20_POLY1305_SHA256", CHACHA, Hash::Sha256),
    (0xccac, "TLS_ECDHE_PSK_WITH_CHACHA20_POLY1305_SHA256", CHACHA, Hash::Sha256),
    (0xccad, "TLS_DHE_PSK_WITH_CHACHA20_POLY1305_SHA256", CHACHA, Hash::Sha256),
    (0xccae, "TLS_RSA_PSK_WITH_CHACHA20_POLY1305_SHA256", CHACHA, Hash::Sha256),
    (0xd001, "TLS_ECDHE_PSK_WITH_AES_128_GCM_SHA256", AES_128, Hash::Sha256),
    (0xd002, "TLS_ECDHE_PSK_WITH_AES_256_GCM_SHA384", AES_256, Hash::Sha384),
];

/// Others that programs still use, so that a message can name them.
const OTHERS: &[(u16, &str)] = &[
    (0x0005, "TLS_RSA_WITH_RC4_128_SHA"),
    (0x000a, "TLS_RSA_WITH_3DES_EDE_CBC_SHA"),
    (0x002f, "TLS_RSA_WITH_AES_128_CBC_SHA"),
    (0x0033, "TLS_DHE_RSA_WITH_AES_128_CBC_SHA"),
    (0x0035, "TLS_RSA_WITH_AES_256_CBC_SHA"),
    (0x0039, "TLS_DHE_RSA_WITH_AES_256_CBC_SHA"),
    (0x003c, "TLS_RSA_WITH_AES_128_CBC_SHA256"),
    (0x003d, "TLS_RSA_WITH_AES_256_CBC_SHA256"),
    (0x0067, "TLS_DHE_RSA_WITH_AES_128_CBC_SHA256"),
    (0x006b, "TLS_DHE_RSA_WITH_AES_256_CBC_SHA256"),
    (0x1304, "TLS_AES_128_CCM_SHA256"),
    (0x1305, "TLS_AES_128_CCM_8_SHA256"),
    (0xc009, "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA"),
    (0xc00a, "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA"),
    (0xc013, "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA"),
    (0xc014, "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA"),
    (0xc023, "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256"),
    (0xc024, "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA384"),
    (0xc027, "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256"),
    (0xc028, "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA384"),
];

/// The suite of a number, if it is understood.
pub(super) fn find(number: u16) -> Option<Suite> {
    let &(_, name, aead, hash) = UNDERSTOOD.iter().find(|(known, ..)| *known == number)?;
    let is_tls13 = number >> 8 == 0x13;
    let has_explicit_nonce = !is_tls13 && *aead != aead::CHACHA20_POLY1305;
    Some(Suite { name, aead, has_explicit_nonce, hash })
}

/// What a suite is called.
pub(super) fn name(number: u16) -> String {
    let understood = UNDERSTOOD.iter().map(|(known, name, ..)| (known, name));
    let mut all = understood.chain(OTHERS.iter().map(|(known, name)| (known, name)));
    match all.find(|(known, _)| **known == number) {
        Some((_, name)) => (*name).to_owned(),
        None => format!("cipher suite 0x{number:04x}"),
    }
}
