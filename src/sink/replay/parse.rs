//! From text to events.

use std::fmt::Display;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::time;
use crate::event::{
    BothTotals, CloseReason, Connected, ConnectionId, Direction, Endpoint, Event, EventKind, Info,
    Leg, Open, Phase, Process, Request, Side, TcpInfo, Tls, TlsState, Totals, Verdict, View,
};

/// Why text is not a list of events.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
#[non_exhaustive]
pub struct ParseError {
    /// In which line, the first of which is 1.
    pub line: usize,
    /// What is wrong with it.
    pub message: String,
}

type Result<T> = std::result::Result<T, String>;

/// Reads events as the [module](super) describes them.
///
/// They are taken as they are: whether they keep the event contract is not looked at.
///
/// # Errors
/// The first line that is no event, with what is wrong.
pub fn parse(text: &str) -> std::result::Result<Vec<Event>, ParseError> {
    let lines = (1..).zip(text.lines().map(str::trim));
    lines
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
        .map(|(number, line)| event(line).map_err(|message| ParseError { line: number, message }))
        .collect()
}

fn event(line: &str) -> Result<Event> {
    let mut words = line.splitn(4, ' ');
    let mut word = |name: &str| words.next().ok_or_else(|| format!("no {name}"));
    let time = word("time")?;
    let time = time::parse(time)
        .ok_or_else(|| format!("time '{time}': not RFC 3339, or before 1970 or after 2554"))?;
    let connection = ConnectionId(number(word("connection")?, "connection")?);
    let name = word("event")?;
    let mut fields = Fields::read(words.next().unwrap_or_default())?;
    let kind = kind(name, &mut fields)?;
    fields.end()?;
    Ok(Event { connection, time, kind })
}

fn kind(name: &str, fields: &mut Fields<'_>) -> Result<EventKind> {
    Ok(match name {
        "open" => EventKind::Open(Arc::new(Open {
            client: fields.endpoint("client")?,
            listener: fields.endpoint("listener")?,
            target: fields.text("target")?.into(),
            server: if fields.has("server") { Some(fields.endpoint("server")?) } else { None },
            process: fields.process()?,
        })),
        "process" => EventKind::Process(Process::new(
            number(&fields.text("pid")?, "pid")?,
            fields.text("name")?,
        )),
        "connected" => EventKind::Connected(Arc::new(Connected {
            server: fields.endpoint("server")?,
            local: fields.endpoint("local")?,
        })),
        "data" => EventKind::Data {
            direction: Direction::from(fields.side("from")?),
            leg: match &*fields.text("leg")? {
                "received" => Leg::Received,
                "sent" => Leg::Sent,
                other => return Err(format!("leg '{other}' is neither received nor sent")),
            },
            view: fields.view()?,
            offset: fields.number("offset")?,
            bytes: data(fields)?,
        },
        "tls" => EventKind::Tls(Arc::new(fields.tls()?)),
        "secrets" => {
            let lines = fields.text("lines")?;
            EventKind::Secrets(lines.split('\n').map(str::to_owned).collect())
        }
        "shutdown" => EventKind::Shutdown {
            direction: Direction::from(fields.side("from")?),
            view: fields.view()?,
            totals: Totals { received: fields.number("received")?, sent: fields.number("sent")? },
        },
        "info" => {
            let mut wrong = None;
            let leg = fields.side("leg")?;
            let tcp = TcpInfo::from_figures(|name| {
                let figure = fields.has(name).then(|| fields.number(name));
                figure.and_then(|figure| figure.map_err(|error| wrong = Some(error)).ok())
            });
            match wrong {
                Some(error) => return Err(error),
                None => EventKind::Info(Arc::new(Info::new(leg, tcp))),
            }
        }
        "verdict" => EventKind::Verdict(Arc::new(fields.verdict()?)),
        "close" => EventKind::Close {
            reason: reason(fields)?,
            totals: BothTotals {
                client_to_server: fields.totals("client")?,
                server_to_client: fields.totals("server")?,
            },
        },
        _ => return Err(format!("there is no event '{name}'")),
    })
}

fn data(fields: &mut Fields<'_>) -> Result<Bytes> {
    let bytes = fields.take("bytes")?;
    let times = if fields.has("times") { fields.number("times")? } else { 1 };
    let times = usize::try_from(times).unwrap_or(usize::MAX);
    match bytes.len().checked_mul(times) {
        Some(0) => Err("data without bytes".to_owned()),
        Some(len) if isize::try_from(len).is_ok() => Ok(bytes.repeat(times).into()),
        _ => Err("more bytes than fit in memory".to_owned()),
    }
}

fn reason(fields: &mut Fields<'_>) -> Result<CloseReason> {
    let message = |fields: &mut Fields<'_>| fields.text("message").map(Into::into);
    Ok(match &*fields.text("reason")? {
        "finished" => CloseReason::Finished { first: fields.side("first")? },
        "reset" => CloseReason::Reset { by: fields.side("by")? },
        "refused" => CloseReason::Refused,
        "connect-timeout" => CloseReason::ConnectTimeout,
        "unreachable" => CloseReason::Unreachable { errno: fields.errno()? },
        "resolve-failed" => CloseReason::ResolveFailed { message: message(fields)? },
        "connect-failed" => CloseReason::ConnectFailed { message: message(fields)? },
        "loop" => CloseReason::Loop,
        "idle-timeout" => CloseReason::IdleTimeout,
        "half-close-timeout" => CloseReason::HalfCloseTimeout,
        "stopped" => CloseReason::Stopped,
        "failed" => CloseReason::Failed { side: fields.side("side")?, errno: fields.errno()? },
        "transform" => CloseReason::Transform {
            direction: Direction::from(fields.side("from")?),
            message: message(fields)?,
        },
        "internal" => CloseReason::Internal,
        other => return Err(format!("there is no reason '{other}'")),
    })
}

/// The fields of a line that have not been taken yet.
struct Fields<'a>(Vec<(&'a str, Vec<u8>)>);

impl<'a> Fields<'a> {
    fn read(text: &'a str) -> Result<Self> {
        let mut fields = Vec::new();
        let mut rest = text.trim_start();
        while !rest.is_empty() {
            let (name, after) =
                rest.split_once('=').ok_or_else(|| format!("no '=' in '{rest}'"))?;
            let (value, after) = value(after)?;
            fields.push((name, value));
            rest = after.trim_start();
        }
        Ok(Self(fields))
    }

    fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(field, _)| *field == name)
    }

    fn take(&mut self, name: &str) -> Result<Vec<u8>> {
        let at = self.0.iter().position(|(field, _)| *field == name);
        at.map(|at| self.0.remove(at).1).ok_or_else(|| format!("no field '{name}'"))
    }

    fn end(self) -> Result<()> {
        self.0.first().map_or(Ok(()), |(name, _)| Err(format!("field '{name}' has no place here")))
    }

    fn text(&mut self, name: &str) -> Result<String> {
        String::from_utf8(self.take(name)?).map_err(|e| format!("{name}: {e}"))
    }

    fn number(&mut self, name: &str) -> Result<u64> {
        number(&self.text(name)?, name)
    }

    fn errno(&mut self) -> Result<i32> {
        number(&self.text("errno")?, "errno")
    }

    fn side(&mut self, name: &str) -> Result<Side> {
        match &*self.text(name)? {
            "client" => Ok(Side::Client),
            "server" => Ok(Side::Server),
            other => Err(format!("{name} '{other}' is neither client nor server")),
        }
    }

    fn process(&mut self) -> Result<Option<Process>> {
        if !self.has("process") {
            return Ok(None);
        }
        let text = self.text("process")?;
        let (pid, name) = text.split_once('/').ok_or("process is not PID/NAME")?;
        let pid = pid.parse().map_err(|_| format!("invalid process number '{pid}'"))?;
        Ok(Some(Process::new(pid, name)))
    }

    fn view(&mut self) -> Result<View> {
        if !self.has("view") {
            return Ok(View::Wire);
        }
        match &*self.text("view")? {
            "wire" => Ok(View::Wire),
            "plain" => Ok(View::Plain),
            other => Err(format!("view '{other}' is neither wire nor plain")),
        }
    }

    fn tls(&mut self) -> Result<Tls> {
        let mut tls = Tls::new(match &*self.text("state")? {
            "decrypted" => TlsState::Decrypted,
            "intercepted" => TlsState::Intercepted,
            "terminated" => TlsState::Terminated,
            "originated" => TlsState::Originated,
            "passed" => TlsState::Passed,
            "closed" => TlsState::Closed,
            other => return Err(format!("there is no state '{other}'")),
        });
        let mut fact = |name| self.has(name).then(|| self.text(name).map(Arc::from)).transpose();
        tls.version = fact("version")?;
        tls.suite = fact("suite")?;
        tls.sni = fact("sni")?;
        tls.alpn = fact("alpn")?;
        tls.why = fact("why")?;
        Ok(tls)
    }

    fn verdict(&mut self) -> Result<Verdict> {
        let mut verdict = Verdict::default();
        for phase in Phase::ALL {
            if self.has(phase.name()) {
                let nanos = self.number(phase.name())?;
                *verdict.spent.get_mut(phase) = Duration::from_nanos(nanos);
            }
        }
        verdict.requests = self.number("requests")?;
        let slowest = if self.has("slowest") { self.text("slowest")? } else { String::new() };
        for request in slowest.split_terminator(',') {
            let (offset, after) = request.split_once('/').ok_or("slowest: no '/'")?;
            let after = Duration::from_nanos(number(after, "slowest")?);
            verdict.slowest.push(Request::new(number(offset, "slowest")?, after));
        }
        Ok(verdict)
    }

    fn endpoint(&mut self, name: &str) -> Result<Endpoint> {
        let text = self.text(name)?;
        match text.strip_prefix("unix:") {
            Some("") => Ok(Endpoint::Unix(None)),
            Some(path) => Ok(Endpoint::Unix(Some(Path::new(path).into()))),
            None => Ok(Endpoint::Tcp(number(&text, name)?)),
        }
    }

    fn totals(&mut self, name: &str) -> Result<Totals> {
        let text = self.text(name)?;
        let (received, sent) = text.split_once('/').ok_or_else(|| format!("{name}: no '/'"))?;
        Ok(Totals { received: number(received, name)?, sent: number(sent, name)? })
    }
}

fn number<T: FromStr<Err: Display>>(text: &str, name: &str) -> Result<T> {
    text.parse().map_err(|e| format!("{name} '{text}': {e}"))
}

/// Splits a value off, bare or quoted.
fn value(text: &str) -> Result<(Vec<u8>, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let (value, rest) = text.split_once(' ').unwrap_or((text, ""));
        return Ok((value.as_bytes().to_vec(), rest));
    };
    let mut value = Vec::new();
    let mut chars = quoted.chars();
    loop {
        match chars.next().ok_or("no closing quote")? {
            '"' => return Ok((value, chars.as_str())),
            '\\' => value.push(escaped(&mut chars)?),
            c => value.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}

/// The byte after a backslash.
fn escaped(chars: &mut std::str::Chars<'_>) -> Result<u8> {
    Ok(match chars.next() {
        Some('n') => b'\n',
        Some('r') => b'\r',
        Some('t') => b'\t',
        Some('\\') => b'\\',
        Some('"') => b'"',
        Some('x') => {
            let mut digit = || chars.next().and_then(|digit| digit.to_digit(16));
            let (high, low) = (digit(), digit());
            let byte = high.zip(low).ok_or("two hex digits belong after \\x")?;
            (byte.0 << 4 | byte.1) as u8
        }
        _ => return Err("after a backslash belongs one of n, r, t, x, \\ and \"".to_owned()),
    })
}
