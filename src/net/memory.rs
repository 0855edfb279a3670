//! Memory for reads: what one connection said is never shown to another, and idle connections
//! hold none.
//!
//! Small reads are cut from blocks one after another, so that a message costs no allocation. Large
//! reads have a buffer of their own, which comes back to its worker from wherever its last reader
//! was, a sink's thread for instance.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::mem::MaybeUninit;
use std::sync::mpsc::{Receiver, Sender, channel};

use bytes::{Bytes, BytesMut};

/// What a chatty connection reads at most.
pub(super) const SMALL: usize = 8 * 1024;
/// What a bulk transfer reads at most: the cost per byte falls up to this size.
pub(super) const LARGE: usize = 1024 * 1024;
/// What stands in for a large buffer when all of these are in use.
const MEDIUM: usize = 64 * 1024;

/// From one block small reads are cut. A chunk that is kept holds the whole block.
const BLOCK: usize = 64 * 1024;
/// Blocks remembered for reuse. Past it the oldest is left to its chunks.
const RETIRED_MAX: usize = 256;

/// Large buffers of all workers together, in bytes. Past it come medium ones.
const LARGE_BYTES_MAX: usize = 16 << 20;
/// Medium buffers of all workers together, in bytes. Past it come small reads.
const MEDIUM_BYTES_MAX: usize = 32 << 20;

/// The memory of one worker.
///
/// Handing out never waits and never fails: a connection whose receiver is slow keeps what it has
/// read as long as it likes without stopping another.
pub(crate) struct Memory {
    blocks: RefCell<Blocks>,
    large: RefCell<Shelf>,
    medium: RefCell<Shelf>,
}

impl Memory {
    /// The share of one of this many workers.
    pub(crate) fn new(workers: usize) -> Self {
        let shelf =
            |size, all: usize| RefCell::new(Shelf::new(size, (all / workers / size).max(1)));
        Self {
            blocks: RefCell::default(),
            large: shelf(LARGE, LARGE_BYTES_MAX),
            medium: shelf(MEDIUM, MEDIUM_BYTES_MAX),
        }
    }

    /// Gives back what was not needed lately. To be called about once a second.
    pub(crate) fn trim(&self) {
        self.large.borrow_mut().trim();
        self.medium.borrow_mut().trim();
        self.blocks.borrow_mut().trim();
    }

    /// What `read` puts into at most [`SMALL`] bytes of fresh memory; it returns how many.
    pub(super) fn fill_small(
        &self,
        read: impl FnOnce(&mut [MaybeUninit<u8>]) -> io::Result<usize>,
    ) -> io::Result<Bytes> {
        let mut blocks = self.blocks.borrow_mut();
        let block = blocks.with_room(SMALL);
        fill(block, SMALL, read)?;
        Ok(block.split().freeze())
    }

    /// A copy of a few bytes.
    pub(super) fn copy_small(&self, bytes: &[u8]) -> Bytes {
        let mut blocks = self.blocks.borrow_mut();
        let block = blocks.with_room(bytes.len());
        block.extend_from_slice(bytes);
        block.split().freeze()
    }

    /// What `read` puts into a buffer that fits `expected` bytes as well as one is to be had.
    pub(super) fn fill_large(
        &self,
        expected: usize,
        read: impl FnOnce(&mut [MaybeUninit<u8>]) -> io::Result<usize>,
    ) -> io::Result<Bytes> {
        let mut buffer = self.buffer_for(expected);
        let capacity = buffer.memory.capacity();
        fill(&mut buffer.memory, capacity, read)?;
        Ok(self.take_in(buffer))
    }

    /// An empty buffer that fits `expected` bytes as well as one is to be had.
    pub(super) fn buffer_for(&self, expected: usize) -> Buffer {
        let large = if expected > MEDIUM { self.large.borrow_mut().take() } else { None };
        let pooled = || self.medium.borrow_mut().take();
        let small = || Buffer { memory: Vec::with_capacity(SMALL), home: None };
        large.or_else(pooled).unwrap_or_else(small)
    }

    /// What was read into a buffer.
    pub(super) fn take_in(&self, buffer: Buffer) -> Bytes {
        // A large buffer with little in it would be kept whole by whoever keeps the little.
        if buffer.memory.len() <= SMALL {
            return self.copy_small(&buffer.memory);
        }
        Bytes::from_owner(buffer)
    }
}

/// Memory that can be read into.
trait Room {
    fn room(&mut self) -> &mut [MaybeUninit<u8>];

    /// # Safety
    ///
    /// The first `len` bytes of [`room`](Self::room) were written.
    unsafe fn advance(&mut self, len: usize);
}

impl Room for BytesMut {
    fn room(&mut self) -> &mut [MaybeUninit<u8>] {
        self.spare_capacity_mut()
    }

    unsafe fn advance(&mut self, len: usize) {
        // SAFETY: as the caller promises.
        unsafe { self.set_len(self.len() + len) };
    }
}

impl Room for Vec<u8> {
    fn room(&mut self) -> &mut [MaybeUninit<u8>] {
        self.spare_capacity_mut()
    }

    unsafe fn advance(&mut self, len: usize) {
        // SAFETY: as the caller promises.
        unsafe { self.set_len(self.len() + len) };
    }
}

fn fill(
    memory: &mut impl Room,
    max: usize,
    read: impl FnOnce(&mut [MaybeUninit<u8>]) -> io::Result<usize>,
) -> io::Result<usize> {
    let room = memory.room();
    let max = max.min(room.len());
    let len = read(&mut room[..max])?;
    assert!(len <= max, "the kernel wrote more than there was room for");
    // SAFETY: the read has written as many, from the beginning of the room.
    unsafe { memory.advance(len) };
    Ok(len)
}

/// Blocks that small reads are cut from, reused when all their chunks are gone.
#[derive(Default)]
struct Blocks {
    current: BytesMut,
    retired: VecDeque<BytesMut>,
}

impl Blocks {
    /// An empty block with room for this much.
    fn with_room(&mut self, room: usize) -> &mut BytesMut {
        // A block that is used up to its last byte would be forgotten: nothing of it is left here.
        if self.current.capacity() <= room {
            self.next(room);
        }
        &mut self.current
    }

    fn next(&mut self, room: usize) {
        let full = std::mem::take(&mut self.current);
        if full.capacity() > 0 {
            self.retired.push_back(full);
        }
        // The oldest block is the one whose chunks are the likeliest to be gone.
        let reusable = self.retired.front_mut().is_some_and(|block| block.try_reclaim(BLOCK));
        if reusable && room < BLOCK {
            self.current = self.retired.pop_front().unwrap_or_default();
            return;
        }
        if self.retired.len() > RETIRED_MAX {
            self.retired.pop_front();
        }
        self.current = BytesMut::with_capacity(BLOCK.max(room + 1));
    }

    fn trim(&mut self) {
        let keep = self.retired.len() / 2;
        self.retired.drain(..self.retired.len() - keep);
    }
}

/// Buffers of one size.
struct Shelf {
    size: usize,
    /// How many more may be made.
    left: usize,
    free: Vec<Vec<u8>>,
    /// The fewest that were free since the last trim: these were not needed.
    unused: usize,
    returned: Receiver<Vec<u8>>,
    home: Sender<Vec<u8>>,
}

impl Shelf {
    fn new(size: usize, max: usize) -> Self {
        let (home, returned) = channel();
        Self { size, left: max, free: Vec::new(), unused: 0, returned, home }
    }

    fn take(&mut self) -> Option<Buffer> {
        self.collect();
        let memory = match self.free.pop() {
            Some(memory) => memory,
            None => {
                self.left = self.left.checked_sub(1)?;
                Vec::with_capacity(self.size)
            }
        };
        self.unused = self.unused.min(self.free.len());
        Some(Buffer { memory, home: Some(self.home.clone()) })
    }

    fn collect(&mut self) {
        self.free.extend(self.returned.try_iter());
    }

    fn trim(&mut self) {
        self.collect();
        let unused = self.unused.min(self.free.len());
        self.left += unused;
        // The oldest, which the caches know least.
        self.free.drain(..unused);
        self.unused = self.free.len();
    }
}

/// A buffer that goes back to its shelf, if it has one, from any thread.
pub(super) struct Buffer {
    pub(super) memory: Vec<u8>,
    home: Option<Sender<Vec<u8>>>,
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.memory
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let Some(home) = &self.home else { return };
        let mut memory = std::mem::take(&mut self.memory);
        memory.clear();
        // Fails where the worker is gone, and its shelf with it.
        let _ = home.send(memory);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(bytes: &[u8]) -> impl FnOnce(&mut [MaybeUninit<u8>]) -> io::Result<usize> {
        move |room| {
            room.iter_mut().zip(bytes).for_each(|(place, byte)| {
                place.write(*byte);
            });
            Ok(bytes.len())
        }
    }

    #[test]
    fn small_reads_are_equal_and_apart() {
        let memory = Memory::new(1);
        let first = memory.fill_small(put(b"first")).expect("it is read");
        let second = memory.fill_small(put(&[7; SMALL])).expect("it is read");
        let third = memory.copy_small(b"third");
        assert_eq!(&first[..], b"first");
        assert!(second.len() == SMALL && second.iter().all(|&byte| byte == 7));
        assert_eq!(&third[..], b"third");
    }

    #[test]
    fn failed_read_leaves_no_trace() {
        let memory = Memory::new(1);
        let failed = memory.fill_small(|_| Err(io::ErrorKind::WouldBlock.into()));
        assert!(failed.is_err());
        let failed = memory.fill_large(LARGE, |_| Err(io::ErrorKind::WouldBlock.into()));
        assert!(failed.is_err());
        assert_eq!(&memory.fill_small(put(b"x")).expect("it is read")[..], b"x");
    }

    #[test]
    fn large_buffer_comes_back_from_another_thread() {
        let memory = Memory::new(1);
        let bytes = memory.fill_large(LARGE, put(&[1; SMALL + 1])).expect("it is read");
        let place = bytes.as_ptr() as usize;
        std::thread::spawn(move || drop(bytes)).join().expect("it is dropped");
        let again = memory.fill_large(LARGE, put(&[2; SMALL + 1])).expect("it is read");
        assert_eq!(again.as_ptr() as usize, place);
        assert!(again.len() == SMALL + 1 && again.iter().all(|&byte| byte == 2));
    }

    #[test]
    fn little_in_a_large_buffer_does_not_keep_it() {
        let memory = Memory::new(1);
        let kept: Vec<_> = (0..200)
            .map(|_| memory.fill_large(LARGE, put(b"little")).expect("it is read"))
            .collect();
        let shelf = memory.large.borrow();
        assert_eq!(shelf.left + 1, LARGE_BYTES_MAX / LARGE, "{} kept", kept.len());
    }

    #[test]
    fn smaller_buffers_stand_in_when_large_ones_are_used_up() {
        let memory = Memory::new(1);
        let fill = || {
            memory.fill_large(LARGE, |room| {
                room.fill(MaybeUninit::new(1));
                Ok(room.len())
            })
        };
        let max = LARGE_BYTES_MAX / LARGE + MEDIUM_BYTES_MAX / MEDIUM;
        let mut kept: Vec<_> = (0..=max).map(|_| fill().expect("it is read")).collect();
        let sizes: Vec<_> = kept.iter().map(Bytes::len).collect();
        assert_eq!(sizes.iter().filter(|size| **size == LARGE).count(), LARGE_BYTES_MAX / LARGE);
        assert_eq!(sizes.last(), Some(&SMALL));
        kept.clear();
        assert_eq!(fill().expect("it is read").len(), LARGE);
    }

    #[test]
    fn unused_buffers_are_given_back_by_the_second_trim() {
        let memory = Memory::new(1);
        let kept: Vec<_> = (0..10)
            .map(|_| memory.fill_large(LARGE, put(&[1; SMALL + 1])).expect("read"))
            .collect();
        drop(kept);
        memory.trim();
        assert_eq!(memory.large.borrow().free.len(), 10);
        memory.trim();
        assert_eq!(memory.large.borrow().free.len(), 0);
        assert_eq!(memory.large.borrow().left, LARGE_BYTES_MAX / LARGE);
    }

    #[test]
    fn steady_flow_of_small_reads_reuses_its_blocks() {
        let memory = Memory::new(1);
        let mut places = std::collections::HashSet::new();
        let mut waiting = VecDeque::new();
        for _ in 0..50 * BLOCK / 64 {
            let chunk = memory.fill_small(put(&[1; 64])).expect("it is read");
            places.insert(chunk.as_ptr() as usize / BLOCK);
            waiting.push_back(chunk);
            if waiting.len() > 10 {
                waiting.pop_front();
            }
        }
        // Two blocks, each of which may lie across a boundary.
        assert!(places.len() <= 4, "{} places", places.len());
    }
}
