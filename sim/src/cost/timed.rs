//! Durations fitted to passes that were timed: sums of what each quantity of a pass adds.
//!
//! On a CPU a pass of few tokens is bound by reading the weights and one of many by arithmetic, and rows are computed some at
//! a time, so what tokens take is a line with knots. Everything else is linear: sequences that sample, which go through the
//! vocabulary; pairs of a prompt's token and one before it; KV that chunks and decoders read.

use super::{Axis, CostModel, Segment, Shape};
use alloc::vec::Vec;
use kvcache::Span;

/// What each quantity of a pass adds to its duration, in picoseconds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TimedPasses {
    /// What a pass of so many new tokens takes without anything else: rising tokens, straight lines between them and beyond
    /// the last. Not empty.
    pub tokens: Vec<(u64, f64)>,
    /// Of each sequence that samples.
    pub sample: f64,
    /// Of each token that a decoder attends to.
    pub context: f64,
    /// Of each pair of a prompt's token and one that it attends to.
    pub pair: f64,
    /// Of each token of KV that a chunk reads.
    pub prefill_context: f64,
}

impl TimedPasses {
    /// What `tokens` new tokens take, ps.
    fn of_tokens(&self, tokens: u64) -> f64 {
        let knots = &self.tokens;
        let above = knots.partition_point(|(knot, _)| *knot < tokens).clamp(1, knots.len().max(2) - 1);
        match (knots.get(above - 1), knots.get(above)) {
            (Some((low, from)), Some((high, to))) => {
                from + (to - from) * (tokens as f64 - *low as f64) / (*high as f64 - *low as f64)
            }
            (Some((_, only)), None) => *only,
            _ => 0.0,
        }
    }
}

impl CostModel for TimedPasses {
    fn segment(&self, shape: &Shape) -> Segment {
        let base = self.of_tokens(shape.tokens)
            + self.sample * shape.samples as f64
            + self.pair * shape.pairs as f64
            + self.prefill_context * shape.prefill_context as f64;
        let whole = |value: f64| Span(libm::round(value.max(0.0)) as u64);
        let most = self.tokens.last().map_or(0, |(tokens, _)| *tokens);
        Segment {
            beyond: (shape.tokens > most).then_some(Axis::Tokens),
            ..Segment::line(whole(base), whole(self.context))
        }
    }
}
