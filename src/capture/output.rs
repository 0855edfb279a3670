//! Where whole blocks go.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;

use super::blocks::whole;

/// Where a block lies that an output took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// At this offset, where it can be [patched](Output::patch).
    AtOffset(u64),
    /// Where it can never be changed.
    Nowhere,
}

/// Whether an output could write all that it took.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) enum State {
    /// So far, yes.
    #[default]
    Intact,
    /// A write failed, and these blocks are lost.
    Failed { lost: Vec<u8> },
}

impl State {
    /// Notes that a write failed and lost these blocks, which come after those lost before.
    pub(super) fn fail(&mut self, blocks: &[u8]) {
        match self {
            Self::Intact => *self = Self::Failed { lost: blocks.to_vec() },
            Self::Failed { lost } => lost.extend_from_slice(blocks),
        }
    }

    /// The blocks that are lost; none where nothing failed.
    pub(super) fn take_lost(&mut self) -> Vec<u8> {
        match self {
            Self::Intact => Vec::new(),
            Self::Failed { lost } => std::mem::take(lost),
        }
    }
}

/// A buffer of an output, which blocks can be encoded into without a copy.
pub(super) trait OwnBuffer {
    /// Has `encode` append at most `room` bytes of whole blocks, and takes them.
    fn append(
        &mut self,
        room: usize,
        encode: &mut dyn FnMut(&mut Vec<u8>) -> io::Result<()>,
    ) -> io::Result<()>;
}

/// Takes whole blocks, and makes them visible.
pub(super) trait Output: Send {
    /// Takes blocks; they may be kept back until [`flush`](Self::flush).
    fn write(&mut self, blocks: &[u8]) -> io::Result<()>;

    /// The output's own buffer, to which blocks can be appended instead of being handed over.
    fn own_buffer(&mut self) -> Option<&mut dyn OwnBuffer> {
        None
    }

    /// Makes all that was taken visible to readers.
    fn flush(&mut self) -> io::Result<()>;

    /// Completes the output. Nothing is called after it.
    fn finish(&mut self) -> io::Result<()> {
        self.flush()
    }

    /// Called once, after a failure: keeps every whole block that was taken and fits, and gives
    /// back those that are lost.
    fn salvage(&mut self) -> Vec<u8>;

    /// Where the next block will lie.
    fn next_place(&self) -> Place {
        Place::Nowhere
    }

    /// Overwrites bytes at `offset` that were taken before. Only where blocks have a place.
    fn patch(&mut self, _offset: u64, _bytes: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// Writes blocks by `write`, which is given what is left and says how much of it was taken; where
/// it fails, how many bytes of whole blocks were taken before.
pub(super) fn write_whole(
    blocks: &[u8],
    mut write: impl FnMut(&[u8]) -> io::Result<usize>,
) -> Result<(), (usize, io::Error)> {
    let mut taken = 0;
    while taken < blocks.len() {
        match write(&blocks[taken..]) {
            Ok(0) => return Err((whole(blocks, taken), io::ErrorKind::WriteZero.into())),
            Ok(len) => taken += len,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err((whole(blocks, taken), error)),
        }
    }
    Ok(())
}

/// Writes blocks to a file at `offset`; where they do not fit, the file ends with the last whole
/// one that does, and how many bytes of them those are.
pub(super) fn write_at(file: &File, blocks: &[u8], offset: u64) -> Result<(), (usize, io::Error)> {
    let mut at = offset;
    let written = write_whole(blocks, |rest| {
        let len = file.write_at(rest, at)?;
        at += len as u64;
        Ok(len)
    });
    written.inspect_err(|(kept, _)| {
        // A full disk shall not leave half a block behind.
        let _ = file.set_len(offset + *kept as u64);
    })
}

/// Anything that can be written to.
pub(super) struct Stream<W> {
    output: W,
    state: State,
}

impl<W> Stream<W> {
    pub(super) const fn new(output: W) -> Self {
        Self { output, state: State::Intact }
    }
}

impl<W: Write + Send> Output for Stream<W> {
    fn write(&mut self, blocks: &[u8]) -> io::Result<()> {
        let written = write_whole(blocks, |rest| self.output.write(rest));
        written.map_err(|(kept, error)| {
            self.state.fail(&blocks[kept..]);
            error
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }

    fn salvage(&mut self) -> Vec<u8> {
        self.state.take_lost()
    }
}

/// An ordinary file, through the page cache.
pub(super) struct PlainFile {
    file: File,
    len: u64,
    state: State,
}

impl PlainFile {
    pub(super) const fn new(file: File) -> Self {
        Self { file, len: 0, state: State::Intact }
    }
}

impl Output for PlainFile {
    fn write(&mut self, blocks: &[u8]) -> io::Result<()> {
        write_at(&self.file, blocks, self.len).map_err(|(kept, error)| {
            self.state.fail(&blocks[kept..]);
            error
        })?;
        self.len += blocks.len() as u64;
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn salvage(&mut self) -> Vec<u8> {
        self.state.take_lost()
    }

    fn next_place(&self) -> Place {
        Place::AtOffset(self.len)
    }

    fn patch(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }
}
