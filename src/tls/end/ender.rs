//! Where TLS ends in the tunnel, for all connections.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustls::crypto::{CryptoProvider, ring};
use rustls::sign::CertifiedKey;

use super::answers::{Answers, user_certificate};
use super::authority::Authority;
use super::error::TlsEnderError;
use super::pem::Identity;
use super::server_leg::{Reach, ServerTrust};
use crate::event::{Side, TlsState};

/// So many servers are remembered that cannot be opened, and for so long.
const CLOSED_MAX: usize = 1000;
const CLOSED_FOR: Duration = Duration::from_secs(600);

/// A server by the name that the client asks for, and by where the tunnel reaches it.
pub(super) type Called = (String, Option<IpAddr>, Option<u16>);

/// Ends TLS in the tunnel; used by [`Builder::end_tls`](crate::tunnel::Builder::end_tls).
///
/// The tunnel then sees the plaintext, and neither peer's TLS reaches the other. What is not TLS
/// passes as it is; TLS may begin anywhere in a connection (`STARTTLS`). Each end of one leg
/// becomes the same end of the other: `close_notify`, FIN without it, and RST.
pub struct TlsEnder {
    pub(super) kind: Kind,
    pub(super) answers: Answers,
    pub(super) provider: Arc<CryptoProvider>,
    /// The servers whose TLS cannot be opened.
    closed: Mutex<HashMap<Called, Instant>>,
}

/// At which legs TLS ends.
pub(super) enum Kind {
    /// At both.
    Intercept { authority: Box<Authority>, reach: Reach },
    /// At the client's.
    Terminate(Arc<CertifiedKey>),
    /// At the server's.
    Originate(Reach),
}

impl TlsEnder {
    /// Ends the TLS of both legs. The server is reached first, by the name and the protocols that
    /// the client asks for; then the client is answered with the protocol that the server chose,
    /// and a certificate that `authority` signs in the names of the server's own.
    ///
    /// A server whose certificate is not good under `trust` is not hidden behind a good one: the
    /// client's handshake fails. What cannot be opened passes as it is.
    ///
    /// # Errors
    ///
    /// No server could be trusted.
    pub fn intercept(authority: Authority, trust: ServerTrust) -> Result<Self, TlsEnderError> {
        let provider = provider();
        let reach = trust.without(authority.certificate()).into_reach(&provider)?;
        Ok(Self::new(Kind::Intercept { authority: Box::new(authority), reach }, &provider))
    }

    /// Ends the client's TLS with a certificate that the user has; the server is sent plaintext.
    ///
    /// # Errors
    ///
    /// The key is not the certificate's, or of a kind that is not known.
    pub fn terminate(identity: Identity) -> Result<Self, TlsEnderError> {
        let provider = provider();
        let user = user_certificate(identity, &provider)?;
        Ok(Self::new(Kind::Terminate(user), &provider))
    }

    /// Takes plaintext from the client, and speaks TLS with the server from the beginning.
    ///
    /// # Errors
    ///
    /// No server could be trusted.
    pub fn originate(trust: ServerTrust) -> Result<Self, TlsEnderError> {
        let provider = provider();
        let reach = trust.into_reach(&provider)?;
        Ok(Self::new(Kind::Originate(reach), &provider))
    }

    fn new(kind: Kind, provider: &Arc<CryptoProvider>) -> Self {
        let answers = Answers::new(provider);
        Self { kind, answers, provider: Arc::clone(provider), closed: Mutex::default() }
    }

    /// Whether connections pass as well without it, if they need not be seen.
    pub(crate) const fn is_optional(&self) -> bool {
        matches!(self.kind, Kind::Intercept { .. })
    }

    /// The state that sinks are given of connections whose TLS it opens.
    pub(crate) const fn state(&self) -> TlsState {
        match self.kind {
            Kind::Intercept { .. } => TlsState::Intercepted,
            Kind::Terminate(_) => TlsState::Terminated,
            Kind::Originate(_) => TlsState::Originated,
        }
    }

    /// Whose TLS is shown.
    pub(crate) const fn shown_side(&self) -> Side {
        match self.kind {
            Kind::Terminate(_) => Side::Client,
            Kind::Intercept { .. } | Kind::Originate(_) => Side::Server,
        }
    }

    /// Whether a server is known as one whose TLS cannot be opened.
    pub(super) fn is_closed(&self, server: &Called) -> bool {
        let mut closed = self.closed.lock().unwrap_or_else(PoisonError::into_inner);
        let is_recent = |since: &Instant| since.elapsed() < CLOSED_FOR;
        closed.retain(|_, since| is_recent(since));
        closed.contains_key(server)
    }

    /// Remembers a server whose TLS cannot be opened, for a while: it may be another one then.
    pub(super) fn note_closed(&self, server: Called) {
        let mut closed = self.closed.lock().unwrap_or_else(PoisonError::into_inner);
        if closed.len() >= CLOSED_MAX {
            closed.clear();
        }
        closed.insert(server, Instant::now());
    }
}

impl std::fmt::Debug for TlsEnder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TlsEnder").field("state", &self.state()).finish_non_exhaustive()
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}
