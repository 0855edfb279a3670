//! SOCKS5, the server's side (RFC 1928), with its login by user and password (RFC 1929).

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use super::credentials::Credentials;
use super::destination::Destination;
use super::handshake::{Handshake, Input, Progress, Rejection};
use super::reply::{ConnectFailure, ConnectReply};

pub(super) const PROTOCOL: &str = "SOCKS5";
pub(super) const VERSION: u8 = 5;
/// The version of the login's own format.
pub(super) const LOGIN_VERSION: u8 = 1;

/// How a client may log in.
pub(super) const METHOD_NONE: u8 = 0;
pub(super) const METHOD_PASSWORD: u8 = 2;
pub(super) const METHOD_NONE_FITS: u8 = 0xff;

/// The codes of a reply.
pub(super) const CODE_SUCCEEDED: u8 = 0;
pub(super) const CODE_GENERAL_FAILURE: u8 = 1;
pub(super) const CODE_NOT_ALLOWED: u8 = 2;
pub(super) const CODE_NETWORK_UNREACHABLE: u8 = 3;
pub(super) const CODE_HOST_UNREACHABLE: u8 = 4;
pub(super) const CODE_REFUSED: u8 = 5;
pub(super) const CODE_TTL_EXPIRED: u8 = 6;
pub(super) const CODE_COMMAND_NOT_SUPPORTED: u8 = 7;
pub(super) const CODE_ADDRESS_TYPE_NOT_SUPPORTED: u8 = 8;

/// How an address is written.
const IPV4: u8 = 1;
const NAME: u8 = 3;
const IPV6: u8 = 4;

pub(super) const CONNECT: u8 = 1;

/// The handshake of a client that speaks SOCKS5.
#[derive(Debug)]
pub(super) struct Socks5 {
    input: Input,
    credentials: Option<Arc<Credentials>>,
    step: Step,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Greeting,
    Login,
    Request,
    Over,
}

impl Socks5 {
    pub(super) fn new(credentials: Option<Arc<Credentials>>) -> Self {
        Self { input: Input::default(), credentials, step: Step::Greeting }
    }

    /// Version, number of methods, methods.
    fn greeting(&mut self) -> Option<Progress<Destination>> {
        let bytes = self.input.bytes();
        let len = 2 + usize::from(*bytes.get(1)?);
        let methods = bytes.get(2..len)?;
        let (method, next) = match self.credentials {
            Some(_) => (METHOD_PASSWORD, Step::Login),
            None => (METHOD_NONE, Step::Request),
        };
        let is_offered = methods.contains(&method);
        self.input.consume(len);
        if !is_offered {
            let reason = match self.credentials {
                Some(_) => Rejection::LoginNeeded { protocol: PROTOCOL },
                None => malformed("it insists on a login, and this proxy has none"),
            };
            let reply = vec![VERSION, METHOD_NONE_FITS];
            return Some(Progress::Rejected { reply, reason });
        }
        self.step = next;
        Some(Progress::Send(vec![VERSION, method]))
    }

    /// Version, user, password.
    fn login(&mut self) -> Option<Progress<Destination>> {
        let bytes = self.input.bytes();
        let failed = |reason| Progress::Rejected { reply: vec![LOGIN_VERSION, 1], reason };
        if *bytes.first()? != LOGIN_VERSION {
            return Some(failed(malformed("the login has an unknown version")));
        }
        let user_end = 2 + usize::from(*bytes.get(1)?);
        let end = user_end + 1 + usize::from(*bytes.get(user_end)?);
        let password = bytes.get(user_end + 1..end)?;
        let user = &bytes[2..user_end];
        let is_right =
            self.credentials.as_ref().is_some_and(|expected| expected.matches(user, password));
        self.input.consume(end);
        if !is_right {
            return Some(failed(Rejection::WrongLogin { protocol: PROTOCOL }));
        }
        self.step = Step::Request;
        Some(Progress::Send(vec![LOGIN_VERSION, 0]))
    }

    /// Version, command, reserved, address.
    fn request(&mut self) -> Option<Progress<Destination>> {
        let bytes = self.input.bytes();
        if *bytes.first()? != VERSION {
            return Some(refused(CODE_GENERAL_FAILURE, malformed("the request has no version 5")));
        }
        let command = *bytes.get(1)?;
        let (destination, len) = match address(bytes.get(3..)?)? {
            Ok(found) => found,
            Err(AddressType(kind)) => {
                let command = format!("address type {kind}");
                let reason = Rejection::Command { protocol: PROTOCOL, command };
                return Some(refused(CODE_ADDRESS_TYPE_NOT_SUPPORTED, reason));
            }
        };
        self.input.consume(3 + len);
        if command != CONNECT {
            let command = match command {
                2 => "BIND".to_owned(),
                3 => "UDP ASSOCIATE".to_owned(),
                other => format!("command {other}"),
            };
            let reason = Rejection::Command { protocol: PROTOCOL, command };
            return Some(refused(CODE_COMMAND_NOT_SUPPORTED, reason));
        }
        let Some(output) = destination else {
            let reason = malformed("the host name is not valid");
            return Some(refused(CODE_HOST_UNREACHABLE, reason));
        };
        Some(Progress::Done { output, leftover: self.input.take() })
    }
}

impl Handshake for Socks5 {
    type Output = Destination;

    fn feed(&mut self, bytes: &[u8]) -> Progress<Destination> {
        self.input.push(bytes);
        let progress = match self.step {
            Step::Greeting => self.greeting(),
            Step::Login => self.login(),
            Step::Request => self.request(),
            Step::Over => Some(Progress::rejected(Rejection::Over)),
        };
        let progress = progress.unwrap_or(Progress::NeedMore);
        if progress.is_final() {
            self.step = Step::Over;
        }
        progress
    }

    fn unfinished(&self) -> Rejection {
        self.input.unfinished(PROTOCOL)
    }
}

/// An address type that RFC 1928 does not know.
#[derive(Clone, Copy, Debug)]
pub(super) struct AddressType(pub(super) u8);

/// The destination that `bytes` begin with, or none where its name is not valid, and its length;
/// nothing if it is incomplete.
pub(super) fn address(bytes: &[u8]) -> Option<Result<(Option<Destination>, usize), AddressType>> {
    let kind = *bytes.first()?;
    let (start, len) = match kind {
        IPV4 => (1, 4),
        IPV6 => (1, 16),
        NAME => (2, usize::from(*bytes.get(1)?)),
        other => return Some(Err(AddressType(other))),
    };
    let host = bytes.get(start..start + len)?;
    let port: [u8; 2] = bytes.get(start + len..start + len + 2)?.try_into().ok()?;
    let port = u16::from_be_bytes(port);
    let ipv4 = || <[u8; 4]>::try_from(host).ok().map(|octets| (Ipv4Addr::from(octets), port));
    let ipv6 = || <[u8; 16]>::try_from(host).ok().map(|octets| (Ipv6Addr::from(octets), port));
    let destination = match kind {
        IPV4 => ipv4().map(|address| Destination::Ip(address.into())),
        IPV6 => ipv6().map(|address| Destination::Ip(address.into())),
        _ => std::str::from_utf8(host).ok().and_then(|host| Destination::new(host, port)),
    };
    Some(Ok((destination, start + len + 2)))
}

/// A destination in the form that [`address`] reads. A host name has at most 255 bytes.
pub(super) fn encode_address(destination: &Destination) -> Vec<u8> {
    let mut bytes = match destination {
        Destination::Ip(SocketAddr::V4(address)) => [&[IPV4][..], &address.ip().octets()].concat(),
        Destination::Ip(SocketAddr::V6(address)) => [&[IPV6][..], &address.ip().octets()].concat(),
        Destination::Name { host, .. } => {
            let len = u8::try_from(host.len()).unwrap_or(u8::MAX);
            [&[NAME, len][..], &host.as_bytes()[..usize::from(len)]].concat()
        }
    };
    bytes.extend_from_slice(&destination.port().to_be_bytes());
    bytes
}

const fn malformed(what: &'static str) -> Rejection {
    Rejection::Malformed { protocol: PROTOCOL, what }
}

fn refused(code: u8, reason: Rejection) -> Progress<Destination> {
    Progress::Rejected { reply: encode(code, None), reason }
}

/// The reply to a request whose connect has ended.
pub(super) fn reply(result: ConnectReply) -> Vec<u8> {
    match result {
        ConnectReply::Connected { local } => encode(CODE_SUCCEEDED, local),
        ConnectReply::Failed(failure) => encode(failure_code(failure), None),
    }
}

/// RFC 1928 has no code of its own for a time-out and for a name that is not found. "TTL expired"
/// and "host unreachable" are what Dante and Tor send then.
const fn failure_code(failure: ConnectFailure) -> u8 {
    match failure {
        ConnectFailure::AddressFamily => CODE_ADDRESS_TYPE_NOT_SUPPORTED,
        ConnectFailure::Forbidden => CODE_NOT_ALLOWED,
        ConnectFailure::HostUnreachable | ConnectFailure::ResolveFailed => CODE_HOST_UNREACHABLE,
        ConnectFailure::NetworkUnreachable => CODE_NETWORK_UNREACHABLE,
        ConnectFailure::Other => CODE_GENERAL_FAILURE,
        ConnectFailure::Refused => CODE_REFUSED,
        ConnectFailure::TimedOut => CODE_TTL_EXPIRED,
    }
}

fn encode(code: u8, local: Option<SocketAddr>) -> Vec<u8> {
    let local = local.unwrap_or_else(|| (Ipv4Addr::UNSPECIFIED, 0).into());
    [&[VERSION, code, 0][..], &encode_address(&Destination::Ip(local))].concat()
}
