//! What whole passes of a small model took on a CPU: the part of a profile that `podlab calibrate` makes of `passes.jsonl`.

use crate::computed::Fit;
use serde::{Deserialize, Serialize};
use sim::cost::timed::TimedPasses;

/// Durations of passes, and which model they are of. Microseconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Passes {
    /// The model, which an endpoint's engine is cut down to.
    pub fit: Fit,
    /// What passes of so many new tokens take without anything else; straight lines between them.
    pub tokens: Vec<Knot>,
    /// Of each sequence that samples.
    pub sample_us: f64,
    /// Of each token that a decoder attends to.
    pub context_us: f64,
    /// Of each pair of a prompt's token and one that it attends to.
    pub pair_us: f64,
    /// Of each token of KV that a chunk of a prompt reads.
    pub prefill_context_us: f64,
}

/// A pass of so many new tokens.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Knot {
    /// The tokens.
    pub tokens: u64,
    /// How long it takes.
    pub us: f64,
}

/// Picoseconds of a microsecond.
const PS: f64 = 1e6;

impl Passes {
    /// As a profile tells of `cost`.
    #[must_use]
    pub fn new(fit: Fit, cost: &TimedPasses) -> Self {
        Self {
            fit,
            tokens: cost.tokens.iter().map(|(tokens, ps)| Knot { tokens: *tokens, us: ps / PS }).collect(),
            sample_us: cost.sample / PS,
            context_us: cost.context / PS,
            pair_us: cost.pair / PS,
            prefill_context_us: cost.prefill_context / PS,
        }
    }

    /// What prices passes.
    #[must_use]
    pub fn cost(&self) -> TimedPasses {
        TimedPasses {
            tokens: self.tokens.iter().map(|knot| (knot.tokens, knot.us * PS)).collect(),
            sample: self.sample_us * PS,
            context: self.context_us * PS,
            pair: self.pair_us * PS,
            prefill_context: self.prefill_context_us * PS,
        }
    }

    /// What is wrong with it; `None`: nothing.
    pub(super) fn wrong(&self) -> Option<String> {
        if self.tokens.is_empty() || !self.tokens.is_sorted_by(|a, b| a.tokens < b.tokens) {
            return Some("passes.tokens: knots with rising tokens are expected, at least one".to_owned());
        }
        let linear = [
            ("sample_us", self.sample_us),
            ("context_us", self.context_us),
            ("pair_us", self.pair_us),
            ("prefill_context_us", self.prefill_context_us),
        ];
        let knots = self.tokens.iter().map(|knot| ("tokens", knot.us));
        // A day for one token is no duration of a pass.
        let odd = linear.into_iter().chain(knots).find(|(_, us)| !(0.0..=8.64e10).contains(us));
        odd.map(|(name, us)| format!("passes.{name}: {us} µs lies outside 0 to 8.64e10"))
    }
}
