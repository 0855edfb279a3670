//! Reads what many hosts publish, and writes tables.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use super::collect::{Collected, CollectorOptions, StopHandle};
use super::origin::Kind;
use super::read::{self, Arrived, Selection};
use super::tables::{Added, Tables};

/// How many batches may wait to be written.
const QUEUE: usize = 64;
const TURN: Duration = Duration::from_millis(100);
/// A new file begins after this many bytes of data, or after this time.
const BYTES: usize = 64 << 20;
const AGE: Duration = Duration::from_secs(60);

/// Reads what hosts publish, and writes Parquet tables of it.
///
/// The folder has `connections/date=…/host=…/*.parquet`, with a row for each connection that has
/// closed, and `chunks/…`, with a row for each piece of data. Each batch is in them exactly once: a
/// run goes on where the one before it stopped or crashed.
pub struct Archive {
    options: CollectorOptions,
    tables: Tables,
    stop: StopHandle,
    collected: Collected,
}

impl Archive {
    /// Tables in `folder`.
    ///
    /// # Errors
    ///
    /// The folder cannot be made or read.
    pub fn new(options: CollectorOptions, folder: impl AsRef<Path>) -> io::Result<Self> {
        let tables = Tables::open(folder.as_ref())?;
        let (stop, collected) = Default::default();
        Ok(Self { options, tables, stop, collected })
    }

    /// What ends it, from any thread.
    pub fn stop_handle(&self) -> StopHandle {
        self.stop.clone()
    }

    /// Writes until all is read, or it is stopped.
    ///
    /// # Errors
    ///
    /// The server refuses us, has no such batches, or a file cannot be written.
    pub fn run(mut self) -> io::Result<Collected> {
        let (to, arriving) = sync_channel(QUEUE);
        let CollectorOptions { server, site, host, since, follow, .. } = self.options.clone();
        let after = self.tables.sequence();
        let selection = Selection { site, host, since, follow, kinds: &[Kind::Data], after };
        let stop = Arc::clone(self.stop.flag());
        let reader = std::thread::Builder::new()
            .name("collect".to_owned())
            .spawn(move || read::run(&server, &selection, &to, &stop))?;
        let written = self.take_all(&arriving);
        drop(arriving);
        self.stop.stop();
        let read = reader.join().unwrap_or_else(|_| Err("the reader panicked".to_owned()));
        written?;
        read.map_err(io::Error::other)?;
        Ok(self.collected)
    }

    fn take_all(&mut self, arriving: &Receiver<Arrived>) -> io::Result<()> {
        let mut committed = Instant::now();
        loop {
            match arriving.recv_timeout(TURN) {
                Ok(Arrived { origin, batch, sequence, .. }) => {
                    match self.tables.add(&origin, batch, sequence) {
                        Added::Yes => self.collected.batches += 1,
                        Added::Duplicate => self.collected.duplicates += 1,
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return self.tables.commit(),
            }
            if self.tables.bytes() >= BYTES || committed.elapsed() >= AGE {
                self.tables.commit()?;
                committed = Instant::now();
            }
        }
    }
}
