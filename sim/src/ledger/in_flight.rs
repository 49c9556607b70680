//! KV tokens in flight, against what the pool of all workers' devices holds.

use super::Ledger;
use kvcache::{Span, Tokens};
use serde::{Deserialize, Serialize};

/// Tokens that requests in flight ask for: prompts and replies, whole, those that wait included, each by itself.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Asked {
    tokens: u64,
    /// Token-picoseconds.
    integral: u128,
    peak: u64,
}

impl Asked {
    pub(super) fn pass_time(&mut self, span: Span) {
        if span > Span::ZERO {
            // Who is refused at once is in flight for no time.
            self.integral += u128::from(self.tokens) * u128::from(span.0);
            self.peak = self.peak.max(self.tokens);
        }
    }

    pub(super) fn come(&mut self, tokens: Tokens) {
        self.tokens += u64::from(tokens.0);
    }

    pub(super) fn go(&mut self, tokens: Tokens) {
        self.tokens -= u64::from(tokens.0);
    }

    pub(super) fn open_window(&mut self) {
        (self.integral, self.peak) = (0, 0);
    }
}

/// What requests in flight held on the devices, as the caches count it: blocks that are private to a request or shared by
/// several, each once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Tokens of a block.
    pub block: Tokens,
    /// Blocks of a worker, and workers.
    pub capacity: u64,
    /// How many workers there can be: of a fleet that is scaled, not all are there at a time.
    pub workers: u64,
    /// Block-picoseconds.
    pub integral: u128,
    /// The most blocks of all workers at a moment.
    pub peak: u64,
    /// The most blocks of one worker at a moment.
    pub peak_worker: u64,
}

/// KV tokens in flight, as parts of what all workers' devices hold. `None`: nothing ran, or it is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct KvInFlight {
    /// Tokens that all workers' devices hold.
    pub pool_tokens: Option<u64>,
    /// Held by requests in flight, each block once: mean over time.
    pub held_mean: Option<f64>,
    /// The most at a moment. Read when a pass starts.
    pub held_peak: Option<f64>,
    /// The most of one worker's own device at a moment.
    pub held_peak_worker: Option<f64>,
    /// Asked for: prompts and replies of all requests in flight, whole, those that wait included, each by itself: mean over time.
    pub asked_mean: Option<f64>,
    /// The most at a moment.
    pub asked_peak: Option<f64>,
}

impl Ledger {
    /// What requests held on the devices since the window opened.
    pub const fn set_held(&mut self, held: Held) {
        self.held = Some(held);
    }

    pub(super) fn kv_in_flight(&self) -> KvInFlight {
        let Some((held, window)) = self.held.zip(self.window) else { return KvInFlight::default() };
        let ended = self.records.iter().filter_map(|record| record.last_token).max();
        let Some(span) = ended.map(|ended| ended.0.saturating_sub(window.opened.0)).filter(|span| *span > 0) else {
            return KvInFlight::default();
        };
        let blocks = held.capacity * held.workers;
        let tokens = blocks * u64::from(held.block.0);
        let mean = |integral: u128, of: u64| Some(integral as f64 / span as f64 / of as f64);
        let part = |most: u64, of: u64| Some(most as f64 / of as f64);
        KvInFlight {
            pool_tokens: Some(tokens),
            held_mean: mean(held.integral, blocks),
            held_peak: part(held.peak, blocks),
            held_peak_worker: part(held.peak_worker, held.capacity),
            asked_mean: mean(self.asked.integral, tokens),
            asked_peak: part(self.asked.peak, tokens),
        }
    }
}
