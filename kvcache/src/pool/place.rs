//! Where an object goes: rendezvous hashing (Thaler & Ravishankar 1998, "highest random weight").
//!
//! Each shard draws a number for each key, and of the shards that are up the highest draw has the key. So keys spread
//! evenly, and when a shard goes or comes only its own keys move.

use crate::chain::{BlockKey, mix};
use alloc::vec::Vec;

#[derive(Debug)]
pub(super) struct Places {
    salts: Vec<u64>,     // of each shard
    up: Vec<(u16, u64)>, // shards that are up, with their salts, in order
}

impl Places {
    pub(super) fn new(shards: u16, seed: u64) -> Self {
        let salts: Vec<u64> = (0..shards).map(|shard| mix(mix(seed, 0x706f_6f6c), u64::from(shard))).collect();
        let up = (0..).zip(salts.iter().copied()).collect();
        Self { salts, up }
    }

    /// The shard for `key`, if any is up. O(shards).
    pub(super) fn of(&self, key: BlockKey) -> Option<u16> {
        let (first, others) = self.up.split_first()?;
        let (mut chosen, mut highest) = (first.0, draw(key, first.1));
        for (shard, salt) in others {
            let draw = draw(key, *salt);
            if draw >= highest {
                (highest, chosen) = (draw, *shard);
            }
        }
        Some(chosen)
    }

    pub(super) fn is_up(&self, shard: u16) -> bool {
        self.up.iter().any(|(up, _)| *up == shard)
    }

    pub(super) fn take_down(&mut self, shard: u16) {
        self.up.retain(|(up, _)| *up != shard);
    }

    pub(super) fn bring_up(&mut self, shard: u16) {
        let place = self.up.partition_point(|(up, _)| *up < shard);
        if !self.is_up(shard) {
            self.up.insert(place, (shard, self.salts[usize::from(shard)]));
        }
    }

    pub(super) const fn any_up(&self) -> bool {
        !self.up.is_empty()
    }

    pub(super) fn up(&self) -> impl Iterator<Item = u16> {
        self.up.iter().map(|(shard, _)| *shard)
    }
}

/// What a shard draws for a key. A key is mixed already: one multiplication spreads what its salt changes in it.
#[inline]
const fn draw(key: BlockKey, salt: u64) -> u64 {
    // 2^64 divided by the golden ratio, made odd (Knuth, TAOCP 3, 6.4).
    (key.0 ^ salt).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}
