//! The health of all workers: a breaker for each, and a limit to how many are out at once.
//!
//! A worker is *ejected* while its breaker is not closed. Invariant: of `n` members, at most `n / 2` are ejected. So the
//! last one never is, and a request always finds somebody: where everyone fails, the fault is likely elsewhere, and
//! sending all load to few makes it worse. (Envoy's limit of 10 % would round to one of four.)

use super::circuit::{Circuit, CircuitState, Effect};
use super::outcome::Outcome;
use alloc::vec;
use alloc::vec::Vec;
use kvcache::{RequestId, Span, Time, WorkerId};

/// When a worker is ejected, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HealthConfig {
    /// It is ejected after so many failures without an answer between them.
    pub failures: u32,
    /// For so long at first; twice as long after each probe that fails.
    pub open: Span,
    /// But never for longer than this.
    pub open_most: Span,
    /// A probe that has not ended for so long is taken for lost, and another one is let through. What becomes of it
    /// still counts.
    pub probe_lost: Span,
}

impl Default for HealthConfig {
    /// Five failures, as Envoy's `consecutive_5xx`; 10 s, doubling up to 60 s, which is SMG's only span. A probe is lost
    /// after 30 s, production-stack's time-out of a worker.
    fn default() -> Self {
        Self { failures: 5, open: Span::from_secs(10), open_most: Span::from_secs(60), probe_lost: Span::from_secs(30) }
    }
}

/// An attempt under way: to be given back when it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Sent {
    /// Who got it.
    pub worker: WorkerId,
    /// Which request.
    pub request: RequestId,
    era: u32,
}

/// What happened so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HealthCounts {
    /// Ejections of workers that were in.
    pub ejections: u64,
    /// Failures after which a worker would have been ejected, had that not been one too many.
    pub refused_ejections: u64,
    /// Probes sent.
    pub probes: u64,
    /// Ejected workers that are in again, having answered.
    pub recoveries: u64,
    /// Ejected workers that were let in since members left.
    pub pardons: u64,
    /// Ends that say nothing any more: since the request was sent, the worker was ejected, left or was replaced.
    pub stale_ends: u64,
}

/// The health of the workers of an endpoint.
///
/// Every event is O(1), but for a member's leaving; queries are O(workers). There is nothing to be done at a deadline:
/// what changes with time alone is worked out when asked for.
#[derive(Clone, Debug)]
pub struct Health {
    config: HealthConfig,
    circuits: Vec<Circuit>,
    member: Vec<bool>,
    members: usize,
    ejected: usize, // of the members
    counts: HealthCounts,
}

impl Health {
    /// `workers` of them, all members, all healthy.
    ///
    /// # Panics
    /// Where `failures` is zero, or a span is zero: an ejection, or a wait for a probe, would be none.
    #[must_use]
    pub fn new(config: HealthConfig, workers: u16) -> Self {
        assert!(config.failures > 0, "a worker is ejected after at least one failure");
        assert!(config.open > Span::ZERO && config.open <= config.open_most, "an ejection takes time");
        assert!(config.probe_lost > Span::ZERO, "a probe takes time");
        let workers = usize::from(workers);
        Self {
            config,
            circuits: vec![Circuit::new(); workers],
            member: vec![true; workers],
            members: workers,
            ejected: 0,
            counts: HealthCounts::default(),
        }
    }

    /// Appends to `excluded` everyone who should not be sent a request now. As long as there is a member, one is left.
    pub fn excluded(&self, now: Time, excluded: &mut Vec<WorkerId>) {
        let workers = (0..self.circuits.len()).map(|index| WorkerId(index as u16));
        excluded.extend(workers.filter(|worker| !self.is_available(*worker, now)));
    }

    /// Everyone who may be sent a request now.
    pub fn available(&self, now: Time) -> impl Iterator<Item = WorkerId> {
        (0..self.circuits.len())
            .map(|index| WorkerId(index as u16))
            .filter(move |worker| self.is_available(*worker, now))
    }

    /// Whether `worker` may be sent a request now.
    ///
    /// # Panics
    /// Where there is no such worker; so do all functions that name one.
    #[must_use]
    pub fn is_available(&self, worker: WorkerId, now: Time) -> bool {
        self.member[worker.index()] && self.circuits[worker.index()].passes(now)
    }

    /// A request goes to `worker`, as its probe where one is due. Who was excluded may be sent it all the same: what
    /// becomes of it counts as a probe's end would.
    pub fn sent(&mut self, worker: WorkerId, request: RequestId, now: Time) -> Sent {
        let circuit = &mut self.circuits[worker.index()];
        self.counts.probes += u64::from(circuit.sent(request, &self.config, now));
        Sent { worker, request, era: circuit.era() }
    }

    /// An attempt came to its end. One whose end is never reported holds nothing up.
    pub fn ended(&mut self, sent: Sent, outcome: Outcome, now: Time) {
        let room = self.ejected < most_ejected(self.members);
        let circuit = &mut self.circuits[sent.worker.index()];
        if sent.era != circuit.era() || !self.member[sent.worker.index()] {
            self.counts.stale_ends += 1;
            return;
        }
        match outcome {
            Outcome::Answered => {
                if !circuit.is_closed() {
                    self.ejected -= 1;
                    self.counts.recoveries += 1;
                }
                circuit.answered();
            }
            Outcome::Failed => match circuit.failed(room, &self.config, now) {
                Effect::Counted | Effect::Prolonged => {}
                Effect::Refused => self.counts.refused_ejections += 1,
                Effect::Opened => {
                    self.ejected += 1;
                    self.counts.ejections += 1;
                }
            },
            Outcome::ClientError | Outcome::Busy | Outcome::Cancelled => circuit.ended_neutrally(sent.request, now),
        }
    }

    /// `worker` joins or leaves, by somebody's decision: scaling, draining, an operator. Who joins starts afresh, as
    /// another process; what was sent to the one before says nothing of it. Where too few would be left, the ejected
    /// member whose last failure is longest ago is let in. O(workers).
    pub fn set_member(&mut self, worker: WorkerId, member: bool) {
        if self.member[worker.index()] == member {
            return;
        }
        self.member[worker.index()] = member;
        self.ejected -= usize::from(!self.circuits[worker.index()].is_closed());
        self.circuits[worker.index()].replace();
        self.members = if member { self.members + 1 } else { self.members - 1 };
        // One is enough: the limit sinks by one at most.
        if self.ejected > most_ejected(self.members) {
            let config = self.config;
            let ejected = self.circuits.iter_mut().filter(|circuit| !circuit.is_closed());
            if let Some(circuit) = ejected.min_by_key(|circuit| circuit.failed_at()) {
                circuit.pardon(&config);
                self.ejected -= 1;
                self.counts.pardons += 1;
            }
        }
    }

    /// Whether `worker` is a member.
    #[must_use]
    pub fn is_member(&self, worker: WorkerId) -> bool {
        self.member[worker.index()]
    }

    /// How many members there are.
    #[must_use]
    pub const fn members(&self) -> usize {
        self.members
    }

    /// How many of them are ejected.
    #[must_use]
    pub const fn ejected(&self) -> usize {
        self.ejected
    }

    /// What the breaker of `worker` does.
    #[must_use]
    pub fn state(&self, worker: WorkerId) -> CircuitState {
        self.circuits[worker.index()].state()
    }

    /// What happened so far.
    #[must_use]
    pub const fn counts(&self) -> HealthCounts {
        self.counts
    }

    /// Asserts the invariants. O(workers).
    ///
    /// # Panics
    /// Where one is broken.
    pub fn check(&self) {
        let members = self.member.iter().filter(|member| **member).count();
        let ejected = self.circuits.iter().filter(|circuit| !circuit.is_closed()).count();
        assert_eq!((self.members, self.ejected), (members, ejected), "members and ejected are counted");
        assert!(ejected <= most_ejected(members), "{ejected} of {members} are ejected");
        for (circuit, member) in self.circuits.iter().zip(&self.member) {
            assert!(*member || circuit.is_closed(), "only members are ejected");
        }
        let ended = self.counts.recoveries + self.counts.pardons;
        assert!(self.counts.ejections >= ended + ejected as u64, "who is in again was out");
    }
}

/// How many of so many members may be ejected at once.
const fn most_ejected(members: usize) -> usize {
    members / 2
}
