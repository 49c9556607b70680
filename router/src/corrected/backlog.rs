//! What each worker has still to compute before a new request's turn comes.
//!
//! An engine computes prompts in order of arrival. Whose first token has come is done, and the next one began then, or
//! when it was sent; so of the first in the queue a part is done already, and never more than all of it.

use alloc::collections::VecDeque;
use alloc::vec;
use alloc::vec::Vec;
use kvcache::{RequestId, Span, Time, WorkerId};

#[derive(Clone, Copy, Debug)]
struct Queued {
    request: RequestId,
    work: Span,
}

#[derive(Clone, Debug, Default)]
struct Queue {
    waiting: VecDeque<Queued>,
    work: u128,  // of all who wait, picoseconds: more than a span may hold
    since: Time, // when the first of them began
}

/// The queues of all workers.
#[derive(Clone, Debug)]
pub(crate) struct Backlog {
    queues: Vec<Queue>,
}

impl Backlog {
    pub(crate) fn new(workers: u16) -> Self {
        Self { queues: vec![Queue::default(); usize::from(workers)] }
    }

    /// `request` was sent to `worker`, where computing its prompt is expected to take `work`.
    pub(crate) fn add(&mut self, worker: WorkerId, request: RequestId, work: Span, now: Time) {
        let queue = &mut self.queues[worker.index()];
        if queue.waiting.is_empty() {
            queue.since = now;
        }
        queue.waiting.push_back(Queued { request, work });
        queue.work += u128::from(work.0);
    }

    /// `request` waits no more: its first token came out, or it ended, at `at`.
    pub(crate) fn remove(&mut self, worker: WorkerId, request: RequestId, at: Time) {
        let queue = &mut self.queues[worker.index()];
        let Some(place) = queue.waiting.iter().position(|queued| queued.request == request) else { return };
        if let Some(gone) = queue.waiting.remove(place) {
            queue.work -= u128::from(gone.work.0);
        }
        // The engine turned to the next one then.
        queue.since = queue.since.max(at);
    }

    /// How long it will be until all who wait at `worker` have been served.
    pub(crate) fn remaining(&self, worker: WorkerId, now: Time) -> Span {
        let queue = &self.queues[worker.index()];
        let Some(first) = queue.waiting.front() else { return Span::ZERO };
        let done = Span(now.0.saturating_sub(queue.since.0));
        let left = queue.work - u128::from(done.0.min(first.work.0));
        Span(u64::try_from(left).unwrap_or(u64::MAX))
    }

    /// How many wait at `worker`.
    pub(crate) fn waiting(&self, worker: WorkerId) -> usize {
        self.queues[worker.index()].waiting.len()
    }

    /// How many wait at all workers together.
    pub(crate) fn all(&self) -> usize {
        self.queues.iter().map(|queue| queue.waiting.len()).sum()
    }
}
