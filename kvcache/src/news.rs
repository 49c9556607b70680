//! Changes of a cache that nobody was told of yet.

use crate::chain::Piece;
use crate::event::{CacheEvent, Change, Epoch};
use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// Lists of events that were told are used again, so many of them.
const SPARE: usize = 64;

/// Them, in order, and the number of the one that comes next.
#[derive(Debug, Default)]
pub(crate) struct News {
    epoch: Epoch,
    sequence: u64,
    events: VecDeque<CacheEvent>,
    spare: Vec<Vec<Piece>>,
}

impl News {
    /// The life of the cache.
    pub(crate) const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The number of the event that comes next.
    pub(crate) const fn next(&self) -> u64 {
        self.sequence
    }

    /// Another life begins.
    pub(crate) const fn begin(&mut self, epoch: Epoch) {
        (self.epoch, self.sequence) = (epoch, 0);
    }

    /// Something changed.
    pub(crate) fn push(&mut self, change: Change) {
        self.events.push_back(CacheEvent { epoch: self.epoch, sequence: self.sequence, change });
        self.sequence += 1;
    }

    /// An empty list for pieces of an event.
    pub(crate) fn list(&mut self) -> Vec<Piece> {
        self.spare.pop().unwrap_or_default()
    }

    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = &CacheEvent> {
        self.events.iter()
    }

    /// The first one, which is told now.
    pub(crate) fn poll(&mut self) -> Option<CacheEvent> {
        self.events.pop_front()
    }

    /// Hands the first ones, at most `most` of them, to `hear`, where there are any: they are told then.
    pub(crate) fn take(&mut self, most: usize, hear: impl FnOnce(&[CacheEvent])) {
        let count = most.min(self.events.len());
        if count == 0 {
            return;
        }
        hear(&self.events.make_contiguous()[..count]);
        for told in self.events.drain(..count) {
            if let (Change::Stored { mut pieces, .. } | Change::Evicted { mut pieces, .. }, true) =
                (told.change, self.spare.len() < SPARE)
            {
                pieces.clear();
                self.spare.push(pieces);
            }
        }
    }
}
