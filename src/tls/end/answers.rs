//! TLS with clients: the certificates that they are shown.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::ResolvesServerCert;
use rustls::sign::{CertifiedKey, SingleCertAndKey};

use super::authority::Authority;
use super::error::TlsEnderError;
use super::pem::Identity;
use super::secrets::Secrets;
use crate::tls::certificate::{Subject, subject};

/// So many are kept at most; more are made anew.
const KEPT_MAX: usize = 1024;

/// What tells one answer from another: the server's certificate, a name that is added to it, and
/// the protocol inside.
type Key = (Vec<u8>, Option<String>, Option<Vec<u8>>);

/// How clients are answered.
pub(super) struct Answers {
    provider: Arc<CryptoProvider>,
    /// Each keeps the sessions that its clients may resume.
    kept: Mutex<HashMap<Key, ServerConfig>>,
}

impl Answers {
    pub(super) fn new(provider: &Arc<CryptoProvider>) -> Self {
        Self { provider: Arc::clone(provider), kept: Mutex::default() }
    }

    /// An answer in the name of a server that is called `name`, by a certificate that the authority
    /// signs for it, and `also` for that name.
    pub(super) fn in_name_of(
        &self,
        server: &[u8],
        name: &str,
        also: Option<&str>,
        alpn: Option<&[u8]>,
        authority: &Authority,
        secrets: Arc<Secrets>,
    ) -> Option<Arc<ServerConfig>> {
        let name_too = subject(server).is_none().then_some(name).or(also);
        let key = (server.to_vec(), name_too.map(str::to_owned), alpn.map(<[u8]>::to_vec));
        self.get(key, secrets, || {
            // One that is not understood in full was good for the name all the same.
            let named = subject(server).unwrap_or_else(|| Subject::named(name));
            // Only a certificate's days depend on it.
            let certificate = authority.sign(&named, also, SystemTime::now()).ok()?;
            let key = PrivatePkcs8KeyDer::from(authority.leaf_key.serialize_der());
            let key = self.provider.key_provider.load_private_key(PrivateKeyDer::Pkcs8(key));
            Some(Arc::new(CertifiedKey::new(vec![certificate], key.ok()?)))
        })
    }

    /// An answer by the user's own certificate.
    pub(super) fn as_user(
        &self,
        user: &Arc<CertifiedKey>,
        alpn: Option<&[u8]>,
        secrets: Arc<Secrets>,
    ) -> Option<Arc<ServerConfig>> {
        let key = (Vec::new(), None, alpn.map(<[u8]>::to_vec));
        self.get(key, secrets, || Some(Arc::clone(user)))
    }

    fn get(
        &self,
        key: Key,
        secrets: Arc<Secrets>,
        make: impl FnOnce() -> Option<Arc<CertifiedKey>>,
    ) -> Option<Arc<ServerConfig>> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if !kept.contains_key(&key) {
            if kept.len() >= KEPT_MAX {
                kept.clear();
            }
            let config = self.config(Arc::new(SingleCertAndKey::from(make()?)), key.2.clone())?;
            kept.insert(key.clone(), config);
        }
        let mut config = kept.get(&key)?.clone();
        config.key_log = secrets;
        Some(Arc::new(config))
    }

    fn config(
        &self,
        certificate: Arc<dyn ResolvesServerCert>,
        alpn: Option<Vec<u8>>,
    ) -> Option<ServerConfig> {
        let config = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_safe_default_protocol_versions()
            .ok()?;
        let mut config = config.with_no_client_auth().with_cert_resolver(certificate);
        config.alpn_protocols = alpn.into_iter().collect();
        Some(config)
    }
}

/// The user's own certificate, ready for use.
pub(super) fn user_certificate(
    identity: Identity,
    provider: &CryptoProvider,
) -> Result<Arc<CertifiedKey>, TlsEnderError> {
    let wrong = |error: rustls::Error| TlsEnderError::Identity(error.to_string());
    let certified = CertifiedKey::from_der(identity.chain, identity.key, provider);
    Ok(Arc::new(certified.map_err(wrong)?))
}
