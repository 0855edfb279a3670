//! All proxy protocols on one port, told apart by the client's first byte.

use std::sync::Arc;

use super::credentials::Credentials;
use super::destination::Destination;
use super::handshake::{Handshake, Progress, Rejection};
use super::http::{self, Http};
use super::reply::ConnectReply;
use super::socks4::{self, Socks4};
use super::socks5::{self, Socks5};

/// The handshake of a client that speaks SOCKS4, SOCKS4a, SOCKS5 or HTTP CONNECT.
#[derive(Debug)]
pub struct ProxyHandshake {
    credentials: Option<Arc<Credentials>>,
    state: State,
}

#[derive(Debug)]
enum State {
    Start,
    Socks4(Socks4),
    Socks5(Socks5),
    Http(Http),
    Over,
}

/// The protocols, which answer a request each in its own way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    Socks4,
    Socks5,
    Http,
}

/// What a client asks for: a connection to a destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyRequest {
    /// Where it wants to connect to.
    pub destination: Destination,
    protocol: Protocol,
}

impl ProxyRequest {
    /// The reply that tells the client how the connect ended. After
    /// [`ConnectReply::Connected`] the conversation begins; after a failure the caller closes.
    pub fn reply(&self, result: ConnectReply) -> Vec<u8> {
        match self.protocol {
            Protocol::Socks4 => socks4::reply(result),
            Protocol::Socks5 => socks5::reply(result),
            Protocol::Http => http::reply(result),
        }
    }

    /// The protocol's name: `SOCKS4`, `SOCKS5` or `HTTP`.
    pub const fn protocol(&self) -> &'static str {
        match self.protocol {
            Protocol::Socks4 => "SOCKS4",
            Protocol::Socks5 => socks5::PROTOCOL,
            Protocol::Http => http::PROTOCOL,
        }
    }
}

impl ProxyHandshake {
    /// A handshake at its start. With credentials, a client must log in with them: by RFC 1929
    /// in SOCKS5, by Basic in HTTP; SOCKS4 has no password and is rejected then.
    pub const fn new(credentials: Option<Arc<Credentials>>) -> Self {
        Self { credentials, state: State::Start }
    }

    /// The protocol whose client begins with `first`.
    fn start(&self, first: u8) -> Option<State> {
        let credentials = || self.credentials.clone();
        match first {
            4 => Some(State::Socks4(Socks4::new(self.credentials.is_some()))),
            5 => Some(State::Socks5(Socks5::new(credentials()))),
            // A method: a token of RFC 9110 that is a word in practice.
            b'A'..=b'Z' | b'a'..=b'z' => Some(State::Http(Http::new(credentials()))),
            _ => None,
        }
    }
}

impl Handshake for ProxyHandshake {
    type Output = ProxyRequest;

    fn feed(&mut self, bytes: &[u8]) -> Progress<ProxyRequest> {
        if let State::Start = self.state {
            let Some(&first) = bytes.first() else { return Progress::NeedMore };
            let Some(state) = self.start(first) else {
                self.state = State::Over;
                return Progress::rejected(Rejection::UnknownProtocol { first });
            };
            self.state = state;
        }
        let (progress, protocol) = match &mut self.state {
            State::Socks4(machine) => (machine.feed(bytes), Protocol::Socks4),
            State::Socks5(machine) => (machine.feed(bytes), Protocol::Socks5),
            State::Http(machine) => (machine.feed(bytes), Protocol::Http),
            State::Start | State::Over => return Progress::rejected(Rejection::Over),
        };
        progress.map(|destination| ProxyRequest { destination, protocol })
    }

    fn unfinished(&self) -> Rejection {
        match &self.state {
            State::Start => Rejection::Silent,
            State::Socks4(machine) => machine.unfinished(),
            State::Socks5(machine) => machine.unfinished(),
            State::Http(machine) => machine.unfinished(),
            State::Over => Rejection::Over,
        }
    }
}
