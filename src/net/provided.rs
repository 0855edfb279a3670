//! Buffers that the kernel picks from when something has come, so that a connection that waits
//! holds none.

use std::cell::Cell;
use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering::Release};

use io_uring::IoUring;
use io_uring::types::BufRingEntry;

use super::memory::SMALL;

/// How many: as many messages as may come in one turn. When all are taken, reads that find none
/// use memory of their own.
const COUNT: u16 = 128;
/// The number of the group.
pub(super) const GROUP: u16 = 0;

/// The buffers, and the ring in which the kernel is told which are free.
pub(super) struct ProvidedBuffers {
    area: Area,
    tail: Cell<u16>,
}

/// The entries, then the buffers.
struct Area {
    start: NonNull<u8>,
    len: usize,
}

/// The entries fill a part of a page; the buffers begin on the next.
const BUFFERS_AT: usize = 4096;

impl ProvidedBuffers {
    /// Registers them with a ring, which must be gone before they are.
    pub(super) fn register(uring: &IoUring) -> io::Result<Self> {
        let area = Area::new(BUFFERS_AT + usize::from(COUNT) * SMALL)?;
        let address = area.start.as_ptr() as u64;
        // SAFETY: the area is page-aligned, zeroed, large enough for the entries, and outlives the
        // ring.
        unsafe { uring.submitter().register_buf_ring_with_flags(address, COUNT, GROUP, 0) }?;
        let provided = Self { area, tail: Cell::new(0) };
        (0..COUNT).for_each(|buffer| provided.give_back(buffer));
        Ok(provided)
    }

    /// The first `len` bytes of a buffer that an operation has used, until it is given back.
    pub(super) fn bytes(&self, buffer: u16, len: usize) -> &[u8] {
        assert!(buffer < COUNT && len <= SMALL, "the kernel names a buffer that it was not given");
        // SAFETY: the kernel has written as many bytes, and does not touch the buffer again before
        // it is given back, which takes a call of `give_back` on this thread.
        unsafe { std::slice::from_raw_parts(self.buffer(buffer), len) }
    }

    /// Lets the kernel use a buffer again.
    pub(super) fn give_back(&self, buffer: u16) {
        let tail = self.tail.get();
        let entries: *mut BufRingEntry = self.area.start.as_ptr().cast();
        let index = usize::from(tail % COUNT);
        // SAFETY: the index lies within the entries. The kernel reads an entry only when the tail
        // has passed it, which it does after this.
        let entry = unsafe { &mut *entries.add(index) };
        entry.set_addr(self.buffer(buffer) as u64);
        entry.set_len(SMALL as u32);
        entry.set_bid(buffer);
        self.tail.set(tail.wrapping_add(1));
        // SAFETY: the tail lies in the first entry, is aligned, and only ever accessed as an
        // atomic, by us and the kernel.
        let shared = unsafe { &*BufRingEntry::tail(entries).cast::<AtomicU16>() };
        shared.store(self.tail.get(), Release);
    }

    fn buffer(&self, buffer: u16) -> *mut u8 {
        // SAFETY: the area has room for all buffers.
        unsafe { self.area.start.as_ptr().add(BUFFERS_AT + usize::from(buffer) * SMALL) }
    }
}

impl Area {
    fn new(len: usize) -> io::Result<Self> {
        use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};
        let (access, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE);
        // SAFETY: an anonymous mapping at an address of the kernel's choice touches no memory that
        // exists already.
        let start = unsafe { mmap_anonymous(std::ptr::null_mut(), len, access, flags) }?;
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { start, len })
    }
}

impl Drop for Area {
    fn drop(&mut self) {
        // SAFETY: start and length are those of the mapping made in `new`, which only the buffers
        // use, and they are gone.
        let _ = unsafe { rustix::mm::munmap(self.start.as_ptr().cast(), self.len) };
    }
}
