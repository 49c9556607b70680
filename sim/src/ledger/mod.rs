//! What became of every request, and what that says of the run.
//!
//! Laws, asserted by [`Ledger::check`]: the parts of every TTFT sum to it, in integers; every request sent has completed, was refused, or is unfinished, and is counted
//! once; every token of a completed request came out, after a gap that was counted, or first; Little's law holds exactly, since both sides are integers: the integral of the number of requests in the
//! system equals the sum of the times they spent there.

use crate::cluster::{Change, Event, Overlap, Refusal};
use crate::cost::Axis;
use crate::replica::{Output, Spent, Stall};
use crate::transport::Moved;
use alloc::vec::Vec;
use kvcache::{RequestId, Span, Time, Tokens, WorkerId};
use router::Reason;

mod histogram; // gaps between tokens, in buckets
mod quantile; // percentiles of raw samples
mod fleet; // who came and went
mod summary; // the figures of a run
mod totals; // what they need of its requests
mod window; // which part of it they are of
mod breakdown; // where TTFT goes
mod in_flight; // KV tokens against the pool

use fleet::FleetBooks;
pub use fleet::{FleetCounts, Workers};
use in_flight::Asked;
use window::{Tally, Window};

pub use breakdown::{Breakdown, ByClass, ByPart, Class, OfClass, OfSlowest, PartFigures, SlowestTenth};
pub use histogram::Histogram;
pub use in_flight::{Held, KvInFlight};
pub use quantile::{Distribution, quantile, quantile_of};
pub use summary::{BytesMoved, CostPer1k, HitRate, Price, StallTimes, Summary, Throughput, TokensByTier};
pub use window::Warmup;

/// How a request ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Status {
    /// It has not ended.
    #[default]
    Unfinished,
    /// All its tokens came out.
    Completed,
    /// Nobody would serve it.
    Refused,
    /// Its client went away.
    Cancelled,
    /// Its worker died, and it was not sent again.
    Errored,
}

/// One request's story. Times are those of the client: a simulated TTFT contains the modelled API latency.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// When its first byte left the client.
    pub sent: Time,
    /// When it reached the router.
    pub arrived: Time,
    /// Its prompt.
    pub prompt: Tokens,
    /// The reply it asked for.
    pub output: Tokens,
    /// Who served it.
    pub worker: Option<WorkerId>,
    /// Prompt tokens that the router believed its worker to have. `None`: nobody looked.
    pub matched: Option<Tokens>,
    /// The most that it believed any worker to have. `None`: nobody looked.
    pub best: Option<Tokens>,
    /// Which rule chose the worker. `None`: none was chosen.
    pub reason: Option<Reason>,
    /// Prompt tokens that another worker's device had more than that of the one chosen. `None`: nobody looked.
    pub regret: Option<Tokens>,
    /// Prompt tokens found on the device (L0) when it was first admitted. `None`: it never was.
    pub cached: Option<Tokens>,
    /// Prompt tokens that L1 gave at its first admission. `None`: it never was admitted.
    pub from_l1: Option<Tokens>,
    /// Prompt tokens that L2 gave at its first admission, likewise.
    pub from_l2: Option<Tokens>,
    /// Prompt tokens that the engine computed. `None`: no token came out yet, or it was admitted more than once.
    pub computed: Option<Tokens>,
    /// How often it was admitted.
    pub admissions: u32,
    /// When it was first admitted.
    pub admitted: Option<Time>,
    /// When its first token came out.
    pub first_token: Option<Time>,
    /// How long it was kept from the engine that gave its first token: in line at a worker's proxy, at a worker that died.
    pub outside: Span,
    /// What it spent its time on in that engine, from its arrival there to its first token.
    pub spent: Option<Spent>,
    /// When its last token came out.
    pub last_token: Option<Time>,
    /// How often it gave up its blocks, or lost them.
    pub preemptions: u32,
    /// How often the worker died that it was at.
    pub lost: u32,
    /// How it ended.
    pub status: Status,
    /// Why it was refused, where it was.
    pub refusal: Option<Refusal>,
}

impl Record {
    /// Prompt tokens found in any tier at its first admission.
    #[must_use]
    pub fn found(&self) -> Option<Tokens> {
        Some(self.cached? + self.from_l1? + self.from_l2?)
    }

    /// Time to first token, from the client's first byte.
    #[must_use]
    pub fn ttft(&self) -> Option<Span> {
        Some(self.first_token?.since(self.sent))
    }

    /// Its latency on the way: the part of its TTFT that no worker has a hand in.
    #[must_use]
    pub fn api(&self) -> Span {
        self.arrived.since(self.sent)
    }

    /// End-to-end latency.
    #[must_use]
    pub fn e2el(&self) -> Option<Span> {
        Some(self.last_token?.since(self.sent))
    }

    /// Asserts what is true of each.
    fn check(&self) {
        if self.first_token.is_some() {
            let parts = self.spent.map(|spent| self.api() + self.outside + spent.total());
            assert_eq!(parts, self.ttft(), "the parts of a TTFT are all of it: {self:?}");
        }
        if self.status == Status::Completed {
            let order = [Some(self.sent), Some(self.arrived), self.admitted, self.first_token, self.last_token];
            assert!(order.iter().all(Option::is_some) && order.is_sorted(), "a request's moments are in order");
            assert!(self.found() < Some(self.prompt), "the last prompt token is always computed");
            let had = self.found().zip(self.computed).map(|(found, computed)| found + computed);
            let once = had.is_none_or(|had| had == self.prompt);
            assert!(once, "each prompt token is found, loaded or computed, once: {self:?}");
        }
    }

    /// Time per output token after the first, rounded down to a picosecond; needs two tokens.
    #[must_use]
    pub fn tpot(&self) -> Option<Span> {
        let gaps = u64::from(self.output.0).checked_sub(1).filter(|gaps| *gaps > 0)?;
        Some(Span(self.last_token?.since(self.first_token?).0 / gaps))
    }
}

/// Which lower tiers there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LowerTiers {
    /// Host memory of each worker.
    pub l1: bool,
    /// A pool shared by all.
    pub l2: bool,
}

/// What went wrong, or was left undone, in the lower tiers: all workers together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct TierEvents {
    /// Loads that brought less than was promised, or nothing.
    pub short_loads: u64,
    /// Tokens that a tier had and that were computed by choice.
    pub declined_tokens: u64,
    /// Tokens that found no room in L1 and were not kept there.
    pub l1_skipped_tokens: u64,
    /// Stores that were on their way into L2 for longer than a put may last: they never got there.
    pub l2_discarded_puts: u64,
    /// Tokens that found no room in L2.
    pub l2_skipped_tokens: u64,
    /// Leases that lasted longer than they may: what was copied under them does not count.
    pub l2_expired_leases: u64,
    /// Times that a worker began to leave L2 alone, because it could not be reached or said nothing.
    pub breaker_opened: u64,
}

impl core::ops::Sub for TierEvents {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            short_loads: self.short_loads - before.short_loads,
            declined_tokens: self.declined_tokens - before.declined_tokens,
            l1_skipped_tokens: self.l1_skipped_tokens - before.l1_skipped_tokens,
            l2_discarded_puts: self.l2_discarded_puts - before.l2_discarded_puts,
            l2_skipped_tokens: self.l2_skipped_tokens - before.l2_skipped_tokens,
            l2_expired_leases: self.l2_expired_leases - before.l2_expired_leases,
            breaker_opened: self.breaker_opened - before.breaker_opened,
        }
    }
}

/// The books of a run.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    records: Vec<Record>,
    tiers: LowerTiers,
    moved: Moved,
    events: TierEvents,
    fleet: FleetBooks,
    warmup: Warmup,
    window: Option<Window>,
    /// Before the window.
    earlier: Tally,
    tally: Tally,
    asked: Asked,
    held: Option<Held>,
    in_system: u64,
    ended: Time,          // when the latest request did
    residence: u128,      // integral of `in_system`, request-picoseconds
    stayed_in_vain: u128, // how long those were here who ended without their last token
    as_of: Time,
    order: Vec<u32>,
}

impl Ledger {
    /// Empty books for `workers` workers and about `requests` requests.
    #[must_use]
    pub fn new(workers: u16, requests: usize) -> Self {
        Self {
            records: Vec::with_capacity(requests),
            tally: Tally::new(usize::from(workers)),
            fleet: FleetBooks::new(workers, workers),
            ..Self::default()
        }
    }

    /// The same books, of a fleet of which only the first `present` workers are there at the start.
    #[must_use]
    pub fn with_present(mut self, present: u16) -> Self {
        self.fleet = FleetBooks::new(self.tally.busy.len() as u16, present);
        self
    }

    /// A request reached the router. Requests are numbered in this order, from 0. Says whether it is the first that is
    /// measured.
    pub fn arrived(&mut self, request: RequestId, sent: Time, arrived: Time, prompt: Tokens, output: Tokens) -> bool {
        assert_eq!(request.0, self.records.len() as u64, "requests are numbered in order of arrival");
        self.pass_time(arrived);
        let opens = self.open_window(sent, arrived);
        self.in_system += 1;
        self.asked.come(prompt + output);
        self.records.push(Record { sent, arrived, prompt, output, ..Record::default() });
        opens
    }

    fn pass_time(&mut self, now: Time) {
        let span = now.since(self.as_of);
        self.residence += u128::from(self.in_system) * u128::from(span.0);
        self.asked.pass_time(span);
        self.as_of = now;
    }

    fn leave(&mut self, request: RequestId, status: Status, now: Time) {
        self.pass_time(now);
        self.in_system -= 1;
        self.ended = now;
        let record = self.of_mut(request);
        assert_eq!(record.status, Status::Unfinished, "a request ends once");
        record.status = status;
        let tokens = record.prompt + record.output;
        let stayed = now.since(record.arrived);
        if status != Status::Completed {
            self.stayed_in_vain += u128::from(stayed.0);
        }
        self.asked.go(tokens);
    }

    fn of_mut(&mut self, request: RequestId) -> &mut Record {
        &mut self.records[request.0 as usize]
    }

    /// Enters what happened. `now` is the moment the cluster was at.
    pub fn enter(&mut self, event: &Event, now: Time) {
        match event {
            Event::Routed { request, decision, overlap, .. } => {
                let record = self.of_mut(*request);
                (record.worker, record.reason) = (Some(decision.worker), Some(decision.reason));
                (record.matched, record.best) = (decision.matched, decision.best);
                record.regret = overlap.map(Overlap::regret);
            }
            Event::Refused { request, refusal, at } => {
                self.of_mut(*request).refusal = Some(*refusal);
                self.leave(*request, Status::Refused, *at);
            }
            Event::Output { output, .. } => self.enter_output(output, now),
            Event::Ran { worker, stretch, .. } => {
                // Waiting for loads and stores is part of the gap before a token, but keeps no engine busy.
                let occupied = stretch.lasts(stretch.passes) - stretch.idle;
                let tally = &mut self.tally;
                tally.busy[worker.index()] += occupied;
                tally.prefill += u128::from(stretch.prefill.0);
                tally.decode += u128::from((occupied - stretch.prefill).0);
                tally.passes += stretch.passes;
                if let Some(axis) = stretch.beyond {
                    tally.beyond[axis as usize] += stretch.passes;
                }
                if stretch.waited == Span::ZERO {
                    tally.gaps.add_series(stretch.first, stretch.growth, stretch.passes, stretch.steady);
                } else {
                    tally.gaps.add(stretch.waited + stretch.first, stretch.steady);
                    let rest = stretch.passes - 1;
                    tally.gaps.add_series(stretch.first + stretch.growth, stretch.growth, rest, stretch.steady);
                }
            }
            Event::Stalled { cause, span, .. } => {
                let slot = match cause {
                    Stall::LookUp => 0,
                    Stall::LoadHost => 1,
                    Stall::LoadPool => 2,
                    Stall::Store => 3,
                };
                self.tally.stalls[slot] += u128::from(span.0);
            }
            Event::Cache { .. }
            | Event::Started { .. }
            | Event::Move(_)
            | Event::Moved { .. }
            | Event::Shelved { .. }
            | Event::LetGo { .. } => {}
            // Nothing came of it: it is neither the prompts' time nor the replies', and no pass.
            Event::Restarted { worker, lost, .. } => self.tally.busy[worker.index()] += *lost,
            Event::Worker { worker, change, at } => {
                if let Change::Died { lost } = change {
                    self.tally.busy[worker.index()] += *lost;
                }
                self.fleet.enter(*worker, *change, *at);
            }
            Event::Lost { request, .. } => self.of_mut(*request).lost += 1,
        }
    }

    fn enter_output(&mut self, output: &Output, now: Time) {
        match *output {
            Output::Admitted { request, cached, at } => {
                let record = self.of_mut(request);
                record.admitted = record.admitted.or(Some(at));
                record.cached = record.cached.or(Some(cached));
                record.from_l1 = record.from_l1.or(Some(Tokens::ZERO));
                record.from_l2 = record.from_l2.or(Some(Tokens::ZERO));
                record.admissions += 1;
            }
            Output::Loaded { request, host, pool, .. } => {
                let record = self.of_mut(request);
                if record.admissions == 1 {
                    (record.from_l1, record.from_l2) = (Some(host), Some(pool));
                }
            }
            Output::Preempted { request } => {
                self.of_mut(request).preemptions += 1;
                self.tally.preemptions += 1;
            }
            Output::Split { request, spent, since } => {
                let record = self.of_mut(request);
                (record.spent, record.outside) = (Some(spent), since.since(record.arrived));
            }
            Output::FirstToken { request, computed, at } => {
                let record = self.of_mut(request);
                record.first_token = Some(at);
                record.computed = (record.admissions == 1).then_some(computed);
            }
            Output::Resumed { before, at, .. } => self.tally.gaps.add(at.since(before), 1),
            Output::Tokens { .. } => {}
            Output::Finished { request, at } => {
                self.of_mut(request).last_token = Some(at);
                self.leave(request, Status::Completed, at);
            }
            Output::Cancelled { request } => self.leave(request, Status::Cancelled, now),
        }
    }

    /// A request whose worker had died was sent again.
    pub const fn sent_again(&mut self) {
        self.fleet.counts.sent_again += 1;
    }

    /// A request whose worker had died was not sent again: its client got an error.
    pub fn errored(&mut self, request: RequestId, now: Time) {
        self.fleet.counts.errored += 1;
        self.leave(request, Status::Errored, now);
    }

    /// How many workers there were, from each moment at which that changed on; the first is the start.
    #[must_use]
    pub fn workers(&self) -> &[Workers] {
        &self.fleet.timeline
    }

    /// Which lower tiers the run has.
    pub const fn set_tiers(&mut self, tiers: LowerTiers) {
        self.tiers = tiers;
    }

    /// What went wrong in the lower tiers.
    pub const fn set_tier_events(&mut self, events: TierEvents) {
        self.events = events;
    }

    /// What the ways between the tiers have carried by now.
    pub const fn set_moved(&mut self, moved: Moved) {
        self.moved = moved;
    }

    /// The place of each request in its workload, by number; empty where these are the same.
    pub fn set_order(&mut self, order: Vec<u32>) {
        self.order = order;
    }

    /// The place in its workload of request `number`: where turns are taken, requests arrive in another order.
    #[must_use]
    pub fn place(&self, number: usize) -> usize {
        self.order.get(number).map_or(number, |place| *place as usize)
    }

    /// The run ended: whoever is still in the system stays unfinished.
    pub fn close(&mut self, now: Time) {
        self.pass_time(now);
    }

    /// Every request's story, in order of arrival.
    #[must_use]
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// The same, taken out of the books: a copy of a million would take a while, and as much memory again.
    #[must_use]
    pub fn into_records(self) -> Vec<Record> {
        self.records
    }

    /// Gaps between consecutive tokens of a request, since the window opened.
    #[must_use]
    pub const fn gaps(&self) -> &Histogram {
        &self.tally.gaps
    }

    /// The integral of the number of requests in the system, in request-picoseconds, from their arrival at the router.
    #[must_use]
    pub const fn residence(&self) -> u128 {
        self.residence
    }

    /// Requests that have arrived and not ended.
    #[must_use]
    pub const fn in_system(&self) -> u64 {
        self.in_system
    }

    /// Passes that all workers ran since the window opened.
    #[must_use]
    pub const fn passes(&self) -> u64 {
        self.tally.passes
    }

    /// Of these, how many the cost model was not made for, by what they have more of: their durations are guesses.
    pub fn passes_beyond(&self) -> impl Iterator<Item = (Axis, u64)> {
        Axis::ALL.into_iter().zip(self.tally.beyond).filter(|(_, passes)| *passes > 0)
    }

    /// Preemptions on all workers since the window opened.
    #[must_use]
    pub const fn preemptions(&self) -> u64 {
        self.tally.preemptions
    }

    /// Asserts the laws of the module. O(requests).
    ///
    /// # Panics
    /// Where one is broken: a bug.
    pub fn check(&self) {
        let (mut unfinished, mut left_early, mut gaps) = (0, false, 0);
        let (mut stayed, mut spans) = (0_u128, 0_u128);
        for record in &self.records {
            record.check();
            match record.status {
                Status::Completed => {
                    stayed += record.last_token.map_or(0, |last| u128::from(last.since(record.arrived).0));
                    gaps += u64::from(record.output.0) - 1;
                    let between = record.last_token.zip(record.first_token).map(|(last, first)| last.since(first));
                    spans += between.map_or(0, |span| u128::from(span.0));
                }
                Status::Unfinished => {
                    unfinished += 1;
                    stayed += u128::from(self.as_of.since(record.arrived).0);
                }
                Status::Refused => {}
                Status::Cancelled | Status::Errored => left_early = true,
            }
        }
        assert_eq!(self.in_system, unfinished, "every request completes, is refused or is unfinished");
        let all = stayed + self.stayed_in_vain;
        assert_eq!(self.residence, all, "Little's law: the integral of N equals the sum of W");
        if unfinished == 0 && !left_early {
            let counted = self.earlier.gaps.count() + self.tally.gaps.count();
            assert_eq!(counted, gaps, "every token after the first follows a gap");
            let counted = self.earlier.gaps.sum() + self.tally.gaps.sum();
            assert_eq!(counted, spans, "gaps fill the time from the first token to the last");
        }
    }
}
