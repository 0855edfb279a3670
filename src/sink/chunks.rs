//! Memory for the one copy of each chunk that all sinks share.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

/// The size of a block of memory; chunks are cut from it one after another. A little more than
/// two of the largest reads, because a block that is used up to its last byte would be forgotten.
const BLOCK: usize = 2 * 1024 * 1024 + 4096;
/// Blocks remembered for reuse. Past it the oldest is left to its chunks.
const RETIRED_MAX: usize = 64;

/// Copies chunks into blocks that are reused when all their chunks are gone, so that a steady
/// flow allocates nothing.
pub(crate) struct ChunkPool {
    current: BytesMut,
    retired: VecDeque<BytesMut>,
}

impl ChunkPool {
    pub(crate) fn new() -> Self {
        Self { current: BytesMut::new(), retired: VecDeque::new() }
    }

    /// A copy of `data`.
    pub(crate) fn copy(&mut self, data: &[u8]) -> Bytes {
        if self.current.capacity() < data.len() {
            self.next_block(data.len());
        }
        self.current.extend_from_slice(data);
        self.current.split().freeze()
    }

    fn next_block(&mut self, len: usize) {
        let full = std::mem::take(&mut self.current);
        if full.capacity() > 0 {
            self.retired.push_back(full);
        }
        // The oldest block is the one whose chunks are the likeliest to be gone.
        let reusable = self.retired.front_mut().is_some_and(|block| block.try_reclaim(BLOCK));
        if reusable && len <= BLOCK {
            self.current = self.retired.pop_front().unwrap_or_default();
            return;
        }
        if self.retired.len() > RETIRED_MAX {
            self.retired.pop_front();
        }
        self.current = BytesMut::with_capacity(len.max(BLOCK));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_are_equal_and_apart() {
        let mut pool = ChunkPool::new();
        let first = pool.copy(b"first");
        let second = pool.copy(&vec![7; 3 * BLOCK]);
        let third = pool.copy(b"third");
        assert_eq!(&first[..], b"first");
        assert_eq!(second.len(), 3 * BLOCK);
        assert!(second.iter().all(|&byte| byte == 7));
        assert_eq!(&third[..], b"third");
    }

    #[test]
    fn a_steady_flow_reuses_its_blocks() {
        let mut pool = ChunkPool::new();
        let mut places = std::collections::HashSet::new();
        let mut waiting = VecDeque::new();
        for round in 0..1000 {
            let size = [300 * 1024, 1024 * 1024][round % 2];
            let chunk = pool.copy(&vec![round as u8; size]);
            places.insert(chunk.as_ptr() as usize);
            waiting.push_back(chunk);
            if waiting.len() > 10 {
                waiting.pop_front();
            }
        }
        assert!(places.len() < 40, "{} places for 11 chunks at a time", places.len());
    }
}
