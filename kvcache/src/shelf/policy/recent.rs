//! Least recently used, of a shelf with many shards.
//!
//! One use touches a few slices on each of many shards, so an order of *uses* would cost a look-up per shard. Here the
//! slices themselves hang in one list, the most recent last. It is the same order, exactly: the slices of a use come
//! deepest first, each use comes after all before it, and the upper part of a slice that is cut in two hangs right
//! behind the lower, which no other slice can have come between. Pinned slices hang nowhere.

use super::super::slices::SliceId;
use super::list::Lists;
use super::{Moment, Policy};
use crate::time::Time;

#[derive(Debug)]
pub(super) struct Recent(Lists<(), 1>); // what slices weigh makes no difference

impl Recent {
    pub(super) fn new() -> Self {
        Self(Lists::new())
    }

    fn unhang(&mut self, slice: SliceId) {
        if self.0.hangs(slice) {
            self.0.take_out(slice);
        }
    }
}

impl Policy for Recent {
    fn enter(&mut self, slice: SliceId, _: u64, _: u64, pinned: bool, _: Moment) {
        self.0.make_known(slice, 0, false);
        if !pinned {
            self.0.append(0, slice);
        }
    }

    fn pin(&mut self, slice: SliceId) {
        self.unhang(slice);
    }

    fn used(&mut self, slice: SliceId, pinned: bool, _: Moment) {
        if !pinned {
            self.unhang(slice);
            self.0.append(0, slice);
        }
    }

    fn reweigh(&mut self, _: SliceId, _: u64) {}

    fn split(&mut self, lower: SliceId, _: u64, upper: SliceId, _: u64) {
        if self.0.hangs(lower) {
            self.0.split(lower, 0, upper, 0);
        } else {
            self.0.make_known(upper, 0, false);
        }
    }

    fn gone(&mut self, slice: SliceId, _: Option<u64>) {
        self.unhang(slice);
    }

    fn victim(&mut self, _: Time) -> Option<SliceId> {
        self.0.oldest(0)
    }

    fn clear(&mut self) {
        *self = Self::new();
    }

    fn evictable(&self) -> usize {
        self.0.evictable()
    }
}
