//! Files past the page cache.
//!
//! A capture that goes through the page cache pays for pages that nobody will read again, and
//! waits when the disk is behind. Large writes go straight to the disk here (`O_DIRECT`), from
//! one buffer that is used over and over. Such a write must begin and end on a block of the
//! disk, so what is flushed in between goes through an ordinary descriptor to the file's end, and
//! stays in the buffer until the large write that covers it.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};

use super::output::Output;

/// What a direct write begins and ends on; no disk has larger sectors.
const ALIGNMENT: usize = 4096;
/// How much is written at once.
const CHUNK: usize = 4 << 20;
/// An unassigned block type from the range for local use (pcapng 11.1), which readers skip.
pub(super) const FILLER: u32 = 0x8000_0000 | 0x5450_4144;
/// The shortest block: type, length and length again.
const BLOCK_MIN: usize = 12;

/// A file that is written in large direct writes, and small ordinary ones for what is flushed.
pub(super) struct DirectFile {
    /// For what is flushed before it fills a chunk.
    ordinary: File,
    /// For whole chunks; `None` once the file system has refused.
    direct: Option<File>,
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
        let ordinary = ordinary.try_clone()?;
        let buffer = Aligned::new();
        Ok(Self { ordinary, direct: Some(direct), buffer, start: 0, flushed: 0 })
    }

    /// Writes a full buffer. It is filled up so that it ends on a boundary with a whole block.
    fn write_chunk(&mut self) -> io::Result<()> {
        let filler = filler_len(self.buffer.len());
        self.buffer.push_filler(filler);
        let chunk = self.buffer.filled();
        let written = match &self.direct {
            Some(direct) => direct.write_all_at(chunk, self.start),
            None => self.ordinary.write_all_at(chunk, self.start),
        };
        match written {
            // Some file systems refuse only now.
            Err(error) if self.direct.is_some() && error.raw_os_error() == Some(libc::EINVAL) => {
                self.direct = None;
                self.ordinary.write_all_at(chunk, self.start)?;
            }
            Err(error) => {
                // A full disk shall not leave half a block behind.
                let _ = self.ordinary.set_len(self.start + self.flushed as u64);
                return Err(error);
            }
            Ok(()) => {}
        }
        self.start += chunk.len() as u64;
        self.buffer.clear();
        self.flushed = 0;
        Ok(())
    }
}

impl Output for DirectFile {
    fn write(&mut self, blocks: &[u8]) -> io::Result<()> {
        self.buffer.push(blocks);
        if self.buffer.len() >= CHUNK { self.write_chunk() } else { Ok(()) }
    }

    fn flush(&mut self) -> io::Result<()> {
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

/// Memory that begins on a boundary, found within an ordinary vector.
struct Aligned {
    memory: Vec<u8>,
    /// The unused bytes before the boundary.
    skip: usize,
}

impl Aligned {
    /// Room for a chunk and what comes after it in one piece, so that it seldom has to grow.
    fn new() -> Self {
        let mut aligned = Self { memory: Vec::with_capacity(2 * CHUNK), skip: 0 };
        aligned.align();
        aligned
    }

    /// Skips to the first boundary of an empty vector.
    fn align(&mut self) {
        self.skip = self.memory.as_ptr().align_offset(ALIGNMENT);
        self.memory.resize(self.skip, 0);
    }

    fn len(&self) -> usize {
        self.memory.len() - self.skip
    }

    fn filled(&self) -> &[u8] {
        &self.memory[self.skip..]
    }

    fn clear(&mut self) {
        self.memory.truncate(self.skip);
    }

    fn push(&mut self, bytes: &[u8]) {
        if self.memory.capacity() - self.memory.len() < bytes.len() + 2 * ALIGNMENT {
            self.grow(bytes.len() + 2 * ALIGNMENT);
        }
        self.memory.extend_from_slice(bytes);
    }

    /// Moves to larger memory, aligned again: growing in place would lose the alignment.
    fn grow(&mut self, by: usize) {
        let mut larger = Self { memory: Vec::new(), skip: 0 };
        larger.memory.reserve_exact(ALIGNMENT + 2 * (self.len() + by));
        larger.align();
        larger.memory.extend_from_slice(self.filled());
        *self = larger;
    }

    fn patch(&mut self, at: usize, bytes: &[u8]) {
        let at = self.skip + at;
        if let Some(place) = self.memory.get_mut(at..at + bytes.len()) {
            place.copy_from_slice(bytes);
        }
    }

    fn push_filler(&mut self, len: usize) {
        if len == 0 {
            return;
        }
        let end = self.memory.len() + len;
        let word = len as u32;
        self.memory.extend_from_slice(&FILLER.to_le_bytes());
        self.memory.extend_from_slice(&word.to_le_bytes());
        self.memory.resize(end - 4, 0);
        self.memory.extend_from_slice(&word.to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
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
