//! A pass that was computed, and how long a thread worked on it: a line of `passes.jsonl`.

use kvcache::{Span, Time, WorkerId};
use serde::{Deserialize, Serialize};
use sim::cost::Shape;

/// A pass.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pass {
    /// Whose.
    pub worker: u16,
    /// When it began, in virtual time, ms.
    pub started_ms: f64,
    /// How long the thread that computed it was on a CPU, µs.
    pub cpu_us: f64,
    /// New tokens.
    pub tokens: u64,
    /// Sequences whose scores were computed.
    pub samples: u64,
    /// Sequences that decoded.
    pub decoders: u64,
    /// Tokens that decoders attended to.
    pub context: u64,
    /// Pairs of a prompt's token and one that it attended to.
    pub pairs: u64,
    /// Tokens of KV that chunks of prompts read.
    pub prefill_context: u64,
    /// Squares of chunks.
    pub squares: u64,
    /// The longest context of a decoder.
    pub longest: u64,
}

impl Pass {
    /// The pass of `shape` that `worker` began at `at`.
    #[must_use]
    pub fn new(worker: WorkerId, at: Time, shape: &Shape, cpu: Span) -> Self {
        let Shape { tokens, samples, decoders, context, pairs, prefill_context, squares, longest } = *shape;
        let (started_ms, cpu_us) = (Span(at.0).as_millis_f64(), cpu.0 as f64 / 1e6);
        Self {
            worker: worker.0,
            started_ms,
            cpu_us,
            tokens,
            samples,
            decoders,
            context,
            pairs,
            prefill_context,
            squares,
            longest,
        }
    }

    /// What it computed.
    #[must_use]
    pub const fn shape(&self) -> Shape {
        let Self { tokens, samples, decoders, context, pairs, prefill_context, squares, longest, .. } = *self;
        Shape { tokens, samples, decoders, context, pairs, prefill_context, squares, longest }
    }
}
