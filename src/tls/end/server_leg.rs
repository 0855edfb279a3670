//! TLS with servers: whom the tunnel trusts, and whom it says it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use rustls::client::ResolvesClientCert;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, ClientConnection, Error, SignatureScheme};

use super::error::TlsEnderError;
use super::leg::Leg;
use super::pem::{Identity, PemError, certificates_from_pem};
use super::secrets::Secrets;
use super::verifier::Verifier;

/// Which servers are trusted, and the certificate that they are shown.
#[derive(Debug, Default)]
pub struct ServerTrust {
    roots: Vec<CertificateDer<'static>>,
    more: Vec<CertificateDer<'static>>,
    takes_all: bool,
    identity: Option<Identity>,
}

impl ServerTrust {
    /// Trusts the authorities that this machine's programs trust. None of them is an error here:
    /// then every server is refused, which says why.
    pub fn system() -> Self {
        let roots = rustls_native_certs::load_native_certs().certs;
        Self { roots, ..Self::default() }
    }

    /// Trusts the certificates in this PEM text, too: authorities, or servers themselves.
    ///
    /// # Errors
    ///
    /// There is none in it, or the text is damaged.
    pub fn trust_pem(mut self, pem: &[u8]) -> Result<Self, PemError> {
        self.more.extend(certificates_from_pem(pem)?);
        Ok(self)
    }

    /// Trusts this one no more: whoever the tunnel answers for is not whom it reaches.
    pub(super) fn without(mut self, certificate: &[u8]) -> Self {
        self.roots.retain(|root| root.as_ref() != certificate);
        self
    }

    /// Takes every certificate, so that anybody may pretend to be the server.
    #[must_use]
    pub const fn take_all(mut self) -> Self {
        self.takes_all = true;
        self
    }

    /// Answers a server that asks who its client is with this certificate.
    #[must_use]
    pub fn identity(mut self, identity: Identity) -> Self {
        self.identity = Some(identity);
        self
    }

    /// How servers are reached.
    pub(super) fn into_reach(self, provider: &Arc<CryptoProvider>) -> Result<Reach, TlsEnderError> {
        let verifier = if self.takes_all {
            Verifier::of_all(provider)
        } else {
            Verifier::by_roots(provider, self.roots, self.more).ok_or(TlsEnderError::NoTrust)?
        };
        let config = ClientConfig::builder_with_provider(Arc::clone(provider))
            .with_safe_default_protocol_versions()
            .map_err(|_| TlsEnderError::Provider)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let has_identity = self.identity.is_some();
        let config = match self.identity {
            Some(Identity { chain, key }) => config
                .with_client_auth_cert(chain, key)
                .map_err(|error| TlsEnderError::Identity(error.to_string()))?,
            None => config.with_no_client_auth(),
        };
        Ok(Reach { config, has_identity, takes_all: self.takes_all })
    }
}

/// How servers are reached.
pub(super) struct Reach {
    config: ClientConfig,
    has_identity: bool,
    /// Whether every certificate is taken.
    pub(super) takes_all: bool,
}

/// TLS with a server.
pub(super) struct ServerLeg {
    pub(super) leg: Leg,
    /// Whether it asked for a certificate that nobody has.
    asked: Arc<AtomicBool>,
}

impl ServerLeg {
    /// Whether the server asked for a certificate that nobody gave.
    pub(super) fn has_asked_in_vain(&self) -> bool {
        self.asked.load(Relaxed)
    }
}

impl Reach {
    /// Begins TLS with the server that is called `name`, and offers these protocols.
    pub(super) fn begin(
        &self,
        name: ServerName<'static>,
        alpn: Vec<Vec<u8>>,
        tells_name: bool,
        secrets: Arc<Secrets>,
    ) -> Result<ServerLeg, Error> {
        let mut config = self.config.clone();
        config.alpn_protocols = alpn;
        config.enable_sni = tells_name;
        config.key_log = secrets;
        let asked = Arc::new(AtomicBool::new(false));
        if !self.has_identity {
            config.client_auth_cert_resolver = Arc::new(Nobody(Arc::clone(&asked)));
        }
        let connection = ClientConnection::new(Arc::new(config), name)?;
        Ok(ServerLeg { leg: Leg::new(connection), asked })
    }
}

/// Has no certificate, and remembers whether one was asked for.
#[derive(Debug)]
struct Nobody(Arc<AtomicBool>);

impl ResolvesClientCert for Nobody {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.0.store(true, Relaxed);
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}
