//! Cache events, in order: what workers say of their caches becomes rows of the index.
//!
//! Invariant: the index holds of a worker exactly what its events of one epoch said.

use crate::holders::Holders;
use alloc::vec;
use alloc::vec::Vec;
use kvcache::{CacheEvent, Change, Epoch, Tokens, WorkerId};

/// What became of the events heard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FeedCount {
    /// Applied to the index.
    pub applied: u64,
    /// Skipped: of an earlier epoch, or a sequence number that was there before.
    pub skipped: u64,
    /// How often a sequence number was above the one due: events were lost, and until its next epoch the index may be
    /// wrong about that worker.
    pub gaps: u64,
}

/// The index of what workers hold, by their own account.
#[derive(Debug)]
pub(crate) struct Feed {
    holders: Holders,
    due: Vec<(Epoch, u64)>, // the next event of each worker
    count: FeedCount,
}

impl Feed {
    pub(crate) fn new(workers: u16, block: Tokens) -> Self {
        Self {
            holders: Holders::new(workers, block),
            due: vec![(Epoch(0), 0); usize::from(workers)],
            count: FeedCount::default(),
        }
    }

    pub(crate) const fn holders(&self) -> &Holders {
        &self.holders
    }

    pub(crate) const fn count(&self) -> FeedCount {
        self.count
    }

    /// Applies an event, unless it is an old one.
    #[inline]
    pub(crate) fn apply(&mut self, worker: WorkerId, event: &CacheEvent) {
        let due = &mut self.due[worker.index()];
        if (event.epoch, event.sequence) < *due {
            self.count.skipped += 1;
            return;
        }
        if event.epoch > due.0 {
            // The worker restarted: nothing of its earlier life is left, whatever was lost on the way.
            *due = (event.epoch, 0);
            self.holders.clear(worker);
        }
        if event.sequence > due.1 {
            self.count.gaps += 1;
        }
        due.1 = event.sequence + 1;
        self.count.applied += 1;
        match event.change {
            Change::Stored { piece, upto, .. } | Change::Evicted { piece, upto } => {
                self.holders.set(worker, piece, upto);
            }
            Change::Cleared => self.holders.clear(worker),
        }
    }
}
