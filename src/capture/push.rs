//! Captures over TCP that a collector takes: it listens, and is connected to.

mod link;
mod unconfirmed;

use std::io;
use std::time::{Duration, Instant};

use self::link::{End, Link};
use self::unconfirmed::Unconfirmed;
use super::encoder::Encoder;
use super::options::{CaptureStats, PcapngOptions};
use super::reader::{ASK_AGAIN, NOTHING};
use super::secrets::{Keys, Wait};
use super::{BATCH, HELD_MAX};
use crate::event::{Direction, Event, EventKind, Leg, Timestamp, View, Views};
use crate::packet::Snapshot;
use crate::sink::{Interest, Kept, Sink};

/// How long a collector may make no progress at the end.
const LINGER: Duration = Duration::from_secs(2);
/// How often the collector is asked at the end for what it has taken.
const PAUSE: Duration = Duration::from_millis(5);

/// A sink that sends pcapng over TCP to a collector, such as Wireshark, Arkime or `nc -l`.
///
/// It connects again whenever the connection breaks, after a wait that grows. Each connection
/// carries a section that stands alone: headers, names, keys, and the handshakes of the open
/// connections with their current sequence numbers. What the collector's kernel has not
/// acknowledged is sent again. While there is no connection the sink takes no events.
pub struct PcapPushSink {
    link: Link,
    encoder: Encoder,
    /// Blocks that wait for more, or for keys.
    pending: Vec<u8>,
    /// The events of which the packets among them are.
    current: Vec<Event>,
    /// How all connections stood before these, where that is kept.
    before: Option<Snapshot>,
    /// Blocks that are being written, and how much of them is.
    outgoing: Vec<u8>,
    written: usize,
    /// How many bytes of the connection come before the end of `outgoing`.
    end: u64,
    unconfirmed: Unconfirmed,
    /// What comes first on the next connection.
    backlog: Vec<Event>,
    /// The data of all events that were recorded.
    recorded: Kept,
    /// When the collector, having closed its end, was asked for a sign of life.
    asked: Instant,
    /// When something was written last.
    active: Instant,
    last: Timestamp,
    /// Whether the section on this connection has its last block.
    is_ended: bool,
}

impl PcapPushSink {
    /// Sends to the collector at `address`, a host or an IP address with a port, which need not be
    /// there yet.
    ///
    /// # Errors
    ///
    /// The options make no valid header, or no thread can be started.
    pub fn new(address: &str, options: PcapngOptions) -> io::Result<Self> {
        Ok(Self {
            encoder: Encoder::new(options)?,
            link: Link::new(address)?,
            pending: Vec::new(),
            current: Vec::new(),
            before: None,
            outgoing: Vec::new(),
            written: 0,
            end: 0,
            unconfirmed: Unconfirmed::default(),
            backlog: Vec::new(),
            recorded: Kept::default(),
            asked: Instant::now(),
            active: Instant::now(),
            last: Timestamp(0),
            is_ended: false,
        })
    }

    /// What was sent; what had to be sent again counts once more.
    pub fn stats(&self) -> CaptureStats {
        self.encoder.stats()
    }

    /// Begins the section of a new connection, with what the one before it did not bring over.
    fn begin(&mut self) -> io::Result<()> {
        self.end = 0;
        self.is_ended = false;
        self.encoder.begin_again(&mut self.pending)?;
        for event in std::mem::take(&mut self.backlog) {
            self.encode(&event)?;
        }
        self.send_what_is_due()
    }

    /// Makes packets of an event.
    fn encode(&mut self, event: &Event) -> io::Result<()> {
        if self.current.is_empty() && self.unconfirmed.wants_state(self.end) {
            self.before = Some(self.encoder.snapshot());
        }
        self.current.push(event.clone());
        self.encoder.record(event, &mut self.pending)
    }

    /// Sends what is pending, unless it waits for keys or for what is being written.
    fn send_what_is_due(&mut self) -> io::Result<()> {
        if self.pending.len() < HELD_MAX
            && self.update_secrets(Wait::UntilDue(self.last))? == Keys::Awaited
        {
            return Ok(());
        }
        self.send()
    }

    fn send(&mut self) -> io::Result<()> {
        if !self.pending.is_empty() && self.is_written() && self.link.is_connected() {
            self.encoder.count(self.pending.len());
            std::mem::swap(&mut self.outgoing, &mut self.pending);
            self.pending.clear();
            self.written = 0;
            let start = self.end;
            self.end += self.outgoing.len() as u64;
            let events = std::mem::take(&mut self.current);
            self.unconfirmed.push(start..self.end, events, self.before.take());
            self.active = Instant::now();
        }
        self.write(Duration::ZERO)
    }

    /// Writes what the collector takes of the outgoing blocks within `limit`.
    fn write(&mut self, limit: Duration) -> io::Result<()> {
        let begin = Instant::now();
        while !self.is_written() && self.link.is_connected() {
            let left = limit.saturating_sub(begin.elapsed());
            match self.link.write(&self.outgoing[self.written..], left) {
                Ok(0) => break,
                Ok(len) => self.written += len,
                Err(error) => return self.give_up(&error),
            }
        }
        self.unconfirmed.confirm(self.link.acknowledged());
        Ok(())
    }

    const fn is_written(&self) -> bool {
        self.written == self.outgoing.len()
    }

    /// Gives up the connection, and goes back to what the collector has.
    fn give_up(&mut self, why: &io::Error) -> io::Result<()> {
        let acknowledged = self.link.give_up(why);
        let rest = self.unconfirmed.take(acknowledged);
        if let Some(before) = rest.before.or_else(|| self.before.take()) {
            self.encoder.rewind(before, &rest.confirmed)?;
        }
        self.before = None;
        self.backlog.extend(rest.missing);
        self.backlog.append(&mut self.current);
        self.pending.clear();
        self.outgoing.clear();
        self.written = 0;
        Ok(())
    }

    /// Looks whether the collector is still there. One that has closed its end may yet be reading,
    /// and only an answer to something that is sent to it can tell.
    fn look(&mut self) -> io::Result<()> {
        match self.link.look() {
            Ok(End::Open) => {}
            Ok(End::Closed) => {
                if self.asked.elapsed() >= ASK_AGAIN && self.pending.is_empty() {
                    self.asked = Instant::now();
                    self.pending.extend_from_slice(&NOTHING);
                }
            }
            Err(error) => return self.give_up(&error),
        }
        if self.current.is_empty() && self.active.elapsed() >= ASK_AGAIN {
            self.unconfirmed.clear_if_confirmed(self.link.acknowledged());
        }
        Ok(())
    }

    /// Brings new keys into the capture; returns whether packets should wait for more.
    fn update_secrets(&mut self, wait: Wait) -> io::Result<Keys> {
        self.encoder.update_secrets(wait, &mut self.pending, None)
    }

    /// Whether the collector lacks nothing, or lacks only what says that the capture is over.
    fn is_done(&self) -> bool {
        if self.link.is_connected() {
            self.is_ended && self.is_written() && self.link.acknowledged() >= self.end
        } else {
            self.backlog.is_empty()
        }
    }

    /// The data that an event brings, each byte once.
    fn data_of(&self, event: &Event) -> Option<(Direction, u64)> {
        let EventKind::Data { direction, leg: Leg::Received, view, bytes, .. } = &event.kind else {
            return None;
        };
        let counts = *view == View::Wire || self.encoder.interest().views == Views::Readable;
        counts.then_some((*direction, bytes.len() as u64))
    }

    /// How much of the data the collector has.
    fn kept(&self) -> Kept {
        let mut kept = self.recorded;
        for event in &self.backlog {
            if let Some((direction, len)) = self.data_of(event) {
                let sum = kept.get_mut(direction);
                *sum = sum.saturating_sub(len);
            }
        }
        kept
    }
}

impl Sink for PcapPushSink {
    fn record(&mut self, event: &Event) -> io::Result<()> {
        self.last = event.time;
        self.encoder.observe(event);
        if let Some((direction, len)) = self.data_of(event) {
            *self.recorded.get_mut(direction) += len;
        }
        if self.link.is_connected() {
            self.encode(event)?;
        } else {
            self.backlog.push(event.clone());
        }
        if self.pending.len() >= BATCH { self.send_what_is_due() } else { Ok(()) }
    }

    fn ready(&mut self, limit: Duration) -> io::Result<bool> {
        if !self.link.is_connected() {
            if !self.link.connect(limit) {
                return Ok(false);
            }
            self.begin()?;
        }
        if !self.is_written() {
            self.write(limit)?;
        }
        Ok(self.link.is_connected() && self.is_written())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.link.is_connected() { self.send_what_is_due() } else { Ok(()) }
    }

    fn tick(&mut self, now: Timestamp) -> io::Result<()> {
        self.last = now;
        self.look()?;
        self.flush()
    }

    fn finish(&mut self) -> io::Result<()> {
        let mut progress = (0, Instant::now());
        while !self.is_done() {
            if self.ready(PAUSE)? {
                if !self.is_ended {
                    self.update_secrets(Wait::NoLonger)?;
                    self.encoder.end(&mut self.pending)?;
                    self.is_ended = true;
                }
                self.send()?;
                self.look()?;
                std::thread::sleep(PAUSE);
            }
            if self.link.acknowledged() != progress.0 {
                progress = (self.link.acknowledged(), Instant::now());
            }
            if progress.1.elapsed() >= LINGER {
                let why = "no collector took what was left";
                return Err(io::Error::new(io::ErrorKind::TimedOut, why));
            }
        }
        self.link.shut_down();
        Ok(())
    }

    fn salvage(&mut self) -> Option<Kept> {
        self.give_up(&io::Error::other("the capture has ended")).ok()?;
        Some(self.kept())
    }

    fn interest(&self) -> Interest {
        self.encoder.interest()
    }

    fn wants_ticks(&self) -> bool {
        true
    }
}
