//! The console: what people and programs read while it happens.
//!
//! Every event is laid out whole in one buffer before any of it is written, so that two
//! connections never share a line, and no byte of the traffic reaches the output unescaped but in
//! [`Format::Raw`].

mod filter;
pub mod hexdump;
mod json;
mod lines;
pub mod summary;
mod text;
mod time;

use std::collections::HashMap;
use std::io::{self, Write};

use regex::bytes::Regex;

use self::filter::Filter;
use self::lines::Lines;
use self::time::Times;
use crate::event::{ConnectionId, Direction, Event, EventKind, Leg, Side, Timestamp};
use crate::sink::{Interest, Sink};

/// The output is written when this much has gathered, or the queue runs empty.
const BATCH: usize = 256 * 1024;

/// How events are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// A header and the rows of `hexdump -C` for each chunk.
    #[default]
    Hexdump,
    /// A line for each line of the traffic: what prints as it is, all else escaped.
    Text,
    /// A JSON object on a line for each event; `docs/console.md` has the schema.
    Json,
    /// The bytes alone, both directions as they come.
    Raw,
}

/// What time an event is shown with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TimeStyle {
    /// The time of day here.
    #[default]
    Local,
    /// The time of day in UTC.
    Utc,
    /// Since the first event.
    Relative,
    /// Since the event before it on the same connection.
    Delta,
    /// None.
    None,
}

/// What a console shows, and how.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ConsoleOptions {
    /// How events are shown.
    pub format: Format,
    /// Whether to use colours.
    pub colour: bool,
    /// What time is shown; JSON always has the full one.
    pub time: TimeStyle,
    /// How many columns the rows of a hexdump may have; any number by default.
    pub columns: Option<usize>,
    /// How many bytes of a chunk are shown; all by default.
    pub max_print: Option<usize>,
    /// Shows the data of this side alone.
    pub only: Option<Side>,
    /// Shows this connection alone.
    pub connection: Option<ConnectionId>,
    /// Shows the chunks that match, with the matches marked where there are colours. A match does
    /// not reach from one chunk into the next.
    pub grep: Option<Regex>,
    /// Shows that data passed, and how much, but not the data.
    pub hide_data: bool,
}

impl ConsoleOptions {
    /// What is shown of a chunk whose data is shown.
    fn printed<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        &bytes[..bytes.len().min(self.max_print.unwrap_or(usize::MAX))]
    }
}

/// What a format has to know of an open connection.
struct Known {
    opened: Timestamp,
    last: Timestamp,
    /// By direction: what of the last chunk has not been shown, see [`text`].
    text: [text::Line; 2],
}

/// A sink that shows events.
pub struct Console<W> {
    output: W,
    options: ConsoleOptions,
    filter: Filter,
    lines: Lines,
    times: Times,
    known: HashMap<ConnectionId, Known>,
    pending: Vec<u8>,
}

impl<W: Write + Send> Console<W> {
    /// A console on `output`.
    pub fn new(output: W, options: ConsoleOptions) -> Self {
        Self {
            output,
            filter: Filter::new(&options),
            lines: Lines::new(options.colour, options.columns),
            times: Times::new(options.time),
            known: HashMap::new(),
            pending: Vec::new(),
            options,
        }
    }

    fn write_out(&mut self) -> io::Result<()> {
        let result = self.output.write_all(&self.pending);
        self.pending.clear();
        result
    }

    fn show(&mut self, event: &Event) {
        self.times.note(event.time);
        let known = self.known.entry(event.connection).or_insert_with(|| Known {
            opened: event.time,
            last: event.time,
            text: Default::default(),
        });
        let Some(marks) = self.filter.passes(event) else {
            known.last = event.time;
            return;
        };
        let out = &mut self.pending;
        match self.options.format {
            Format::Raw => match &event.kind {
                EventKind::Data { bytes, .. } if !self.options.hide_data => {
                    out.extend_from_slice(self.options.printed(bytes));
                }
                _ => {}
            },
            Format::Json => json::event(event, known, &mut self.times, &self.options, out),
            Format::Hexdump | Format::Text => {
                let time = self.times.show(event.time, known.last);
                self.lines.event(event, &time, known, &marks, &self.options, out);
            }
        }
        known.last = event.time;
    }
}

impl<W: Write + Send> Sink for Console<W> {
    fn record(&mut self, event: &Event) -> io::Result<()> {
        self.show(event);
        if matches!(event.kind, EventKind::Close { .. }) {
            self.known.remove(&event.connection);
        }
        if self.pending.len() >= BATCH { self.write_out() } else { Ok(()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.write_out()?;
        self.output.flush()
    }

    fn interest(&self) -> Interest {
        Interest::RECEIVED
    }
}

/// `Client -> Server`, or the other way round.
const fn arrow(direction: Direction) -> &'static str {
    match direction {
        Direction::ClientToServer => "Client -> Server",
        Direction::ServerToClient => "Server -> Client",
    }
}

/// Whether it is data that a peer said; the console shows nothing that it was told.
const fn is_said(event: &Event) -> bool {
    !matches!(event.kind, EventKind::Data { leg: Leg::Sent, .. })
}
