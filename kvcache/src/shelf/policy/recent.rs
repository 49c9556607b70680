//! Least recently used.
//!
//! The slices hang in one ring, the most recent last. That is the order of uses, exactly: the slices of a use come
//! deepest first, each use comes after all before it, and the upper part of a slice that is cut in two hangs right
//! behind the lower, which no other slice can have come between. Pinned slices hang nowhere.

use super::super::slices::SliceId;
use super::Policy;
use crate::time::Time;
use alloc::vec;
use alloc::vec::Vec;

/// Of a slice, its neighbours in the ring. Places are counted from 1, in order of the slices' numbers; place 0 is where
/// the ring begins and ends, so that no slice is a special case. What hangs nowhere is its own neighbour.
#[derive(Clone, Copy, Debug)]
struct Link {
    older: u32,
    newer: u32,
}

#[derive(Debug)]
pub(crate) struct Recent {
    links: Vec<Link>,
    shard: u16,
}

const ENDS: u32 = 0;

const fn place(slice: SliceId) -> u32 {
    slice.index() as u32 + 1
}

impl Link {
    const fn nowhere(place: u32) -> Self {
        Self { older: place, newer: place }
    }
}

impl Recent {
    pub(super) fn new(shard: u16) -> Self {
        Self { links: vec![Link::nowhere(ENDS)], shard }
    }

    #[inline]
    fn at(&mut self, place: u32) -> &mut Link {
        &mut self.links[place as usize]
    }

    /// Makes room for a number that was never used before.
    #[inline]
    fn learn(&mut self, place: u32) {
        for unknown in self.links.len() as u32..=place {
            self.links.push(Link::nowhere(unknown));
        }
    }

    /// Takes it out of the ring, if it hangs there.
    #[inline]
    fn unhang(&mut self, place: u32) {
        let Link { older, newer } = *self.at(place);
        self.at(older).newer = newer;
        self.at(newer).older = older;
        *self.at(place) = Link::nowhere(place);
    }

    /// Hangs what hangs nowhere right behind `older`.
    #[inline]
    fn hang_behind(&mut self, place: u32, older: u32) {
        let newer = core::mem::replace(&mut self.at(older).newer, place);
        self.at(newer).older = place;
        *self.at(place) = Link { older, newer };
    }

    fn hang_last(&mut self, place: u32) {
        let newest = self.at(ENDS).older;
        self.hang_behind(place, newest);
    }
}

impl Policy for Recent {
    #[inline]
    fn enter(&mut self, slice: SliceId, _: u64, _: u64, pinned: bool, _: Time) {
        self.learn(place(slice));
        if !pinned {
            self.hang_last(place(slice));
        }
    }

    #[inline]
    fn pin(&mut self, slice: SliceId) {
        self.unhang(place(slice));
    }

    #[inline]
    fn used(&mut self, slice: SliceId, pinned: bool, _: Time) {
        if !pinned {
            self.unhang(place(slice));
            self.hang_last(place(slice));
        }
    }

    #[inline]
    fn reweigh(&mut self, _: SliceId, _: u64) {}

    fn split(&mut self, lower: SliceId, _: u64, upper: SliceId, _: u64) {
        let (lower, upper) = (place(lower), place(upper));
        self.learn(upper);
        if self.at(lower).newer != lower {
            self.hang_behind(upper, lower);
        }
    }

    #[inline]
    fn gone(&mut self, slice: SliceId, _: Option<u64>) {
        self.unhang(place(slice));
    }

    #[inline]
    fn victim(&mut self, _: Time) -> Option<SliceId> {
        let oldest = self.at(ENDS).newer;
        (oldest != ENDS).then(|| SliceId::new(self.shard, oldest - 1))
    }

    fn clear(&mut self) {
        *self = Self::new(self.shard);
    }

    fn evictable(&self) -> usize {
        (0..).zip(&self.links).skip(1).filter(|(place, link)| link.newer != *place).count()
    }
}
