//! ARC: Megiddo, Modha, "ARC: a self-tuning, low overhead replacement cache", FAST 2003, figure 4.
//!
//! `T1` holds what was used once, `T2` what was used more often, `B1` and `B2` remember what was evicted from them.
//! What comes back from `B1` lets `T1` grow, what comes back from `B2` lets it shrink. Weights, `p` among them, are
//! tokens. Pinned slices keep their place and are passed over.

use super::super::slices::SliceId;
use super::Policy;
use super::ghost::Ghosts;
use super::list::Lists;
use crate::time::Time;

const T1: u8 = 0;
const T2: u8 = 1;

#[derive(Debug)]
pub(super) struct Arc {
    lists: Lists<u64, 2>, // with the weight of a slice before parts of it were evicted
    b1: Ghosts,
    b2: Ghosts,
    capacity: u64,
    target: u64,         // `p`: how much of the capacity is for `T1`
    comes_from_b2: bool, // what is about to be written
}

impl Arc {
    pub(super) fn new(capacity: u64) -> Self {
        let (lists, b1, b2) = (Lists::new(), Ghosts::new(), Ghosts::new());
        Self { lists, b1, b2, capacity, target: 0, comes_from_b2: false }
    }

    /// `T1` and `B1` remember one capacity, all four lists two.
    fn trim(&mut self) {
        let (t1, t2) = (self.lists.tokens(T1), self.lists.tokens(T2));
        self.b1.trim(self.capacity.saturating_sub(t1));
        self.b2.trim((2 * self.capacity).saturating_sub(t1 + t2 + self.b1.tokens()));
    }
}

/// How far the target moves for what weighs `tokens` and was found among ghosts of `own`, others being of `other`.
fn step(tokens: u64, own: u64, other: u64) -> u64 {
    tokens.max((u128::from(tokens) * u128::from(other) / u128::from(own.max(1))) as u64)
}

impl Policy for Arc {
    fn coming(&mut self, key: u64) {
        let (b1, b2) = (self.b1.tokens(), self.b2.tokens());
        self.comes_from_b2 = false;
        if let Some(tokens) = self.b1.tokens_of(key) {
            self.target = self.capacity.min(self.target + step(tokens, b1, b2));
        } else if let Some(tokens) = self.b2.tokens_of(key) {
            self.target = self.target.saturating_sub(step(tokens, b2, b1));
            self.comes_from_b2 = true;
        }
    }

    fn enter(&mut self, slice: SliceId, key: u64, tokens: u64, pinned: bool, _: Time) {
        self.comes_from_b2 = false;
        let returned = self.b1.forget(key) || self.b2.forget(key);
        self.lists.enter(if returned { T2 } else { T1 }, slice, tokens, pinned);
        self.lists.at(slice).with = tokens;
        self.trim();
    }

    fn pin(&mut self, slice: SliceId) {
        self.lists.at(slice).pinned = true;
    }

    fn used(&mut self, slice: SliceId, pinned: bool, _: Time) {
        self.lists.at(slice).pinned = pinned;
        self.lists.move_to(T2, slice);
    }

    fn reweigh(&mut self, slice: SliceId, tokens: u64) {
        self.lists.reweigh(slice, tokens);
        let whole = &mut self.lists.at(slice).with;
        *whole = (*whole).max(tokens);
    }

    fn split(&mut self, lower: SliceId, lower_tokens: u64, upper: SliceId, upper_tokens: u64) {
        self.lists.split(lower, lower_tokens, upper, upper_tokens);
        self.lists.at(lower).with = lower_tokens;
        self.lists.at(upper).with = upper_tokens;
    }

    fn gone(&mut self, slice: SliceId, evicted: Option<u64>) {
        let (list, whole) = (self.lists.list_of(slice), self.lists.at(slice).with);
        self.lists.take_out(slice);
        if let Some(key) = evicted {
            let ghosts = if list == T1 { &mut self.b1 } else { &mut self.b2 };
            ghosts.remember(key, whole);
            self.trim();
        }
    }

    /// The paper's REPLACE.
    fn victim(&mut self, _: Time) -> Option<SliceId> {
        let t1 = self.lists.tokens(T1);
        let recent_first = t1 > self.target || (self.comes_from_b2 && t1 == self.target);
        let (first, second) = if t1 > 0 && recent_first { (T1, T2) } else { (T2, T1) };
        self.lists.oldest(first).or_else(|| self.lists.oldest(second))
    }

    fn clear(&mut self) {
        *self = Self::new(self.capacity);
    }

    fn tokens(&self) -> Option<u64> {
        Some(self.lists.all_tokens())
    }

    fn evictable(&self) -> usize {
        self.lists.evictable()
    }
}
