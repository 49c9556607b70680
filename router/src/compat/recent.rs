//! Requests of the last minute: upstream's queries per second, which are counts over a sliding window.

use crate::available::Available;
use alloc::collections::VecDeque;
use alloc::vec;
use alloc::vec::Vec;
use kvcache::{Span, Time, WorkerId};

/// How many requests each worker was sent within a window. Memory is bounded by the requests of one window.
#[derive(Debug)]
pub(crate) struct Recent {
    window: Span,
    sent: VecDeque<(Time, WorkerId)>, // oldest first
    counts: Vec<Option<u32>>,         // None: never sent anything
}

impl Recent {
    pub(crate) fn new(workers: u16, window: Span) -> Self {
        Self { window, sent: VecDeque::new(), counts: vec![None; usize::from(workers)] }
    }

    /// A request goes to `worker`.
    pub(crate) fn note(&mut self, worker: WorkerId, now: Time) {
        self.expire(now);
        self.sent.push_back((now, worker));
        let count = &mut self.counts[worker.index()];
        *count = Some(count.unwrap_or(0) + 1);
    }

    /// The available worker with the fewest requests, the lowest number of those, and its count. Workers that were
    /// never sent any come first, as upstream returns the first endpoint without statistics. O(workers).
    pub(crate) fn lowest(&mut self, available: &Available, now: Time) -> (WorkerId, Option<u32>) {
        self.expire(now);
        let lowest = available.iter().map(|worker| (self.counts[worker.index()], worker)).min();
        lowest.map_or((WorkerId(0), None), |(count, worker)| (worker, count))
    }

    /// Forgets what is older than the window; what is exactly as old still counts, as upstream.
    fn expire(&mut self, now: Time) {
        let oldest = Time(now.0.saturating_sub(self.window.0));
        while let Some((_, worker)) = self.sent.pop_front_if(|(at, _)| *at < oldest) {
            if let Some(count) = &mut self.counts[worker.index()] {
                *count -= 1;
            }
        }
    }
}
