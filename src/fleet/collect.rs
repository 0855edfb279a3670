//! Reads what many hosts publish, and writes one capture.

use std::collections::HashMap;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use super::merge::{Item, Merge, MergeOptions, Notice, is_of_the_wire};
use super::origin::{Kind, Origin};
use super::read::{self, Arrived, Selection, Since};
use super::server::Server;
use super::wire::{Batch, Known, Record};
use tokio::sync::watch;

use crate::capture::{CaptureStats, MergedCapture, PcapngOptions};
use crate::event::{Event, EventKind, Timestamp};

/// How many batches may wait to be merged.
const QUEUE: usize = 64;
/// How often what was captured is written.
const TURN: Duration = Duration::from_millis(50);
/// How long packets wait for secrets that may be on their way.
const HOLD: Duration = Duration::from_millis(300);

/// What is collected.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CollectorOptions {
    /// The server.
    pub server: Server,
    /// Only hosts of this site; of all sites by default.
    pub site: Option<String>,
    /// Only this host; all by default.
    pub host: Option<String>,
    /// From when on; from the first that the server has by default.
    pub since: Since,
    /// Leave out what happened from then on.
    pub until: Option<Timestamp>,
    /// Whether to go on with what comes when all is read.
    pub follow: bool,
    /// How long a host that is silent holds back the others at most; one second by default.
    pub max_delay: Duration,
}

impl CollectorOptions {
    /// Collects all that a server has.
    pub const fn new(server: Server) -> Self {
        let max_delay = Duration::from_secs(1);
        Self {
            server,
            site: None,
            host: None,
            since: Since::Start,
            until: None,
            follow: false,
            max_delay,
        }
    }
}

/// What was collected.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Collected {
    /// Batches that were read, those that came twice not counted.
    pub batches: u64,
    /// Batches that came once more.
    pub duplicates: u64,
    /// Batches that did not come.
    pub lost_batches: u64,
    /// Bytes of connections that no batch has.
    pub missing_bytes: u64,
    /// Packets that the capture holds.
    pub packets: u64,
}

/// Ends a [`Collector`]; clones end the same.
#[derive(Clone, Debug, Default)]
pub struct StopHandle(Arc<watch::Sender<bool>>);

impl StopHandle {
    /// Completes the capture with what has come.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }

    pub(super) const fn flag(&self) -> &Arc<watch::Sender<bool>> {
        &self.0
    }
}

/// Reads what hosts publish, puts it in the order of time, and captures it.
pub struct Collector {
    options: CollectorOptions,
    capture: MergedCapture,
    merge: Merge,
    /// By site, host and worker.
    interfaces: HashMap<(Arc<str>, Arc<str>, u32), usize>,
    stop: StopHandle,
    collected: Collected,
}

impl Collector {
    /// Captures into a file.
    ///
    /// # Errors
    ///
    /// The file cannot be created.
    pub fn to_file(
        options: CollectorOptions,
        path: impl AsRef<Path>,
        pcapng: PcapngOptions,
    ) -> io::Result<Self> {
        MergedCapture::create(path.as_ref(), pcapng).map(|capture| Self::new(options, capture))
    }

    /// Captures into anything that can be written to.
    ///
    /// # Errors
    ///
    /// The options make no valid header.
    pub fn to_writer(
        options: CollectorOptions,
        output: impl Write + Send + 'static,
        pcapng: PcapngOptions,
    ) -> io::Result<Self> {
        MergedCapture::new(output, pcapng).map(|capture| Self::new(options, capture))
    }

    fn new(options: CollectorOptions, capture: MergedCapture) -> Self {
        let merge = Merge::new(MergeOptions {
            max_delay: options.max_delay,
            hold: if options.follow { HOLD } else { Duration::ZERO },
            is_from_start: options.since == Since::Start,
        });
        let (interfaces, stop, collected) = Default::default();
        Self { options, capture, merge, interfaces, stop, collected }
    }

    /// What ends it, from any thread.
    pub fn stop_handle(&self) -> StopHandle {
        self.stop.clone()
    }

    /// What the capture holds, also while it runs.
    pub fn stats(&self) -> CaptureStats {
        self.capture.stats()
    }

    /// Collects until all is read, or it is stopped.
    ///
    /// # Errors
    ///
    /// The server refuses us, has no such batches, or the capture cannot be written. What it holds
    /// then is complete up to there.
    pub fn run(mut self) -> io::Result<Collected> {
        let (to, arriving) = sync_channel(QUEUE);
        let CollectorOptions { server, site, host, since, follow, .. } = self.options.clone();
        let (kinds, after) = (&Kind::ALL, None);
        let selection = Selection { site, host, since, follow, kinds, after };
        let stop = Arc::clone(self.stop.flag());
        let reader = std::thread::Builder::new()
            .name("collect".to_owned())
            .spawn(move || read::run(&server, &selection, &to, &stop))?;
        let written = self.take_all(&arriving).and_then(|()| self.capture.finish());
        // The reader ends when nobody takes what it reads.
        drop(arriving);
        self.stop.stop();
        let read = reader.join().unwrap_or_else(|_| Err("the reader panicked".to_owned()));
        written?;
        read.map_err(io::Error::other)?;
        self.collected.duplicates = self.merge.duplicates();
        self.collected.packets = self.capture.stats().packets();
        Ok(self.collected)
    }

    /// Captures what arrives, until nothing does any more.
    fn take_all(&mut self, arriving: &Receiver<Arrived>) -> io::Result<()> {
        let mut written = Instant::now();
        loop {
            match arriving.recv_timeout(TURN) {
                Ok(Arrived { origin, kind: Kind::Data, batch, .. }) => {
                    self.collected.batches += 1;
                    self.merge.push(&origin, batch, Instant::now());
                }
                Ok(Arrived { batch, .. }) => self.take_secrets(batch),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            let now = Instant::now();
            self.merge.give_up(now, false);
            self.write(now, false)?;
            if written.elapsed() >= TURN {
                self.capture.flush()?;
                written = Instant::now();
            }
        }
        let now = Instant::now();
        self.merge.give_up(now, true);
        self.write(now, true)
    }

    fn take_secrets(&mut self, batch: Batch) {
        for record in batch.records {
            if let Record::Event(Event { kind: EventKind::Secrets(lines), .. }) = record {
                self.capture.add_secrets(&lines);
            }
        }
    }

    /// Captures the events whose time has come.
    fn write(&mut self, now: Instant, is_over: bool) -> io::Result<()> {
        while let Some((origin, item)) = self.merge.pop(now, is_over) {
            let interface = self.interface_of(&origin)?;
            match item {
                Item::Event(event) => self.event(interface, &event)?,
                Item::Known(known) => self.known(interface, known)?,
            }
        }
        for notice in self.merge.take_notices() {
            match notice {
                Notice::Lost(lost) => {
                    let (first, last) = lost.batches.clone().into_inner();
                    self.collected.lost_batches += last - first + 1;
                    tracing::warn!("{lost}");
                }
                Notice::Gap(gap) => {
                    self.collected.missing_bytes += gap.bytes.end - gap.bytes.start;
                    tracing::warn!("{gap}");
                }
            }
        }
        Ok(())
    }

    fn event(&mut self, interface: usize, event: &Event) -> io::Result<()> {
        let is_late = self.options.until.is_some_and(|until| event.time >= until);
        if is_late || !is_of_the_wire(event) {
            return Ok(());
        }
        self.capture.record(interface, event)
    }

    /// Opens a connection that has been open for longer.
    fn known(&mut self, interface: usize, known: Known) -> io::Result<()> {
        let Known { connection, opened, open, connected, said } = known;
        let time = opened;
        self.event(interface, &Event { connection, time, kind: EventKind::Open(open) })?;
        if let Some((time, connected)) = connected {
            let kind = EventKind::Connected(connected);
            self.event(interface, &Event { connection, time, kind })?;
        }
        self.capture.begin_at(connection, said);
        Ok(())
    }

    /// The interface of a worker of a host, whatever its run.
    fn interface_of(&mut self, origin: &Origin) -> io::Result<usize> {
        let key = (Arc::clone(&origin.site), Arc::clone(&origin.host), origin.worker);
        if let Some(interface) = self.interfaces.get(&key) {
            return Ok(*interface);
        }
        let Origin { site, host, worker, .. } = origin;
        let description = format!("client to upstream of worker {worker} on {host}, site {site}");
        let name = format!("{site}/{host}/w{worker}");
        let interface = self.capture.add_interface(&name, &description)?;
        self.interfaces.insert(key, interface);
        Ok(interface)
    }
}
