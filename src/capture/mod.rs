//! The capture: a pcapng file that Wireshark opens as clean TCP conversations.
//!
//! [`PcapngSink`] writes to a file, a series of files, a FIFO or anything else that can be
//! written to; [`PcapOverIpSink`] to whoever connects.

mod aligned;
mod behind;
mod blocks;
mod compress;
mod direct;
mod fifo;
mod keylog;
mod open;
mod options;
mod output;
mod over_ip;
mod places;
mod reader;
mod secrets;
mod secrets_block;
mod section;
mod series;
mod tls;

use std::hash::{BuildHasher, RandomState};
use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, Instant};

pub use self::options::{
    CaptureStats, Environment, PcapngOptions, RotateHandle, Rotation, StopAfter,
};
pub use self::over_ip::PcapOverIpSink;

use self::blocks::Held;
use self::output::{Output, Stream};
use self::secrets::Secrets;
use self::section::{Preamble, Section};
use self::series::Series;
use crate::event::{Event, EventKind, Timestamp};
use crate::packet::{ConversationConfig, Conversations, SegmentSize};
use crate::sink::{Interest, Kept, Sink};

/// Blocks gather up to this size before they are written, unless a flush comes first.
const BATCH: usize = 1 << 20;

/// What waits for TLS keys may grow up to this size.
const HELD_MAX: usize = 16 * BATCH;

/// A queue that runs empty time and again does not make for a write each time, only the next tick
/// or this does: bulk would be written in scraps, and many messages in a write each.
const FLUSH_PACE: Duration = Duration::from_millis(25);

/// Called once when a capture has come to its end by itself.
type OnStop = Box<dyn FnOnce() + Send>;

/// A sink that writes a pcapng capture.
///
/// Only ever writes whole blocks, and at the latest 100 ms after it was given an event, so that a
/// reader of the growing file, or of what a killed process left, sees complete packets. Where keys
/// of TLS are looked for and the output cannot be changed later (a pipe, a compressed file),
/// packets wait up to 200 ms more for them.
pub struct PcapngSink {
    conversations: Conversations,
    segment_size: SegmentSize,
    preamble: Preamble,
    section: Section,
    output: Box<dyn Output>,
    /// Where the files come from, if it is files.
    series: Option<Series>,
    /// Bytes of the current file.
    file_bytes: u64,
    /// Of these, what it began with: headers, room for keys, handshakes of open connections.
    first_bytes: u64,
    secrets: Option<Secrets>,
    stop_after: StopAfter,
    on_stop: Option<OnStop>,
    stopped: bool,
    rotate: RotateHandle,
    stats: CaptureStats,
    /// What was drawn so far, over all files.
    held: Held,
    last: Timestamp,
    flushed: Instant,
}

impl PcapngSink {
    /// A capture into a new file, which only its owner may read. An existing one is overwritten,
    /// an existing FIFO is written to as soon as it has a reader. A name that ends in `.gz` or
    /// `.zst` makes a compressed file.
    ///
    /// # Errors
    ///
    /// The file cannot be created, or is one that somebody else may have put there.
    pub fn create(path: impl AsRef<Path>, options: PcapngOptions) -> io::Result<Self> {
        Self::create_series(path, options, Rotation::default())
    }

    /// A capture into a series of files, named as dumpcap names them: `out.pcapng` becomes
    /// `out_00001_20261122132642.pcapng` with the number and the local time. Each stands alone;
    /// one is complete when its successor appears.
    ///
    /// # Errors
    ///
    /// As for [`create`](Self::create); and where there is something at `path` that is no file,
    /// such as a FIFO, which cannot rotate.
    pub fn create_series(
        path: impl AsRef<Path>,
        options: PcapngOptions,
        rotation: Rotation,
    ) -> io::Result<Self> {
        let path = path.as_ref();
        let mut series = Series::new(path, rotation);
        let is_other = path.metadata().is_ok_and(|meta| !meta.is_file());
        if is_other && series.is_rotating() {
            let what = "it is no file, and cannot rotate";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        }
        let output = series.next(series::now())?;
        let mut sink = Self::with_output(output, options)?;
        // There is no second FIFO or device.
        sink.series = series.is_of_files().then_some(series);
        Ok(sink)
    }

    /// A capture into anything that can be written to.
    ///
    /// # Errors
    ///
    /// The options make no valid header.
    pub fn new(output: impl Write + Send + 'static, options: PcapngOptions) -> io::Result<Self> {
        Self::with_output(Box::new(Stream::new(output)), options)
    }

    fn with_output(output: Box<dyn Output>, options: PcapngOptions) -> io::Result<Self> {
        let PcapngOptions {
            legs,
            segment_size,
            snaplen,
            comment,
            tls_keylog,
            isn_seed,
            environment,
        } = options;
        let preamble = Preamble { legs, snaplen, comment, environment };
        let secrets = tls_keylog.map(Secrets::new);
        let mut sink = Self {
            conversations: conversations(ConversationConfig { legs, segment_size }, isn_seed),
            segment_size,
            section: Section::begin(preamble.clone())?,
            preamble,
            output,
            series: None,
            file_bytes: 0,
            first_bytes: 0,
            secrets,
            stop_after: StopAfter::default(),
            on_stop: None,
            stopped: false,
            rotate: RotateHandle::default(),
            stats: CaptureStats::default(),
            held: Held::default(),
            last: Timestamp(0),
            flushed: Instant::now(),
        };
        sink.reserve_secrets()?;
        sink.first_bytes = sink.bytes();
        Ok(sink)
    }

    /// Ends the capture at `limit`; `on_stop` is called then, once, on the sink's thread.
    #[must_use]
    pub fn stop_after(mut self, limit: StopAfter, on_stop: impl FnOnce() + Send + 'static) -> Self {
        self.stop_after = limit;
        self.on_stop = Some(Box::new(on_stop));
        self
    }

    /// What the capture holds, also after the sink was given away.
    pub fn stats(&self) -> CaptureStats {
        self.stats.clone()
    }

    /// What begins a new file, also after the sink was given away. `None` where the capture does
    /// not go to a file.
    pub fn rotate_handle(&self) -> Option<RotateHandle> {
        self.series.is_some().then(|| self.rotate.clone())
    }

    /// Keeps a place for keys at the beginning of a file, because they come too late to stand
    /// before the packets that they decrypt.
    fn reserve_secrets(&mut self) -> io::Result<()> {
        let Some(secrets) = &mut self.secrets else { return Ok(()) };
        let patchable = self.output.patchable();
        secrets.begin_section(self.section.pending(), patchable);
        // The place must be in the file before something is put into it.
        if patchable.is_some() { self.write_out() } else { Ok(()) }
    }

    fn write_out(&mut self) -> io::Result<()> {
        let pending = self.section.pending();
        let len = pending.len();
        let written = if len > 0 { self.output.write(pending) } else { Ok(()) };
        // What is lost, the output knows.
        pending.clear();
        self.count(len);
        written
    }

    /// Counts bytes that the output has taken, and what they hold.
    fn count(&mut self, len: usize) {
        let (held, dropped_bytes) = self.section.take_counts();
        self.held.add(held);
        self.file_bytes += len as u64;
        self.stats.add(held.packets, len as u64, dropped_bytes);
    }

    /// Draws the packets of an event: straight into the output's memory where it has some, and
    /// they need not wait for keys.
    fn draw(&mut self, event: &Event) -> io::Result<()> {
        let room = self.room_for(event);
        let is_direct = self.secrets.is_none() && self.output.memory(room).is_some();
        if is_direct {
            self.write_out()?;
        }
        let memory = if is_direct { self.output.memory(room) } else { None };
        let Some(memory) = memory else {
            return self.conversations.event(event, &mut self.section);
        };
        let before = memory.len();
        // To the section, which only appends to it now, it is what is pending.
        std::mem::swap(memory, self.section.pending());
        let drawn = self.conversations.event(event, &mut self.section);
        std::mem::swap(memory, self.section.pending());
        let len = memory.len() - before;
        self.count(len);
        drawn?;
        self.output.appended()
    }

    /// More than the packets of an event take: their data, and for each segment of it, and for
    /// what else comes with it, a block with headers and comments.
    fn room_for(&self, event: &Event) -> usize {
        const BLOCK: usize = 256;
        let len = if let EventKind::Data { bytes, .. } = &event.kind { bytes.len() } else { 0 };
        len + (len / usize::from(self.segment_size.get()) + 64) * BLOCK
    }

    /// How long the current file is, with what is pending.
    fn bytes(&mut self) -> u64 {
        self.file_bytes + self.section.pending().len() as u64
    }

    /// Does what has come due.
    fn turn(&mut self, now: Timestamp) -> io::Result<()> {
        let (bytes, first) = (self.bytes(), self.first_bytes);
        let due = self.series.as_ref().is_some_and(|series| series.is_due(bytes, first, now));
        if (due || self.rotate.take()) && self.series.is_some() && !self.stopped {
            self.next_file(now)?;
        }
        let all = self.stats.bytes() + self.section.pending().len() as u64;
        let full = self.stop_after.size.is_some_and(|size| all >= size)
            || self.section.packets_left == Some(0);
        if full && !self.stopped {
            self.stopped = true;
            if let Some(on_stop) = self.on_stop.take() {
                on_stop();
            }
        }
        let pending = self.section.pending().len();
        if pending >= HELD_MAX || pending >= BATCH && !self.update_secrets(now)? {
            self.write_out()?;
        }
        Ok(())
    }

    /// Completes this file and goes on in the next, which stands alone.
    fn next_file(&mut self, now: Timestamp) -> io::Result<()> {
        self.update_secrets(Timestamp(u64::MAX))?;
        self.conversations.settle(&mut self.section)?;
        self.section.end()?;
        self.write_out()?;
        self.output.finish()?;
        if let Some(series) = &mut self.series {
            self.output = series.next(now)?;
        }
        self.file_bytes = 0;
        let left = self.section.packets_left;
        self.section = Section::begin(self.preamble.clone())?;
        self.section.packets_left = left;
        self.reserve_secrets()?;
        self.conversations.renumber();
        self.conversations.resume(&mut self.section)?;
        self.first_bytes = self.bytes();
        Ok(())
    }

    /// Brings new keys into the capture; whether packets should wait for more.
    fn update_secrets(&mut self, now: Timestamp) -> io::Result<bool> {
        let Some(secrets) = &mut self.secrets else { return Ok(false) };
        // Before all packets that wait for them.
        let at = if self.file_bytes == 0 { self.section.header_len() } else { 0 };
        let pending = self.section.pending();
        let wait = secrets.update(now, pending, at, &mut *self.output)?;
        if secrets.reserve(pending, self.output.patchable()) {
            self.write_out()?;
        }
        Ok(wait)
    }
}

impl Sink for PcapngSink {
    fn record(&mut self, event: &Event) -> io::Result<()> {
        self.last = event.time;
        if self.section.packets_left.is_none() {
            self.section.packets_left = self.stop_after.packets;
        }
        if let Some(secrets) = &mut self.secrets {
            secrets.watch(event);
        }
        if !self.stopped {
            self.draw(event)?;
        }
        self.turn(event.time)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.flushed.elapsed() < FLUSH_PACE || self.update_secrets(self.last)? {
            return Ok(());
        }
        // A tick with nothing to write shall not keep back what is said just after it.
        if !self.section.pending().is_empty() {
            self.flushed = Instant::now();
            self.write_out()?;
        }
        self.output.flush()
    }

    fn tick(&mut self, now: Timestamp) -> io::Result<()> {
        self.last = now;
        self.turn(now)?;
        self.flush()
    }

    fn finish(&mut self) -> io::Result<()> {
        self.update_secrets(Timestamp(u64::MAX))?;
        self.section.end()?;
        self.write_out()?;
        self.output.finish()
    }

    fn salvage(&mut self) -> Option<Kept> {
        let mut lost = self.output.salvage();
        lost.append(self.section.pending());
        self.count(0);
        let held = self.held.without(blocks::held(&lost, self.preamble.legs));
        self.stats.set_packets(held.packets);
        let [client_to_server, server_to_client] = held.payload;
        Some(Kept { client_to_server, server_to_client })
    }

    fn interest(&self) -> Interest {
        Interest::ALL
    }

    fn wants_ticks(&self) -> bool {
        true
    }
}

/// Conversations with numbers that nobody can guess from those before, from the standard
/// library's hash keys; or with such that a seed fixes, the same with every version of Rust.
fn conversations(config: ConversationConfig, isn_seed: Option<u64>) -> Conversations {
    let mut count = 0_u64;
    let isn: Box<dyn FnMut() -> u32 + Send> = if let Some(seed) = isn_seed {
        // Knuth's multiplicative hash: neighbours come to lie far apart.
        Box::new(move || {
            count += 1;
            (seed.wrapping_add(count).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as u32
        })
    } else {
        let keys = RandomState::new();
        Box::new(move || {
            count += 1;
            keys.hash_one(count) as u32
        })
    };
    Conversations::new(config, isn)
}
