//! A user's name and password, for both sides of a proxy.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use thiserror::Error;

/// The longest user name or password that SOCKS5 can carry, in bytes (RFC 1929).
const MAX_LEN: usize = 255;

/// A user name and a password, written as `USER:PASS`. [`Debug`](fmt::Debug) hides the password.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    user: String,
    password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("user", &self.user).finish_non_exhaustive()
    }
}

/// What is wrong with a user name and a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CredentialsError {
    /// There is no colon.
    #[error("there is no ':' between user and password (try 'USER:PASS')")]
    NoColon,
    /// The user name or the password is empty.
    #[error("user and password must not be empty (try 'USER:PASS')")]
    Empty,
    /// The user name or the password is too long for SOCKS5.
    #[error("user and password have at most {MAX_LEN} bytes each")]
    TooLong,
    /// The user name holds a colon, which HTTP cannot carry (RFC 7617).
    #[error("a user name must not contain ':'")]
    ColonInUser,
}

impl Credentials {
    /// Checks and keeps a user name and a password.
    ///
    /// # Errors
    ///
    /// One of them is empty or longer than 255 bytes, or the user name contains a colon.
    pub fn new(user: &str, password: &str) -> Result<Self, CredentialsError> {
        if user.is_empty() || password.is_empty() {
            return Err(CredentialsError::Empty);
        }
        if user.len() > MAX_LEN || password.len() > MAX_LEN {
            return Err(CredentialsError::TooLong);
        }
        if user.contains(':') {
            return Err(CredentialsError::ColonInUser);
        }
        Ok(Self { user: user.to_owned(), password: password.to_owned() })
    }

    /// The user's name.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// Whether both are the ones given. Takes as long for a wrong password as for the right one.
    pub(super) fn matches(&self, user: &[u8], password: &[u8]) -> bool {
        let user = is_equal(self.user.as_bytes(), user);
        let password = is_equal(self.password.as_bytes(), password);
        user & password
    }

    /// Whether the value of a `Proxy-Authorization` header carries them (RFC 7617).
    pub(super) fn match_basic(&self, header: &[u8]) -> bool {
        let Some((scheme, token)) = header.split_at_checked("basic".len()) else { return false };
        if !scheme.eq_ignore_ascii_case(b"basic") || !token.starts_with(b" ") {
            return false;
        }
        let Ok(decoded) = BASE64_STANDARD.decode(token.trim_ascii()) else { return false };
        let Some(colon) = decoded.iter().position(|byte| *byte == b':') else { return false };
        self.matches(&decoded[..colon], &decoded[colon + 1..])
    }

    /// The value of a `Proxy-Authorization` header (RFC 7617).
    pub(super) fn basic(&self) -> String {
        format!("Basic {}", BASE64_STANDARD.encode(format!("{}:{}", self.user, self.password)))
    }

    /// The request of SOCKS5's login (RFC 1929).
    pub(super) fn socks5(&self) -> Vec<u8> {
        let mut bytes = vec![1];
        for text in [&self.user, &self.password] {
            // `new` holds the length below 256.
            bytes.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
            bytes.extend_from_slice(text.as_bytes());
        }
        bytes
    }
}

fn is_equal(ours: &[u8], theirs: &[u8]) -> bool {
    let differences = ours.iter().zip(theirs).fold(0, |sum, (a, b)| sum | (a ^ b));
    ours.len() == theirs.len() && differences == 0
}

impl FromStr for Credentials {
    type Err = CredentialsError;

    fn from_str(input: &str) -> Result<Self, CredentialsError> {
        let (user, password) = input.split_once(':').ok_or(CredentialsError::NoColon)?;
        Self::new(user, password)
    }
}
