//! Least recently used.
//!
//! The crate `lru` orders *uses*; the slices that a use touched last hang in a ring, deepest first, and are next to
//! each other in the order. So a use costs one entry, however many slices it touches, and a slice can be cut in two
//! without an insertion in the middle of the order. Pinned slices hang nowhere. A ring that became empty waits for
//! the next use: once a cache is warm, nothing is allocated.

use super::super::slices::SliceId;
use super::{Moment, Policy};
use crate::keyed::OwnHash;
use crate::time::Time;
use alloc::vec::Vec;
use core::hash::BuildHasherDefault;
use lru::LruCache;

/// A slice in the ring of its use.
#[derive(Clone, Copy, Debug)]
struct Link {
    ring: u32,     // NOWHERE: it hangs in none
    next: SliceId, // goes after it; that of the last one is the first
    before: SliceId,
    first: bool, // the first of its ring to go
}

const NOWHERE: u32 = u32::MAX;

#[derive(Debug)]
pub(crate) struct Lru {
    rings: LruCache<u64, u32, BuildHasherDefault<OwnHash>>, // by name
    firsts: Vec<SliceId>,                                   // of each ring
    empty: Vec<u32>,                                        // rings without slices, wherever they are in the order
    links: Vec<Link>,
    turn: u64,     // the use that came last,
    ring: u32,     // its ring
    last: SliceId, // and what it touched last
}

/// Rings are numbered one by one, which as their own hash would crowd one corner of the map. An odd factor keeps them
/// apart (Knuth, TAOCP 6.4: the golden ratio).
const fn name_of(ring: u32) -> u64 {
    (ring as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

impl Lru {
    pub(super) fn new() -> Self {
        Self {
            rings: LruCache::unbounded_with_hasher(BuildHasherDefault::default()),
            firsts: Vec::new(),
            empty: Vec::new(),
            links: Vec::new(),
            turn: 0,
            ring: NOWHERE,
            last: SliceId::NONE,
        }
    }

    fn at(&mut self, slice: SliceId) -> &mut Link {
        &mut self.links[slice.index()]
    }

    /// A number that was used for another slice, or for none, is now this one's.
    fn learn(&mut self, slice: SliceId) {
        let nowhere = Link { ring: NOWHERE, next: slice, before: slice, first: false };
        if slice.index() >= self.links.len() {
            self.links.resize(slice.index() + 1, nowhere);
        }
        *self.at(slice) = nowhere;
    }

    fn unlink(&mut self, slice: SliceId) {
        let Link { ring, next, before, first } = *self.at(slice);
        if ring == NOWHERE {
            return;
        }
        self.at(slice).ring = NOWHERE;
        let alone = next == slice;
        if alone {
            self.empty.push(ring);
        } else {
            self.at(before).next = next;
            self.at(next).before = before;
            self.at(next).first |= first;
        }
        if first {
            self.firsts[ring as usize] = if alone { SliceId::NONE } else { next };
        }
    }

    /// Hangs `slice` into the ring of `older`, right behind it.
    fn link_behind(&mut self, slice: SliceId, older: SliceId) {
        let Link { ring, next, .. } = *self.at(older);
        *self.at(slice) = Link { ring, next, before: older, first: false };
        self.at(next).before = slice;
        self.at(older).next = slice;
    }

    fn append(&mut self, slice: SliceId, turn: u64) {
        if self.turn == turn && self.at(self.last).ring == self.ring {
            self.link_behind(slice, self.last);
            self.last = slice;
            return;
        }
        let ring = if let Some(ring) = self.empty.pop() {
            self.rings.promote(&name_of(ring));
            self.firsts[ring as usize] = slice;
            ring
        } else {
            let ring = self.firsts.len() as u32;
            self.rings.put(name_of(ring), ring);
            self.firsts.push(slice);
            ring
        };
        *self.at(slice) = Link { ring, next: slice, before: slice, first: true };
        (self.turn, self.ring, self.last) = (turn, ring, slice);
    }
}

impl Policy for Lru {
    fn enter(&mut self, slice: SliceId, _: u64, _: u64, pinned: bool, at: Moment) {
        self.learn(slice);
        if !pinned {
            self.append(slice, at.turn);
        }
    }

    fn pin(&mut self, slice: SliceId) {
        self.unlink(slice);
    }

    fn used(&mut self, slice: SliceId, pinned: bool, at: Moment) {
        if !pinned {
            self.unlink(slice);
            self.append(slice, at.turn);
        }
    }

    fn reweigh(&mut self, _: SliceId, _: u64) {}

    fn split(&mut self, lower: SliceId, _: u64, upper: SliceId, _: u64) {
        self.learn(upper);
        if self.at(lower).ring != NOWHERE {
            self.link_behind(upper, lower);
        }
    }

    fn gone(&mut self, slice: SliceId, _: Option<u64>) {
        self.unlink(slice);
    }

    fn victim(&mut self, _: Time) -> Option<SliceId> {
        if self.empty.len() == self.rings.len() {
            return None;
        }
        loop {
            let ring = *self.rings.peek_lru()?.1;
            let slice = self.firsts[ring as usize];
            if slice != SliceId::NONE {
                return Some(slice);
            }
            self.rings.promote(&name_of(ring));
        }
    }

    fn clear(&mut self) {
        *self = Self::new();
    }

    fn evictable(&self) -> usize {
        self.links.iter().filter(|link| link.ring != NOWHERE).count()
    }
}
