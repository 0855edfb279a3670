//! TLS seen from outside: where it begins, and the plaintext that it carries.
//!
//! In go the bytes of a connection's two directions, the time, and the lines of a key log; out
//! come plaintext, the facts of the handshake, or the reason why there is none. A [`TlsEnder`] ends
//! TLS instead, at one leg or at both. Pure, but for `follow`, which reads a key log while another
//! program writes it, and the [`AuthorityStore`].

#[cfg(feature = "tls")]
mod authority_store;
#[cfg(feature = "tls")]
pub(crate) mod certificate;
#[cfg(feature = "capture")]
pub(crate) mod client_random;
#[cfg(feature = "tls")]
mod decrypt;
#[cfg(feature = "tls")]
mod end;
mod find_hello;
pub(crate) mod follow;
pub(crate) mod keylog;

#[cfg(feature = "tls")]
pub use authority_store::{AuthorityStore, StoreError};
#[cfg(feature = "tls")]
pub use decrypt::{Limits, Observer, Seen};
#[cfg(feature = "tls")]
pub use end::{
    Authority, AuthorityError, AuthorityPem, Identity, PemError, ServerTrust, TlsEnder,
    TlsEnderError,
};
#[cfg(feature = "tls")]
pub(crate) use end::{Effects, Passes, Session, Wanted};
pub use keylog::KeyLog;
