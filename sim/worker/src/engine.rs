//! One worker's executor: it runs the very passes that the batcher plans, on pages that follow the core's decisions.
//!
//! It is told of requests ([`Worker::submit`]), of what the core decided ([`Worker::hear`]) and of passes
//! ([`Worker::run`]), in the order in which the core told of them. It decides nothing but tokens.

use crate::block::Passport;
use crate::hardware::Hardware;
use crate::kernel::Level;
use crate::model::{Compute, Model, Part, Shape, Want};
use crate::pages::{PageShape, Pages};
use crate::tables::Tables;
use crate::tensor::{Lane, TensorModel, TensorPages};
use candle_core::{Device, Tensor};
use candle_transformers::generation::LogitsProcessor;
use kvcache::{BlockHash, CacheEvent, Piece, RequestId, Tokens};
use sim::replica::{Output, Work};
use std::collections::BTreeMap;
use std::sync::Arc;

/// How tokens are drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// The draws' seed.
    pub seed: u64,
    /// 0: always the most likely token.
    pub temperature: f64,
    /// Of the likeliest tokens that have so much of the probability together; 1: of all.
    pub top_p: f64,
}

impl Sampling {
    /// Always the most likely token.
    pub const GREEDY: Self = Self { seed: 0, temperature: 0.0, top_p: 1.0 };

    fn processor(self) -> LogitsProcessor {
        LogitsProcessor::new(self.seed, Some(self.temperature), (self.top_p < 1.0).then_some(self.top_p))
    }
}

/// What a request is answered with.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// Tokens that are drawn.
    Drawn(Sampling),
    /// These tokens, whatever the model would say: of a workload that knows its replies. Scores are computed all the same.
    Given(Vec<u32>),
}

/// A request as a worker needs it.
#[derive(Clone, Debug)]
pub struct Ask {
    /// The prompt, at least one token.
    pub tokens: Vec<u32>,
    /// What prompt and reply are called.
    pub pieces: Vec<Piece>,
    /// What it is answered with.
    pub reply: Reply,
}

/// How much memory a worker has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Tokens per page: the block size.
    pub block: Tokens,
    /// Pages.
    pub pages: u32,
}

/// What a pass brought.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Brought {
    /// Who emitted which token, in the order of the pass.
    pub emitted: Vec<(RequestId, u32)>,
    /// Whose tokens were not computed, since nobody wanted them any more.
    pub left_out: Vec<RequestId>,
}

/// The executor.
pub struct Worker {
    pub(crate) hardware: Hardware,
    pub(crate) tables: Tables,
    pub(crate) requests: BTreeMap<RequestId, Live>,
    pub(crate) passport: Passport,
    pub(crate) block: Tokens,
    pub(crate) root: BlockHash,
}

pub(crate) struct Live {
    /// Prompt, and what was emitted.
    pub(crate) tokens: Vec<u32>,
    /// What its full blocks are called, as far as anybody asked.
    pub(crate) names: Vec<BlockHash>,
    /// Tokens of the prompt.
    prompt: usize,
    draws: LogitsProcessor,
    /// The reply, where it is not drawn.
    given: Option<Vec<u32>>,
}

impl core::fmt::Debug for Worker {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Worker").field("model", self.hardware.identity()).finish_non_exhaustive()
    }
}

impl Worker {
    /// A worker with an empty cache; `threads` compute, its caller's among them.
    ///
    /// # Errors
    /// Where a thread cannot be started.
    ///
    /// # Panics
    /// Where blocks are no multiple of 8 tokens.
    pub fn new(model: Arc<Model>, memory: Memory, level: Level, threads: usize) -> std::io::Result<Self> {
        let shape = page_shape(&model.shape, memory.block);
        let compute = Box::new(Compute::new(level, threads)?);
        Ok(Self::on(Hardware::Host { model, compute, pages: Pages::new(shape, memory.pages as usize) }, memory))
    }

    /// A worker with an empty cache on the device that has the model.
    ///
    /// # Errors
    /// Where it has not the memory.
    ///
    /// # Panics
    /// Where blocks are no multiple of 8 tokens.
    pub fn on_device(model: Arc<TensorModel>, memory: Memory) -> candle_core::Result<Self> {
        let shape = page_shape(&model.shape, memory.block);
        let pages = TensorPages::new(shape, memory.pages as usize, model.device())?;
        let lane = Lane::of(model.device())?;
        Ok(Self::on(Hardware::Device { model, pages, lane }, memory))
    }

    fn on(hardware: Hardware, memory: Memory) -> Self {
        let identity = hardware.identity();
        let named = format!("{} {:032x} {}", identity.name, identity.hash, identity.weights);
        Self {
            tables: Tables::new(memory.block, memory.pages),
            requests: BTreeMap::new(),
            passport: Passport::new(identity, hardware.shape()),
            block: memory.block,
            root: Self::root_of(&named, memory.block),
            hardware,
        }
    }

    /// Which page holds what.
    #[must_use]
    pub fn tables(&self) -> &Tables {
        &self.tables
    }

    /// What a page holds.
    #[must_use]
    pub fn page_shape(&self) -> PageShape {
        self.hardware.shape()
    }

    /// What chains of tokens of its model begin with: another model, weights in another mode or other blocks have another.
    #[must_use]
    pub fn root(&self) -> BlockHash {
        self.root
    }

    /// Bytes of a block that has left the device, its header included.
    #[must_use]
    pub fn block_bytes(&self) -> usize {
        self.passport.bytes()
    }

    /// A request was sent here.
    pub fn submit(&mut self, request: RequestId, ask: Ask) {
        self.tables.submit(request, ask.pieces);
        let (sampling, given) = match ask.reply {
            Reply::Drawn(sampling) => (sampling, None),
            Reply::Given(tokens) => (Sampling::GREEDY, Some(tokens)),
        };
        let (prompt, draws) = (ask.tokens.len(), sampling.processor());
        self.requests.insert(request, Live { tokens: ask.tokens, names: Vec::new(), prompt, draws, given });
    }

    /// What prompt and reply of a request are called from now on; blocks that are computed keep their names.
    pub fn name(&mut self, request: RequestId, pieces: Vec<Piece>) {
        self.tables.name(request, pieces);
    }

    /// The core's cache changed.
    pub fn hear_cache(&mut self, told: &[CacheEvent]) {
        told.iter().for_each(|event| self.tables.hear(event));
    }

    /// Something came out of the core's engine.
    pub fn hear(&mut self, output: &Output) {
        match output {
            Output::Admitted { request, cached, .. } => self.tables.admit(*request, *cached),
            Output::Preempted { request } => self.tables.preempt(*request),
            Output::Finished { request, .. } | Output::Cancelled { request } => self.forget(*request),
            Output::Loaded { .. }
            | Output::Split { .. }
            | Output::FirstToken { .. }
            | Output::Resumed { .. }
            | Output::Tokens { .. } => {}
        }
    }

    /// A request that waits gave up its blocks.
    pub fn let_go(&mut self, request: RequestId) {
        self.tables.preempt(request);
    }

    /// A request is no longer here.
    pub fn forget(&mut self, request: RequestId) {
        self.tables.end(request);
        self.requests.remove(&request);
    }

    /// Runs a pass; gives who emitted which token, in the order of the pass.
    ///
    /// # Panics
    /// Where somebody takes part who is not here: a bug.
    pub fn run(&mut self, work: &Work) -> Vec<(RequestId, u32)> {
        self.run_seen(work, |_, _| ())
    }

    /// The same; `seen` is shown the scores from which each token is drawn.
    ///
    /// # Panics
    /// As [`Worker::run`].
    pub fn run_seen(&mut self, work: &Work, seen: impl FnMut(RequestId, &[f32])) -> Vec<(RequestId, u32)> {
        self.run_while(work, |_| true, seen).emitted
    }

    /// The same for whom `wanted` says yes: it is asked again and again while the pass runs, and where it says no to all whose
    /// rows are under way, these are given up. What was not computed is in nobody's cache.
    ///
    /// # Panics
    /// As [`Worker::run`].
    pub fn run_while(
        &mut self,
        work: &Work,
        wanted: impl Fn(RequestId) -> bool,
        mut seen: impl FnMut(RequestId, &[f32]),
    ) -> Brought {
        let Self { hardware, tables, requests, .. } = self;
        // Who computes which of its tokens.
        let chunks = work.chunks.iter().map(|(request, from, new)| (*request, *from, *from + *new));
        let decoding = work.decoding.iter().filter_map(|request| {
            let upto = Tokens(requests.get(request)?.tokens.len() as u32);
            Some((*request, upto - Tokens(1), upto))
        });
        // Who was planned upon a load that came short lacks what it should be computed upon: nobody waits for what it would be.
        // Where its client left meanwhile, it is not here any more.
        let rows: Vec<_> = chunks
            .chain(decoding)
            .filter(|(request, from, _)| requests.contains_key(request) && *from <= tables.filled(*request))
            .collect();
        rows.iter().for_each(|(request, _, upto)| tables.grow(*request, *upto));
        let parts: Vec<Part<'_>> = rows
            .iter()
            .map(|(request, from, upto)| {
                let (tokens, upto) = (&requests[request].tokens, upto.0 as usize);
                let want = if upto == tokens.len() { Want::Last } else { Want::Nothing };
                Part {
                    tokens: &tokens[from.0 as usize..upto],
                    start: from.0 as usize,
                    pages: tables.pages(*request),
                    want,
                }
            })
            .collect();
        let mut scores: Vec<Option<Vec<f32>>> = vec![None; parts.len()];
        let wanted = |part: usize| wanted(rows[part].0);
        let told = |part: usize, _: usize, values: &[f32]| scores[part] = Some(values.to_vec());
        let computed = hardware.forward_while(&parts, wanted, told);
        let mut brought = Brought::default();
        for (((request, _, upto), scores), computed) in rows.into_iter().zip(scores).zip(computed) {
            if !computed {
                brought.left_out.push(request);
                continue;
            }
            tables.computed(request, upto);
            let live = requests.get_mut(&request).expect("who takes part is here");
            if let Some(scores) = scores {
                seen(request, &scores);
                let drawn = draw(&mut live.draws, scores);
                let said = live.tokens.len() - live.prompt;
                let token = live.given.as_ref().and_then(|given| given.get(said).copied()).unwrap_or(drawn);
                live.tokens.push(token);
                brought.emitted.push((request, token));
            }
        }
        brought
    }
}

fn page_shape(shape: &Shape, block: Tokens) -> PageShape {
    PageShape { layers: shape.layers, heads: shape.kv_heads, dim: shape.dim, tokens: block.0 as usize }
}

/// Draws a token. Where scores are of no use for a draw (not numbers), the first token is taken.
fn draw(draws: &mut LogitsProcessor, scores: Vec<f32>) -> u32 {
    let count = scores.len();
    let drawn = Tensor::from_vec(scores, count, &Device::Cpu).and_then(|scores| draws.sample(&scores));
    drawn.unwrap_or_default()
}
