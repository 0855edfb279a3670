//! Memory for direct writes.

/// What a direct write begins and ends on, in memory and on disk; no disk has larger sectors.
pub(super) const ALIGNMENT: usize = 4096;
/// An unassigned block type from the range for local use (pcapng 11.1), which readers skip.
pub(super) const FILLER: u32 = 0x8000_0000 | 0x5450_4144;

/// Memory that begins on a boundary, found within an ordinary vector.
pub(super) struct Aligned {
    memory: Vec<u8>,
    /// The unused bytes before the boundary.
    skip: usize,
}

impl Aligned {
    /// Empty, with room for `capacity` bytes.
    pub(super) fn with_capacity(capacity: usize) -> Self {
        let mut aligned = Self { memory: Vec::with_capacity(capacity + ALIGNMENT), skip: 0 };
        aligned.align();
        aligned
    }

    /// Skips to the first boundary of an empty vector.
    fn align(&mut self) {
        self.skip = self.memory.as_ptr().align_offset(ALIGNMENT);
        self.memory.resize(self.skip, 0);
    }

    pub(super) fn len(&self) -> usize {
        self.memory.len() - self.skip
    }

    pub(super) fn filled(&self) -> &[u8] {
        &self.memory[self.skip..]
    }

    pub(super) fn clear(&mut self) {
        self.memory.truncate(self.skip);
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.reserve(bytes.len()).extend_from_slice(bytes);
    }

    /// The vector, for no more than `more` bytes to be appended: past them it would have to grow,
    /// and that would lose the alignment.
    pub(super) fn reserve(&mut self, more: usize) -> &mut Vec<u8> {
        // And for a filler.
        let more = more + 2 * ALIGNMENT;
        if self.memory.capacity() - self.memory.len() < more {
            self.grow(more);
        }
        &mut self.memory
    }

    /// Moves to larger memory, aligned again: growing in place would lose the alignment.
    fn grow(&mut self, by: usize) {
        let mut larger = Self { memory: Vec::new(), skip: 0 };
        larger.memory.reserve_exact(ALIGNMENT + 2 * (self.len() + by));
        larger.align();
        larger.memory.extend_from_slice(self.filled());
        *self = larger;
    }

    pub(super) fn patch(&mut self, at: usize, bytes: &[u8]) {
        let at = self.skip + at;
        if let Some(place) = self.memory.get_mut(at..at + bytes.len()) {
            place.copy_from_slice(bytes);
        }
    }

    pub(super) fn push_filler(&mut self, len: usize) {
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
