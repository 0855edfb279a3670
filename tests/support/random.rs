//! Chance that can be had again.

use std::hash::{BuildHasher, RandomState};

use tcp_tunn::event::Side;

/// Set this to the seed that a failure printed, to see it again.
const SEED: &str = "TCP_TUNN_SEED";

/// Numbers that follow from a seed.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// From the seed that is asked for, or from one that a test prints when it fails.
    pub(crate) fn seeded() -> Self {
        let given = std::env::var(SEED).ok().map(|seed| seed.parse().unwrap());
        let seed = given.unwrap_or_else(|| RandomState::new().hash_one(0));
        println!("to see this again: {SEED}={seed}");
        Self(seed)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) % end
    }

    pub(crate) fn side(&mut self) -> Side {
        if self.below(2) == 0 { Side::Client } else { Side::Server }
    }
}
