//! Parquet tables of what many hosts publish: `connections` and `chunks`.
//!
//! Each message of the stream is in them exactly once. Files are written under other names, then
//! renamed, and then the progress is noted: what a crash leaves half is removed by the next run,
//! which reads it again.

mod progress;
mod rows;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::DateTime;

use self::progress::Progress;
use self::rows::{ChunkRow, Chunks, ConnectionRow, Connections};
use super::origin::Origin;
use super::wire::{Batch, Known, Record};
use crate::event::{ConnectionId, Event, EventKind, Open, Timestamp, Tls};

/// The folders of both tables.
const TABLES: [&str; 2] = ["connections", "chunks"];

/// Tables in a folder.
pub(super) struct Tables {
    folder: PathBuf,
    progress: Progress,
    /// Rows that are not written, by the day and the host.
    partitions: BTreeMap<(String, Arc<str>), Partition>,
    open: HashMap<Origin, HashMap<ConnectionId, OpenConnection>>,
    /// How many bytes of data are in the rows.
    bytes: usize,
    /// The first message that is in the rows.
    first: Option<u64>,
}

#[derive(Default)]
struct Partition {
    connections: Option<Connections>,
    chunks: Option<Chunks>,
}

/// What is known of a connection that has not closed.
struct OpenConnection {
    known: Known,
    tls: Option<Arc<Tls>>,
}

/// Whether a batch was new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Added {
    Yes,
    Duplicate,
}

impl Tables {
    /// Tables in a folder, which is made if it is not there. What a run before has left half is
    /// removed.
    pub(super) fn open(folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let progress = Progress::read(folder)?;
        for table in TABLES {
            remove_unfinished(&folder.join(table), progress.sequence)?;
        }
        Ok(Self {
            folder: folder.to_owned(),
            progress,
            partitions: BTreeMap::new(),
            open: HashMap::new(),
            bytes: 0,
            first: None,
        })
    }

    /// The last message that is in the tables, if there is any.
    pub(super) fn sequence(&self) -> Option<u64> {
        Some(self.progress.sequence).filter(|sequence| *sequence > 0)
    }

    /// How many bytes of data wait to be written.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds a batch, which was this message of the stream.
    pub(super) fn add(&mut self, origin: &Origin, batch: Batch, sequence: u64) -> Added {
        self.progress.sequence = self.progress.sequence.max(sequence);
        self.first.get_or_insert(sequence);
        if !self.progress.add(origin, batch.number) {
            return Added::Duplicate;
        }
        for record in batch.records {
            match record {
                Record::Event(event) => self.event(origin, &event),
                Record::Known(known) => {
                    let open = self.open.entry(origin.clone()).or_default();
                    let new = |known| OpenConnection { known, tls: None };
                    open.entry(known.connection).or_insert_with(|| new(known));
                }
                Record::End => drop(self.open.remove(origin)),
            }
        }
        Added::Yes
    }

    fn event(&mut self, origin: &Origin, event: &Event) {
        let (id, time) = (event.connection, event.time);
        match &event.kind {
            EventKind::Open(open) => {
                let (open, connected) = (Arc::clone(open), None);
                let known = Known { connection: id, opened: time, open, connected, said: [0; 2] };
                let open = self.open.entry(origin.clone()).or_default();
                open.insert(id, OpenConnection { known, tls: None });
            }
            EventKind::Connected(connected) => {
                if let Some(open) = self.opened(origin, id) {
                    open.known.connected = Some((time, Arc::clone(connected)));
                }
            }
            EventKind::Tls(tls) => {
                if let Some(open) = self.opened(origin, id) {
                    open.tls = Some(Arc::clone(tls));
                }
            }
            EventKind::Data { direction, view, offset, bytes, .. } => {
                let (direction, view, offset) = (*direction, *view, *offset);
                let row = ChunkRow { conn: id, time, direction, view, offset, data: bytes };
                let chunks = &mut self.partition(origin, time).chunks;
                chunks.get_or_insert_default().push(origin, row);
                self.bytes += bytes.len();
            }
            EventKind::Close { .. } => self.close(origin, event),
            EventKind::Process(process) => {
                if let Some(open) = self.opened(origin, id) {
                    let with_process = Open::clone(&open.known.open).process(process.clone());
                    open.known.open = Arc::new(with_process);
                }
            }
            EventKind::Shutdown { .. }
            | EventKind::Secrets(_)
            | EventKind::Info(_)
            | EventKind::Verdict(_) => {}
        }
    }

    fn opened(&mut self, origin: &Origin, id: ConnectionId) -> Option<&mut OpenConnection> {
        self.open.get_mut(origin)?.get_mut(&id)
    }

    /// A connection has a row when it has closed.
    fn close(&mut self, origin: &Origin, event: &Event) {
        let EventKind::Close { reason, totals } = &event.kind else { return };
        let open = self.open.get_mut(origin).and_then(|open| open.remove(&event.connection));
        let Some(OpenConnection { known, tls }) = open else { return };
        let Known { open, connected, .. } = &known;
        let server = connected.as_ref().map(|(_, connected)| &connected.server);
        let tls = tls.as_deref();
        let row = ConnectionRow {
            conn: event.connection,
            client: open.client.to_string(),
            server: server.or(open.server.as_ref()).map(ToString::to_string),
            target: &open.target,
            process: open.process.as_ref().map(|process| (&*process.name, process.pid)),
            opened: known.opened,
            connected: connected.as_ref().map(|(time, _)| *time),
            closed: event.time,
            reason: reason.name(),
            closed_by: reason.by().map(|side| side.name()),
            bytes: [totals.client_to_server.received, totals.server_to_client.received],
            tls: [
                tls.and_then(|tls| tls.version.as_deref()),
                tls.and_then(|tls| tls.sni.as_deref()),
                tls.and_then(|tls| tls.alpn.as_deref()),
            ],
        };
        let connections = &mut self.partition(origin, event.time).connections;
        connections.get_or_insert_default().push(origin, row);
    }

    fn partition(&mut self, origin: &Origin, time: Timestamp) -> &mut Partition {
        let (seconds, _) = time.seconds_and_nanos();
        let day = DateTime::from_timestamp(seconds.cast_signed(), 0).unwrap_or_default();
        let day = day.format("%Y-%m-%d").to_string();
        self.partitions.entry((day, Arc::clone(&origin.host))).or_default()
    }

    /// Writes all rows to disk, and how far that is.
    pub(super) fn commit(&mut self) -> io::Result<()> {
        let Some(first) = self.first.take() else { return Ok(()) };
        let name = format!("{first:012}-{:012}.parquet", self.progress.sequence);
        let mut written = Vec::new();
        for ((day, host), partition) in std::mem::take(&mut self.partitions) {
            let place = format!("date={day}/host={host}");
            if let Some(mut rows) = partition.connections {
                let (part, file, path) = self.part("connections", &place, &name)?;
                rows.write(file).map_err(io::Error::other)?;
                written.push((part, path));
            }
            if let Some(mut rows) = partition.chunks {
                let (part, file, path) = self.part("chunks", &place, &name)?;
                rows.write(file).map_err(io::Error::other)?;
                written.push((part, path));
            }
        }
        self.bytes = 0;
        written.into_iter().try_for_each(|(part, path)| fs::rename(part, path))?;
        self.progress.write(&self.folder)
    }

    /// A new file of a table, and the name that it will have.
    fn part(&self, table: &str, place: &str, name: &str) -> io::Result<(PathBuf, File, PathBuf)> {
        let path = self.folder.join(table).join(place).join(name);
        let part = path.with_extension("part");
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let file = File::create(&part)?;
        Ok((part, file, path))
    }
}

/// Removes what is not whole, or has messages after `sequence`, in a table and all below.
fn remove_unfinished(folder: &Path, sequence: u64) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            remove_unfinished(&path, sequence)?;
            continue;
        }
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let last = name.strip_suffix(".parquet").and_then(|name| name.split_once('-'));
        let last = last.and_then(|(_, last)| last.parse::<u64>().ok());
        if name.ends_with(".part") || last.is_some_and(|last| last > sequence) {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}
