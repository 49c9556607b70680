//! Which part of a run its figures are of, and what was counted before that.
//!
//! A run that begins cold, or with all users at once, tells of its beginning as much as of its load. Requests sent before
//! the *cut* are sent all the same, and the others find what they left in caches and queues; the figures are of the requests
//! from the cut on, those that are *measured*. Rates are theirs over the time from the first byte of the first of them to
//! their last token. What is counted of engines and not of requests (passes, busy time, gaps between tokens, stalls, bytes,
//! KV held) is counted from the moment at which the first of them reaches the router.

use super::{FleetCounts, Histogram, Ledger, Record};
use alloc::vec::Vec;
use kvcache::{Span, Time};

/// Which requests are left out of the figures: the first ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Warmup {
    /// None.
    #[default]
    Nothing,
    /// So many.
    Requests(u64),
    /// Those sent less than this after the first.
    Time(Span),
}

/// What is counted as a run goes by, and not of one request.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    /// Gaps between consecutive tokens of a request, of all requests together.
    pub(super) gaps: Histogram,
    /// Time each worker's engine was occupied, be it for nothing.
    pub(super) busy: Vec<Span>,
    /// Time that engines with work stood still, by cause, all engines together.
    pub(super) stalls: [u128; 4],
    // All workers together, in picoseconds: a few of them soon pass what a span holds.
    pub(super) prefill: u128,
    pub(super) decode: u128,
    pub(super) passes: u64,
    /// Of these, by what they have more of than the cost model was made for, as [`Axis::ALL`](crate::cost::Axis::ALL) has it.
    pub(super) beyond: [u64; 6],
    pub(super) preemptions: u64,
}

impl Tally {
    pub(super) fn new(workers: usize) -> Self {
        Self { busy: alloc::vec![Span::ZERO; workers], ..Self::default() }
    }
}

/// The measured part of a run, once it has begun.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    /// The number of the first measured request.
    pub(super) first: usize,
    /// When it reached the router.
    pub(super) opened: Time,
}

impl Ledger {
    /// Leaves the first requests out of the figures. Before any has arrived.
    pub const fn set_warmup(&mut self, warmup: Warmup) {
        self.warmup = warmup;
    }

    /// How many requests were sent before the cut: all of them where it was never reached.
    #[must_use]
    pub fn left_out(&self) -> usize {
        self.window.map_or(self.records.len(), |window| window.first)
    }

    /// The requests that the figures are of.
    #[must_use]
    pub fn measured(&self) -> &[Record] {
        &self.records[self.left_out()..]
    }

    /// The window opens with the request that is arriving, unless that belongs to the warm-up. Says whether it does.
    pub(super) fn open_window(&mut self, sent: Time, arrived: Time) -> bool {
        let begun = match self.warmup {
            Warmup::Nothing => true,
            Warmup::Requests(count) => self.records.len() as u64 >= count,
            Warmup::Time(span) => sent.since(self.records.first().map_or(sent, |first| first.sent)) >= span,
        };
        if self.window.is_some() || !begun {
            return false;
        }
        self.window = Some(Window { first: self.records.len(), opened: arrived });
        let workers = self.tally.busy.len();
        self.earlier = core::mem::replace(&mut self.tally, Tally::new(workers));
        self.asked.open_window();
        self.fleet.counts = FleetCounts::default();
        true
    }
}
