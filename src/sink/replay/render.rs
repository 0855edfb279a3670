//! From events to text.

use std::fmt::{Display, Write};

use super::time;
use crate::event::{
    CloseReason, Event, EventKind, Leg, Phase, Process, Tls, Totals, Verdict, View,
};

/// Writes events as the [module](super) describes them; [`parse`](super::parse()) gives the same
/// events back.
///
/// Bytes of a socket's path that are not UTF-8 do not survive.
pub fn render(events: &[Event]) -> String {
    let mut out = String::new();
    for event in events {
        time::write(event.time, &mut out);
        // Writing to memory does not fail.
        let _ = write!(out, " {}", event.connection);
        kind(&event.kind, &mut out);
        out.push('\n');
    }
    out
}

fn kind(kind: &EventKind, out: &mut String) {
    match kind {
        EventKind::Open(open) => {
            out.push_str(" open");
            field("client", &open.client, out);
            field("listener", &open.listener, out);
            field("target", &open.target, out);
            if let Some(server) = &open.server {
                field("server", server, out);
            }
            if let Some(Process { pid, name, .. }) = &open.process {
                field("process", &format!("{pid}/{name}"), out);
            }
        }
        EventKind::Process(Process { pid, name, .. }) => {
            out.push_str(" process");
            field("pid", pid, out);
            field("name", name, out);
        }
        EventKind::Connected(connected) => {
            out.push_str(" connected");
            field("server", &connected.server, out);
            field("local", &connected.local, out);
        }
        EventKind::Data { direction, leg, view, offset, bytes } => {
            let leg = if *leg == Leg::Received { "received" } else { "sent" };
            let from = direction.sender();
            let _ = write!(out, " data from={from} leg={leg}");
            self::view(*view, out);
            let _ = write!(out, " offset={offset} bytes=");
            quote(bytes, out);
        }
        EventKind::Tls(tls) => self::tls(tls, out),
        EventKind::Secrets(lines) => {
            out.push_str(" secrets");
            field("lines", &lines.join("\n"), out);
        }
        EventKind::Shutdown { direction, view, totals: Totals { received, sent } } => {
            let from = direction.sender();
            let _ = write!(out, " shutdown from={from}");
            self::view(*view, out);
            let _ = write!(out, " received={received} sent={sent}");
        }
        EventKind::Info(info) => {
            let _ = write!(out, " info leg={}", info.leg);
            info.tcp.figures().for_each(|(name, figure)| field(name, &figure, out));
        }
        EventKind::Verdict(verdict) => self::verdict(verdict, out),
        EventKind::Close { reason: why, totals } => {
            let _ = write!(out, " close reason={}", why.name());
            reason(why, out);
            let [client, server] = [totals.client_to_server, totals.server_to_client];
            let _ = write!(out, " client={}/{}", client.received, client.sent);
            let _ = write!(out, " server={}/{}", server.received, server.sent);
        }
    }
}

fn tls(tls: &Tls, out: &mut String) {
    let _ = write!(out, " tls state={}", tls.state.name());
    for (name, value) in tls.facts() {
        field(name, value, out);
    }
}

fn verdict(verdict: &Verdict, out: &mut String) {
    out.push_str(" verdict");
    let times = Phase::ALL.into_iter().map(|phase| (phase, verdict.spent.get(phase)));
    for (phase, time) in times.filter(|(_, time)| !time.is_zero()) {
        field(phase.name(), &time.as_nanos(), out);
    }
    field("requests", &verdict.requests, out);
    let slowest = verdict.slowest.iter();
    let slowest = slowest.map(|one| format!("{}/{}", one.offset, one.answered_after.as_nanos()));
    let slowest: Vec<_> = slowest.collect();
    if !slowest.is_empty() {
        field("slowest", &slowest.join(","), out);
    }
}

/// The view, unless it is the wire.
fn view(view: View, out: &mut String) {
    if view == View::Plain {
        field("view", view.name(), out);
    }
}

/// What belongs to a reason beyond its name.
fn reason(reason: &CloseReason, out: &mut String) {
    match reason {
        CloseReason::Finished { first } => field("first", first, out),
        CloseReason::Reset { by } => field("by", by, out),
        CloseReason::Unreachable { errno } => field("errno", errno, out),
        CloseReason::ResolveFailed { message } | CloseReason::ConnectFailed { message } => {
            field("message", message, out);
        }
        CloseReason::Failed { side, errno } => {
            field("side", side, out);
            field("errno", errno, out);
        }
        CloseReason::Transform { direction, message } => {
            field("from", &direction.sender(), out);
            field("message", message, out);
        }
        CloseReason::Refused
        | CloseReason::Loop
        | CloseReason::ConnectTimeout
        | CloseReason::IdleTimeout
        | CloseReason::HalfCloseTimeout
        | CloseReason::Stopped
        | CloseReason::Internal => {}
    }
}

fn field(name: &str, value: &(impl Display + ?Sized), out: &mut String) {
    let value = value.to_string();
    let _ = write!(out, " {name}=");
    let is_plain = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\';
    if !value.is_empty() && value.bytes().all(is_plain) {
        out.push_str(&value);
    } else {
        quote(value.as_bytes(), out);
    }
}

fn quote(bytes: &[u8], out: &mut String) {
    out.push('"');
    for &byte in bytes {
        match byte {
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            b'"' | b'\\' => out.extend(['\\', char::from(byte)]),
            b' '..=b'~' => out.push(char::from(byte)),
            _ => {
                let _ = write!(out, "\\x{byte:02x}");
            }
        }
    }
    out.push('"');
}
