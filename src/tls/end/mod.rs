//! Ends TLS in the tunnel: at one leg or at both, so that the plaintext passes through it.
//!
//! Pure: the bytes of either wire go in; bytes for either wire, and what is to be events, come out.

mod answers;
mod authority;
mod ender;
mod error;
mod failure;
mod hello;
mod leg;
mod opening;
mod pem;
mod secrets;
mod server_leg;
mod session;
#[cfg(test)]
mod tests;
mod trouble;
mod verifier;

pub use authority::{Authority, AuthorityError, AuthorityPem};
pub use ender::TlsEnder;
pub use error::TlsEnderError;
pub(crate) use pem::certificates;
pub use pem::{Identity, PemError};
pub use server_leg::ServerTrust;
pub(crate) use session::{Effects, Passes, Session, Wanted};
