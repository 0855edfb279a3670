//! HTTP CONNECT, the client's side.

use std::net::SocketAddr;

use super::credentials::Credentials;
use super::destination::Destination;
use super::handshake::{Handshake, Input, Progress, Rejection};
use super::http::{MAX_HEAD, PROTOCOL, failure_of_error_type, headers, lines, shown};
use super::reply::ConnectFailure;

/// The handshake with an HTTP proxy.
#[derive(Debug)]
pub(super) struct ViaHttp {
    input: Input,
    step: Step,
}

#[derive(Debug)]
enum Step {
    Start { request: Vec<u8> },
    Response,
    Over,
}

/// HTTP does not tell the proxy's address toward the server.
type Output = Option<SocketAddr>;

impl ViaHttp {
    pub(super) fn new(destination: &Destination, credentials: Option<&Credentials>) -> Self {
        let login = credentials.map_or_else(String::new, |credentials| {
            format!("Proxy-Authorization: {}\r\n", credentials.basic())
        });
        let request = format!(
            "CONNECT {destination} HTTP/1.1\r\nHost: {destination}\r\nUser-Agent: tcp_tunn\r\n\
             {login}\r\n"
        );
        Self { input: Input::default(), step: Step::Start { request: request.into_bytes() } }
    }

    fn response(&mut self) -> Option<Progress<Output>> {
        loop {
            let lines = lines(self.input.bytes())?;
            let mut headers = headers();
            let mut response = httparse::Response::new(&mut headers);
            let len = match response.parse(lines.bytes) {
                Ok(httparse::Status::Complete(len)) => len,
                Ok(httparse::Status::Partial) if lines.is_full => {
                    let reason = Rejection::TooLong { protocol: "HTTP proxy", limit: MAX_HEAD };
                    return Some(Progress::rejected(reason));
                }
                Ok(httparse::Status::Partial) => return None,
                Err(_) => return Some(malformed("its answer is not HTTP/1")),
            };
            let code = response.code.unwrap_or_default();
            let refusal = refusal(&response);
            self.input.consume(len);
            match code {
                // An interim response; the final one follows (RFC 9110, section 15.2).
                100..200 => {}
                // Whatever a length header says, the tunnel begins after the head.
                200..300 => {
                    let leftover = self.input.take();
                    return Some(Progress::Done { output: None, leftover });
                }
                _ => return Some(Progress::rejected(refusal)),
            }
        }
    }
}

fn refusal(response: &httparse::Response<'_, '_>) -> Rejection {
    let code = response.code.unwrap_or_default();
    let mut message = format!("{code} {}", shown(response.reason.unwrap_or_default()));
    let by_status = response
        .headers
        .iter()
        .filter(|header| header.name.eq_ignore_ascii_case("proxy-status"))
        .find_map(|header| failure_of_proxy_status(std::str::from_utf8(header.value).ok()?));
    if let Some(failure) = by_status {
        message = format!("{} ({})", failure.words(), message.trim_end());
    }
    let failure = by_status.unwrap_or(match code {
        403 => ConnectFailure::Forbidden,
        504 => ConnectFailure::TimedOut,
        _ => ConnectFailure::Other,
    });
    Rejection::ProxySaid { message: message.trim_end().to_owned(), failure }
}

/// The failure in the value of a `Proxy-Status` header: `NAME; error=connection_refused`.
fn failure_of_proxy_status(value: &str) -> Option<ConnectFailure> {
    let parameters = value.split([';', ',']).filter_map(|part| part.trim().split_once('='));
    let mut errors = parameters.filter(|(name, _)| *name == "error");
    errors.find_map(|(_, error)| failure_of_error_type(error))
}

const fn malformed(what: &'static str) -> Progress<Output> {
    Progress::rejected(Rejection::Malformed { protocol: "HTTP proxy", what })
}

impl Handshake for ViaHttp {
    type Output = Output;

    fn feed(&mut self, bytes: &[u8]) -> Progress<Output> {
        self.input.push(bytes);
        let progress = match &mut self.step {
            Step::Start { request } => {
                let request = std::mem::take(request);
                self.step = Step::Response;
                return Progress::Send(request);
            }
            Step::Response => self.response(),
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
