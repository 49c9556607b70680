//! What all rules share: the evidence, and how it becomes a decision.

use crate::health::WorkerLoad;
use crate::index::Matches;
use crate::request::{Decision, Reason};
use crate::router::Asked;
use crate::score::{Score, TierTokens};
use alloc::boxed::Box;
use kvcache::{Span, Time, Tokens, WorkerId};

impl Decision {
    /// A decision for which nothing was weighed.
    pub(crate) fn blind(worker: WorkerId, reason: Reason) -> Self {
        Self { worker, reason, matched: None, best: None, age: None, scores: Box::default() }
    }

    /// Says how old what it was made on is, where each worker was heard of last at the time in `heard`.
    pub(crate) fn date(&mut self, heard: &[Option<Time>], now: Time) {
        for (score, heard) in self.scores.iter_mut().zip(heard) {
            score.age = heard.map(|heard| Span(now.0.saturating_sub(heard.0)));
        }
        self.age = self.scores.get(self.worker.index()).and_then(|score| score.age);
    }

    /// A decision for `worker` by these scores.
    pub(crate) fn weighed(worker: WorkerId, reason: Reason, scores: Box<[Score]>) -> Self {
        let matched = |score: &Score| score.matched.map(TierTokens::total);
        let best = scores.iter().filter(|score| score.available).filter_map(matched).max();
        let of = scores[worker.index()];
        Self { worker, reason, matched: matched(&of), best, age: None, scores }
    }
}

impl Asked<'_> {
    fn workers(&self) -> impl Iterator<Item = WorkerId> + use<> {
        (0..self.loads.loads().len() as u16).map(WorkerId)
    }

    /// What is known of any worker whose load is counted.
    fn score(&self, worker: WorkerId) -> Score {
        let WorkerLoad { requests, new_tokens, context_tokens, .. } = self.loads.load(worker);
        Score {
            available: self.available.has(worker),
            requests: Some(requests),
            queued: new_tokens,
            context: context_tokens,
            ..Score::default()
        }
    }

    /// The scores of all workers, given what each has; who reads load is told it.
    pub(crate) fn scores(&self, known: &[TierTokens]) -> Box<[Score]> {
        let score = |(worker, known): (WorkerId, &TierTokens)| Score { matched: Some(*known), ..self.score(worker) };
        self.workers().zip(known).map(score).collect()
    }

    /// A decision by what each worker has of the prompt.
    pub(crate) fn decide(&self, worker: WorkerId, reason: Reason, matches: &Matches) -> Decision {
        let score = |(worker, l0): (WorkerId, &Tokens)| Score {
            available: self.available.has(worker),
            matched: Some(TierTokens { l0: *l0, ..TierTokens::default() }),
            ..Score::default()
        };
        Decision::weighed(worker, reason, self.workers().zip(matches.tokens()).map(score).collect())
    }

    /// A decision by the requests in flight.
    pub(crate) fn by_load(&self, worker: WorkerId, reason: Reason) -> Decision {
        let score = |worker| {
            let score = self.score(worker);
            let cost = score.requests.filter(|_| score.available).map(u64::from);
            Score { cost, ..score }
        };
        Decision::weighed(worker, reason, self.workers().map(score).collect())
    }

    /// The available worker, of those that `may`, with the fewest requests in flight, of those with the fewest tokens to
    /// compute, of those the lowest number. O(workers).
    pub(crate) fn least_loaded(&self, may: impl Fn(WorkerId) -> bool) -> Option<WorkerId> {
        let load = |worker: &WorkerId| {
            let load = self.loads.load(*worker);
            (load.requests, load.new_tokens, *worker)
        };
        self.available.iter().filter(|worker| may(*worker)).min_by_key(load)
    }

    /// The worker with the lowest cost, and how many have it. Of equals: the fewest requests in flight, then the fewest
    /// tokens held, so that an idle fleet fills evenly, then the lowest number.
    pub(crate) fn cheapest(&self, scores: &[Score], held: impl Fn(WorkerId) -> u64) -> (WorkerId, u16) {
        let costs = || self.workers().zip(scores).filter_map(|(worker, score)| Some((worker, score.cost?)));
        let least = costs().map(|(_, cost)| cost).min().unwrap_or_default();
        let tied = || costs().filter(|(_, cost)| *cost == least).map(|(worker, _)| worker);
        let key = |worker: &WorkerId| (self.loads.load(*worker).requests, held(*worker), *worker);
        (tied().min_by_key(key).unwrap_or_default(), tied().count() as u16)
    }
}
