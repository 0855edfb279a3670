//! Whether a server's certificate is good.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use crate::tls::certificate::subject;

/// How certificates of servers are judged.
#[derive(Debug)]
pub(super) struct Verifier {
    trust: Trust,
    algorithms: WebPkiSupportedAlgorithms,
}

#[derive(Debug)]
enum Trust {
    /// By authorities; and a certificate that is trusted itself is good for its names.
    ByRoots { roots: Arc<WebPkiServerVerifier>, exact: Vec<CertificateDer<'static>> },
    /// All are taken.
    All,
}

impl Verifier {
    /// Trusts `system`, and each of `more`, be it an authority or a server's own.
    pub(super) fn by_roots(
        provider: &Arc<CryptoProvider>,
        system: Vec<CertificateDer<'static>>,
        more: Vec<CertificateDer<'static>>,
    ) -> Option<Self> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(system);
        roots.add_parsable_certificates(more.clone());
        let roots =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
        let trust = Trust::ByRoots { roots: roots.build().ok()?, exact: more };
        Some(Self { trust, algorithms: provider.signature_verification_algorithms })
    }

    /// Takes every certificate.
    pub(super) fn of_all(provider: &CryptoProvider) -> Self {
        Self { trust: Trust::All, algorithms: provider.signature_verification_algorithms }
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Trust::ByRoots { roots, exact } = &self.trust else {
            return Ok(ServerCertVerified::assertion());
        };
        let judged =
            roots.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match judged {
            // What signs itself is often marked as an authority's, which no server's may be.
            Err(_) if exact.iter().any(|exact| exact == end_entity) => {
                verify_exact(end_entity, server_name, now)
            }
            judged => judged,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// A certificate that is trusted itself has to be valid now and for the name.
fn verify_exact(
    certificate: &CertificateDer<'_>,
    name: &ServerName<'_>,
    now: UnixTime,
) -> Result<ServerCertVerified, Error> {
    use rustls::CertificateError as Bad;
    let parsed = rustls::server::ParsedCertificate::try_from(certificate)?;
    rustls::client::verify_server_name(&parsed, name)?;
    let subject = subject(certificate).ok_or(Bad::BadEncoding)?;
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    if now < subject.not_before {
        return Err(Bad::NotValidYet.into());
    }
    if subject.not_after < now {
        return Err(Bad::Expired.into());
    }
    Ok(ServerCertVerified::assertion())
}
