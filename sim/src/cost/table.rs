//! Durations from kernels that were measured: one layer's linear parts by tokens, its attention by the shape of the pass, the
//! output head by sequences.
//!
//! ```text
//! GPU time = layers * (linear parts(tokens) + attention(chunks, decoders))
//!          + embedding(tokens) + final norm(tokens) + output head(samples) + sampler(samples)
//! duration = GPU time and host time, as the roofline has them
//! ```
//!
//! * **Linear parts** see decoded tokens and prompts together (one look-up for all), and where the pass is a captured CUDA graph
//!   as many tokens as that was captured for: vLLM pads a pass to the next size.
//! * **Attention of a pass with prompts** is one look-up. Several chunks count as one that does as many query-key pairs and is
//!   `sqrt(sum of chunk^2)` long (Vidur's reduction), behind as many cached tokens as the pairs then leave; the decoders count by
//!   their mean context.
//! * **Attention of decoders alone** follows not just how many tokens they attend to, but who attends to most: a sequence and
//!   head is one block of threads, and when all others have ended the longest still reads, on a device that idles. See `tail`.
//!   In an eager pass it is that or the look-up at the mean context, whichever is longer. In a captured graph the look-up is
//!   left out: it was profiled eager, and holds some tens of microseconds a layer that a replayed graph does not take (decode
//!   passes of a real run beside it are shorter than the table's by that much where all contexts are alike).
//! * **Beyond the grid**, values go on in proportion (linear parts) or along the last two points (attention), and each pass says
//!   so ([`Segment::beyond`]): nothing is extrapolated silently.

mod curve; // by one quantity
mod grid; // attention by four
mod tail; // what the longest context costs

use super::host::Host;
use super::{Axis, CostModel, Segment, Shape};
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use kvcache::Span;

use curve::Curve;
use grid::{Grid, Point};
use tail::Tail;

/// Kernels of a model on a GPU, as they were measured. Times are microseconds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Profile {
    /// Linear parts, norms and activations of one layer, the embedding and the last norm: name, new tokens, time.
    pub dense: Vec<(String, u64, f64)>,
    /// Output head and sampler: name, sequences, time.
    pub per_sequence: Vec<(String, u64, f64)>,
    /// Attention of one layer.
    pub attention: Vec<Attention>,
}

/// Attention of one layer in a pass of one chunk and equal decoders.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Attention {
    /// Tokens of the chunk; 0: there is none.
    pub chunk: u64,
    /// Tokens that were there before it.
    pub cached: u64,
    /// Sequences that decode.
    pub decoders: u64,
    /// Tokens that each of them attends to.
    pub context: u64,
    /// Microseconds.
    pub time: f64,
}

/// What a profile must be told of the model that it measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layers {
    /// How many.
    pub count: u64,
    /// Query heads of one rank.
    pub heads: u64,
    /// Heads of keys and values of one rank.
    pub kv_heads: u64,
}

/// How passes are run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Running {
    /// Numbers of tokens that CUDA graphs were captured for, rising; empty: every pass is eager.
    pub captured: Vec<u64>,
    /// Whether a pass that only decodes is one graph with its attention (vLLM's `FULL` and `FULL_AND_PIECEWISE`).
    pub full_decode_graphs: bool,
    /// How long the host works for a pass.
    pub host: Span,
    /// Whether it does so while the GPU runs the pass before.
    pub async_scheduling: bool,
}

/// Why a profile is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InvalidProfile {
    /// A curve has no points.
    Missing(&'static str),
    /// A measured duration is no positive number.
    Time {
        /// Of what.
        what: String,
        /// The value.
        time: String,
    },
    /// The same point was measured twice.
    Twice(String),
    /// A point of the grid is missing, and nothing beside it to go by.
    Hole {
        /// Chunk, cached, decoders, context.
        at: [u64; 4],
    },
    /// It has too few points along an axis.
    Short(Axis),
}

impl fmt::Display for InvalidProfile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(what) => write!(f, "no row measures {what}"),
            Self::Time { what, time } => write!(f, "{what}: a time of {time} us; it must be a positive number"),
            Self::Twice(what) => write!(f, "{what} was measured twice; keep one row"),
            Self::Hole { at: [chunk, cached, decoders, context] } => write!(
                f,
                "attention of a chunk of {chunk} tokens behind {cached}, with {decoders} decoders of {context} tokens, is missing, and cannot be continued from rows with fewer decoders or less context; measure it"
            ),
            Self::Short(axis) => write!(f, "attention needs at least two values of {}", axis.as_str()),
        }
    }
}

impl core::error::Error for InvalidProfile {}

/// The parts that a layer has twice: one norm before attention and one before the MLP.
const TWICE: [&str; 1] = ["layernorm"];
/// The parts that a pass has once.
const ONCE: [&str; 2] = ["embedding", "final_layernorm"];

/// The cost of passes by a profile.
#[derive(Clone, Debug, PartialEq)]
pub struct StepTable {
    /// All layers' linear parts.
    layers: Curve,
    /// Embedding and last norm.
    once: Curve,
    /// Head and sampler.
    samples: Curve,
    /// One layer's attention.
    attention: Grid,
    tail: Tail,
    count: f64,
    captured: Vec<u64>,
    full_decode_graphs: bool,
    host: Host,
}

impl StepTable {
    /// Makes a profile ready. O(rows), and some ten thousand blocks to place for the tail.
    ///
    /// # Errors
    /// What is missing or no number.
    pub fn new(profile: &Profile, layers: Layers, running: Running) -> Result<Self, InvalidProfile> {
        let names = |keep: &dyn Fn(&str) -> bool| -> Vec<&str> {
            let mut names: Vec<&str> = profile.dense.iter().map(|(name, ..)| name.as_str()).collect();
            names.sort_unstable();
            names.dedup();
            names.retain(|name| keep(name));
            names
        };
        let in_layer = names(&|name| !ONCE.contains(&name));
        let mut parts = Curve::sums(&profile.dense, &in_layer, |name| if TWICE.contains(&name) { 2.0 } else { 1.0 })?
            .ok_or(InvalidProfile::Missing("the linear parts of a layer"))?;
        parts.scale(layers.count as f64);
        let once = Curve::sums(&profile.dense, &names(&|name| ONCE.contains(&name)), |_| 1.0)?
            .ok_or(InvalidProfile::Missing("the embedding or the last norm"))?;
        let samples = Curve::sums(&profile.per_sequence, &["lm_head", "sampler"], |_| 1.0)?
            .ok_or(InvalidProfile::Missing("lm_head or sampler"))?;
        let attention = Grid::new(&profile.attention)?;
        let tail = Tail::new(&attention, layers, |count| padded(&running.captured, count))?;
        Ok(Self {
            layers: parts,
            once,
            samples,
            attention,
            tail,
            count: layers.count as f64,
            captured: running.captured,
            full_decode_graphs: running.full_decode_graphs,
            host: Host { time: running.host, overlapped: running.async_scheduling },
        })
    }

    /// The same, where the host works so long for a pass, while the GPU runs the pass before or between passes.
    #[must_use]
    pub fn with_host(self, host: Span, async_scheduling: bool) -> Self {
        Self { host: Host { time: host, overlapped: async_scheduling }, ..self }
    }

    /// One layer's attention, for a pass of one chunk and decoders of equal context, in microseconds; as it was measured, or
    /// between what was.
    #[must_use]
    pub fn attention(&self, chunk: f64, cached: f64, decoders: f64, context: f64) -> f64 {
        self.attention.at(&Point { chunk, cached, decoders, context }).0
    }

    /// Blocks of threads that the device runs at a time, as the table shows it.
    #[must_use]
    pub const fn blocks_at_a_time(&self) -> u64 {
        self.tail.blocks()
    }

    /// All but attention: picoseconds, and what is beyond the table.
    fn linear(&self, shape: &Shape) -> (f64, Option<Axis>) {
        let tokens = padded(&self.captured, shape.tokens) as f64;
        let samples = shape.samples as f64;
        let sampling = if shape.samples == 0 { 0.0 } else { self.samples.at(samples) };
        let beyond = if self.layers.is_beyond(shape.tokens as f64) {
            Some(Axis::Tokens)
        } else {
            self.samples.is_beyond(samples).then_some(Axis::Samples)
        };
        ((self.layers.at(tokens) + self.once.at(tokens) + sampling) * PER_MICROSECOND, beyond)
    }

    /// A pass with prompts: never one of a stretch.
    fn mixed(&self, shape: &Shape) -> Segment {
        let (linear, beyond) = self.linear(shape);
        let (attention, outside) = self.attention.at(&reduced(shape));
        let time = linear + self.count * attention * PER_MICROSECOND;
        Segment { base: Span(round(time)), slope: Span::ZERO, valid_to: shape.context, beyond: beyond.or(outside) }
    }

    /// A pass in which everybody decodes: lines in the context, made of numbers that do not change within a stretch, so that
    /// a stretch is its passes one by one.
    fn decoding(&self, shape: &Shape) -> Segment {
        let (linear, beyond) = self.linear(shape);
        if shape.decoders == 0 {
            return Segment { beyond, ..Segment::line(Span(round(linear)), Span::ZERO) };
        }
        let per_layer = self.count * PER_MICROSECOND;
        let in_graph = self.full_decode_graphs && self.captured.last().is_some_and(|most| shape.tokens <= *most);
        let tail = self.tail.line(shape).over(linear, per_layer);
        let other = if in_graph {
            Segment::line(Span(round(linear + per_layer * self.attention.least(shape.decoders))), Span::ZERO)
        } else {
            self.attention.line(shape.decoders, shape.context).over(linear, per_layer)
        };
        let segment = other.or_longer(tail, shape.context);
        let outside = (shape.decoders as f64 > self.attention.most_decoders()).then_some(Axis::Decoders);
        let far =
            (shape.context as f64 > self.attention.most_context() * shape.decoders as f64).then_some(Axis::Context);
        Segment { beyond: beyond.or(outside).or(far), ..segment }
    }
}

impl CostModel for StepTable {
    fn segment(&self, shape: &Shape) -> Segment {
        let gpu = if shape.tokens > shape.decoders { self.mixed(shape) } else { self.decoding(shape) };
        self.host.with(gpu, shape.context)
    }
}

const PER_MICROSECOND: f64 = 1e6;

/// The pass as one chunk and decoders of equal context.
fn reduced(shape: &Shape) -> Point {
    let decoders = shape.decoders as f64;
    let context = if shape.decoders == 0 { 0.0 } else { shape.context as f64 / decoders };
    let chunk = libm::sqrt(shape.squares as f64);
    // pairs = chunk * cached + chunk * (chunk + 1) / 2
    let cached = if chunk == 0.0 { 0.0 } else { shape.pairs as f64 / chunk - (chunk + 1.0) / 2.0 };
    Point { chunk, cached: if cached > 0.0 { cached } else { 0.0 }, decoders, context }
}

/// The tokens that a pass of `tokens` is padded to: the next of `captured`, or itself above all of them.
fn padded(captured: &[u64], tokens: u64) -> u64 {
    captured.get(captured.partition_point(|size| *size < tokens)).copied().unwrap_or(tokens)
}

/// A straight line in the context of all decoders, in microseconds of one layer.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Line {
    base: f64,
    slope: f64,
    valid_to: u64,
}

impl Line {
    /// So many layers of it, over a constant; both in picoseconds. Times are never negative, and do not fall as contexts grow.
    fn over(self, constant: f64, per_layer: f64) -> Segment {
        Segment {
            base: Span(round(constant + per_layer * self.base)),
            slope: Span(round(per_layer * self.slope)),
            valid_to: self.valid_to,
            beyond: None,
        }
    }
}

/// To the nearest picosecond; casts from float to integer saturate.
fn round(picoseconds: f64) -> u64 {
    (picoseconds + 0.5) as u64
}
