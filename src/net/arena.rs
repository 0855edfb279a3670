//! One page-aligned piece of memory that the kernel pins, cut into buffers.

use std::io;
use std::ptr::NonNull;
use std::rc::Rc;

use tokio_uring::buf::{IoBuf, IoBufMut};

/// Anonymous memory from `mmap`.
///
/// Page-aligned, because the kernel accounts whole pages against `RLIMIT_MEMLOCK`: buffers from
/// the heap would straddle pages and cost up to three times their size.
struct Arena {
    start: NonNull<u8>,
    len: usize,
}

impl Arena {
    fn new(len: usize) -> io::Result<Self> {
        // SAFETY: an anonymous private mapping at an address of the kernel's choice touches no
        // memory that exists already.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                len,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { start, len })
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        // SAFETY: `start` and `len` are those of the mapping made in `new`, and every `Part`,
        // which alone reads or writes it, holds the arena alive.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.len) };
    }
}

/// A piece of an arena that nobody else has.
pub(super) struct Part {
    arena: Rc<Arena>,
    offset: usize,
    len: usize,
    /// Bytes at the start that have been written. Fresh pages read as zero, yet this starts at 0
    /// so that nothing is ever shown that no read delivered.
    init: usize,
}

/// Cuts one arena into parts of the given lengths, each rounded up to whole pages.
pub(super) fn parts(lengths: &[usize]) -> io::Result<Vec<Part>> {
    const PAGE: usize = 4096;
    let padded = |len: usize| len.next_multiple_of(PAGE);
    let arena = Rc::new(Arena::new(lengths.iter().copied().map(padded).sum())?);
    let mut offset = 0;
    Ok(lengths
        .iter()
        .map(|&len| {
            let part = Part { arena: Rc::clone(&arena), offset, len, init: 0 };
            offset += padded(len);
            part
        })
        .collect())
}

// SAFETY: the pointer stays valid and at its place for as long as the part lives, because the
// part holds the arena; `bytes_init` never passes `bytes_total`.
unsafe impl IoBuf for Part {
    fn stable_ptr(&self) -> *const u8 {
        // SAFETY: `offset` lies within the mapping by construction in `parts`.
        unsafe { self.arena.start.as_ptr().add(self.offset) }
    }

    fn bytes_init(&self) -> usize {
        self.init
    }

    fn bytes_total(&self) -> usize {
        self.len
    }
}

// SAFETY: as for `IoBuf`; parts do not overlap, so the part is the only way to its bytes.
unsafe impl IoBufMut for Part {
    fn stable_mut_ptr(&mut self) -> *mut u8 {
        // SAFETY: as in `stable_ptr`.
        unsafe { self.arena.start.as_ptr().add(self.offset) }
    }

    unsafe fn set_init(&mut self, pos: usize) {
        self.init = self.init.max(pos.min(self.len));
    }
}
