//! Certificates and keys in PEM (RFC 7468), as users have them in files.

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use thiserror::Error;

/// Why PEM text is of no use.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PemError {
    /// There is no certificate in it.
    #[error("it holds no certificate (expected PEM text with 'BEGIN CERTIFICATE')")]
    NoCertificate,
    /// There is no private key in it.
    #[error("it holds no private key without a password (expected PEM text with 'PRIVATE KEY')")]
    NoKey,
    /// It is damaged.
    #[error("it is no valid PEM text")]
    Damaged,
    /// The private key is damaged, or has a password.
    #[error("its private key is damaged, or has a password (take it off: 'openssl pkey')")]
    DamagedKey,
}

/// The certificates in PEM text, in its order; other things in it are left out.
pub(super) fn certificates_from_pem(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let found = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    let found = found.map_err(|_| PemError::Damaged)?;
    if found.is_empty() { Err(PemError::NoCertificate) } else { Ok(found) }
}

/// The certificates in PEM text, in DER; none where it is damaged.
pub(crate) fn certificates(pem: &[u8]) -> Vec<Vec<u8>> {
    let found = certificates_from_pem(pem).unwrap_or_default();
    found.iter().map(|certificate| certificate.to_vec()).collect()
}

/// Whom the tunnel is to its peer: a certificate with those that vouch for it, and its key.
#[derive(Debug)]
pub struct Identity {
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: PrivateKeyDer<'static>,
}

impl Identity {
    /// Reads both from PEM text. The certificate itself comes first, then those that vouch for it;
    /// the key is in PKCS #8, PKCS #1 or SEC 1, without a password. One text may hold both.
    ///
    /// # Errors
    ///
    /// One of them is missing, or the text is damaged.
    pub fn from_pem(certificates: &[u8], key: &[u8]) -> Result<Self, PemError> {
        let chain = certificates_from_pem(certificates)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| match error {
            rustls::pki_types::pem::Error::NoItemsFound => PemError::NoKey,
            _ => PemError::DamagedKey,
        })?;
        Ok(Self { chain, key })
    }
}
