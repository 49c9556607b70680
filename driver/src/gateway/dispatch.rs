//! The desk that decides, behind one lock, which is held for microseconds and never across a wait; and the log of what it was told.

use super::feed::FeedCounts;
use super::glance::Glance;
use super::log::{Log, Said, Told};
use super::meters::Meters;
use super::tally::Tally;
use crate::emulate::clock::{Clock, TimeScale};
use crate::failure::Failure;
use axum::body::Bytes;
use kvcache::{CacheEvent, Chain, Epoch, RequestId, Time, Tokens, WorkerId};
use router::{Decision, Desk, NoWorker, Outcome, Retries, RouteRequest, Sent, Stop};
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
    desk: Desk,
    log: Option<Log>,
    next: u64,
    turn: usize,
}

impl State {
    /// What the desk was told, and what it answered. Nothing is made of it where nobody wants to know.
    fn note(&mut self, now: Time, told: impl FnOnce() -> Told, said: impl FnOnce() -> Option<Said>) {
        if let Some(log) = &mut self.log {
            log.note(now, told(), said());
        }
    }
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
    pub(super) fn new(desk: Desk, log: Option<Log>, meters: Meters) -> Self {
        Self {
            clock: Clock::starting_at(Time::ZERO, TimeScale::REAL),
            block: desk.router().config().block,
            meters,
            state: Mutex::new(State { desk, log, next: 0, turn: 0 }),
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
        state.next += 1;
        let request = state.next;
        state.desk.came(now);
        state.note(now, || Told::Came { request }, || None);
        RequestId(request)
    }

    /// Chooses a worker for an attempt of a request that came at `came`.
    ///
    /// # Errors
    /// Where there is nobody left.
    pub(super) fn send(
        self: &Arc<Self>,
        request: RequestId,
        glance: &Glance,
        retries: &Retries,
        came: Instant,
    ) -> Result<(Decision, Attempt), NoWorker> {
        let (mut guard, now) = self.state();
        let state = &mut *guard;
        let chain = Chain::new(&glance.pieces, self.block);
        let asked = RouteRequest { request, session: glance.session, chain, api: glance.api };
        let answer = state.desk.send(&asked, retries, now);
        let said = || Some(Said::sent(answer.as_ref().map(|(decision, _)| decision)));
        state.note(now, || Told::send(&asked), said);
        drop(guard);
        let (decision, sent) = answer?;
        let new = chain.tokens().saturating_sub(decision.matched.unwrap_or_default());
        self.meters.sent(decision.worker);
        let tally = Tally::new(came);
        let attempt = Attempt {
            dispatch: self.clone(),
            sent: Some(sent),
            begun: Instant::now(),
            has_begun: false,
            // Of a prompt that is all there the last block is computed again, and is none that is new.
            makes_blocks: (new > self.block).then(|| self.meters.heard(decision.worker)),
            tally,
        };
        Ok((decision, attempt))
    }

    /// Whether a request may be tried once more after an attempt that ended so.
    pub(super) fn again(
        &self,
        request: RequestId,
        retries: &mut Retries,
        worker: WorkerId,
        outcome: Outcome,
    ) -> Result<(), Stop> {
        let (mut state, now) = self.state();
        let answer = state.desk.again(retries, worker, outcome, now);
        state.note(now, || Told::again(request, worker, outcome), || Some(Said::again(answer)));
        answer
    }

    /// What a worker's cache did in the life `epoch` of it, by its own account.
    pub(super) fn cached(&self, worker: WorkerId, epoch: Epoch, events: &[CacheEvent], counts: FeedCounts) {
        self.meters.fed(worker, counts);
        let (mut state, now) = self.state();
        state.desk.cached(worker, epoch, events, now);
        state.note(now, || Told::cached(worker, epoch, events), || None);
    }

    /// Ends the log, if there is one: what happens from now on is not in it.
    ///
    /// # Errors
    /// Where it does not hold all that happened before.
    pub(super) fn end_log(&self) -> Result<(), Failure> {
        let log = self.state().0.log.take();
        log.map_or(Ok(()), Log::end)
    }

    /// How workers fare.
    pub(super) fn standing(&self) -> Standing {
        let (state, now) = self.state();
        let (desk, health) = (&state.desk, state.desk.health());
        let workers = (0..desk.router().config().workers).map(WorkerId);
        Standing {
            available: workers.map(|worker| health.is_available(worker, now)).collect(),
            ejections: health.counts().ejections,
            retries: desk.budget().withdrawn(),
            refused_retries: desk.budget().refused(),
        }
    }

    /// Somebody who may be sent a request, each in turn.
    pub(super) fn anybody(&self) -> Option<WorkerId> {
        let (mut state, now) = self.state();
        state.turn = state.turn.wrapping_add(1);
        let available: Vec<WorkerId> = state.desk.health().available(now).collect();
        available.get(state.turn.checked_rem(available.len())?).copied()
    }

    fn ended(&self, sent: Sent, outcome: Outcome) {
        let (mut state, now) = self.state();
        state.desk.ended(sent, outcome, now);
        state.note(now, || Told::ended(sent.request, sent.worker, outcome), || None);
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
    /// Where its prompt fills blocks that its worker is not known to hold: how often that one had told of its cache then.
    makes_blocks: Option<u64>,
    tally: Tally,
}

impl Attempt {
    /// The first piece of the answer has come.
    pub(super) fn first_token(&mut self) {
        if let Some(sent) = self.sent.filter(|_| !self.has_begun) {
            self.has_begun = true;
            let (mut state, now) = self.dispatch.state();
            let Sent { worker, request, .. } = sent;
            state.desk.first_token(worker, request, now);
            state.note(now, || Told::FirstToken { request: request.0, worker: worker.0 }, || None);
            drop(state);
            self.dispatch.meters.first_token(self.begun.elapsed());
        }
    }

    /// A piece of the answer, which came at `now`, passes.
    pub(super) fn piece(&mut self, piece: &Bytes, now: Instant) {
        self.tally.piece(piece, now, &self.dispatch.meters);
    }

    /// All of the answer came at once: when its first token came out nobody knows.
    pub(super) fn whole(&mut self, answer: &Bytes) {
        self.tally.look(answer);
        self.dispatch.meters.first_token(self.begun.elapsed());
    }

    /// It came to its end.
    pub(super) fn end(mut self, outcome: Outcome) {
        self.finish(outcome);
    }

    /// The same, of one that stays where it is.
    pub(super) fn finish(&mut self, outcome: Outcome) {
        if let Some(sent) = self.sent.take() {
            if let (Some(heard), Outcome::Answered) = (self.makes_blocks, outcome) {
                self.dispatch.meters.made_blocks(sent.worker, heard);
            }
            self.dispatch.ended(sent, outcome);
            self.tally.end(outcome, &self.dispatch.meters);
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        self.finish(Outcome::Cancelled);
    }
}
