//! Why TLS cannot be ended in the tunnel.

use thiserror::Error;

/// Why TLS cannot be ended in the tunnel.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TlsEnderError {
    /// A certificate and its key are of no use.
    #[error("the certificate or its key is of no use: {0}")]
    Identity(String),
    /// No server could be trusted.
    #[error("no authority to trust was found (install ca-certificates, or try '--tls-trust FILE')")]
    NoTrust,
    /// The cryptography does not fit.
    #[error("the cryptography lacks what TLS needs")]
    Provider,
}
