//! Room for keys that come too late to stand before the packets that they decrypt.

use std::collections::VecDeque;
use std::io;

use super::output::Output;
use super::secrets_block::push_block;

/// What is reserved at a time: room for the keys of some 80 TLS 1.3 connections.
const LEN: usize = 64 * 1024;
/// With less than this left, later connections need more space. What is left is for those before,
/// whose keys are about to come.
const LOW: usize = LEN / 2;
/// Type, length, type of the secrets and their length, before the secrets.
const BLOCK_HEADER: u64 = 16;

/// Blocks kept free in an output that can be patched, oldest first.
#[derive(Default)]
pub(super) struct ReservedSpace(VecDeque<Free>);

/// What is free of one block.
struct Free {
    at: u64,
    left: usize,
}

impl ReservedSpace {
    /// Forgets those of the file before.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Whether the capture has no such blocks, since its output cannot be patched.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether more has to be reserved.
    pub(super) fn is_low(&self) -> bool {
        self.0.back().is_none_or(|free| free.left < LOW)
    }

    /// Appends a free block to `blocks`, the first of which comes to lie at `at`.
    pub(super) fn reserve(&mut self, blocks: &mut Vec<u8>, at: u64) {
        let at = at + blocks.len() as u64 + BLOCK_HEADER;
        self.0.push_back(Free { at, left: LEN });
        // The one before the last still takes the keys of connections before the last.
        self.0.drain(..self.0.len().saturating_sub(2));
        // Line feeds are empty lines, which a key log may have.
        push_block(blocks, &[b'\n'; LEN]);
    }

    /// Writes whole lines into the first block that has room; false where none has.
    pub(super) fn fill(&mut self, lines: &[u8], output: &mut dyn Output) -> io::Result<bool> {
        let Some(free) = self.0.iter_mut().find(|free| free.left >= lines.len()) else {
            return Ok(false);
        };
        output.patch(free.at, lines)?;
        free.at += lines.len() as u64;
        free.left -= lines.len();
        Ok(true)
    }
}
