//! A FIFO, opened when there is a reader: the tunnel must not wait for one.

use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use super::output::{Output, write_whole};
use crate::sink::file::open_fifo;

/// How much is kept while nobody reads yet, before the capture waits.
const KEPT_MAX: usize = 4 << 20;
/// How often a reader is looked for while the capture waits.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// A FIFO, and what is kept for its reader.
pub(super) struct Fifo {
    path: PathBuf,
    open: Option<File>,
    kept: Vec<u8>,
    lost: Vec<u8>,
}

impl Fifo {
    pub(super) const fn new(path: PathBuf) -> Self {
        Self { path, open: None, kept: Vec::new(), lost: Vec::new() }
    }

    /// Something to write to, which may not wait, if the FIFO has a reader.
    fn probe(&self) -> io::Result<Option<File>> {
        match open_fifo(&self.path, libc::O_NONBLOCK) {
            Err(error) if error.raw_os_error() == Some(libc::ENXIO) => Ok(None),
            probe => probe.map(Some),
        }
    }

    /// Opens the FIFO if it has a reader; whether it has.
    fn open(&mut self) -> io::Result<bool> {
        if self.open.is_none() {
            let Some(probe) = self.probe()? else { return Ok(false) };
            // Now that it has a reader, this does not wait; writes to it will.
            let file = open_fifo(&self.path, 0)?;
            drop(probe);
            self.open = Some(file);
            let kept = std::mem::take(&mut self.kept);
            self.send(&kept)?;
        }
        Ok(true)
    }

    fn send(&mut self, blocks: &[u8]) -> io::Result<()> {
        let Some(file) = &mut self.open else { return Err(io::ErrorKind::NotConnected.into()) };
        write_whole(blocks, |rest| file.write(rest)).map_err(|(kept, error)| {
            self.lost.extend_from_slice(&blocks[kept..]);
            error
        })
    }
}

impl Output for Fifo {
    fn write(&mut self, blocks: &[u8]) -> io::Result<()> {
        loop {
            match self.open() {
                Ok(true) => return self.send(blocks),
                Ok(false) => {}
                Err(error) => {
                    self.lost.extend_from_slice(blocks);
                    return Err(error);
                }
            }
            if self.kept.len() < KEPT_MAX {
                self.kept.extend_from_slice(blocks);
                return Ok(());
            }
            std::thread::sleep(LOOK_AGAIN);
        }
    }

    /// Fails, too, where the reader has left, so that this is noticed also while there is nothing
    /// to write.
    fn flush(&mut self) -> io::Result<()> {
        if self.open()? && self.probe()?.is_none() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        if self.open()? {
            return Ok(());
        }
        Err(io::Error::new(io::ErrorKind::NotConnected, "nobody has opened the FIFO to read it"))
    }

    /// What was written to the pipe counts as kept, whether or not its reader has fetched it.
    fn salvage(&mut self) -> Vec<u8> {
        let mut lost = std::mem::take(&mut self.kept);
        lost.append(&mut self.lost);
        lost
    }
}
