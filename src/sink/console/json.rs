//! Events as JSON, one object a line.

use std::io::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::SecondsFormat;

use super::time::utc;
use super::{ConsoleOptions, Known};
use crate::event::{Event, EventKind};

/// Lays events out in JSON.
#[derive(Default)]
pub(super) struct Json {
    base64: Vec<u8>,
}

impl Json {
    pub(super) fn event(
        &mut self,
        event: &Event,
        known: &Known,
        options: &ConsoleOptions,
        out: &mut Vec<u8>,
    ) {
        let time = utc(event.time).to_rfc3339_opts(SecondsFormat::Nanos, true);
        let quoted = |value: &dyn ToString| serde_json::Value::from(value.to_string());
        // Writing to memory does not fail; numbers and names of ours need no escapes.
        let _ = write!(out, r#"{{"time":"{time}","conn":{},"event":"#, event.connection);
        let _ = match &event.kind {
            EventKind::Open(open) => {
                let (client, server) = (quoted(&open.client), quoted(&open.target));
                write!(out, r#""open","client":{client},"server":{server}"#)
            }
            EventKind::Connected(connected) => {
                let (server, local) = (quoted(&connected.server), quoted(&connected.local));
                write!(out, r#""connected","server":{server},"local":{local}"#)
            }
            EventKind::Data { direction, offset, bytes, .. } => {
                let (from, len) = (direction.sender(), bytes.len());
                let _ = write!(out, r#""data","from":"{from}","offset":{offset},"len":{len}"#);
                self.data(bytes, options, out);
                Ok(())
            }
            EventKind::Shutdown { direction, .. } => {
                write!(out, r#""shutdown","from":"{}""#, direction.sender())
            }
            EventKind::Close { reason, totals } => {
                let client = totals.client_to_server.received;
                let server = totals.server_to_client.received;
                let duration = event.time.nanos_since(known.opened);
                let _ = write!(out, r#""close","reason":"{}""#, reason.name());
                if let Some(by) = reason.by() {
                    let _ = write!(out, r#","by":"{by}""#);
                }
                let message = quoted(reason);
                write!(out, r#","message":{message},"client_bytes":{client}"#).and_then(|()| {
                    write!(out, r#","server_bytes":{server},"duration_ns":{duration}"#)
                })
            }
        };
        out.extend_from_slice(b"}\n");
    }

    fn data(&mut self, bytes: &[u8], options: &ConsoleOptions, out: &mut Vec<u8>) {
        if options.hide_data {
            return;
        }
        let shown = &bytes[..bytes.len().min(options.max_print.unwrap_or(usize::MAX))];
        out.extend_from_slice(br#","data":""#);
        self.base64.resize(shown.len().div_ceil(3) * 4, 0);
        let written = STANDARD.encode_slice(shown, &mut self.base64).unwrap_or(0);
        out.extend_from_slice(&self.base64[..written]);
        out.push(b'"');
    }
}
