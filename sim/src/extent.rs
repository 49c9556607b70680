//! How a run begins, how long it is, and which part of it is measured.

use crate::ledger::Warmup;
use kvcache::{Span, Time};

/// The extent of a run. By default all users start at once, all requests are sent, and all are measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    /// Under closed pacing, users start one after the other, evenly over this span: the k-th of n at k / n of it, from 0.
    pub ramp: Span,
    /// Under closed pacing, nobody sends at or after this moment.
    pub until: Option<Time>,
    /// Under closed pacing, whoever is turned away for the moment ([`crate::cluster::Refusal::may_pass`]) goes on no sooner than
    /// this after it.
    pub pause: Span,
    /// Which requests are left out of the figures.
    pub warmup: Warmup,
}

/// Users who have not started yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Starting {
    ramp: Span,
    users: u32,
    started: u32,
}

impl Starting {
    pub(crate) const fn new(users: u32, ramp: Span) -> Self {
        Self { ramp, users, started: 0 }
    }

    /// When the next one starts.
    pub(crate) fn next(&self) -> Option<Time> {
        let start = || u128::from(self.ramp.0) * u128::from(self.started) / u128::from(self.users);
        (self.started < self.users).then(|| Time(start() as u64))
    }

    /// It has started.
    pub(crate) const fn advance(&mut self) {
        self.started += 1;
    }
}
