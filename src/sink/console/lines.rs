//! Hexdump and text: a header line for each event, with the connection, the time and what it is.

use std::io::Write;
use std::ops::Range;

use anstyle::{AnsiColor, Style};

use super::{ConsoleOptions, Format, Known, arrow, text};
use crate::event::{Direction, Event, EventKind, Side};
use crate::hexdump::{Hexdump, Palette};

/// Lays events out in lines.
pub(super) struct Lines {
    hexdump: Hexdump,
    /// Of the client's and the server's lines, and of all others.
    styles: [Style; 3],
}

impl Lines {
    pub(super) fn new(colour: bool) -> Self {
        if !colour {
            return Self { hexdump: Hexdump::plain(), styles: [Style::new(); 3] };
        }
        let client = AnsiColor::BrightGreen.on_default().bold();
        let server = AnsiColor::BrightBlue.on_default().bold();
        let hexdump = Hexdump::coloured(&Palette::default());
        Self { hexdump, styles: [client, server, Style::new().bold()] }
    }

    pub(super) fn event(
        &self,
        event: &Event,
        time: &str,
        known: &mut Known,
        marks: &[Range<usize>],
        options: &ConsoleOptions,
        out: &mut Vec<u8>,
    ) {
        let id = event.connection;
        let line = |style: Style, what: std::fmt::Arguments<'_>, out: &mut Vec<u8>| {
            // Writing to memory does not fail.
            let _ = writeln!(out, "{style}[{id}] {time}{what}{style:#}");
        };
        let other = self.styles[2];
        match &event.kind {
            EventKind::Open(open) => {
                line(other, format_args!("Open {} -> {}", open.client, open.target), out);
            }
            EventKind::Connected(connected) => {
                let (server, local) = (&connected.server, &connected.local);
                line(other, format_args!("Connected to {server} from {local}"), out);
            }
            EventKind::Data { direction, bytes, offset, .. } => {
                let style = self.styles[direction.sender() as usize];
                let shown = &bytes[..bytes.len().min(options.max_print.unwrap_or(usize::MAX))];
                let text = options.format == Format::Text && !options.hide_data;
                if text {
                    let prefix = format!("{style}[{id}] {time}{}", mark(*direction));
                    known.text[*direction as usize].chunk(shown, text_line(&prefix, style, out));
                } else {
                    let size = Bytes(bytes.len() as u64);
                    line(style, format_args!("{} {size}", arrow(*direction)), out);
                }
                if !text && !options.hide_data {
                    self.hexdump.rows(shown, *offset, marks, out);
                }
                let hidden = bytes.len() - shown.len();
                if hidden > 0 && !options.hide_data {
                    let _ = writeln!(out, "... {} more", Bytes(hidden as u64));
                }
            }
            EventKind::Shutdown { direction, totals } => {
                let style = self.styles[direction.sender() as usize];
                if options.format == Format::Text {
                    let prefix = format!("{style}[{id}] {time}{}", mark(*direction));
                    known.text[*direction as usize].end(text_line(&prefix, style, out));
                }
                let who = capital(direction.sender());
                line(style, format_args!("{who} is done, {}", Bytes(totals.received)), out);
            }
            EventKind::Close { reason, totals } => {
                let reason = text::escape(reason.to_string().as_bytes());
                let said = |direction| Bytes(totals.get(direction).received);
                let client = said(Direction::ClientToServer);
                let server = said(Direction::ServerToClient);
                let duration = seconds(event.time.nanos_since(known.opened));
                let who = format_args!("{client} from the client, {server} from the server");
                line(other, format_args!("Close: {reason}; {who}, {duration}"), out);
            }
        }
    }
}

/// Writes the lines of a chunk of text.
fn text_line<'a>(
    prefix: &'a str,
    style: Style,
    out: &'a mut Vec<u8>,
) -> impl FnMut(&str, bool) + 'a {
    move |text, goes_on| {
        let mark = if goes_on { '+' } else { ' ' };
        let _ = writeln!(out, "{prefix}{mark}{style:#}{text}");
    }
}

/// Which way a line of text goes.
const fn mark(direction: Direction) -> &'static str {
    match direction {
        Direction::ClientToServer => "->",
        Direction::ServerToClient => "<-",
    }
}

const fn capital(side: Side) -> &'static str {
    match side {
        Side::Client => "Client",
        Side::Server => "Server",
    }
}

/// A number of bytes, as a noun.
struct Bytes(u64);

impl std::fmt::Display for Bytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            1 => f.write_str("1 byte"),
            n => write!(f, "{n} bytes"),
        }
    }
}

/// A duration, to the microsecond where that means something.
pub(in crate::sink) fn seconds(nanos: u64) -> String {
    match nanos {
        0..1_000_000_000 => format!("{:.3} ms", nanos as f64 / 1e6),
        _ => format!("{:.3} s", nanos as f64 / 1e9),
    }
}
