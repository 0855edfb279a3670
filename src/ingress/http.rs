//! HTTP CONNECT, the server's side (RFC 9110, section 9.3.6), and heads of HTTP/1 messages.

use std::sync::Arc;

use super::credentials::Credentials;
use super::destination::Destination;
use super::handshake::{Handshake, Input, Progress, Rejection};
use super::reply::{ConnectFailure, ConnectReply};

pub(super) const PROTOCOL: &str = "HTTP";
/// The longest head of a message that is accepted, in bytes.
pub(super) const MAX_HEAD: usize = 16 * 1024;
const MAX_HEADERS: usize = 100;
/// The longest part of a peer's own words that is shown, in characters.
const MAX_SHOWN: usize = 40;

/// The lines of a head that have come so far.
///
/// A head is parsed whenever it has grown by a whole line. So a peer that sends single bytes costs
/// at most [`MAX_HEADERS`] attempts, and the outcome does not depend on how the head is split.
pub(super) struct Lines<'a> {
    pub(super) bytes: &'a [u8],
    /// Whether there is no room left for more.
    pub(super) is_full: bool,
}

/// The whole lines in `bytes`; none where there is nothing to parse yet.
pub(super) fn lines(bytes: &[u8]) -> Option<Lines<'_>> {
    let is_full = bytes.len() >= MAX_HEAD;
    let bytes = &bytes[..bytes.len().min(MAX_HEAD)];
    let end = memchr::memrchr(b'\n', bytes).map_or(0, |at| at + 1);
    (end > 0 || is_full).then_some(Lines { bytes: &bytes[..end], is_full })
}

/// Room for the headers of one head.
pub(super) const fn headers<'a>() -> [httparse::Header<'a>; MAX_HEADERS] {
    [httparse::EMPTY_HEADER; MAX_HEADERS]
}

/// The handshake of a client that speaks HTTP/1.
#[derive(Debug)]
pub(super) struct Http {
    input: Input,
    credentials: Option<Arc<Credentials>>,
    /// How many bytes of whole lines were parsed without reaching the end of the head.
    parsed: usize,
    is_over: bool,
}

/// What a complete request asks for, and the length of its head.
type Request = (Result<Destination, Refusal>, usize);

/// An answer that is not 200, and the reason for the log.
#[derive(Debug)]
struct Refusal {
    status: &'static str,
    header: &'static str,
    text: String,
    reason: Rejection,
}

impl Refusal {
    fn new(status: &'static str, text: &str, reason: Rejection) -> Self {
        Self { status, header: "", text: text.to_owned(), reason }
    }

    fn malformed(what: &'static str) -> Self {
        Self::new("400 Bad Request", what, Rejection::Malformed { protocol: PROTOCOL, what })
    }
}

impl Http {
    pub(super) fn new(credentials: Option<Arc<Credentials>>) -> Self {
        Self { input: Input::default(), credentials, parsed: 0, is_over: false }
    }

    fn request(&mut self) -> Option<Progress<Destination>> {
        let lines = lines(self.input.bytes())?;
        if lines.bytes.len() == self.parsed && !lines.is_full {
            return None;
        }
        let outcome = parse(lines.bytes, self.credentials.as_deref());
        let outcome = match outcome {
            None if lines.is_full => Some((Err(too_long()), lines.bytes.len())),
            outcome => outcome,
        };
        self.parsed = lines.bytes.len();
        let (result, len) = outcome?;
        self.input.consume(len);
        Some(match result {
            Ok(output) => Progress::Done { output, leftover: self.input.take() },
            Err(refusal) => Progress::Rejected {
                reply: encode(refusal.status, refusal.header, &refusal.text),
                reason: refusal.reason,
            },
        })
    }
}

/// The request that `bytes` hold; none if its head is incomplete.
fn parse(bytes: &[u8], credentials: Option<&Credentials>) -> Option<Request> {
    let mut headers = headers();
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(bytes) {
        Ok(httparse::Status::Complete(len)) => Some((check(&request, credentials), len)),
        Ok(httparse::Status::Partial) => None,
        Err(error) => Some((Err(parse_refusal(error)), bytes.len())),
    }
}

fn parse_refusal(error: httparse::Error) -> Refusal {
    let what = match error {
        httparse::Error::TooManyHeaders => return too_long(),
        httparse::Error::Version => {
            let what = "the version is not HTTP/1";
            let reason = Rejection::Malformed { protocol: PROTOCOL, what };
            return Refusal::new("505 HTTP Version Not Supported", what, reason);
        }
        httparse::Error::HeaderName => "a header's name is not valid",
        httparse::Error::HeaderValue => "a header's value is not valid",
        httparse::Error::NewLine => "a line does not end as it should",
        _ => "the request line is not valid",
    };
    Refusal::malformed(what)
}

fn too_long() -> Refusal {
    let reason = Rejection::TooLong { protocol: PROTOCOL, limit: MAX_HEAD };
    let text = "the request's head is too long";
    Refusal::new("431 Request Header Fields Too Large", text, reason)
}

fn check(
    request: &httparse::Request<'_, '_>,
    credentials: Option<&Credentials>,
) -> Result<Destination, Refusal> {
    let (method, target) = (request.method.unwrap_or_default(), request.path.unwrap_or_default());
    if method != "CONNECT" {
        return Err(not_connect(method, target));
    }
    if let Some(credentials) = credentials {
        check_login(request.headers, credentials)?;
    }
    Destination::from_authority(target)
        .ok_or_else(|| Refusal::malformed("the target of CONNECT is not HOST:PORT"))
}

fn not_connect(method: &str, target: &str) -> Refusal {
    let command = format!("the method {}", shown(method));
    let reason = Rejection::Command { protocol: PROTOCOL, command };
    if target.starts_with('/') || target == "*" {
        let text = "this is a proxy, not a web server; set it as the proxy of your client";
        return Refusal::new("400 Bad Request", text, reason);
    }
    let text = "this proxy makes tunnels with CONNECT and SOCKS only, it does not fetch \
                'http://' URLs; use it as a SOCKS5 proxy (curl: --proxy socks5h://ADDR, browsers: \
                socks5://ADDR), or let the client tunnel (curl: --proxytunnel)";
    Refusal::new("501 Not Implemented", text, reason)
}

fn check_login(headers: &[httparse::Header<'_>], credentials: &Credentials) -> Result<(), Refusal> {
    let mut logins =
        headers.iter().filter(|h| h.name.eq_ignore_ascii_case("proxy-authorization")).peekable();
    let reason = match logins.peek() {
        None => Rejection::LoginNeeded { protocol: PROTOCOL },
        Some(_) => Rejection::WrongLogin { protocol: PROTOCOL },
    };
    if logins.any(|header| credentials.match_basic(header.value)) {
        return Ok(());
    }
    Err(Refusal {
        status: "407 Proxy Authentication Required",
        header: "Proxy-Authenticate: Basic realm=\"tcp_tunn\", charset=\"UTF-8\"\r\n",
        text: "this proxy needs a user and a password".to_owned(),
        reason,
    })
}

/// The beginning of a peer's words, for one line of a log.
pub(super) fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(MAX_SHOWN).collect()
}

impl Handshake for Http {
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

/// The reply to a request whose connect has ended.
///
/// A failure's status line is coarse, so `Proxy-Status` names it (RFC 9209).
pub(super) fn reply(result: ConnectReply) -> Vec<u8> {
    let ConnectReply::Failed(failure) = result else {
        return b"HTTP/1.1 200 Connection established\r\n\r\n".to_vec();
    };
    let status = match failure {
        ConnectFailure::Forbidden => "403 Forbidden",
        ConnectFailure::TimedOut => "504 Gateway Timeout",
        _ => "502 Bad Gateway",
    };
    let header = format!("Proxy-Status: tcp_tunn; error={}\r\n", error_type(failure));
    encode(status, &header, failure.words())
}

/// The error types of RFC 9209, section 2.3.
const ERROR_TYPES: [(ConnectFailure, &str); 7] = [
    (ConnectFailure::AddressFamily, "destination_ip_unroutable"),
    (ConnectFailure::Forbidden, "http_request_denied"),
    (ConnectFailure::HostUnreachable, "destination_unavailable"),
    (ConnectFailure::NetworkUnreachable, "destination_ip_unroutable"),
    (ConnectFailure::Refused, "connection_refused"),
    (ConnectFailure::ResolveFailed, "dns_error"),
    (ConnectFailure::TimedOut, "connection_timeout"),
];

fn error_type(failure: ConnectFailure) -> &'static str {
    let found = ERROR_TYPES.iter().find(|(known, _)| *known == failure);
    found.map_or("proxy_internal_error", |(_, name)| name)
}

/// The failure that a `Proxy-Status` header reports.
pub(super) fn failure_of_error_type(name: &str) -> Option<ConnectFailure> {
    // Two failures share a name; the network's is the usual one.
    let found = ERROR_TYPES.iter().rev().find(|(_, known)| *known == name);
    found.map(|(failure, _)| *failure)
}

fn encode(status: &str, header: &str, text: &str) -> Vec<u8> {
    let len = "tcp_tunn: \n".len() + text.len();
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\n\
         Content-Length: {len}\r\nConnection: close\r\n{header}\r\ntcp_tunn: {text}\n"
    )
    .into_bytes()
}
