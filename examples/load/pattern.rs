//! The bytes that are moved: a stream that either end can make, and check, at any offset.
//!
//! A table of random bytes repeats with a prime period, so a chunk that is lost, doubled, swapped
//! or moved by any power of two shows as a mismatch; each connection and direction starts at
//! another phase of it, so a byte that strays to another connection shows too. Sending is a write
//! from the table and checking is one `memcmp` against it: neither costs more than the copy
//! through the socket does.

use std::fmt;
use std::sync::LazyLock;

/// Largest slice of the stream that is handed out at once.
pub(crate) const MAX_CHUNK: usize = 256 * 1024;

/// The largest prime below 64 KiB: the table stays in the second-level cache.
const PERIOD: usize = 65_521;

static TABLE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut random = Random::new(0x7463_705f_7475_6e6e);
    let period: Vec<u8> = (0..PERIOD).map(|_| random.next() as u8).collect();
    period.iter().copied().cycle().take(PERIOD + MAX_CHUNK).collect()
});

/// One direction of one connection: where it is in its stream.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stream {
    phase: usize,
    offset: u64,
}

/// The first byte that is not what was sent.
#[derive(Debug)]
pub(crate) struct Mismatch {
    offset: u64,
}

impl Stream {
    /// What the client of connection `seed` sends.
    pub(crate) fn request(seed: u64) -> Self {
        Self::starting_at(seed.wrapping_mul(40_503))
    }

    /// What the server of connection `seed` answers.
    pub(crate) fn reply(seed: u64) -> Self {
        Self::starting_at(seed.wrapping_mul(40_503).wrapping_add(32_749))
    }

    fn starting_at(position: u64) -> Self {
        Self { phase: (position % PERIOD as u64) as usize, offset: 0 }
    }

    /// The next `length` bytes, at most [`MAX_CHUNK`]; the stream stays where it is.
    pub(crate) fn peek(&self, length: usize) -> &'static [u8] {
        &TABLE[self.phase..][..length.min(MAX_CHUNK)]
    }

    /// Moves on by `length` bytes.
    pub(crate) fn advance(&mut self, length: usize) {
        self.phase = (self.phase + length) % PERIOD;
        self.offset += length as u64;
    }

    /// Checks that `bytes`, of any length, come next, and moves past them.
    pub(crate) fn verify(&mut self, bytes: &[u8]) -> Result<(), Mismatch> {
        for chunk in bytes.chunks(MAX_CHUNK) {
            let expected = self.peek(chunk.len());
            if chunk != expected {
                let equal = chunk.iter().zip(expected).take_while(|(a, b)| a == b).count();
                return Err(Mismatch { offset: self.offset + equal as u64 });
            }
            self.advance(chunk.len());
        }
        Ok(())
    }

    /// Bytes passed so far.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the byte at offset {} is not the one that was sent", self.offset)
    }
}

impl std::error::Error for Mismatch {}

/// A small fast generator (splitmix64): repeatable from its seed.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from 1 to `most`.
    pub(crate) fn up_to(&mut self, most: usize) -> usize {
        1 + (self.next() % most as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(mut stream: Stream, length: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        while bytes.len() < length {
            let piece = stream.peek(length - bytes.len());
            bytes.extend_from_slice(piece);
            stream.advance(piece.len());
        }
        bytes
    }

    #[test]
    fn stream_in_any_chunks_is_the_same() {
        let sent = bytes(Stream::request(7), 1_000_000);
        let (mut stream, mut random, mut rest) = (Stream::request(7), Random::new(1), &sent[..]);
        while !rest.is_empty() {
            let (chunk, left) = rest.split_at(random.up_to(2 * MAX_CHUNK).min(rest.len()));
            stream.verify(chunk).unwrap();
            rest = left;
        }
        assert_eq!(stream.offset(), 1_000_000);
    }

    #[test]
    fn flipped_bit_is_found_at_its_offset() {
        let mut sent = bytes(Stream::request(7), 600_000);
        sent[543_210] ^= 1;
        assert_eq!(Stream::request(7).verify(&sent).unwrap_err().offset, 543_210);
    }

    #[test]
    fn lost_doubled_and_stray_chunks_are_found() {
        let sent = bytes(Stream::request(7), 600_000);
        for size in [1, 64, 4096, 65_536, 131_072, 262_144] {
            let lost = [&sent[..1000], &sent[1000 + size..]].concat();
            let doubled = [&sent[..1000 + size], &sent[1000..]].concat();
            assert!(Stream::request(7).verify(&lost).is_err(), "{size} lost");
            assert!(Stream::request(7).verify(&doubled).is_err(), "{size} doubled");
        }
        assert!(Stream::request(8).verify(&sent[..64]).is_err());
        assert!(Stream::reply(7).verify(&sent[..64]).is_err());
    }
}
