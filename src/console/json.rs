//! Events as JSON, one object a line.
//!
//! Written by hand, because bulk data passes here, and because JSON alone lets stand what a
//! terminal would obey.

use std::io::{self, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::known::Known;
use super::options::ConsoleOptions;
use super::text;
use super::time::Times;
use crate::event::{BothTotals, CloseReason, Event, EventKind, Phase, Request, Tls, Verdict};

/// Appends the object of `event`.
pub(super) fn event(
    event: &Event,
    known: &Known,
    times: &mut Times,
    options: &ConsoleOptions,
    out: &mut Vec<u8>,
) {
    out.extend_from_slice(b"{\"time\":\"");
    times.push_rfc3339(event.time, out);
    // Writing to memory does not fail; numbers and names of ours need no escapes.
    let _ = write!(out, r#"","conn":{},"event":"#, event.connection);
    match &event.kind {
        EventKind::Open(open) => {
            out.extend_from_slice(br#""open""#);
            string("client", &open.client.to_string(), out);
            string("server", &open.target, out);
            if let Some(process) = &open.process {
                let _ = write!(out, r#","process":{{"pid":{}"#, process.pid);
                string("name", &process.name, out);
                out.push(b'}');
            }
        }
        EventKind::Process(process) => {
            let _ = write!(out, r#""process","pid":{}"#, process.pid);
            string("name", &process.name, out);
        }
        EventKind::Connected(connected) => {
            out.extend_from_slice(br#""connected""#);
            string("server", &connected.server.to_string(), out);
            string("local", &connected.local.to_string(), out);
        }
        EventKind::Data { direction, view, offset, bytes, .. } => {
            let (from, view, len) = (direction.sender(), view.name(), bytes.len());
            let _ = write!(out, r#""data","from":"{from}","view":"{view}""#);
            let _ = write!(out, r#","offset":{offset},"len":{len}"#);
            if !options.hide_data {
                data(options.printed(bytes), out);
            }
        }
        EventKind::Tls(tls) => self::tls(tls, out),
        // They are for a capture, and not to be shown.
        EventKind::Secrets(_) => out.extend_from_slice(br#""secrets""#),
        EventKind::Info(info) => {
            let _ = write!(out, r#""info","leg":"{}""#, info.leg);
            for (name, figure) in info.tcp.figures() {
                let _ = write!(out, r#","{name}":{figure}"#);
            }
        }
        // It is part of the close.
        EventKind::Verdict(_) => out.extend_from_slice(br#""verdict""#),
        EventKind::Shutdown { direction, .. } => {
            let _ = write!(out, r#""shutdown","from":"{}""#, direction.sender());
        }
        EventKind::Close { reason, totals } => {
            close(reason, totals, event.time.nanos_since(known.opened), out);
            if let Some(verdict) = &known.verdict {
                self::verdict(verdict, out);
            }
        }
    }
    out.extend_from_slice(b"}\n");
}

fn tls(tls: &Tls, out: &mut Vec<u8>) {
    let _ = write!(out, r#""tls","state":"{}""#, tls.state.name());
    for (key, value) in tls.facts() {
        string(key, value, out);
    }
}

fn close(reason: &CloseReason, totals: &BothTotals, duration: u64, out: &mut Vec<u8>) {
    let _ = write!(out, r#""close","reason":"{}""#, reason.name());
    if let Some(by) = reason.by() {
        let _ = write!(out, r#","by":"{by}""#);
    }
    string("message", &reason.to_string(), out);
    let client = totals.client_to_server.received;
    let server = totals.server_to_client.received;
    let _ = write!(out, r#","client_bytes":{client},"server_bytes":{server}"#);
    let _ = write!(out, r#","duration_ns":{duration}"#);
}

/// Where the time went, in nanoseconds and in percent, and the slowest requests.
fn verdict(verdict: &Verdict, out: &mut Vec<u8>) {
    let spent = &verdict.spent;
    out.extend_from_slice(br#","verdict":{"percent":{"#);
    list(spent.shares(), out, |(part, share), out| write!(out, r#""{}":{share}"#, part.name()));
    out.extend_from_slice(br#"},"ns":{"#);
    list(Phase::ALL, out, |phase, out| {
        write!(out, r#""{}":{}"#, phase.name(), spent.get(phase).as_nanos())
    });
    let _ = write!(out, r#"}},"requests":{},"slowest":["#, verdict.requests);
    list(&verdict.slowest, out, |Request { offset, answered_after, .. }, out| {
        write!(out, r#"{{"offset":{offset},"answered_ns":{}}}"#, answered_after.as_nanos())
    });
    out.push(b']');
    string("text", &spent.to_string(), out);
    out.push(b'}');
}

/// Writes items with a comma between two.
fn list<T>(
    items: impl IntoIterator<Item = T>,
    out: &mut Vec<u8>,
    mut item: impl FnMut(T, &mut Vec<u8>) -> io::Result<()>,
) {
    for (index, one) in items.into_iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        // Writing to memory does not fail.
        let _ = item(one, out);
    }
}

fn data(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(br#","data":""#);
    let start = out.len();
    out.resize(start + bytes.len().div_ceil(3) * 4, 0);
    // There is just enough room, so it does not fail.
    let _ = STANDARD.encode_slice(bytes, &mut out[start..]);
    out.push(b'"');
}

fn string(key: &str, value: &str, out: &mut Vec<u8>) {
    let _ = write!(out, ",\"{key}\":\"");
    for c in value.chars() {
        let _ = match c {
            '"' | '\\' => write!(out, "\\{c}"),
            c if text::prints(c) => write!(out, "{c}"),
            c => c.encode_utf16(&mut [0; 2]).iter().try_for_each(|u| write!(out, "\\u{u:04x}")),
        };
    }
    out.push(b'"');
}
