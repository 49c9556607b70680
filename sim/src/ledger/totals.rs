//! What the figures of a run need of its requests, gathered in one look at each: of a long run the records fill more than any
//! of a processor's caches, and each further look would fetch them all again.

use super::breakdown::Told;
use super::{Record, Status, TokensByTier};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use kvcache::{Span, Time};
use router::Reason;

/// Sums and samples.
#[derive(Default)]
pub(super) struct Totals {
    pub(super) completed: u64,
    pub(super) refused: u64,
    pub(super) errored: u64,
    /// Of completed requests.
    pub(super) prompt_tokens: u64,
    /// Of completed requests.
    pub(super) output_tokens: u64,
    /// Of admitted requests.
    pub(super) tokens: TokensByTier,
    /// When the first byte of all was sent.
    first_sent: Option<Time>,
    /// When the last token of all came out.
    last_token: Option<Time>,
    /// Tokens of all prompts, and of those the regretted ones, of so many requests as were looked at.
    prompts: u64,
    regret: u64,
    regretted: usize,
    requests: usize,
    /// By name.
    pub(super) routing: BTreeMap<&'static str, u64>,
    pub(super) fallbacks: BTreeMap<&'static str, u64>,
    /// In picoseconds, of completed requests, and so below.
    pub(super) ttft: Vec<u64>,
    pub(super) tpot: Vec<u64>,
    pub(super) e2el: Vec<u64>,
    pub(super) told: Told,
}

impl Totals {
    pub(super) fn of(records: &[Record]) -> Self {
        // Nearly all have something to tell, and a list that grows is copied.
        let room = records.len();
        let mut totals = Self {
            requests: room,
            ttft: Vec::with_capacity(room),
            tpot: Vec::with_capacity(room),
            e2el: Vec::with_capacity(room),
            told: Told::with_capacity(room),
            ..Self::default()
        };
        for record in records {
            totals.add(record);
        }
        totals
    }

    fn add(&mut self, record: &Record) {
        self.first_sent = Some(self.first_sent.map_or(record.sent, |first| first.min(record.sent)));
        self.last_token = self.last_token.max(record.last_token);
        self.prompts += u64::from(record.prompt.0);
        if let Some(regret) = record.regret {
            self.regret += u64::from(regret.0);
            self.regretted += 1;
        }
        if let Some(reason) = &record.reason {
            *self.routing.entry(reason.as_str()).or_default() += 1;
            if let Some(fallback) = Reason::fallback(reason) {
                *self.fallbacks.entry(fallback).or_default() += 1;
            }
        }
        match record.status {
            Status::Completed => self.complete(record),
            Status::Refused => self.refused += 1,
            Status::Errored => self.errored += 1,
            Status::Unfinished | Status::Cancelled => {}
        }
        if !matches!(record.status, Status::Refused | Status::Errored) {
            self.add_tokens(record);
        }
    }

    fn complete(&mut self, record: &Record) {
        self.completed += 1;
        self.prompt_tokens += u64::from(record.prompt.0);
        self.output_tokens += u64::from(record.output.0);
        let picos = |span: Option<Span>| span.map(|span| span.0);
        self.ttft.extend(picos(record.ttft()));
        self.tpot.extend(picos(record.tpot()));
        self.e2el.extend(picos(record.e2el()));
        self.told.add(record);
    }

    fn add_tokens(&mut self, record: &Record) {
        let (Some(l0), Some(l1), Some(l2)) = (record.cached, record.from_l1, record.from_l2) else { return };
        self.tokens.l0 += u64::from(l0.0);
        self.tokens.l1 += u64::from(l1.0);
        self.tokens.l2 += u64::from(l2.0);
        self.tokens.computed += u64::from(record.computed.unwrap_or(record.prompt - l0 - l1 - l2).0);
    }

    /// From the first request sent to the last token. `None`: no token came out.
    pub(super) fn measured_time(&self) -> Option<(Time, Time)> {
        Some((self.first_sent?, self.last_token?))
    }

    /// `None`: nobody looked, or not at all of them.
    pub(super) fn overlap_regret(&self) -> Option<f64> {
        (self.prompts > 0 && self.regretted == self.requests).then(|| self.regret as f64 / self.prompts as f64)
    }
}
