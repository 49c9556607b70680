//! What each worker has still to compute before a new request's turn comes.
//!
//! An engine computes prompts in order of arrival. Whose first token has come is done, and the next one began then, or
//! when it was sent. Signals take a while: up to the moment of which news has come, no news says that the first in the queue
//! is not done, however long it takes; of what happened since nothing is known, and the queue is taken to have moved on as
//! expected.

use alloc::collections::VecDeque;
use alloc::vec;
use alloc::vec::Vec;
use kvcache::{RequestId, Span, Time, WorkerId};

#[derive(Clone, Copy, Debug)]
struct Queued {
    request: RequestId,
    work: Span,
    sent: Time,
}

#[derive(Clone, Debug, Default)]
struct Queue {
    waiting: VecDeque<Queued>,
    work: u128,  // of all who wait, picoseconds: more than a span may hold
    since: Time, // when the first of them began
}

/// What is expected to be left of a queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Left {
    pub(crate) work: Span,
    pub(crate) waiting: u32,
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
        queue.waiting.push_back(Queued { request, work, sent: now });
        queue.work += u128::from(work.0);
    }

    /// `request` waits no more: its first token came out, or it ended, at `at`.
    pub(crate) fn remove(&mut self, worker: WorkerId, request: RequestId, at: Time) {
        let queue = &mut self.queues[worker.index()];
        let Some(place) = queue.waiting.iter().position(|queued| queued.request == request) else { return };
        if let Some(gone) = queue.waiting.remove(place) {
            queue.work -= u128::from(gone.work.0);
        }
        if place > 0 {
            return;
        }
        // The engine turned to the next one then, or when that came.
        let next = queue.waiting.front().map_or(at, |next| at.max(next.sent));
        queue.since = queue.since.max(next);
    }

    /// What is left at `worker`, where signals take `lag`. O(1) where they take no time, else O(those who wait).
    pub(crate) fn left(&self, worker: WorkerId, now: Time, lag: Span) -> Left {
        let queue = &self.queues[worker.index()];
        let Some(first) = queue.waiting.front() else { return Left::default() };
        let known = Time(now.0.saturating_sub(lag.0));
        let done = Span(known.0.saturating_sub(queue.since.0)).min(first.work);
        let left = queue.work - u128::from(done.0);
        if lag == Span::ZERO {
            return Left { work: span(left), waiting: queue.waiting.len() as u32 };
        }
        queue.moved_on(known, now, done)
    }
}

impl Queue {
    /// What is left of a queue of which nothing later than `known` is known; by then `done` of the first was done.
    fn moved_on(&self, known: Time, now: Time, done: Span) -> Left {
        let mut at = known.max(self.since);
        let mut left = 0_u128;
        for (queued, done) in self.waiting.iter().zip(core::iter::once(done).chain(core::iter::repeat(Span::ZERO))) {
            left = left.saturating_sub(u128::from(queued.sent.0.saturating_sub(at.0)));
            at = at.max(queued.sent);
            left += u128::from((queued.work - done).0);
        }
        left = left.saturating_sub(u128::from(now.0.saturating_sub(at.0)));
        // The last ones are those who still wait.
        let overdue = self.waiting.front().is_some_and(|first| done == first.work);
        let (mut last, mut waiting) = (0_u128, 0);
        for queued in self.waiting.iter().rev() {
            if last >= left {
                break;
            }
            last += u128::from(queued.work.0);
            waiting += 1;
        }
        // Of the first it is known that it took longer than expected, and of nothing that it is done.
        Left { work: span(left), waiting: waiting.max(u32::from(overdue)) }
    }
}

fn span(picoseconds: u128) -> Span {
    Span(u64::try_from(picoseconds).unwrap_or(u64::MAX))
}
