//! Where an object goes: rendezvous hashing (Thaler & Ravishankar 1998, "highest random weight").
//!
//! Each key ranks all shards at random, and of the shards that are up the one it ranks highest has it. So keys spread
//! evenly, and when a shard goes or comes only its own keys move. A ranking need not be known to its end: a generator
//! seeded by the key names shards one by one, and a shard ranks by when it is named first. The first one named that is
//! up has the key, mostly the very first; so the place costs the same with any number of shards. Those not named in
//! [`TURNS`] turns rank last, by a draw for each: that is asked only where nearly all shards are down.
//!
//! Who wants to grow makes a pool of as many shards as there may be, with the others down. Two pools made for different
//! numbers of shards rank alike only where these round up to the same power of two.

use crate::chain::{BlockKey, mix};
use alloc::vec;
use alloc::vec::Vec;

/// Turns of a key's generator. With all shards up, each names one with probability over a half; with one of 64 up, this
/// many find it with probability 63 %.
const TURNS: usize = 64;

/// From turn to turn: 2^64 divided by the golden ratio, made odd (Knuth, TAOCP 3, 6.4).
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// In [`Places::named`]: no shard, or one that is down.
const NOBODY: u16 = u16::MAX;

#[derive(Debug)]
pub(super) struct Places {
    seed: u64,
    shards: u16,
    named: Vec<u16>, // by what a generator names: a power of two, of which the first ones are shards
    up: Vec<u16>,    // shards that are up, in order
}

impl Places {
    pub(super) fn new(shards: u16, seed: u64) -> Self {
        let mut named = vec![NOBODY; usize::from(shards).next_power_of_two()];
        let up: Vec<u16> = (0..shards).collect();
        named[..up.len()].copy_from_slice(&up);
        Self { seed: mix(seed, 0x706f_6f6c), shards, named, up }
    }

    /// The shard for `key`, given that any is up. O(1) where most are, O(shards) where few are.
    #[inline]
    pub(super) fn of(&self, key: BlockKey) -> u16 {
        let first = self.named_by(self.first(key));
        if first == NOBODY { self.of_later_turns(key) } else { first }
    }

    /// The word that names the first shard. A key is mixed already: one multiplication spreads what the seed changes.
    const fn first(&self, key: BlockKey) -> u64 {
        (key.0 ^ self.seed).wrapping_mul(STEP)
    }

    /// The shard that a word names: by its uppermost bits, in which all bits of a key have a say.
    #[inline]
    fn named_by(&self, word: u64) -> u16 {
        self.named[((u128::from(word) * self.named.len() as u128) >> 64) as usize]
    }

    #[cold]
    fn of_later_turns(&self, key: BlockKey) -> u16 {
        let first = self.first(key);
        let turns = core::iter::successors(Some(first), |word| Some(mix(*word, STEP)));
        let named = turns.skip(1).take(TURNS - 1).map(|word| self.named_by(word)).find(|shard| *shard != NOBODY);
        let draw = |shard: &u16| mix(first, (u64::from(*shard) + 1).wrapping_mul(STEP));
        named.or_else(|| self.up.iter().copied().max_by_key(draw)).expect("a shard is up")
    }

    /// # Panics
    /// Where there is no such shard, as in the others below.
    pub(super) fn is_up(&self, shard: u16) -> bool {
        assert!(shard < self.shards, "a pool of {} shards has no shard {shard}", self.shards);
        self.named[usize::from(shard)] != NOBODY
    }

    pub(super) fn take_down(&mut self, shard: u16) {
        assert!(shard < self.shards, "a pool of {} shards has no shard {shard}", self.shards);
        self.up.retain(|up| *up != shard);
        self.named[usize::from(shard)] = NOBODY;
    }

    pub(super) fn bring_up(&mut self, shard: u16) {
        if !self.is_up(shard) {
            self.up.insert(self.up.partition_point(|up| *up < shard), shard);
            self.named[usize::from(shard)] = shard;
        }
    }

    pub(super) const fn any_up(&self) -> bool {
        !self.up.is_empty()
    }
}
