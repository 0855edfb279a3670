//! A FIFO, opened when there is a reader: the tunnel must not wait for one.

use std::fs::File;
use std::io::{self, Write};
use std::mem;
use std::path::PathBuf;
use std::time::Duration;

use super::output::{Output, write_whole};
use crate::sink::file::open_fifo;

/// How much is kept while nobody reads yet, before the capture waits.
const KEPT_MAX: usize = 4 << 20;
/// How often a reader is looked for while the capture waits.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// A FIFO, which has a reader or waits for one.
pub(super) struct Fifo {
    path: PathBuf,
    state: State,
}

enum State {
    /// Nobody reads yet, and these blocks are kept for who will.
    Waiting { kept: Vec<u8> },
    /// There is a reader, who had all that was kept.
    Open(File),
    /// The reader is gone, or the FIFO is none any more: these blocks are lost.
    Failed { lost: Vec<u8> },
}

/// Whether a FIFO can be written to.
#[derive(PartialEq, Eq)]
enum Reader {
    Present,
    Absent,
}

impl Fifo {
    pub(super) const fn new(path: PathBuf) -> Self {
        Self { path, state: State::Waiting { kept: Vec::new() } }
    }

    /// Something to write to, which may not wait, if the FIFO has a reader.
    fn probe(&self) -> io::Result<Option<File>> {
        match open_fifo(&self.path, libc::O_NONBLOCK) {
            Err(error) if error.raw_os_error() == Some(libc::ENXIO) => Ok(None),
            probe => probe.map(Some),
        }
    }

    /// Opens the FIFO if it has a reader, who then gets what was kept.
    fn open(&mut self) -> io::Result<Reader> {
        if let State::Waiting { .. } = self.state {
            let Some(probe) = self.probe()? else { return Ok(Reader::Absent) };
            // Now that it has a reader, this does not wait; writes to it will.
            let file = open_fifo(&self.path, 0)?;
            drop(probe);
            if let State::Waiting { kept } = mem::replace(&mut self.state, State::Open(file)) {
                self.send(&kept)?;
            }
        }
        Ok(Reader::Present)
    }

    /// Writes to the reader. After a failure it fails again.
    fn send(&mut self, blocks: &[u8]) -> io::Result<()> {
        let written = match &mut self.state {
            State::Open(file) => write_whole(blocks, |rest| file.write(rest)),
            _ => Err((0, io::ErrorKind::NotConnected.into())),
        };
        written.map_err(|(sent, error)| {
            self.fail(&blocks[sent..]);
            error
        })
    }

    /// These blocks are lost, and those before them that nobody has read.
    fn fail(&mut self, blocks: &[u8]) {
        let mut lost = self.salvage();
        lost.extend_from_slice(blocks);
        self.state = State::Failed { lost };
    }
}

impl Output for Fifo {
    fn write(&mut self, blocks: &[u8]) -> io::Result<()> {
        loop {
            match self.open() {
                Ok(Reader::Present) => return self.send(blocks),
                Ok(Reader::Absent) => {}
                Err(error) => {
                    self.fail(blocks);
                    return Err(error);
                }
            }
            if let State::Waiting { kept } = &mut self.state
                && kept.len() < KEPT_MAX
            {
                kept.extend_from_slice(blocks);
                return Ok(());
            }
            std::thread::sleep(LOOK_AGAIN);
        }
    }

    /// Fails, too, where the reader has left, so that this is noticed also while there is nothing
    /// to write.
    fn flush(&mut self) -> io::Result<()> {
        if self.open()? == Reader::Present && self.probe()?.is_none() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        match self.open()? {
            Reader::Present => Ok(()),
            Reader::Absent => {
                let what = "nobody has opened the FIFO to read it";
                Err(io::Error::new(io::ErrorKind::NotConnected, what))
            }
        }
    }

    /// What was written to the pipe counts as kept, whether or not its reader has fetched it.
    fn salvage(&mut self) -> Vec<u8> {
        match &mut self.state {
            State::Waiting { kept: lost } | State::Failed { lost } => mem::take(lost),
            State::Open(_) => Vec::new(),
        }
    }
}
