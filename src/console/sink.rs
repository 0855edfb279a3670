//! The sink that shows events.

use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::Arc;

use super::filter::Filter;
use super::json;
use super::known::Known;
use super::lines::Lines;
use super::options::{ConsoleOptions, Format};
use super::time::Times;
use crate::event::{ConnectionId, Event, EventKind, Views};
use crate::sink::{Interest, Sink};

/// The output is written when this much has gathered, or the queue runs empty.
const BATCH: usize = 256 * 1024;

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
            lines: Lines::new(options.color, options.columns),
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
            verdict: None,
            text: Default::default(),
        });
        if let EventKind::Verdict(verdict) = &event.kind {
            known.verdict = Some(Arc::clone(verdict));
        }
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
        let interest = Interest::RECEIVED.views(Views::Readable).verdict().process();
        if self.options.info { interest.info() } else { interest }
    }
}
