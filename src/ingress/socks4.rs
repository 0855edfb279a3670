//! SOCKS4 and SOCKS4a, the server's side.
//!
//! The formats are those of "SOCKS: A protocol for TCP proxy across firewalls" (Ying-Da Lee) and
//! of "SOCKS 4A: A Simple Extension to SOCKS 4 Protocol".

use std::net::{Ipv4Addr, SocketAddr};

use super::destination::Destination;
use super::handshake::{Handshake, Input, Progress, Rejection};
use super::reply::ConnectReply;

const PROTOCOL: &str = "SOCKS4";
/// The longest user id or host name that is accepted, in bytes.
const MAX_TEXT: usize = 255;
/// Version, command, port, address.
const FIXED: usize = 8;

/// The handshake of a client that speaks SOCKS4 or SOCKS4a.
#[derive(Debug)]
pub(super) struct Socks4 {
    input: Input,
    /// SOCKS4 has no password: where one is needed, every request is rejected.
    needs_login: bool,
    is_over: bool,
}

impl Socks4 {
    pub(super) fn new(needs_login: bool) -> Self {
        Self { input: Input::default(), needs_login, is_over: false }
    }

    /// The outcome, once the request is complete.
    fn request(&mut self) -> Option<Progress<Destination>> {
        let bytes = self.input.bytes();
        let fixed: [u8; FIXED] = bytes.get(..FIXED)?.try_into().ok()?;
        let [_, command, port_high, port_low, a, b, c, d] = fixed;
        let (ip, port) = (Ipv4Addr::new(a, b, c, d), u16::from_be_bytes([port_high, port_low]));
        let (_user, mut end) = match text(bytes, FIXED)? {
            Ok(found) => found,
            Err(rejection) => return Some(rejected(rejection)),
        };
        // SOCKS4a: an address 0.0.0.x with x other than 0 stands for a host name that follows.
        let mut destination = Some(Destination::Ip((ip, port).into()));
        if [a, b, c] == [0, 0, 0] && d != 0 {
            let name = match text(bytes, end)? {
                Ok((name, name_end)) => {
                    end = name_end;
                    name
                }
                Err(rejection) => return Some(rejected(rejection)),
            };
            let name = std::str::from_utf8(name).ok();
            destination = name.and_then(|name| Destination::new(name, port));
        }
        self.input.consume(end);
        if command != 1 {
            let command = if command == 2 { "BIND".to_owned() } else { command.to_string() };
            return Some(rejected(Rejection::Command { protocol: PROTOCOL, command }));
        }
        if self.needs_login {
            return Some(rejected(Rejection::LoginNeeded { protocol: PROTOCOL }));
        }
        let Some(output) = destination else {
            let what = "the host name is not valid";
            return Some(rejected(Rejection::Malformed { protocol: PROTOCOL, what }));
        };
        Some(Progress::Done { output, leftover: self.input.take() })
    }
}

/// The text that begins at `start`, and where its terminating NUL ends; none if it is incomplete.
fn text(bytes: &[u8], start: usize) -> Option<Result<(&[u8], usize), Rejection>> {
    let rest = &bytes[start..];
    let rest = &rest[..rest.len().min(MAX_TEXT + 1)];
    match rest.iter().position(|byte| *byte == 0) {
        Some(len) => Some(Ok((&rest[..len], start + len + 1))),
        None if rest.len() > MAX_TEXT => {
            Some(Err(Rejection::TooLong { protocol: PROTOCOL, limit: MAX_TEXT }))
        }
        None => None,
    }
}

fn rejected(reason: Rejection) -> Progress<Destination> {
    Progress::Rejected { reply: encode(REJECTED, None), reason }
}

impl Handshake for Socks4 {
    type Output = Destination;

    fn feed(&mut self, bytes: &[u8]) -> Progress<Destination> {
        if self.is_over {
            return Progress::rejected(Rejection::Over);
        }
        self.input.push(bytes);
        let progress = self.request().unwrap_or(Progress::NeedMore);
        self.is_over = progress.is_final();
        progress
    }

    fn unfinished(&self) -> Rejection {
        self.input.unfinished(PROTOCOL)
    }
}

/// "request granted"
const GRANTED: u8 = 90;
/// "request rejected or failed": SOCKS4 has no finer code that fits.
const REJECTED: u8 = 91;

/// The reply to a request whose connect has ended.
pub(super) fn reply(result: ConnectReply) -> Vec<u8> {
    match result {
        ConnectReply::Connected { local } => encode(GRANTED, local),
        ConnectReply::Failed(_) => encode(REJECTED, None),
    }
}

fn encode(code: u8, local: Option<SocketAddr>) -> Vec<u8> {
    let (ip, port) = match local {
        Some(SocketAddr::V4(local)) => (*local.ip(), local.port()),
        _ => (Ipv4Addr::UNSPECIFIED, 0),
    };
    [&[0, code][..], &port.to_be_bytes(), &ip.octets()].concat()
}
