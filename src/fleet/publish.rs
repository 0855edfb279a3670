//! The sink that publishes events.

use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::origin::{Kind, Origin};
use super::outbox::{Outbox, Parcel};
use super::server::Server;
use super::ship;
use super::spill::Spill;
use super::wire::BatchEncoder;
use crate::event::{Direction, Event, EventKind, Leg, Timestamp, View, Views};
use crate::sink::{Interest, Kept, Sink};

/// A batch is sent when it has come to this size, before compression, or this age.
const BATCH_BYTES: usize = 256 << 10;
const BATCH_AGE: Duration = Duration::from_millis(200);
/// How many bytes of batches may wait for their acknowledgment in memory; and on disk.
const WINDOW_BYTES: usize = 32 << 20;
const SPILL_BYTES: usize = 4 << 30;
/// How long the server may acknowledge nothing at the end.
const LINGER: Duration = Duration::from_secs(5);

/// Where and as what events are published.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PublishOptions {
    /// The server.
    pub server: Server,
    /// The group of hosts that this one belongs to.
    pub site: String,
    /// The host's name; that of this machine by default.
    pub host: String,
    /// Where batches are kept until the server has acknowledged them, up to 4 GiB. Without it, 32
    /// MiB are kept in memory.
    pub spill: Option<PathBuf>,
}

impl PublishOptions {
    /// Publishes to a server, as this machine on the site `default`.
    pub fn new(server: Server) -> Self {
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        Self { server, site: "default".to_owned(), host, spill: None }
    }
}

/// A sink that publishes events to NATS JetStream.
///
/// It takes no events while more waits for the server's acknowledgment than there is room for, so
/// that its queue's rules hold. JetStream acknowledges what its file system has taken, which it
/// syncs to the disk every two minutes unless it is configured otherwise.
pub struct PublishSink {
    origin: Origin,
    outbox: Arc<Outbox>,
    spill: Option<Spill>,
    data: Stream,
    keys: Stream,
    recorded: Kept,
}

/// The batches of one kind.
struct Stream {
    kind: Kind,
    encoder: BatchEncoder,
    /// The number of the last batch.
    number: u64,
    /// When the first event came of the batch under way.
    began: Option<Instant>,
    /// How much data of clients and of servers is in it.
    data: [u64; 2],
}

impl Stream {
    fn new(kind: Kind) -> Self {
        Self { kind, encoder: BatchEncoder::default(), number: 0, began: None, data: [0; 2] }
    }

    fn push(&mut self, event: &Event) {
        self.began.get_or_insert_with(Instant::now);
        self.encoder.push(event);
        if let Some((direction, len)) = data_of(event) {
            self.data[direction as usize] += len;
        }
    }
}

impl PublishSink {
    /// Publishes to a server, which need not be there yet. What an earlier run has left on disk
    /// comes first.
    ///
    /// # Errors
    ///
    /// The spill folder cannot be used, or no thread be started.
    pub fn new(options: &PublishOptions) -> io::Result<Self> {
        let outbox = Arc::new(Outbox::default());
        let spill = options.spill.as_deref().map(Spill::open).transpose()?;
        if let Some(spill) = &spill {
            spill.left()?.into_iter().for_each(|parcel| outbox.add(parcel));
        }
        let (server, shared) = (options.server.clone(), Arc::clone(&outbox));
        std::thread::Builder::new()
            .name("publish".to_owned())
            .spawn(move || ship::run(&server, &shared))?;
        Ok(Self {
            origin: Origin::new_run(&options.site, &options.host),
            outbox,
            spill,
            data: Stream::new(Kind::Data),
            keys: Stream::new(Kind::Keys),
            recorded: Kept::default(),
        })
    }

    /// What its batches say that they come from.
    pub const fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Sends the batch of this kind that is under way.
    fn seal(&mut self, kind: Kind) -> io::Result<()> {
        let Self { origin, outbox, spill, data, keys, .. } = self;
        let stream = if kind == Kind::Data { data } else { keys };
        stream.began = None;
        if stream.encoder.is_empty() {
            return Ok(());
        }
        stream.number += 1;
        let payload = stream.encoder.seal(stream.number)?;
        let mut parcel = Parcel {
            subject: origin.subject(stream.kind),
            id: origin.message_id(stream.kind, stream.number),
            len: payload.len(),
            payload: None,
            file: None,
            data: std::mem::take(&mut stream.data),
        };
        if let Some(spill) = spill {
            spill.keep(&mut parcel, &payload)?;
        }
        // What is on disk need not be in memory too, when the server is behind.
        if parcel.file.is_none() || outbox.bytes() < WINDOW_BYTES {
            parcel.payload = Some(Bytes::from(payload));
        }
        outbox.add(parcel);
        Ok(())
    }

    fn push(&mut self, event: &Event) -> io::Result<()> {
        let is_secret = matches!(event.kind, EventKind::Secrets(_));
        let stream = if is_secret { &mut self.keys } else { &mut self.data };
        stream.push(event);
        let (kind, len) = (stream.kind, stream.encoder.len());
        // Packets wait for secrets, but not long.
        if is_secret || len >= BATCH_BYTES { self.seal(kind) } else { Ok(()) }
    }
}

impl Sink for PublishSink {
    fn record(&mut self, event: &Event) -> io::Result<()> {
        if let Some((direction, len)) = data_of(event) {
            *self.recorded.get_mut(direction) += len;
        }
        let EventKind::Data { direction, leg, view, offset, bytes } = &event.kind else {
            return self.push(event);
        };
        // A batch is to fit into a message.
        let (direction, leg, view) = (*direction, *leg, *view);
        for start in (0..bytes.len()).step_by(BATCH_BYTES) {
            let part = bytes.slice(start..bytes.len().min(start + BATCH_BYTES));
            let offset = offset + start as u64;
            let kind = EventKind::Data { direction, leg, view, offset, bytes: part };
            self.push(&Event { kind, ..event.clone() })?;
        }
        Ok(())
    }

    fn ready(&mut self, limit: Duration) -> io::Result<bool> {
        let most = if self.spill.is_some() { SPILL_BYTES } else { WINDOW_BYTES };
        self.outbox.wait_below(most, limit)
    }

    fn tick(&mut self, _: Timestamp) -> io::Result<()> {
        if self.data.began.is_some_and(|began| began.elapsed() >= BATCH_AGE) {
            self.seal(Kind::Data)?;
        }
        self.outbox.wait_below(usize::MAX, Duration::ZERO).map(drop)
    }

    fn finish(&mut self) -> io::Result<()> {
        self.seal(Kind::Keys)?;
        self.data.encoder.push_end();
        self.seal(Kind::Data)?;
        let is_all = self.outbox.wait_until_empty(LINGER)?;
        if is_all || self.spill.is_some() {
            return Ok(());
        }
        let why = "the server did not acknowledge all batches";
        Err(io::Error::new(ErrorKind::TimedOut, why))
    }

    fn salvage(&mut self) -> Option<Kept> {
        let at_risk = self.outbox.data_at_risk();
        let mut kept = self.recorded;
        for direction in [Direction::ClientToServer, Direction::ServerToClient] {
            let lost = at_risk[direction as usize] + self.data.data[direction as usize];
            let sum = kept.get_mut(direction);
            *sum = sum.saturating_sub(lost);
        }
        Some(kept)
    }

    fn interest(&self) -> Interest {
        Interest::RECEIVED.views(Views::Both).process()
    }

    fn wants_ticks(&self) -> bool {
        true
    }
}

impl Drop for PublishSink {
    fn drop(&mut self) {
        self.outbox.close();
    }
}

/// The data that an event brings, each byte once.
fn data_of(event: &Event) -> Option<(Direction, u64)> {
    match &event.kind {
        EventKind::Data { direction, leg: Leg::Received, view: View::Wire, bytes, .. } => {
            Some((*direction, bytes.len() as u64))
        }
        _ => None,
    }
}
