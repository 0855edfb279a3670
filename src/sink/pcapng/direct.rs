//! Files past the page cache.
//!
//! A capture that goes through the page cache pays for pages that nobody will read again, and
//! waits when the disk is behind. Large writes go straight to the disk here (`O_DIRECT`), from two
//! buffers that are used over and over: one is written while the other fills. Such a write must
//! begin and end on a block of the disk, so what little is flushed in between goes through an
//! ordinary descriptor to the file's end, and stays in the buffer until the large write over it.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};

use super::aligned::{ALIGNMENT, Aligned};
use super::behind::{Behind, Chunk};
use super::output::Output;

/// How much is written at once.
const CHUNK: usize = 4 << 20;
/// From how much on a flush is worth a direct write: less would be mostly filler.
const FLUSH_MIN: usize = 64 << 10;
/// The shortest block: type, length and length again.
const BLOCK_MIN: usize = 12;

/// A file that is written in large direct writes, and small ordinary ones for what is flushed.
pub(super) struct DirectFile {
    /// For what is flushed before it fills a chunk.
    ordinary: File,
    /// Writes full chunks while the next one fills.
    behind: Behind,
    buffer: Aligned,
    /// Where the buffer's content begins in the file; a multiple of `ALIGNMENT`.
    start: u64,
    /// How much of the buffer the file has already.
    flushed: usize,
}

impl DirectFile {
    /// A file that has just been created as `ordinary`, if its file system allows direct writes.
    pub(super) fn new(ordinary: &File) -> io::Result<Self> {
        // The very same file, whatever its path has become since.
        let same = format!("/proc/self/fd/{}", ordinary.as_raw_fd());
        let direct = OpenOptions::new().write(true).custom_flags(libc::O_DIRECT).open(same)?;
        let behind = Behind::new(direct, ordinary.try_clone()?);
        let ordinary = ordinary.try_clone()?;
        Ok(Self { ordinary, behind, buffer: Self::empty(), start: 0, flushed: 0 })
    }

    /// Room for a chunk and what comes after it in one piece, so that it seldom has to grow.
    fn empty() -> Aligned {
        Aligned::with_capacity(2 * CHUNK)
    }

    /// Hands a full buffer over. It is filled up so that it ends on a boundary with a whole block.
    fn write_chunk(&mut self) -> io::Result<()> {
        let filler = filler_len(self.buffer.len());
        self.buffer.push_filler(filler);
        self.behind.settle()?;
        let spare = self.behind.take_spare().unwrap_or_else(Self::empty);
        let buffer = std::mem::replace(&mut self.buffer, spare);
        let (start, flushed) = (self.start, self.flushed);
        self.start += buffer.len() as u64;
        self.flushed = 0;
        self.behind.write(Chunk { buffer, start, flushed })
    }
}

impl Output for DirectFile {
    fn write(&mut self, blocks: &[u8]) -> io::Result<()> {
        self.buffer.push(blocks);
        self.appended()
    }

    fn memory(&mut self, room: usize) -> Option<&mut Vec<u8>> {
        Some(self.buffer.reserve(room))
    }

    fn appended(&mut self) -> io::Result<()> {
        if self.buffer.len() >= CHUNK { self.write_chunk() } else { Ok(()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        // Through the page cache it would be written twice, and the direct write over it would
        // have to wait for the first time.
        if self.buffer.len() >= FLUSH_MIN {
            self.write_chunk()?;
            return self.behind.settle();
        }
        // Without the chunk before it what is flushed would lie behind a hole.
        self.behind.settle()?;
        let fresh = &self.buffer.filled()[self.flushed..];
        let end = self.start + self.flushed as u64;
        if let Err(error) = self.ordinary.write_all_at(fresh, end) {
            let _ = self.ordinary.set_len(end);
            return Err(error);
        }
        self.flushed = self.buffer.len();
        Ok(())
    }

    fn patchable(&self) -> Option<u64> {
        Some(self.start + self.buffer.len() as u64)
    }

    fn patch(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.behind.settle()?;
        // What is still in the buffer will be written from there once more.
        if let Some(at) = offset.checked_sub(self.start).and_then(|at| usize::try_from(at).ok()) {
            self.buffer.patch(at, bytes);
        }
        if offset < self.start + self.flushed as u64 {
            self.ordinary.write_all_at(bytes, offset)?;
        }
        Ok(())
    }
}

/// How long a filler block after `len` bytes has to be to end on a boundary; 0 for none.
const fn filler_len(len: usize) -> usize {
    match len.next_multiple_of(ALIGNMENT) - len {
        0 => 0,
        gap if gap < BLOCK_MIN => gap + ALIGNMENT,
        gap => gap,
    }
}

#[cfg(test)]
mod tests {
    use super::super::aligned::FILLER;
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

    #[test]
    fn every_flush_and_every_chunk_leaves_whole_blocks() {
        // On a real disk where there is one: the temporary folder may be in memory.
        let folder = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
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
        assert!(file.start > 0, "nothing was written in chunks");
    }

    #[test]
    fn patches_stay_wherever_they_fall() {
        let folder = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
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

    #[test]
    fn a_filler_is_a_block_or_nothing() {
        for len in 0..3 * ALIGNMENT {
            let filler = filler_len(len);
            assert_eq!((len + filler) % ALIGNMENT, 0);
            assert!(filler == 0 || filler >= BLOCK_MIN);
        }
    }
}
