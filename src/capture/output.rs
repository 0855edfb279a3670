//! Where whole blocks go.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::direct::DirectFile;
use super::fifo::Fifo;
use super::file;

/// Takes whole blocks, and makes them visible.
pub(super) trait Output: Send {
    /// Takes blocks; they may be kept back until [`flush`](Self::flush).
    fn write(&mut self, blocks: &[u8]) -> io::Result<()>;

    /// Memory with room for that much more, to which blocks may be appended instead of being
    /// handed over; [`appended`](Self::appended) comes after. `None` where there is none.
    fn memory(&mut self, _room: usize) -> Option<&mut Vec<u8>> {
        None
    }

    /// Takes the blocks that were appended to the [`memory`](Self::memory).
    fn appended(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// Makes all that was taken visible to readers.
    fn flush(&mut self) -> io::Result<()>;

    /// Completes the output. Nothing is called after it.
    fn finish(&mut self) -> io::Result<()> {
        self.flush()
    }

    /// Where the next block will lie, if it can be [patched](Self::patch) there.
    fn patchable(&self) -> Option<u64> {
        None
    }

    /// Overwrites bytes at `offset` that were taken before. Only where something is patchable.
    fn patch(&mut self, _offset: u64, _bytes: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
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

    fn patchable(&self) -> Option<u64> {
        Some(self.len)
    }

    fn patch(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }
}

/// Opens `path` for a capture: a FIFO as a pipe, anything else as a new file, compressed where
/// its name ends in `.gz` or `.zst`.
pub(super) fn open(path: &Path) -> io::Result<Box<dyn Output>> {
    if file::is_fifo(path)? {
        return Ok(Box::new(Fifo::new(path.to_owned())));
    }
    let file = file::create(path)?;
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("gz") => super::compress::gzip(file),
        Some("zst") => super::compress::zstd(file),
        _ if !file.metadata()?.is_file() => Ok(Box::new(Stream(file))),
        _ => match DirectFile::new(&file) {
            Ok(direct) => Ok(Box::new(direct)),
            // In memory, over a network: many a file system knows no direct writes.
            Err(_) => Ok(Box::new(PlainFile::new(file))),
        },
    }
}
