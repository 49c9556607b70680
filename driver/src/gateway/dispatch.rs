//! Router, breakers and retries behind one lock, which is held for microseconds and never across a wait.

use super::feed::FeedCounts;
use super::glance::Glance;
use super::meters::Meters;
use crate::emulate::clock::{Clock, TimeScale};
use kvcache::{CacheEvent, Chain, Epoch, RequestId, Time, Tokens, WorkerId};
use router::{Decision, Health, NoWorker, Outcome, Retries, RetryBudget, RouteRequest, Router, Sent, Signal, Stop};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Who decides.
#[derive(Debug)]
pub(super) struct Dispatch {
    clock: Clock,
    block: Tokens,
    state: Mutex<State>,
    pub(super) meters: Meters,
}

#[derive(Debug)]
struct State {
    router: Router,
    health: Health,
    budget: RetryBudget,
    next: u64,
    turn: usize,
    excluded: Vec<WorkerId>, // kept for its room
}

/// What is told of breakers and retries.
#[derive(Clone, Debug)]
pub(super) struct Standing {
    pub(super) available: Vec<bool>,
    pub(super) ejections: u64,
    pub(super) retries: u64,
    pub(super) refused_retries: u64,
}

impl Dispatch {
    pub(super) fn new(router: Router, health: Health, budget: RetryBudget) -> Self {
        let (block, workers) = (router.config().block, router.config().workers);
        Self {
            clock: Clock::starting_at(Time::ZERO, TimeScale::REAL),
            block,
            meters: Meters::new(workers),
            state: Mutex::new(State { router, health, budget, next: 0, turn: 0, excluded: Vec::new() }),
        }
    }

    /// The state, and the time: read behind the lock, so that for the state it never runs backwards.
    fn state(&self) -> (MutexGuard<'_, State>, Time) {
        // Nothing in there panics but for a wrong worker's number, before anything has changed.
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.now();
        (state, now)
    }

    /// A number for a new request, which pays its share of retries.
    pub(super) fn begin(&self) -> RequestId {
        let (mut state, now) = self.state();
        state.budget.deposit(now);
        state.next += 1;
        RequestId(state.next)
    }

    /// Chooses a worker for an attempt.
    ///
    /// # Errors
    /// Where there is nobody left.
    pub(super) fn send(
        self: &Arc<Self>,
        request: RequestId,
        glance: &Glance,
        retries: &Retries,
    ) -> Result<(Decision, Attempt), NoWorker> {
        let (mut guard, now) = self.state();
        let state = &mut *guard;
        state.excluded.clear();
        state.health.excluded(now, &mut state.excluded);
        retries.exclude(&mut state.excluded);
        let chain = Chain::new(&glance.pieces, self.block);
        let asked = RouteRequest { request, session: glance.session, chain, api: glance.api };
        let decision = state.router.route(&asked, &state.excluded, now)?;
        let sent = state.health.sent(decision.worker, request, now);
        drop(guard);
        self.meters.sent(decision.worker);
        let attempt = Attempt { dispatch: self.clone(), sent: Some(sent), begun: Instant::now(), has_begun: false };
        Ok((decision, attempt))
    }

    /// Whether a request may be tried once more after an attempt that ended so.
    pub(super) fn again(&self, retries: &mut Retries, worker: WorkerId, outcome: Outcome) -> Result<(), Stop> {
        let (mut guard, now) = self.state();
        let state = &mut *guard;
        retries.again(worker, outcome, &state.health, &mut state.budget, now)
    }

    /// What a worker's cache did in the life `epoch` of it, by its own account.
    pub(super) fn cached(&self, worker: WorkerId, epoch: Epoch, events: &[CacheEvent], counts: FeedCounts) {
        self.meters.fed(worker, counts);
        let (mut state, now) = self.state();
        state.router.observe(worker, Signal::Restarted(epoch), now, now);
        if !events.is_empty() {
            state.router.observe(worker, Signal::Cache(events), now, now);
        }
    }

    /// How workers fare.
    pub(super) fn standing(&self) -> Standing {
        let (state, now) = self.state();
        let workers = (0..state.router.config().workers).map(WorkerId);
        Standing {
            available: workers.map(|worker| state.health.is_available(worker, now)).collect(),
            ejections: state.health.counts().ejections,
            retries: state.budget.withdrawn(),
            refused_retries: state.budget.refused(),
        }
    }

    /// Somebody who may be sent a request, each in turn.
    pub(super) fn anybody(&self) -> Option<WorkerId> {
        let (mut state, now) = self.state();
        state.turn = state.turn.wrapping_add(1);
        let available: Vec<WorkerId> = state.health.available(now).collect();
        available.get(state.turn.checked_rem(available.len())?).copied()
    }

    fn ended(&self, sent: Sent, outcome: Outcome) {
        let (mut state, now) = self.state();
        state.router.observe(sent.worker, Signal::Finished(sent.request), now, now);
        state.health.ended(sent, outcome, now);
        drop(state);
        self.meters.ended(sent.worker, outcome);
    }
}

/// An attempt under way. Whatever becomes of it, its reservation ends exactly once; one that is dropped was given up by its client.
#[derive(Debug)]
pub(super) struct Attempt {
    dispatch: Arc<Dispatch>,
    sent: Option<Sent>,
    begun: Instant,
    has_begun: bool,
}

impl Attempt {
    /// The first piece of the answer has come.
    pub(super) fn first_token(&mut self) {
        if let Some(sent) = self.sent.filter(|_| !self.has_begun) {
            self.has_begun = true;
            let (mut state, now) = self.dispatch.state();
            state.router.observe(sent.worker, Signal::FirstToken(sent.request), now, now);
            drop(state);
            self.dispatch.meters.first_token(self.begun.elapsed());
        }
    }

    /// It came to its end.
    pub(super) fn end(mut self, outcome: Outcome) {
        self.finish(outcome);
    }

    /// The same, of one that stays where it is.
    pub(super) fn finish(&mut self, outcome: Outcome) {
        if let Some(sent) = self.sent.take() {
            self.dispatch.ended(sent, outcome);
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        self.finish(Outcome::Cancelled);
    }
}
