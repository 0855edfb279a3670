//! Hexdump and text: a header line for each event, with the connection, the time and what it is.

use std::io::Write;
use std::ops::Range;

use anstyle::{AnsiColor, Style};

use super::known::Known;
use super::options::{ConsoleOptions, Format};
use super::text;
use crate::console::hexdump::{Hexdump, Palette};
use crate::event::{
    BothTotals, ConnectionId, Direction, Event, EventKind, Side, Timestamp, Tls, View,
};

/// Lays events out in lines.
pub(super) struct Lines {
    hexdump: Hexdump,
    styles: Styles,
}

/// The colors of a line, each of which says one thing.
#[derive(Default)]
struct Styles {
    /// Which connection: taken in turn, so that neighbors differ.
    numbers: [Style; 6],
    /// What is there to be looked up rather than read: times, what is left out.
    faint: Style,
    /// Who speaks: by [`Side`].
    sides: [Style; 2],
    lifecycle: Style,
    /// An end that no peer meant.
    failure: Style,
}

impl Styles {
    fn colored() -> Self {
        let bold = |color: AnsiColor| color.on_default().bold();
        Self {
            numbers: [
                AnsiColor::Yellow,
                AnsiColor::Cyan,
                AnsiColor::Magenta,
                AnsiColor::BrightYellow,
                AnsiColor::BrightCyan,
                AnsiColor::BrightMagenta,
            ]
            .map(bold),
            faint: AnsiColor::BrightBlack.on_default(),
            sides: [bold(AnsiColor::BrightGreen), bold(AnsiColor::BrightBlue)],
            lifecycle: Style::new().bold(),
            failure: bold(AnsiColor::BrightRed),
        }
    }
}

impl Lines {
    pub(super) fn new(color: bool, columns: Option<usize>) -> Self {
        let (hexdump, styles) = if color {
            (Hexdump::colored(&Palette::default()), Styles::colored())
        } else {
            (Hexdump::plain(), Styles::default())
        };
        Self { hexdump: hexdump.fitting(columns.unwrap_or(usize::MAX)), styles }
    }

    /// Appends the lines of an event. `time` ends with a space, or is empty.
    pub(super) fn event(
        &self,
        event: &Event,
        time: &str,
        known: &mut Known,
        marks: &[Range<usize>],
        options: &ConsoleOptions,
        out: &mut Vec<u8>,
    ) {
        let head = self.head(event.connection, time);
        let lifecycle = self.styles.lifecycle;
        match &event.kind {
            EventKind::Open(open) => {
                let process = open.process.as_ref().map(|process| format!(", {process}"));
                let process = process.unwrap_or_default();
                let what = format!("Open {} -> {}{process}", open.client, open.target);
                line(&head, lifecycle, what, out);
            }
            EventKind::Process(process) => {
                let what = format!("process {} {}", process.pid, process.name);
                line(&head, lifecycle, what, out);
            }
            EventKind::Connected(connected) => {
                let (server, local) = (&connected.server, &connected.local);
                line(&head, lifecycle, format!("Connected to {server} from {local}"), out);
            }
            EventKind::Data { direction, view, bytes, offset, .. } => {
                let shown = options.printed(bytes);
                if options.format == Format::Text && !options.hide_data {
                    self.text(&head, *direction, (*offset, shown, marks), known, out);
                } else {
                    self.chunk(&head, *direction, *view, bytes.len(), out);
                }
                if options.hide_data {
                    return;
                }
                if options.format == Format::Hexdump {
                    self.hexdump.rows(shown, *offset, marks, out);
                }
                self.left_out(bytes.len() - shown.len(), out);
            }
            EventKind::Tls(tls) => self.tls(&head, tls, options, out),
            EventKind::Info(info) => {
                let style = self.styles.sides[info.leg as usize];
                line(&head, style, format!("TCP to the {}: {}", info.leg, info.tcp), out);
            }
            EventKind::Secrets(_) | EventKind::Verdict(_) => {}
            EventKind::Shutdown { direction, totals, .. } => {
                let side = direction.sender();
                self.text_end(&head, *direction, known, out);
                let what = format!("{} is done, {}", capital(side), Bytes(totals.received));
                line(&head, self.styles.sides[side as usize], what, out);
            }
            EventKind::Close { reason, totals } => {
                self.text_end(&head, Direction::ClientToServer, known, out);
                self.text_end(&head, Direction::ServerToClient, known, out);
                let clean = reason.is_clean();
                let style = if clean { lifecycle } else { self.styles.failure };
                let what = format!("Close: {reason}; {}", closing(event.time, totals, known));
                line(&head, style, what, out);
            }
        }
    }

    /// What is known of a handshake, and the certificates, where they are asked for.
    fn tls(&self, head: &str, tls: &Tls, options: &ConsoleOptions, out: &mut Vec<u8>) {
        line(head, self.styles.lifecycle, tls.to_string(), out);
        #[cfg(feature = "tls")]
        if options.certificates {
            for certificate in tls.certificates.iter() {
                let what = crate::tls::certificate::describe(certificate);
                line(head, self.styles.lifecycle, format!("Certificate {what}"), out);
            }
        }
        #[cfg(not(feature = "tls"))]
        let _ = options;
    }

    /// What starts each line: the connection and the time.
    fn head(&self, id: ConnectionId, time: &str) -> String {
        let number = self.styles.numbers[(id.0 % 6) as usize];
        let faint = self.styles.faint;
        format!("{number}[{id}]{number:#} {faint}{time}{faint:#}")
    }

    /// What stands over the rows of a chunk.
    fn chunk(&self, head: &str, direction: Direction, view: View, len: usize, out: &mut Vec<u8>) {
        let style = self.styles.sides[direction.sender() as usize];
        let tls = if view == View::Plain { " TLS" } else { "" };
        line(head, style, format!("{} {}{tls}", arrow(direction), Bytes(len as u64)), out);
    }

    fn text(
        &self,
        head: &str,
        direction: Direction,
        (offset, text, marks): (u64, &[u8], &[Range<usize>]),
        known: &mut Known,
        out: &mut Vec<u8>,
    ) {
        let prefix = self.text_prefix(head, direction);
        let line = &mut known.text[direction as usize];
        line.seek(offset, text_line(&prefix, out));
        line.chunk(text, marks, text_line(&prefix, out));
    }

    /// Shows what is left of a character that will never be complete, if anything is.
    fn text_end(&self, head: &str, direction: Direction, known: &mut Known, out: &mut Vec<u8>) {
        let prefix = self.text_prefix(head, direction);
        known.text[direction as usize].end(text_line(&prefix, out));
    }

    fn text_prefix(&self, head: &str, direction: Direction) -> String {
        let style = self.styles.sides[direction.sender() as usize];
        format!("{head}{style}{}{style:#}", mark(direction))
    }

    /// Tells how much of a chunk is not shown, if any.
    fn left_out(&self, len: usize, out: &mut Vec<u8>) {
        if len > 0 {
            let faint = self.styles.faint;
            let _ = writeln!(out, "{faint}... {} more{faint:#}", Bytes(len as u64));
        }
    }
}

/// Appends a line. Names and messages in it may come from a peer.
fn line(head: &str, style: Style, what: String, out: &mut Vec<u8>) {
    // Writing to memory does not fail.
    let _ = writeln!(out, "{head}{style}{}{style:#}", text::escape(what.as_bytes()));
}

/// Writes the lines of a chunk of text.
fn text_line<'a>(prefix: &'a str, out: &'a mut Vec<u8>) -> impl FnMut(&str, bool) + 'a {
    move |text, goes_on| {
        let mark = if goes_on { '+' } else { ' ' };
        let _ = writeln!(out, "{prefix}{mark}{text}");
    }
}

/// `Client -> Server`, or the other way round.
const fn arrow(direction: Direction) -> &'static str {
    match direction {
        Direction::ClientToServer => "Client -> Server",
        Direction::ServerToClient => "Server -> Client",
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

/// What passed in a connection's life, how long it was, and where the time went.
fn closing(now: Timestamp, totals: &BothTotals, known: &Known) -> String {
    let said = |direction| Bytes(totals.get(direction).received);
    let client = said(Direction::ClientToServer);
    let server = said(Direction::ServerToClient);
    let duration = seconds(now.nanos_since(known.opened));
    let verdict = known.verdict.as_ref().map(|verdict| verdict.spent.to_string());
    let verdict = verdict.filter(|verdict| !verdict.is_empty());
    let verdict = verdict.map(|verdict| format!(": {verdict}")).unwrap_or_default();
    format!("{client} from the client, {server} from the server, {duration}{verdict}")
}

impl std::fmt::Display for Bytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            1 => f.write_str("1 byte"),
            n => write!(f, "{n} bytes"),
        }
    }
}

/// A duration, to the microsecond where that means something.
pub(super) fn seconds(nanos: u64) -> String {
    match nanos {
        0..1_000_000_000 => format!("{:.3} ms", nanos as f64 / 1e6),
        _ => format!("{:.3} s", nanos as f64 / 1e9),
    }
}
