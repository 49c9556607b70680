//! What a pass of the engine costs.
//!
//! A cost model is asked for a [`Segment`]: the duration of a pass as a straight line in the decode context. Between
//! two events that matter to a worker its decode passes differ only by a context that grows by one token per decoder
//! and pass, so their durations are an arithmetic series, and thousands of passes are one addition.
//!
//! Times here occupy the engine. Time on a link and pure latency (API, network) are other things with other names.

use kvcache::Span;

pub mod catalogue; // instances, GPUs and prices
pub mod geometry; // models: how many bytes and operations a token takes
pub mod deployment; // a model on GPUs: does it fit, and how many KV blocks are left
pub mod roofline; // durations from peak figures and published efficiencies
pub mod linear; // so long for each pass, each prompt and each token: servers of known speed
pub mod loading; // loading against computing
pub mod forecast; // what a router is told of all that

/// What one pass computes, in the numbers that decide its duration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shape {
    /// New tokens of the pass: one per decoder, and the chunks of all prefills. The GEMMs see these together.
    pub tokens: u64,
    /// Sequences that sample a token at the end of the pass: decoders, and prefills whose last chunk this is.
    pub samples: u64,
    /// Sequences that decode in the pass.
    pub decoders: u64,
    /// Tokens of KV that the decoders attend to, their own new token included, summed over decoders.
    pub context: u64,
    /// Query-key pairs of all prefill chunks: sum of `chunk * cached + chunk * (chunk + 1) / 2`.
    pub pairs: u64,
    /// Tokens of KV that prefill chunks read: sum of `cached + chunk`.
    pub prefill_context: u64,
}

/// The duration of a pass as a function of its decode context: `base + slope * context`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Duration at context 0.
    pub base: Span,
    /// Picoseconds per token of decode context.
    pub slope: Span,
    /// The line holds for contexts up to this one, and at least for the context that was asked about.
    pub valid_to: u64,
}

impl Segment {
    /// The duration of a pass with this much decode context.
    #[inline]
    #[must_use]
    pub fn at(&self, context: u64) -> Span {
        debug_assert!(context <= self.valid_to, "the cost model must be asked again");
        self.base + self.slope * context
    }
}

/// How long a pass occupies the engine.
pub trait CostModel {
    /// The line on which the duration of a pass of `shape` lies while only `shape.context` grows.
    fn segment(&self, shape: &Shape) -> Segment;
}
