//! Buffers for reads: registered ones of two sizes, and heap ones for when these run out.

use std::cell::{Cell, RefCell};
use std::io;
use std::mem::MaybeUninit;
use std::ops::Deref;
use std::rc::Rc;
use std::slice;
use std::sync::Once;

use socket2::SockRef;
use tokio_uring::buf::fixed::{FixedBuf, FixedBufPool};
use tokio_uring::buf::{IoBuf, IoBufMut};

use super::arena::{self, Part};

/// What a chatty connection reads into.
pub(super) const SMALL: usize = 8 * 1024;
/// What a bulk transfer reads into: the cost per byte falls up to this size.
pub(super) const LARGE: usize = 1024 * 1024;
/// What stands in for a large buffer when all of these wait for slow receivers.
const MEDIUM: usize = 64 * 1024;
/// Heap buffers of `MEDIUM` size a pool hands out at most; past it come small ones, of which a
/// direction of a connection never has more than one.
const MEDIUM_MAX: usize = 512;
/// Heap buffers of either size that are kept for reuse.
const SPARE_MAX: usize = 64;

/// The bytes of one read.
///
/// Shows what the read delivered and nothing else, whatever was in its memory before: what one
/// connection said can never reach another.
pub(crate) struct Buffer {
    memory: Memory,
    filled: usize,
    pool: Rc<Shared>,
}

pub(super) enum Memory {
    Fixed(FixedBuf),
    Heap(Vec<u8>),
    /// Given to the kernel, or back to the pool.
    Gone,
}

impl Buffer {
    /// How much a read can deliver.
    pub(crate) fn capacity(&self) -> usize {
        match &self.memory {
            Memory::Fixed(fixed) => fixed.bytes_total(),
            Memory::Heap(heap) => heap.capacity(),
            Memory::Gone => 0,
        }
    }

    /// Receives what has come at `socket`, as much as there is room for; empty at the end of the
    /// stream. Fails with `WouldBlock` where nothing has come.
    pub(super) fn receive(&mut self, socket: &SockRef<'_>) -> io::Result<()> {
        self.filled = 0;
        self.filled = match &mut self.memory {
            Memory::Fixed(fixed) => receive(socket, fixed)?,
            Memory::Heap(heap) => receive(socket, heap)?,
            Memory::Gone => 0,
        };
        Ok(())
    }

    pub(super) fn take_memory(&mut self) -> Memory {
        std::mem::replace(&mut self.memory, Memory::Gone)
    }

    pub(super) fn put_memory(&mut self, memory: Memory, filled: usize) {
        self.memory = memory;
        self.filled = filled;
    }
}

/// Receives what has come at `socket` into `memory`; how much.
fn receive(socket: &SockRef<'_>, memory: &mut impl IoBufMut) -> io::Result<usize> {
    let (start, len) = (memory.stable_mut_ptr().cast(), memory.bytes_total());
    // SAFETY: as many bytes from there on are the memory's own, and it is borrowed as long.
    let room: &mut [MaybeUninit<u8>] = unsafe { slice::from_raw_parts_mut(start, len) };
    let filled = socket.recv_with_flags(room, libc::MSG_DONTWAIT)?;
    // SAFETY: the kernel has written as many.
    unsafe { memory.set_init(filled) };
    Ok(filled)
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.memory {
            Memory::Fixed(fixed) => &fixed[..self.filled],
            Memory::Heap(heap) => &heap[..self.filled],
            Memory::Gone => &[],
        }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        match self.take_memory() {
            Memory::Fixed(_) | Memory::Gone => {}
            Memory::Heap(mut heap) => {
                let medium = heap.capacity() >= MEDIUM;
                if medium {
                    self.pool.medium_out.set(self.pool.medium_out.get() - 1);
                }
                let mut spare = self.pool.spare(medium).borrow_mut();
                if spare.len() < SPARE_MAX {
                    heap.clear();
                    spare.push(heap);
                }
            }
        }
    }
}

/// What a pool and its buffers share.
#[derive(Default)]
struct Shared {
    medium_out: Cell<usize>,
    spare_small: RefCell<Vec<Vec<u8>>>,
    spare_medium: RefCell<Vec<Vec<u8>>>,
}

impl Shared {
    const fn spare(&self, medium: bool) -> &RefCell<Vec<Vec<u8>>> {
        if medium { &self.spare_medium } else { &self.spare_small }
    }

    fn heap(&self, medium: bool) -> Memory {
        let spare = self.spare(medium).borrow_mut().pop();
        let size = if medium { MEDIUM } else { SMALL };
        Memory::Heap(spare.unwrap_or_else(|| Vec::with_capacity(size)))
    }
}

/// The buffers of one ring.
///
/// Handing out never waits and never fails: a connection whose receiver is slow keeps its buffer
/// as long as it likes without stopping another.
pub(crate) struct BufferPool {
    fixed: Option<FixedBufPool<Part>>,
    shared: Rc<Shared>,
}

impl BufferPool {
    /// Registers up to `bytes` of buffers with the current ring; where the kernel does not let
    /// that much memory be locked, fewer, down to none. Must be called inside a runtime.
    pub(crate) fn register(bytes: usize) -> Self {
        let mut budget = bytes;
        while budget >= 2 * SMALL {
            let large = budget * 7 / 8 / LARGE;
            let small = (budget - large * LARGE) / SMALL;
            let small = small.min(1024 - large.min(512));
            match Self::try_register(large.min(512), small) {
                Ok(pool) => {
                    if budget < bytes {
                        complain_once(&format!("only {} KiB registered", budget / 1024));
                    }
                    return pool;
                }
                Err(error) if error.raw_os_error() == Some(libc::ENOMEM) => budget /= 2,
                Err(error) => {
                    tracing::warn!("no buffers registered, using ordinary ones: {error}");
                    return Self::unregistered();
                }
            }
        }
        complain_once("none registered, using ordinary ones");
        Self::unregistered()
    }

    fn try_register(large: usize, small: usize) -> io::Result<Self> {
        let mut lengths = vec![LARGE; large];
        lengths.resize(large + small, SMALL);
        let fixed = FixedBufPool::new(arena::parts(&lengths)?);
        fixed.register()?;
        Ok(Self { fixed: Some(fixed), shared: Rc::default() })
    }

    /// A pool of heap buffers alone.
    fn unregistered() -> Self {
        Self { fixed: None, shared: Rc::default() }
    }

    fn fixed(&self, size: usize) -> Option<Buffer> {
        let fixed = self.fixed.as_ref()?.try_next(size)?;
        Some(self.buffer(Memory::Fixed(fixed)))
    }

    fn buffer(&self, memory: Memory) -> Buffer {
        Buffer { memory, filled: 0, pool: Rc::clone(&self.shared) }
    }

    /// A small buffer.
    pub(super) fn small(&self) -> Buffer {
        let fixed = self.fixed(SMALL);
        fixed.unwrap_or_else(|| self.buffer(self.shared.heap(false)))
    }

    /// The largest buffer that is to be had.
    pub(super) fn large(&self) -> Buffer {
        if let Some(fixed) = self.fixed(LARGE) {
            return fixed;
        }
        let out = self.shared.medium_out.get();
        if out < MEDIUM_MAX {
            self.shared.medium_out.set(out + 1);
            return self.buffer(self.shared.heap(true));
        }
        self.small()
    }
}

/// Tells that little memory may be locked, for the first ring that finds it.
fn complain_once(consequence: &str) {
    static TOLD: Once = Once::new();
    TOLD.call_once(|| {
        tracing::warn!(
            "buffers: {consequence}, because RLIMIT_MEMLOCK is small (raise it with 'ulimit -l' \
             for a little more speed)"
        );
    });
}
