//! Files past the page cache.
//!
//! A capture that goes through the page cache pays for pages that nobody will read again, and
//! waits when the disk is behind. Large writes go straight to the disk here (`O_DIRECT`), from two
//! buffers that are used over and over: one is written while the other fills. Such a write must
//! begin and end on a block of the disk; what comes before its first boundary, and what little is
//! flushed in between, goes through an ordinary descriptor.
//!
//! No byte goes both ways: a direct write over what the page cache has not written yet waits until
//! it has, which on a busy machine takes seconds.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};

use super::aligned_buffer::AlignedBuffer;
use super::background_writer::{BackgroundWriter, Chunk};
use super::output::{Output, OwnBuffer, Place, State, write_at};

/// How much is written at once.
const CHUNK: usize = 4 << 20;
/// From how much on a flush is worth a direct write: less would be mostly filler.
const FLUSH_MIN: usize = 64 << 10;

/// A file that is written in large direct writes, and small ordinary ones for what is flushed.
pub(super) struct DirectFile {
    /// For what is flushed before it fills a chunk.
    ordinary: File,
    /// Writes full chunks while the next one fills.
    background: BackgroundWriter,
    /// What the file does not have yet.
    buffer: AlignedBuffer,
    /// Where in the file the buffer's content belongs.
    end: u64,
    /// Whether what was flushed could be written.
    flushed: State,
}

impl DirectFile {
    /// A file that has just been created as `ordinary`, if its file system allows direct writes.
    pub(super) fn new(ordinary: &File) -> io::Result<Self> {
        // The very same file, whatever its path has become since.
        let same = format!("/proc/self/fd/{}", ordinary.as_raw_fd());
        let direct = OpenOptions::new().write(true).custom_flags(libc::O_DIRECT).open(same)?;
        let background = BackgroundWriter::new(direct, ordinary.try_clone()?)?;
        let ordinary = ordinary.try_clone()?;
        let buffer = Self::empty();
        Ok(Self { ordinary, background, buffer, end: 0, flushed: State::Intact })
    }

    /// Room for a chunk and what comes after it in one piece, so that it seldom has to grow.
    fn empty() -> AlignedBuffer {
        AlignedBuffer::with_capacity(2 * CHUNK)
    }

    /// Writes the buffer through the page cache.
    fn write_ordinary(&mut self) -> io::Result<()> {
        let written = write_at(&self.ordinary, self.buffer.filled(), self.end);
        let len = written.as_ref().map_or_else(|(kept, _)| *kept, |()| self.buffer.len());
        if written.is_err() {
            self.flushed.fail(&self.buffer.filled()[len..]);
        }
        self.end += len as u64;
        self.buffer.restart(self.end);
        written.map_err(|(_, error)| error)
    }

    fn write_if_full(&mut self) -> io::Result<()> {
        if self.buffer.len() >= CHUNK { self.write_chunk() } else { Ok(()) }
    }

    /// Hands the buffer over, filled up so that it ends on a boundary with a whole block.
    fn write_chunk(&mut self) -> io::Result<()> {
        self.buffer.fill_up();
        self.background.wait()?;
        let start = self.end;
        self.end += self.buffer.len() as u64;
        let mut spare = self.background.take_spare().unwrap_or_else(Self::empty);
        spare.restart(self.end);
        let buffer = std::mem::replace(&mut self.buffer, spare);
        self.background.write(Chunk { buffer, start })
    }
}

impl OwnBuffer for DirectFile {
    fn append(
        &mut self,
        room: usize,
        encode: &mut dyn FnMut(&mut Vec<u8>) -> io::Result<()>,
    ) -> io::Result<()> {
        encode(self.buffer.reserve(room))?;
        self.write_if_full()
    }
}

impl Output for DirectFile {
    fn write(&mut self, blocks: &[u8]) -> io::Result<()> {
        self.buffer.push(blocks);
        self.write_if_full()
    }

    fn own_buffer(&mut self) -> Option<&mut dyn OwnBuffer> {
        Some(self)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.len() >= FLUSH_MIN {
            self.write_chunk()?;
            return self.background.wait();
        }
        // Without the chunk before it what is flushed would lie behind a hole.
        self.background.wait()?;
        self.write_ordinary()
    }

    fn salvage(&mut self) -> Vec<u8> {
        let _ = self.background.wait();
        // Nothing may follow a chunk that did not fit.
        if let Some(mut lost) = self.background.take_lost() {
            lost.extend_from_slice(self.buffer.filled());
            return lost;
        }
        if self.flushed == State::Intact {
            let _ = self.write_ordinary();
        }
        self.flushed.take_lost()
    }

    fn next_place(&self) -> Place {
        Place::AtOffset(self.end + self.buffer.len() as u64)
    }

    fn patch(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if let Some(at) = offset.checked_sub(self.end).and_then(|at| usize::try_from(at).ok()) {
            self.buffer.patch(at, bytes);
            return Ok(());
        }
        self.background.wait()?;
        self.ordinary.write_all_at(bytes, offset)
    }
}

#[cfg(test)]
mod tests {
    use super::super::aligned_buffer::FILLER;
    use super::*;

    /// A block of an unknown type, `len` bytes long.
    fn block(len: usize, byte: u8) -> Vec<u8> {
        let mut block = 0x0bad_cafe_u32.to_le_bytes().to_vec();
        block.extend_from_slice(&(len as u32).to_le_bytes());
        block.resize(len - 4, byte);
        block.extend_from_slice(&(len as u32).to_le_bytes());
        block
    }

    /// The blocks of a file but for the fillers; all must be whole.
    fn blocks(mut bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut blocks = Vec::new();
        while let Some(header) = bytes.first_chunk::<8>() {
            let [kind, len] =
                [0, 4].map(|at| u32::from_le_bytes(header[at..at + 4].try_into().unwrap()));
            let (block, rest) = bytes.split_at(len as usize);
            assert_eq!(block[block.len() - 4..], header[4..]);
            if kind != FILLER {
                blocks.push(block.to_vec());
            }
            bytes = rest;
        }
        assert!(bytes.is_empty());
        blocks
    }

    /// A folder on a real disk, most likely: the temporary folder may be in memory.
    fn on_disk() -> std::path::PathBuf {
        let test = std::env::current_exe().unwrap();
        test.parent().unwrap().to_owned()
    }

    #[test]
    fn flush_and_chunk_leave_whole_blocks() {
        let folder = tempfile::tempdir_in(on_disk()).unwrap();
        let path = folder.path().join("file");
        let ordinary = File::create(&path).unwrap();
        let mut file = DirectFile::new(&ordinary).unwrap();
        let mut expected = Vec::new();
        for i in 0..200_usize {
            let one = block(12 + 4 * (i * 7919 % 30_000), i as u8);
            file.write(&one).unwrap();
            expected.push(one);
            if i % 3 == 0 {
                file.flush().unwrap();
                assert!(blocks(&std::fs::read(&path).unwrap()) == expected, "after {i}");
            }
        }
        file.finish().unwrap();
        assert!(blocks(&std::fs::read(&path).unwrap()) == expected);
        assert!(file.end > CHUNK as u64, "nothing was written in chunks");
    }

    #[test]
    fn patch_at_any_offset_stays() {
        let folder = tempfile::tempdir_in(on_disk()).unwrap();
        let path = folder.path().join("file");
        let ordinary = File::create(&path).unwrap();
        let mut file = DirectFile::new(&ordinary).unwrap();
        for round in 0..40_usize {
            file.write(&block(100_000, 0)).unwrap();
            if round % 2 == 0 {
                file.flush().unwrap();
            }
            file.patch(1000 + round as u64, &[round as u8 + 1]).unwrap();
        }
        file.finish().unwrap();
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!(bytes[1000..1040].to_vec(), (1..=40).collect::<Vec<u8>>());
    }
}
