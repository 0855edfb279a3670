//! SOCKS5, the client's side.

use std::net::SocketAddr;

use super::credentials::Credentials;
use super::destination::Destination;
use super::handshake::{Handshake, Input, Progress, Rejection};
use super::reply::ConnectFailure;
use super::socks5::{
    CODE_ADDRESS_TYPE_NOT_SUPPORTED, CODE_COMMAND_NOT_SUPPORTED, CODE_GENERAL_FAILURE,
    CODE_HOST_UNREACHABLE, CODE_NETWORK_UNREACHABLE, CODE_NOT_ALLOWED, CODE_REFUSED,
    CODE_SUCCEEDED, CODE_TTL_EXPIRED, CONNECT, LOGIN_VERSION, METHOD_NONE, METHOD_NONE_FITS,
    METHOD_PASSWORD, PROTOCOL, VERSION, address, encode_address,
};

/// The handshake with a SOCKS5 proxy.
#[derive(Debug)]
pub(super) struct ViaSocks5 {
    input: Input,
    destination: Destination,
    credentials: Option<Credentials>,
    step: Step,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Start,
    Method,
    Login,
    Reply,
    Over,
}

type Output = Option<SocketAddr>;

impl ViaSocks5 {
    pub(super) fn new(destination: Destination, credentials: Option<Credentials>) -> Self {
        Self { input: Input::default(), destination, credentials, step: Step::Start }
    }

    fn greeting(&mut self) -> Progress<Output> {
        self.step = Step::Method;
        Progress::Send(match self.credentials {
            None => vec![VERSION, 1, METHOD_NONE],
            Some(_) => vec![VERSION, 2, METHOD_NONE, METHOD_PASSWORD],
        })
    }

    fn request(&mut self) -> Progress<Output> {
        self.step = Step::Reply;
        Progress::Send([&[VERSION, CONNECT, 0][..], &encode_address(&self.destination)].concat())
    }

    fn method(&mut self) -> Option<Progress<Output>> {
        let chosen: [u8; 2] = self.input.bytes().get(..2)?.try_into().ok()?;
        self.input.consume(chosen.len());
        Some(match (chosen, &self.credentials) {
            ([VERSION, METHOD_NONE], _) => self.request(),
            ([VERSION, METHOD_PASSWORD], Some(credentials)) => {
                self.step = Step::Login;
                Progress::Send(credentials.socks5())
            }
            ([VERSION, METHOD_NONE_FITS], None) => {
                said("it needs a user and a password (write them into --via)")
            }
            ([VERSION, METHOD_NONE_FITS], Some(_)) => said("it takes no login by password"),
            ([VERSION, _], _) => malformed("it chose a login that was not offered"),
            _ => malformed("its answer is not SOCKS5"),
        })
    }

    fn login(&mut self) -> Option<Progress<Output>> {
        let answer: [u8; 2] = self.input.bytes().get(..2)?.try_into().ok()?;
        self.input.consume(answer.len());
        Some(match answer {
            [LOGIN_VERSION, 0] => self.request(),
            [LOGIN_VERSION, _] => said("wrong user or password"),
            _ => malformed("its answer to the login is not valid"),
        })
    }

    fn reply(&mut self) -> Option<Progress<Output>> {
        let bytes = self.input.bytes();
        if *bytes.first()? != VERSION {
            return Some(malformed("its reply is not SOCKS5"));
        }
        let code = *bytes.get(1)?;
        if code != CODE_SUCCEEDED {
            // Some proxies leave the address out then.
            let (failure, message) = failure(code);
            let reason = Rejection::ProxySaid { message: message.to_owned(), failure };
            return Some(Progress::rejected(reason));
        }
        let Ok((local, len)) = address(bytes.get(3..)?)? else {
            return Some(malformed("its reply has an unknown type of address"));
        };
        self.input.consume(3 + len);
        let output = match local {
            Some(Destination::Ip(local)) if !local.ip().is_unspecified() => Some(local),
            _ => None,
        };
        Some(Progress::Done { output, leftover: self.input.take() })
    }
}

/// What a code stands for (RFC 1928, section 6).
const fn failure(code: u8) -> (ConnectFailure, &'static str) {
    let failure = match code {
        CODE_NOT_ALLOWED => ConnectFailure::Forbidden,
        CODE_NETWORK_UNREACHABLE => ConnectFailure::NetworkUnreachable,
        CODE_HOST_UNREACHABLE => ConnectFailure::HostUnreachable,
        CODE_REFUSED => ConnectFailure::Refused,
        CODE_TTL_EXPIRED => return (ConnectFailure::TimedOut, "TTL expired"),
        CODE_COMMAND_NOT_SUPPORTED => return (ConnectFailure::Other, "command not supported"),
        CODE_ADDRESS_TYPE_NOT_SUPPORTED => {
            return (ConnectFailure::AddressFamily, "address type not supported");
        }
        CODE_GENERAL_FAILURE => return (ConnectFailure::Other, "general failure"),
        _ => return (ConnectFailure::Other, "unknown failure"),
    };
    (failure, failure.words())
}

fn said(message: &str) -> Progress<Output> {
    let message = message.to_owned();
    Progress::rejected(Rejection::ProxySaid { message, failure: ConnectFailure::Other })
}

const fn malformed(what: &'static str) -> Progress<Output> {
    Progress::rejected(Rejection::Malformed { protocol: "SOCKS5 proxy", what })
}

impl Handshake for ViaSocks5 {
    type Output = Output;

    fn feed(&mut self, bytes: &[u8]) -> Progress<Output> {
        self.input.push(bytes);
        let progress = match self.step {
            Step::Start => Some(self.greeting()),
            Step::Method => self.method(),
            Step::Login => self.login(),
            Step::Reply => self.reply(),
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
