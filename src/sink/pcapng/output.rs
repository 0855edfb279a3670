//! Where whole blocks go.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::direct::DirectFile;
use super::file;

/// Takes whole blocks, and makes them visible.
pub(super) trait Output: Send {
    /// Takes blocks; they may be kept back until [`flush`](Self::flush).
    fn write(&mut self, blocks: &[u8]) -> io::Result<()>;

    /// Makes all that was taken visible to readers.
    fn flush(&mut self) -> io::Result<()>;

    /// Completes the output. Nothing is called after it.
    fn finish(&mut self) -> io::Result<()> {
        self.flush()
    }

    /// Overwrites bytes at `offset` that were written before; false where that cannot be.
    fn patch(&mut self, _offset: u64, _bytes: &[u8]) -> io::Result<bool> {
        Ok(false)
    }

    /// Whether [`patch`](Self::patch) can work.
    fn can_patch(&self) -> bool {
        false
    }
}

/// Anything that can be written to.
pub(super) struct Stream<W>(pub(super) W);

impl<W: Write + Send> Output for Stream<W> {
    fn write(&mut self, blocks: &[u8]) -> io::Result<()> {
        self.0.write_all(blocks)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// An ordinary file, through the page cache.
pub(super) struct PlainFile {
    file: File,
    len: u64,
}

impl PlainFile {
    pub(super) const fn new(file: File) -> Self {
        Self { file, len: 0 }
    }
}

impl Output for PlainFile {
    fn write(&mut self, blocks: &[u8]) -> io::Result<()> {
        let written = self.file.write_all(blocks);
        if written.is_err() {
            // A full disk shall not leave half a block behind.
            let _ = self.file.set_len(self.len);
        } else {
            self.len += blocks.len() as u64;
        }
        written
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn patch(&mut self, offset: u64, bytes: &[u8]) -> io::Result<bool> {
        self.file.write_all_at(bytes, offset).map(|()| true)
    }

    fn can_patch(&self) -> bool {
        true
    }
}

/// How much is kept for a FIFO that nobody reads yet, before the capture waits.
const FIFO_KEPT: usize = 4 << 20;

/// A FIFO, opened when there is a reader: the tunnel must not wait for one.
struct Fifo {
    path: PathBuf,
    open: Option<File>,
    kept: Vec<u8>,
}

impl Fifo {
    /// Opens the FIFO if it has a reader.
    fn open(&mut self) -> io::Result<bool> {
        if self.open.is_some() {
            return Ok(true);
        }
        let probe = OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK).open(&self.path);
        match probe {
            Ok(probe) => {
                // Now that it has a reader, this does not wait; writes to it will.
                let mut file = OpenOptions::new().write(true).open(&self.path)?;
                drop(probe);
                file.write_all(&std::mem::take(&mut self.kept))?;
                self.open = Some(file);
                Ok(true)
            }
            Err(error) if error.raw_os_error() == Some(libc::ENXIO) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

impl Output for Fifo {
    fn write(&mut self, blocks: &[u8]) -> io::Result<()> {
        while !self.open()? {
            if self.kept.len() < FIFO_KEPT {
                self.kept.extend_from_slice(blocks);
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        self.open.as_mut().map_or(Ok(()), |file| file.write_all(blocks))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.open().map(drop)
    }
}

/// Opens `path` for a capture: a FIFO as a pipe, anything else as a new file, compressed where
/// its name ends in `.gz` or `.zst`.
pub(super) fn open(path: &Path) -> io::Result<Box<dyn Output>> {
    if std::fs::metadata(path).is_ok_and(|meta| meta.file_type().is_fifo()) {
        return Ok(Box::new(Fifo { path: path.to_owned(), open: None, kept: Vec::new() }));
    }
    let file = file::create(path)?;
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("gz") => super::compress::gzip(file),
        Some("zst") => super::compress::zstd(file),
        _ if !file.metadata()?.is_file() => Ok(Box::new(Stream(file))),
        _ => match DirectFile::new(path, &file) {
            Ok(direct) => Ok(Box::new(direct)),
            // In memory, over a network: many a file system knows no direct writes.
            Err(_) => Ok(Box::new(PlainFile::new(file))),
        },
    }
}
