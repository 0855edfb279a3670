//! Memory for direct writes.

/// What a direct write begins and ends on, in memory and on disk; no disk has larger sectors.
pub(super) const ALIGNMENT: usize = 4096;
/// An unassigned block type from the range for local use (pcapng 11.1), which readers skip.
pub(super) const FILLER: u32 = 0x8000_0000 | 0x5450_4144;

/// The shortest block: type, length and length again.
const BLOCK_MIN: usize = 12;

/// Memory in which each byte lies as far from a boundary as it will in the file, found within an
/// ordinary vector.
pub(super) struct AlignedBuffer {
    memory: Vec<u8>,
    /// The unused bytes before the first boundary.
    base: usize,
    /// How far after that boundary the content begins.
    lead: usize,
}

impl AlignedBuffer {
    /// Empty, with room for `capacity` bytes, to be written where a boundary is.
    pub(super) fn with_capacity(capacity: usize) -> Self {
        let mut aligned =
            Self { memory: Vec::with_capacity(capacity + 2 * ALIGNMENT), base: 0, lead: 0 };
        aligned.align();
        aligned
    }

    /// Finds the first boundary of an empty vector.
    fn align(&mut self) {
        self.base = self.memory.as_ptr().align_offset(ALIGNMENT);
        self.memory.resize(self.base + self.lead, 0);
    }

    /// Empties it, for content that will be written at `offset`.
    pub(super) fn restart(&mut self, offset: u64) {
        self.lead = (offset % ALIGNMENT as u64) as usize;
        self.memory.clear();
        self.memory.resize(self.base + self.lead, 0);
    }

    pub(super) fn len(&self) -> usize {
        self.memory.len() - self.base - self.lead
    }

    pub(super) fn filled(&self) -> &[u8] {
        &self.memory[self.base + self.lead..]
    }

    /// The content up to the first boundary after its beginning, and from there.
    pub(super) fn split(&self) -> (&[u8], &[u8]) {
        let head = if self.lead == 0 { 0 } else { ALIGNMENT - self.lead };
        self.filled().split_at(head.min(self.len()))
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
        let mut larger = Self { memory: Vec::new(), base: 0, lead: self.lead };
        larger.memory.reserve_exact(2 * (ALIGNMENT + self.len() + by));
        larger.align();
        larger.memory.extend_from_slice(self.filled());
        *self = larger;
    }

    pub(super) fn patch(&mut self, at: usize, bytes: &[u8]) {
        let at = self.base + self.lead + at;
        if let Some(place) = self.memory.get_mut(at..at + bytes.len()) {
            place.copy_from_slice(bytes);
        }
    }

    /// Ends the content on a boundary with a whole block, if it does not.
    pub(super) fn fill_up(&mut self) {
        let filler = filler_len(self.lead + self.len());
        self.push_filler(filler);
    }

    fn push_filler(&mut self, len: usize) {
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

/// How long a filler block after `len` bytes has to be to end on a boundary; 0 for none.
const fn filler_len(len: usize) -> usize {
    match len.next_multiple_of(ALIGNMENT) - len {
        0 => 0,
        gap if gap < BLOCK_MIN => gap + ALIGNMENT,
        gap => gap,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filler_is_a_block_or_empty() {
        for len in 0..3 * ALIGNMENT {
            let filler = filler_len(len);
            assert_eq!((len + filler) % ALIGNMENT, 0);
            assert!(filler == 0 || filler >= BLOCK_MIN);
        }
    }
}
