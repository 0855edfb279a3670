//! Room for keys that come too late to stand before the packets that they decrypt.

use std::collections::VecDeque;
use std::io;

use super::output::Output;
use super::secrets_block::push_block;

/// What is kept free at a time: the keys of some 80 TLS 1.3 connections.
const PLACE: usize = 64 * 1024;
/// With less than this left there has to be another place, for the connections after it; what is
/// left is for those before it, whose keys are about to come.
const LOW: usize = PLACE / 2;
/// Type, length, type of the secrets and their length, before the secrets.
const BLOCK_HEADER: u64 = 16;

/// Places kept free in an output that can be patched, oldest first.
#[derive(Default)]
pub(super) struct Places(VecDeque<Place>);

struct Place {
    at: u64,
    left: usize,
}

impl Places {
    /// Forgets those of the file before.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Whether the capture has no places, since its output cannot be patched.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether there has to be another one.
    pub(super) fn are_low(&self) -> bool {
        self.0.back().is_none_or(|place| place.left < LOW)
    }

    /// Appends a block with a place to `blocks`, the first of which comes to lie at `at`.
    pub(super) fn reserve(&mut self, blocks: &mut Vec<u8>, at: u64) {
        let at = at + blocks.len() as u64 + BLOCK_HEADER;
        self.0.push_back(Place { at, left: PLACE });
        // The one before the last still takes the keys of connections before the last.
        self.0.drain(..self.0.len().saturating_sub(2));
        // Line feeds are empty lines, which a key log may have.
        push_block(blocks, &[b'\n'; PLACE]);
    }

    /// Writes whole lines into the first place that has room; false where none has.
    pub(super) fn fill(&mut self, lines: &[u8], output: &mut dyn Output) -> io::Result<bool> {
        let Some(place) = self.0.iter_mut().find(|place| place.left >= lines.len()) else {
            return Ok(false);
        };
        output.patch(place.at, lines)?;
        place.at += lines.len() as u64;
        place.left -= lines.len();
        Ok(true)
    }
}
