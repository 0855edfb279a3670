//! The way to a server through another proxy.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use thiserror::Error;

use super::credentials::{Credentials, CredentialsError};
use super::destination::Destination;
use super::handshake::{Handshake, Progress, Rejection};
use super::via_http::ViaHttp;
use super::via_socks5::ViaSocks5;

/// A proxy through which servers are reached, written as `socks5://[USER:PASS@]HOST:PORT` or
/// `http://[USER:PASS@]HOST:PORT`.
///
/// A character of the user or the password that means something in a URL is written as `%` and
/// two hexadecimal digits. [`Display`](fmt::Display) leaves the user and the password out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Via {
    scheme: Scheme,
    proxy: Destination,
    credentials: Option<Credentials>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scheme {
    Socks5,
    Http,
}

/// An address of a proxy that makes no sense. Its text names the address and what to write
/// instead.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("invalid proxy '{input}': {problem}")]
pub struct ViaError {
    input: String,
    problem: ViaProblem,
}

impl ViaError {
    /// What was given, without a user and a password.
    pub fn input(&self) -> &str {
        &self.input
    }

    /// What is wrong with it. Its text does not repeat the address.
    pub const fn problem(&self) -> &ViaProblem {
        &self.problem
    }
}

/// What is wrong with the address of a proxy, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ViaProblem {
    /// It begins with no scheme that is known.
    #[error("unknown scheme (expected socks5://HOST:PORT or http://HOST:PORT)")]
    Scheme,
    /// There is no host and port after the scheme.
    #[error("missing host or port (expected HOST:PORT after the scheme)")]
    Address,
    /// The user and the password are not valid.
    #[error("the proxy's login is not valid: {0}")]
    Credentials(#[from] CredentialsError),
    /// A `%` is not followed by two hexadecimal digits, or the result is not UTF-8.
    #[error(
        "the proxy's login is not valid: '%' needs two hexadecimal digits (write '%25' for it)"
    )]
    Percent,
}

impl FromStr for Via {
    type Err = ViaError;

    fn from_str(input: &str) -> Result<Self, ViaError> {
        parse(input).map_err(|problem| ViaError { input: without_login(input), problem })
    }
}

fn parse(input: &str) -> Result<Via, ViaProblem> {
    let (scheme, rest) = if let Some(rest) = input.strip_prefix("socks5://") {
        (Scheme::Socks5, rest)
    } else if let Some(rest) = input.strip_prefix("http://") {
        (Scheme::Http, rest)
    } else {
        return Err(ViaProblem::Scheme);
    };
    let (login, address) = match rest.rsplit_once('@') {
        Some((login, address)) => (Some(login), address),
        None => (None, rest),
    };
    let address = address.strip_suffix('/').unwrap_or(address);
    let proxy = Destination::from_authority(address).ok_or(ViaProblem::Address)?;
    let credentials = login.map(parse_login).transpose()?;
    Ok(Via { scheme, proxy, credentials })
}

/// The address without its user and its password, for messages.
fn without_login(input: &str) -> String {
    let (scheme, rest) = match input.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None => (String::new(), input),
    };
    let address = rest.rsplit_once('@').map_or(rest, |(_, address)| address);
    scheme + address
}

fn parse_login(login: &str) -> Result<Credentials, ViaProblem> {
    let (user, password) = login.split_once(':').ok_or(CredentialsError::NoColon)?;
    let decode = |text| percent_decode(text).ok_or(ViaProblem::Percent);
    Ok(Credentials::new(&decode(user)?, &decode(password)?)?)
}

/// The text that RFC 3986's percent-encoding stands for.
fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let mut digit = || char::from(rest.next()?).to_digit(16);
            bytes.push(u8::try_from(digit()? * 16 + digit()?).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

impl fmt::Display for Via {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.scheme {
            Scheme::Socks5 => "socks5",
            Scheme::Http => "http",
        };
        write!(f, "{scheme}://{}", self.proxy)
    }
}

impl Via {
    /// The proxy's own address.
    pub const fn proxy(&self) -> &Destination {
        &self.proxy
    }

    /// The handshake with the proxy for a connection to `destination`. A host's name is resolved
    /// by the proxy.
    pub fn handshake(&self, destination: &Destination) -> ViaHandshake {
        let credentials = self.credentials.clone();
        ViaHandshake(match self.scheme {
            Scheme::Socks5 => Machine::Socks5(ViaSocks5::new(destination.clone(), credentials)),
            Scheme::Http => Machine::Http(ViaHttp::new(destination, credentials.as_ref())),
        })
    }
}

/// What is known when a proxy has reached the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ViaConnected {
    /// The proxy's own address toward the server, where it tells.
    pub local: Option<SocketAddr>,
}

/// The client's side of the handshake with a proxy. It speaks first: feed it no bytes to start.
#[derive(Debug)]
pub struct ViaHandshake(Machine);

#[derive(Debug)]
enum Machine {
    Socks5(ViaSocks5),
    Http(ViaHttp),
}

impl Handshake for ViaHandshake {
    type Output = ViaConnected;

    fn feed(&mut self, bytes: &[u8]) -> Progress<ViaConnected> {
        let progress = match &mut self.0 {
            Machine::Socks5(machine) => machine.feed(bytes),
            Machine::Http(machine) => machine.feed(bytes),
        };
        progress.map(|local| ViaConnected { local })
    }

    fn unfinished(&self) -> Rejection {
        match &self.0 {
            Machine::Socks5(machine) => machine.unfinished(),
            Machine::Http(machine) => machine.unfinished(),
        }
    }
}
