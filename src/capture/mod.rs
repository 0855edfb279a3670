//! The capture: a pcapng file that Wireshark opens as clean TCP conversations.
//!
//! [`PcapngSink`] writes to a file, a series of files, a FIFO or anything else that can be
//! written to; [`PcapOverIpSink`] to whoever connects; [`PcapPushSink`] to a collector that it
//! connects to.

mod aligned_buffer;
mod background_writer;
mod blocks;
mod compress;
mod direct_file;
mod encoder;
mod fifo;
#[cfg(feature = "fleet")]
mod merged;
mod open;
mod options;
mod output;
mod over_ip;
mod push;
mod reader;
mod reserved_space;
mod secrets;
mod secrets_block;
mod section;
mod series;

use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, Instant};

#[cfg(feature = "fleet")]
pub(crate) use self::merged::MergedCapture;
pub use self::options::{
    CaptureStats, Environment, PcapngOptions, RotateHandle, Rotation, SNAPLEN, StopAfter,
};
pub use self::over_ip::PcapOverIpSink;
pub use self::push::PcapPushSink;

use self::encoder::Encoder;
use self::output::{Output, Stream};
use self::secrets::{KeySpace, Keys, Wait};
use self::series::Series;
use crate::event::{Event, Timestamp};
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
    encoder: Encoder,
    /// Blocks that the output does not have yet.
    pending: Vec<u8>,
    output: Box<dyn Output>,
    /// Where the files come from, if it is files.
    series: Option<Series>,
    /// Bytes of the current file.
    file_bytes: u64,
    /// Of these, what it began with: headers, room for keys, handshakes of open connections.
    first_bytes: u64,
    stop_after: StopAfter,
    on_stop: Option<OnStop>,
    stopped: bool,
    rotate: RotateHandle,
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
        let mut sink = Self {
            encoder: Encoder::new(options)?,
            pending: Vec::new(),
            output,
            series: None,
            file_bytes: 0,
            first_bytes: 0,
            stop_after: StopAfter::default(),
            on_stop: None,
            stopped: false,
            rotate: RotateHandle::default(),
            last: Timestamp(0),
            flushed: Instant::now(),
        };
        sink.begin_section()?;
        sink.first_bytes = sink.bytes();
        Ok(sink)
    }

    /// Ends the capture at `limit`; `on_stop` is called then, once, on the sink's thread.
    #[must_use]
    pub fn stop_after(mut self, limit: StopAfter, on_stop: impl FnOnce() + Send + 'static) -> Self {
        self.encoder.limit_packets(limit.packets);
        self.stop_after = limit;
        self.on_stop = Some(Box::new(on_stop));
        self
    }

    /// What the capture holds, also after the sink was given away.
    pub fn stats(&self) -> CaptureStats {
        self.encoder.stats()
    }

    /// What begins a new file, also after the sink was given away. `None` where the capture does
    /// not go to a file.
    pub fn rotate_handle(&self) -> Option<RotateHandle> {
        self.series.is_some().then(|| self.rotate.clone())
    }

    /// Begins a section at the beginning of a file.
    fn begin_section(&mut self) -> io::Result<()> {
        let place = self.output.next_place();
        match self.encoder.begin_section(&mut self.pending, place) {
            KeySpace::Appended => self.write_out(),
            KeySpace::Unchanged => Ok(()),
        }
    }

    fn write_out(&mut self) -> io::Result<()> {
        let len = self.pending.len();
        let written = if len > 0 { self.output.write(&self.pending) } else { Ok(()) };
        // What is lost, the output knows.
        self.pending.clear();
        self.encoder.count(len);
        self.file_bytes += len as u64;
        written
    }

    /// Writes the packets of an event: straight into the output's buffer where it has one, and
    /// they need not wait for keys.
    fn encode(&mut self, event: &Event) -> io::Result<()> {
        let room = self.encoder.room_for(event) + self.pending.len();
        let Self { encoder, pending, output, file_bytes, .. } = self;
        let own_buffer = if encoder.has_secrets() { None } else { output.own_buffer() };
        let Some(buffer) = own_buffer else { return encoder.record(event, pending) };
        buffer.append(room, &mut |blocks| {
            let before = blocks.len();
            blocks.append(pending);
            let recorded = encoder.record(event, blocks);
            let len = blocks.len() - before;
            encoder.count(len);
            *file_bytes += len as u64;
            recorded
        })
    }

    /// How long the current file is, with what is pending.
    const fn bytes(&self) -> u64 {
        self.file_bytes + self.pending.len() as u64
    }

    /// Does what has come due.
    fn turn(&mut self, now: Timestamp) -> io::Result<()> {
        let (bytes, first) = (self.bytes(), self.first_bytes);
        let due = self.series.as_ref().is_some_and(|series| series.is_due(bytes, first, now));
        if (due || self.rotate.take()) && self.series.is_some() && !self.stopped {
            self.next_file(now)?;
        }
        let all = self.encoder.stats().bytes() + self.pending.len() as u64;
        let full = self.stop_after.size.is_some_and(|size| all >= size) || self.encoder.is_full();
        if full && !self.stopped {
            self.stopped = true;
            if let Some(on_stop) = self.on_stop.take() {
                on_stop();
            }
        }
        let pending = self.pending.len();
        if pending >= HELD_MAX
            || pending >= BATCH && self.update_secrets(Wait::UntilDue(now))? == Keys::NotAwaited
        {
            self.write_out()?;
        }
        Ok(())
    }

    /// Completes this file and goes on in the next, which stands alone.
    fn next_file(&mut self, now: Timestamp) -> io::Result<()> {
        self.update_secrets(Wait::NoLonger)?;
        self.encoder.flush_acks(&mut self.pending)?;
        self.encoder.end(&mut self.pending)?;
        self.write_out()?;
        self.output.finish()?;
        if let Some(series) = &mut self.series {
            self.output = series.next(now)?;
        }
        self.file_bytes = 0;
        self.begin_section()?;
        self.encoder.continue_connections(&mut self.pending)?;
        self.first_bytes = self.bytes();
        Ok(())
    }

    /// Brings new keys into the capture.
    fn update_secrets(&mut self, wait: Wait) -> io::Result<Keys> {
        let keys = self.encoder.update_secrets(wait, &mut self.pending, Some(&mut *self.output))?;
        match self.encoder.reserve_secrets(&mut self.pending, self.output.next_place()) {
            KeySpace::Appended => self.write_out()?,
            KeySpace::Unchanged => {}
        }
        Ok(keys)
    }
}

impl Sink for PcapngSink {
    fn record(&mut self, event: &Event) -> io::Result<()> {
        self.last = event.time;
        self.encoder.observe(event);
        if !self.stopped {
            self.encode(event)?;
        }
        self.turn(event.time)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.flushed.elapsed() < FLUSH_PACE
            || self.update_secrets(Wait::UntilDue(self.last))? == Keys::Awaited
        {
            return Ok(());
        }
        // A tick with nothing to write shall not keep back what is said just after it.
        if !self.pending.is_empty() {
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
        self.update_secrets(Wait::NoLonger)?;
        self.encoder.end(&mut self.pending)?;
        self.write_out()?;
        self.output.finish()
    }

    fn salvage(&mut self) -> Option<Kept> {
        let mut lost = self.output.salvage();
        lost.append(&mut self.pending);
        let [client_to_server, server_to_client] = self.encoder.discount(&lost).payload;
        Some(Kept { client_to_server, server_to_client })
    }

    fn interest(&self) -> Interest {
        self.encoder.interest()
    }

    fn wants_ticks(&self) -> bool {
        true
    }
}
