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
pub mod table; // durations from kernels that were measured
pub mod timed; // durations fitted to whole passes that were timed
mod host; // what the host does for a pass, and when
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
    /// Sum of `chunk * chunk` of all prefill chunks: with the tokens of all, how unequal they are.
    pub squares: u64,
    /// The longest context of a decoder, its own new token included.
    pub longest: u64,
}

impl Shape {
    /// A pass that computes one chunk of a prompt, behind `cached` tokens, and nothing else.
    #[must_use]
    pub const fn chunk(cached: u64, tokens: u64) -> Self {
        Self {
            tokens,
            samples: 0,
            decoders: 0,
            context: 0,
            pairs: tokens * cached + tokens * (tokens + 1) / 2,
            prefill_context: cached + tokens,
            squares: tokens * tokens,
            longest: 0,
        }
    }

    /// The same pass without its prompts.
    #[must_use]
    pub const fn decoders_alone(self) -> Self {
        let decoders = self.decoders;
        Self { tokens: decoders, samples: decoders, pairs: 0, prefill_context: 0, squares: 0, ..self }
    }
}

/// A quantity of a pass that a cost model knows durations for, up to some size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Axis {
    /// New tokens, which the linear layers see together.
    Tokens,
    /// Sequences that sample.
    Samples,
    /// Tokens of a prompt's chunk.
    Chunk,
    /// Tokens that were there before a chunk.
    Cached,
    /// Sequences that decode.
    Decoders,
    /// Tokens that a decoder attends to.
    Context,
}

impl Axis {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Tokens, Self::Samples, Self::Chunk, Self::Cached, Self::Decoders, Self::Context];

    /// In words.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tokens => "new tokens",
            Self::Samples => "sampling sequences",
            Self::Chunk => "tokens of a prompt's chunk",
            Self::Cached => "cached tokens before a chunk",
            Self::Decoders => "decoding sequences",
            Self::Context => "tokens of context",
        }
    }
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
    /// Of what the pass has more than the model was made for, so that its duration is a guess.
    pub beyond: Option<Axis>,
}

impl Segment {
    /// The duration of a pass with this much decode context.
    #[inline]
    #[must_use]
    pub fn at(&self, context: u64) -> Span {
        debug_assert!(context <= self.valid_to, "the cost model must be asked again");
        self.base + self.slope * context
    }

    /// A line that holds everywhere, of a model that knows every pass.
    #[must_use]
    pub const fn line(base: Span, slope: Span) -> Self {
        Self { base, slope, valid_to: u64::MAX, beyond: None }
    }

    /// The longer of two at `context`, this one where they are equal; it holds as long as it stays so.
    #[must_use]
    pub fn or_longer(self, other: Self, context: u64) -> Self {
        let (mine, others) = (self.at(context), other.at(context));
        let (upper, lower) = if mine >= others { (self, other) } else { (other, self) };
        // Picoseconds between them at `context`; a tie is this one's.
        let room = if mine >= others { (mine - others).0 } else { (others - mine).0 - 1 };
        let closing = lower.slope.0.saturating_sub(upper.slope.0);
        let stays = room.checked_div(closing).unwrap_or(u64::MAX);
        let valid_to = upper.valid_to.min(lower.valid_to).min(context.saturating_add(stays));
        Self { valid_to, beyond: self.beyond.or(other.beyond), ..upper }
    }
}

/// How long a pass occupies the engine.
pub trait CostModel {
    /// The line on which the duration of a pass of `shape` lies while only `shape.context` grows.
    fn segment(&self, shape: &Shape) -> Segment;
}
