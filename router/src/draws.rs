//! Seeded randomness: a stream per purpose, so that a draw added in one place shifts no other.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// A stream of draws.
#[derive(Debug)]
pub(crate) struct Draws(ChaCha8Rng);

impl Draws {
    /// The stream called `name` of `seed`: ChaCha with 8 rounds, keyed with the seed (its 8 bytes, least significant
    /// first, and 24 zeros), and the 64-bit FNV-1a hash of the name as its stream number.
    pub(crate) fn named(seed: u64, name: &str) -> Self {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        let mut stream = ChaCha8Rng::from_seed(key);
        stream.set_stream(
            name.bytes()
                .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)),
        );
        Self(stream)
    }

    /// A number below `bound`, which is not zero, each equally likely. A 32-bit draw times the bound has the number in
    /// its upper half; the few draws that would favour some numbers are drawn again (Lemire, "Fast random integer
    /// generation in an interval", 2019). One draw is used even where there is only one answer.
    pub(crate) fn below(&mut self, bound: u16) -> u16 {
        let bound = u32::from(bound);
        let unfair = bound.wrapping_neg() % bound;
        loop {
            let product = u64::from(self.0.next_u32()) * u64::from(bound);
            if product as u32 >= unfair {
                return (product >> 32) as u16;
            }
        }
    }
}
