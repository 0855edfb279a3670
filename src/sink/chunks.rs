//! Memory for the one copy of each chunk that all sinks share.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

/// The size of a block of memory; chunks are cut from it one after another. A little more than
/// two of the largest reads, because the last byte is never used.
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
        // A block that is used up to its last byte would be forgotten: nothing of it is left here.
        if self.current.capacity() <= data.len() {
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
        if reusable && len < BLOCK {
            self.current = self.retired.pop_front().unwrap_or_default();
            return;
        }
        if self.retired.len() > RETIRED_MAX {
            self.retired.pop_front();
        }
        self.current = BytesMut::with_capacity(BLOCK.max(len + 1));
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

    /// How many places in memory as many chunks of these sizes in turn had, ten of them kept.
    fn places(sizes: &[usize], chunks: usize) -> usize {
        let mut pool = ChunkPool::new();
        let mut places = std::collections::HashSet::new();
        let mut waiting = VecDeque::new();
        for (round, size) in sizes.iter().cycle().take(chunks).enumerate() {
            let chunk = pool.copy(&vec![round as u8; *size]);
            places.insert(chunk.as_ptr() as usize / BLOCK);
            waiting.push_back(chunk);
            if waiting.len() > 10 {
                waiting.pop_front();
            }
        }
        places.len()
    }

    #[test]
    fn a_steady_flow_reuses_its_blocks() {
        let large = places(&[300 * 1024, 1024 * 1024], 1000);
        assert!(large < 40, "{large} places for 11 chunks at a time");
    }

    #[test]
    fn a_block_that_its_chunks_fill_is_reused_too() {
        for size in [64, 4096, 32 * 1024 + 64] {
            let blocks = 50;
            let places = places(&[size], blocks * BLOCK / size);
            // Two blocks, each of which may lie across a boundary.
            assert!(places <= 4, "{places} places for chunks of {size} bytes");
        }
    }
}
