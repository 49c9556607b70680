//! S3-FIFO: Yang, Zhang, Qiu, Yue, Rashmi, "FIFO queues are all you need for cache eviction", SOSP 2023, algorithm 1.
//!
//! What is new waits in a small queue of a tenth of the capacity, and reaches the main queue if it is used more than
//! once there, or comes back while its ghost is remembered. The main queue gives a second chance per use, of which
//! three count. Weights are tokens; the main queue is bounded by the capacity alone. Pinned slices keep their place
//! and are passed over.

use super::super::slices::SliceId;
use super::Policy;
use super::ghost::Ghosts;
use super::list::Lists;
use crate::time::Time;

const SMALL: u8 = 0;
const MAIN: u8 = 1;

/// Uses that count: two bits.
const MOST_USES: u8 = 3;

/// Uses in the small queue that prove nothing yet.
const UNPROVEN_USES: u8 = 1;

/// The part of the capacity that is the small queue's: one in this many.
const SMALL_SHARE: u64 = 10;

#[derive(Clone, Copy, Debug, Default)]
struct Known {
    uses: u8,
    whole: u64, // its weight before parts of it were evicted
}

#[derive(Debug)]
pub(super) struct S3Fifo {
    queues: Lists<Known, 2>,
    ghosts: Ghosts,
    capacity: u64,
}

impl S3Fifo {
    pub(super) fn new(capacity: u64) -> Self {
        Self { queues: Lists::new(), ghosts: Ghosts::new(), capacity }
    }

    /// The oldest of the small queue that was hardly used; those that were move on.
    fn small(&mut self) -> Option<SliceId> {
        loop {
            let slice = self.queues.oldest(SMALL)?;
            let known = &mut self.queues.at(slice).with;
            if known.uses <= UNPROVEN_USES {
                return Some(slice);
            }
            known.uses = 0;
            self.queues.move_to(MAIN, slice);
        }
    }

    /// The oldest of the main queue that was not used since it was considered last.
    fn main(&mut self) -> Option<SliceId> {
        loop {
            let slice = self.queues.oldest(MAIN)?;
            let known = &mut self.queues.at(slice).with;
            if known.uses == 0 {
                return Some(slice);
            }
            known.uses -= 1;
            self.queues.move_to(MAIN, slice);
        }
    }
}

impl Policy for S3Fifo {
    fn enter(&mut self, slice: SliceId, key: u64, tokens: u64, pinned: bool, _: Time) {
        let queue = if self.ghosts.forget(key) { MAIN } else { SMALL };
        self.queues.enter(queue, slice, tokens, pinned);
        self.queues.at(slice).with.whole = tokens;
    }

    fn pin(&mut self, slice: SliceId) {
        self.queues.at(slice).pinned = true;
    }

    fn used(&mut self, slice: SliceId, pinned: bool, _: Time) {
        let entry = self.queues.at(slice);
        entry.pinned = pinned;
        entry.with.uses = MOST_USES.min(entry.with.uses + 1);
    }

    fn reweigh(&mut self, slice: SliceId, tokens: u64) {
        self.queues.reweigh(slice, tokens);
        let known = &mut self.queues.at(slice).with;
        known.whole = known.whole.max(tokens);
    }

    fn split(&mut self, lower: SliceId, lower_tokens: u64, upper: SliceId, upper_tokens: u64) {
        self.queues.split(lower, lower_tokens, upper, upper_tokens);
        self.queues.at(lower).with.whole = lower_tokens;
        self.queues.at(upper).with.whole = upper_tokens;
    }

    fn gone(&mut self, slice: SliceId, evicted: Option<u64>) {
        let was_small = self.queues.list_of(slice) == SMALL;
        self.queues.take_out(slice);
        if let Some(key) = evicted.filter(|_| was_small) {
            self.ghosts.remember(key, self.queues.at(slice).with.whole);
            self.ghosts.trim(self.capacity - self.capacity / SMALL_SHARE);
        }
    }

    fn victim(&mut self, _: Time) -> Option<SliceId> {
        let small_is_full = self.queues.tokens(SMALL) * SMALL_SHARE >= self.capacity;
        let first = if small_is_full { self.small() } else { self.main() };
        first.or_else(|| if small_is_full { self.main() } else { self.small() }).or_else(|| self.main())
    }

    fn clear(&mut self) {
        *self = Self::new(self.capacity);
    }

    fn tokens(&self) -> Option<u64> {
        Some(self.queues.all_tokens())
    }

    fn evictable(&self) -> usize {
        self.queues.evictable()
    }
}
