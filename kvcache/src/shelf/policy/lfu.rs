//! Least frequently used, as Redis 7 approximates it for `allkeys-lfu` (`evict.c`, and the chapter on eviction of
//! its manual).
//!
//! A logarithmic counter of 8 bits per slice, 5 at first, grows by one with probability 1 / (10 (counter - 5) + 1)
//! per use and falls by one per minute without use. Room is made by sampling five slices into a pool of sixteen
//! candidates, of which the one used least goes. Redis samples buckets of its table; here five slices are drawn
//! uniformly and independently from those that nobody holds.

use super::super::slices::SliceId;
use super::Policy;
use crate::time::{Span, Time};
use alloc::vec::Vec;

const FIRST: u8 = 5; // LFU_INIT_VAL
const LOG_FACTOR: u64 = 10; // lfu-log-factor
const DECAY: Span = Span::from_secs(60); // lfu-decay-time 1
const SAMPLES: u32 = 5; // maxmemory-samples
const CANDIDATES: usize = 16; // EVPOOL_SIZE

/// The place of a slice that nobody may draw.
const NOWHERE: u32 = u32::MAX;

#[derive(Clone, Copy, Debug)]
struct Known {
    counter: u8,
    minute: u64, // of its last use
    place: u32,  // among those that may go
}

#[derive(Clone, Copy, Debug)]
struct Candidate {
    slice: SliceId,
    idleness: u8, // when it was drawn
}

#[derive(Debug)]
pub(super) struct Lfu {
    known: Vec<Known>,
    free: Vec<SliceId>,   // that may go
    pool: Vec<Candidate>, // the least idle first
    chance: u64,
}

const fn minute(now: Time) -> u64 {
    now.0 / DECAY.0
}

impl Known {
    const fn counter_at(&self, minute: u64) -> u8 {
        let idle = minute - self.minute;
        if idle >= self.counter as u64 { 0 } else { self.counter - idle as u8 }
    }
}

impl Lfu {
    pub(super) const fn new(seed: u64) -> Self {
        Self { known: Vec::new(), free: Vec::new(), pool: Vec::new(), chance: seed }
    }

    /// A number in `0..below`, from `SplitMix64` (Steele, Lea, Flood, OOPSLA 2014).
    fn draw(&mut self, below: u64) -> u64 {
        self.chance = self.chance.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.chance;
        word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^= word >> 31;
        ((u128::from(word) * u128::from(below)) >> 64) as u64
    }

    fn put_back(&mut self, slice: SliceId) {
        let known = &mut self.known[slice.index()];
        if known.place == NOWHERE {
            known.place = self.free.len() as u32;
            self.free.push(slice);
        }
    }

    fn take_out(&mut self, slice: SliceId) {
        let place = self.known[slice.index()].place;
        if place != NOWHERE {
            self.known[slice.index()].place = NOWHERE;
            self.free.swap_remove(place as usize);
            if let Some(moved) = self.free.get(place as usize) {
                self.known[moved.index()].place = place;
            }
        }
    }

    fn learn(&mut self, slice: SliceId, known: Known) {
        if slice.index() >= self.known.len() {
            self.known.resize(slice.index() + 1, Known { counter: 0, minute: 0, place: NOWHERE });
        }
        self.known[slice.index()] = known;
    }

    /// Draws candidates; only the idlest stay in the pool.
    fn sample(&mut self, minute: u64) {
        for _ in 0..SAMPLES {
            let drawn = self.draw(self.free.len() as u64) as usize;
            let slice = self.free[drawn];
            let idleness = u8::MAX - self.known[slice.index()].counter_at(minute);
            let place = self.pool.partition_point(|candidate| candidate.idleness < idleness);
            if self.pool.len() < CANDIDATES {
                self.pool.insert(place, Candidate { slice, idleness });
            } else if place > 0 {
                self.pool.remove(0);
                self.pool.insert(place - 1, Candidate { slice, idleness });
            }
        }
    }
}

impl Policy for Lfu {
    fn enter(&mut self, slice: SliceId, _: u64, _: u64, pinned: bool, now: Time) {
        self.learn(slice, Known { counter: FIRST, minute: minute(now), place: NOWHERE });
        if !pinned {
            self.put_back(slice);
        }
    }

    fn pin(&mut self, slice: SliceId) {
        self.take_out(slice);
    }

    fn used(&mut self, slice: SliceId, pinned: bool, now: Time) {
        let minute = minute(now);
        let counter = self.known[slice.index()].counter_at(minute);
        let odds = LOG_FACTOR * u64::from(counter.saturating_sub(FIRST)) + 1;
        let grown = counter.saturating_add(u8::from(self.draw(odds) == 0));
        let known = &mut self.known[slice.index()];
        (known.counter, known.minute) = (grown, minute);
        if !pinned {
            self.put_back(slice);
        }
    }

    fn reweigh(&mut self, _: SliceId, _: u64) {}

    fn split(&mut self, lower: SliceId, _: u64, upper: SliceId, _: u64) {
        let known = self.known[lower.index()];
        self.learn(upper, Known { place: NOWHERE, ..known });
        if known.place != NOWHERE {
            self.put_back(upper);
        }
    }

    fn gone(&mut self, slice: SliceId, _: Option<u64>) {
        self.take_out(slice);
        self.pool.retain(|candidate| candidate.slice != slice);
    }

    fn victim(&mut self, now: Time) -> Option<SliceId> {
        while !self.free.is_empty() {
            self.sample(minute(now));
            while let Some(Candidate { slice, .. }) = self.pool.pop() {
                if self.known[slice.index()].place != NOWHERE {
                    return Some(slice);
                }
            }
        }
        None
    }

    fn clear(&mut self) {
        *self = Self::new(self.chance);
    }

    fn evictable(&self) -> usize {
        self.free.len()
    }
}
