//! Changes of a cache that nobody was told of yet.

use crate::chain::Piece;
use crate::event::{CacheEvent, Change, Epoch, StrandId};
use crate::units::Tokens;
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
    /// Whether evictions are told by their strands alone.
    by_strand: bool,
    /// The number of the latest eviction told so, and its strand, which has not grown since.
    latest: Option<(u64, StrandId)>,
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
        (self.epoch, self.sequence, self.latest) = (epoch, 0, None);
    }

    /// From now on, whether evictions are told by their strands alone.
    pub(crate) const fn tell_by_strand(&mut self, by_strand: bool) {
        (self.by_strand, self.latest) = (by_strand, None);
    }

    /// Whether nobody asks which pieces were evicted.
    pub(crate) const fn is_by_strand(&self) -> bool {
        self.by_strand
    }

    /// Of `strand` only what lies before token `left` is resident any more, and nobody asks which pieces went. Where nobody
    /// was told of what went before it, it is told with that: what came in between hangs below nothing that goes now.
    pub(crate) fn push_cut(&mut self, strand: StrandId, left: Tokens) {
        if let Some((number, cut)) = self.latest
            && cut == strand
            && let Some(place) = self.events.len().checked_sub((self.sequence - number) as usize)
            && let Change::Evicted { left: before, .. } = &mut self.events[place].change
        {
            debug_assert!(left < *before, "more goes");
            *before = left;
            return;
        }
        self.latest = Some((self.sequence, strand));
        self.push(Change::Evicted { left, pieces: Vec::new(), strand: Some(strand) });
    }

    /// Something changed.
    pub(crate) fn push(&mut self, change: Change) {
        if let (Change::Stored { strand: Some(grown), .. }, Some((_, cut))) = (&change, self.latest)
            && grown.id == cut
        {
            self.latest = None;
        }
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
                && pieces.capacity() > 0
            {
                pieces.clear();
                self.spare.push(pieces);
            }
        }
    }
}
