//! First published, first evicted. Pinned slices keep their place and are passed over.

use super::super::slices::SliceId;
use super::Policy;
use super::list::Lists;
use crate::time::Time;

#[derive(Debug)]
pub(super) struct Fifo(Lists<(), 1>);

impl Fifo {
    pub(super) fn new() -> Self {
        Self(Lists::new())
    }
}

impl Policy for Fifo {
    fn by_age(&self) -> bool {
        true
    }

    fn enter(&mut self, slice: SliceId, _: u64, tokens: u64, pinned: bool, _: Time) {
        self.0.enter(0, slice, tokens, pinned);
    }

    fn pin(&mut self, slice: SliceId) {
        self.0.at(slice).pinned = true;
    }

    fn used(&mut self, slice: SliceId, pinned: bool, _: Time) {
        self.0.at(slice).pinned = pinned;
    }

    fn reweigh(&mut self, slice: SliceId, tokens: u64) {
        self.0.reweigh(slice, tokens);
    }

    fn split(&mut self, lower: SliceId, lower_tokens: u64, upper: SliceId, upper_tokens: u64) {
        self.0.split(lower, lower_tokens, upper, upper_tokens);
    }

    fn gone(&mut self, slice: SliceId, _: Option<u64>) {
        self.0.take_out(slice);
    }

    fn victim(&mut self, _: Time) -> Option<SliceId> {
        self.0.oldest(0)
    }

    fn clear(&mut self) {
        *self = Self::new();
    }

    fn tokens(&self) -> Option<u64> {
        Some(self.0.all_tokens())
    }

    fn evictable(&self) -> usize {
        self.0.evictable()
    }
}
