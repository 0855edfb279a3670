//! The local authority: signs a certificate for each server that clients are to believe in.

use std::time::SystemTime;

use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType, SerialNumber,
};
use ring::rand::{SecureRandom, SystemRandom};
use rustls::pki_types::CertificateDer;
use thiserror::Error;
use time::{Duration, OffsetDateTime};
use zeroize::Zeroizing;

use super::pem::certificates_from_pem;
use crate::tls::certificate::{Subject, subject};

/// How long an authority is valid.
const AUTHORITY_LIFE: Duration = Duration::days(365);
/// How long a certificate that it signs is valid at most: clients refuse longer ones.
const LEAF_LIFE: Duration = Duration::days(397);
/// Clocks differ: what is signed is valid from this long ago on.
const EARLIER: Duration = Duration::days(1);

/// Why there is no authority.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AuthorityError {
    /// The certificate cannot be read.
    #[error("its certificate is damaged")]
    Certificate,
    /// The private key cannot be read, or does not belong to the certificate.
    #[error("its private key is damaged, or belongs to another certificate")]
    Key,
    /// It is not valid any longer.
    #[error("it has expired")]
    Expired,
    /// A key or a signature could not be made.
    #[error("cannot make a key or sign with it")]
    Crypto,
}

/// A certificate authority of the user's own.
///
/// Whoever has its private key can pretend to be any server to whoever trusts it: the key stays on
/// the user's machine, readable by the user alone.
pub struct Authority {
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
    /// The key of all certificates that it signs, made anew with each process.
    pub(super) leaf_key: KeyPair,
    not_after: OffsetDateTime,
}

/// A new authority as it is kept: two texts in PEM.
pub struct AuthorityPem {
    /// Its certificate, which clients are to trust.
    pub certificate: String,
    /// Its private key, which nobody else may see. It is wiped from memory when it is dropped.
    pub key: Zeroizing<String>,
}

impl Authority {
    /// Makes a new authority that is called `name` and valid for a year from `now` on.
    ///
    /// # Errors
    ///
    /// No key can be made.
    pub fn generate(name: &str, now: SystemTime) -> Result<AuthorityPem, AuthorityError> {
        let now = OffsetDateTime::from(now);
        let key = new_key()?;
        let mut params = params(name);
        params.not_before = now - EARLIER;
        params.not_after = now + AUTHORITY_LIFE;
        params.serial_number = Some(serial()?);
        let signed = params.self_signed(&key).map_err(|_| AuthorityError::Crypto)?;
        Ok(AuthorityPem { certificate: signed.pem(), key: Zeroizing::new(key.serialize_pem()) })
    }

    /// Takes an authority that was [made](Self::generate) before, from PEM.
    ///
    /// # Errors
    ///
    /// One of both is damaged, they do not belong together, or it is not valid `now`.
    pub fn from_pem(certificate: &str, key: &str, now: SystemTime) -> Result<Self, AuthorityError> {
        let now = OffsetDateTime::from(now);
        let found = certificates_from_pem(certificate.as_bytes());
        let found = found.map_err(|_| AuthorityError::Certificate)?;
        let certificate = found.into_iter().next().ok_or(AuthorityError::Certificate)?;
        let Subject { common_name, not_after, .. } =
            subject(&certificate).ok_or(AuthorityError::Certificate)?;
        let name = common_name.ok_or(AuthorityError::Certificate)?;
        let not_after = OffsetDateTime::from_unix_timestamp(not_after);
        let not_after = not_after.map_err(|_| AuthorityError::Certificate)?;
        if not_after <= now {
            return Err(AuthorityError::Expired);
        }
        let key = KeyPair::from_pem(key).map_err(|_| AuthorityError::Key)?;
        // The public key stands in the certificate as it is.
        let public = key.public_key_raw();
        if !certificate.windows(public.len()).any(|bytes| bytes == public) {
            return Err(AuthorityError::Key);
        }
        let issuer = Issuer::new(params(&name), key);
        Ok(Self { certificate, issuer, leaf_key: new_key()?, not_after })
    }

    /// Its certificate, in DER, which clients are to trust.
    pub fn certificate(&self) -> &[u8] {
        &self.certificate
    }

    /// Signs a certificate with the names of the server's, and `also` this name.
    pub(super) fn sign(
        &self,
        server: &Subject,
        also: Option<&str>,
        now: SystemTime,
    ) -> Result<CertificateDer<'static>, AuthorityError> {
        let now = OffsetDateTime::from(now);
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        if let Some(name) = &server.common_name {
            params.distinguished_name.push(DnType::CommonName, name.as_str());
        }
        let mut server = server.clone();
        also.into_iter().for_each(|name| server.add(name));
        let names = server.dns_names.iter();
        let names = names.filter_map(|name| Ia5String::try_from(name.as_str()).ok());
        params.subject_alt_names = names.map(SanType::DnsName).collect();
        let addresses = server.addresses.iter().copied().map(SanType::IpAddress);
        params.subject_alt_names.extend(addresses);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        params.not_before = now - EARLIER;
        params.not_after = self.not_after.min(now + LEAF_LIFE - EARLIER);
        params.serial_number = Some(serial()?);
        let signed = params.signed_by(&self.leaf_key, &self.issuer);
        Ok(signed.map_err(|_| AuthorityError::Crypto)?.into())
    }
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").field("not_after", &self.not_after).finish_non_exhaustive()
    }
}

/// What an authority's certificate says of it, but for its time.
fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params
}

fn new_key() -> Result<KeyPair, AuthorityError> {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(|_| AuthorityError::Crypto)
}

/// A random serial number of 16 bytes, positive (RFC 5280 section 4.1.2.2).
fn serial() -> Result<SerialNumber, AuthorityError> {
    let mut bytes = [0; 16];
    SystemRandom::new().fill(&mut bytes).map_err(|_| AuthorityError::Crypto)?;
    bytes[0] = bytes[0] & 0x7f | 0x40;
    Ok(SerialNumber::from_slice(&bytes))
}
