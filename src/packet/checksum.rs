//! The internet checksum (RFC 1071), fast.

/// A running one's complement sum of 16-bit words.
///
/// Words are added in the machine's byte order, which RFC 1071 section 2 (B) allows, four lanes
/// at a time so that the compiler can vectorize the loop.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sum(u64);

impl Sum {
    /// Adds `bytes`; all but the last slice added must have an even length.
    pub(super) fn add(self, bytes: &[u8]) -> Self {
        const LANES: usize = 16;
        let mut lanes = [0_u64; LANES];
        let mut blocks = bytes.chunks_exact(4 * LANES);
        for block in &mut blocks {
            for (lane, word) in lanes.iter_mut().zip(block.as_chunks::<4>().0) {
                *lane += u64::from(u32::from_ne_bytes(*word));
            }
        }
        // No slice is so long, 16 GiB, that this could overflow.
        let mut sum = add_with_carry(self.0, lanes.iter().sum());
        let (pairs, odd) = blocks.remainder().as_chunks::<2>();
        for pair in pairs {
            sum = add_with_carry(sum, u64::from(u16::from_ne_bytes(*pair)));
        }
        if let [last] = odd {
            sum = add_with_carry(sum, u64::from(u16::from_ne_bytes([*last, 0])));
        }
        Self(sum)
    }

    /// The checksum: the complement of the sum, folded to 16 bits, in network byte order.
    pub(super) fn finish(self) -> u16 {
        let mut sum = self.0;
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        u16::from_be(!(sum as u16))
    }
}

const fn add_with_carry(a: u64, b: u64) -> u64 {
    let (sum, carry) = a.overflowing_add(b);
    sum + carry as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// RFC 1071 section 1, word by word.
    fn plain(bytes: &[u8]) -> u16 {
        let mut sum = 0_u32;
        for pair in bytes.chunks(2) {
            sum += u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
            sum = (sum & 0xffff) + (sum >> 16);
        }
        !(sum as u16)
    }

    proptest! {
        #[test]
        fn sum_equals_plain_sum(bytes in prop::collection::vec(any::<u8>(), 0..5000)) {
            prop_assert_eq!(Sum::default().add(&bytes).finish(), plain(&bytes));
        }

        #[test]
        fn sum_in_pieces_is_the_same(
            bytes in prop::collection::vec(any::<u8>(), 0..500), at in 0_usize..250,
        ) {
            let (a, b) = bytes.split_at((at * 2).min(bytes.len() & !1));
            prop_assert_eq!(Sum::default().add(a).add(b).finish(), plain(&bytes));
        }
    }

    #[test]
    fn sum_of_all_ones_does_not_overflow() {
        let bytes = vec![0xff; 1 << 20];
        assert_eq!(Sum::default().add(&bytes).finish(), plain(&bytes));
    }
}
