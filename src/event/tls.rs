//! What is known of TLS.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

/// What is known of a connection's TLS, or why it stays closed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tls {
    /// What is done with it.
    pub state: TlsState,
    /// The version that the server chose, once it has: `TLS 1.2` or `TLS 1.3`.
    pub version: Option<Arc<str>>,
    /// The cipher suite that the server chose, as IANA calls it.
    pub suite: Option<Arc<str>>,
    /// The name of the server that the client asked for (server name indication, RFC 6066).
    pub sni: Option<Arc<str>>,
    /// The protocol inside that the server chose (RFC 7301).
    pub alpn: Option<Arc<str>>,
    /// The certificate of the server and those that vouch for it, in DER, as it sent them. None
    /// where they were not seen, such as when a session is resumed.
    pub certificates: Arc<[Bytes]>,
    /// Why it is not decrypted, where it is not; how it ended otherwise, where that is not as
    /// it should be.
    pub why: Option<Arc<str>>,
}

/// What is known, in one line: `TLS 1.3 TLS_AES_128_GCM_SHA256 SNI example.com ALPN h2`.
impl fmt::Display for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.version.as_deref().unwrap_or("TLS"))?;
        let facts = [("", &self.suite), ("SNI ", &self.sni), ("ALPN ", &self.alpn)];
        for (name, fact) in facts {
            if let Some(fact) = fact {
                write!(f, " {name}{fact}")?;
            }
        }
        match &self.why {
            Some(why) if self.state.has_plaintext() => write!(f, ": {why}"),
            Some(why) if self.state == TlsState::Passed => write!(f, " passed: {why}"),
            Some(why) => write!(f, " not decrypted: {why}"),
            None => Ok(()),
        }
    }
}

impl Tls {
    /// What is known beside the state, by name.
    pub(crate) fn facts(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let facts = [
            ("version", &self.version),
            ("suite", &self.suite),
            ("sni", &self.sni),
            ("alpn", &self.alpn),
            ("why", &self.why),
        ];
        facts.into_iter().filter_map(|(name, fact)| Some((name, fact.as_deref()?)))
    }

    /// TLS of which no more is known than what is done with it.
    pub fn new(state: TlsState) -> Self {
        let certificates = Arc::new([]);
        Self { state, version: None, suite: None, sni: None, alpn: None, certificates, why: None }
    }
}

/// What is done with a connection's TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TlsState {
    /// It is decrypted on the way, by keys that a peer has logged.
    Decrypted,
    /// The tunnel ends it at both legs.
    Intercepted,
    /// The tunnel ends the client's; the server is sent plaintext.
    Terminated,
    /// The tunnel speaks it with the server; the client sends plaintext.
    Originated,
    /// The tunnel could end it, but lets it pass as it is.
    Passed,
    /// It stays closed: the wire is all there is, or it has failed.
    Closed,
}

impl TlsState {
    /// Whether plaintext of it is shown.
    pub const fn has_plaintext(self) -> bool {
        !matches!(self, Self::Passed | Self::Closed)
    }

    /// `decrypted`, `intercepted`, `terminated`, `originated`, `passed` or `closed`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Decrypted => "decrypted",
            Self::Intercepted => "intercepted",
            Self::Terminated => "terminated",
            Self::Originated => "originated",
            Self::Passed => "passed",
            Self::Closed => "closed",
        }
    }
}

/// Which views of a connection are wanted where the tunnel can look into its TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Views {
    /// What the sockets carried, and nothing else.
    #[default]
    Wire,
    /// What can be read: plaintext where there is some, and the wire elsewhere. Of a connection
    /// that is decrypted no byte of a TLS record is shown.
    Readable,
    /// All that the sockets carried, and plaintext beside it.
    Both,
}
