//! One worker's engine: continuous batching by vLLM v1's rules, as a machine that is told the time.
//!
//! The rules, each with a test of its name:
//!
//! * **Token budget.** A pass computes at most `max_num_batched_tokens` new tokens, prompts and decodes together.
//! * **Running first.** Running sequences are served in order of admission, then waiting ones in order of arrival.
//! * **Chunked prefill.** A prompt that exceeds what is left of the budget is computed in chunks, one per pass.
//! * **`long_prefill_token_threshold`** caps a chunk, so that several prompts share a pass. `max_num_partial_prefills > 1`
//!   does nothing but set it, to 4 % of `max_model_len`, where it is not given: so vLLM's settings derive it. (The v1
//!   scheduler itself never reads it, releases of v1 refuse to start with it, and 0.27 drops it.)
//! * **LIFO preemption with recompute.** Where a running sequence finds no block, the one admitted last gives up all of
//!   its own and goes to the front of the waiting queue; what it had emitted becomes part of what it computes again.
//!   A pass that preempted admits nobody.
//! * **Last prompt token recomputed.** A hit ends before the last token of a prompt: something must be computed to
//!   sample from, so at most `floor((n - 1) / block)` blocks of n tokens are reused.
//! * **Visible when the pass ends.** Blocks can be found by others once the pass that computed them ended; output
//!   blocks once their sequence ends or is preempted, which nobody can tell from earlier as long as nobody refers to a
//!   reply that is still being written. (vLLM v1 itself marks blocks when it *schedules* the pass.)
//! * **`scheduler_reserve_full_isl`.** A waiting sequence is admitted only where all of its prompt would fit, not just
//!   its first chunk.
//! * **`async_scheduling`.** A pass is planned when the one before it starts, not when it ends: arrivals join one pass
//!   later, and what an ending sequence held comes free one pass later.
//! * **Head of line.** The waiting queue is first come, first served: a head that does not fit holds up all behind it.
//!
//! Between two events that matter, passes in which everybody decodes differ only by their context. [`Pass::repeats`]
//! says how many may run unchanged, and [`Replica::repeat`] tells that they did: one addition for all of them, with
//! exactly the outcome of going pass by pass.

use crate::cost::Shape;
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::ops::Range;
use kvcache::{Blocks, CacheEvent, Piece, RequestId, TieredCache, Time, Tokens, WorkerCache};

mod config; // how an engine is set up, and what it refuses
mod decoders; // all sequences that decode, as one
mod finish; // what a pass that ended leaves behind
mod schedule; // who takes part in the next pass
mod sequence; // one request
mod tiers; // loads and stores: who waits for what
mod came; // what becomes of them when it has come
mod restart; // all of it gone
mod spent; // what a request spends its time on before its first token

pub use config::{EngineConfig, InvalidEngine, Refused};
pub use decoders::Begun;
use decoders::Decoders;
use schedule::Batch;
use sequence::{Phase, SeqId, Sequences};
pub use spent::Spent;
use spent::{QueueWatch, Watch};
use tiers::Moves;
pub use tiers::{Asked, Stall};

/// A pass to run now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pass {
    /// What it computes.
    pub shape: Shape,
    /// Decoders that emitted in the pass before, too: the gap before their token is the pass's duration.
    pub steady: u64,
    /// It may run up to this many times in a row (at least 1); each time the context has grown by one token per decoder.
    pub repeats: u64,
}

/// Who took part in a pass: the same script gives the same sequence of these on every kind of executor.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Chunks of prompts: request, tokens that were there before, new tokens.
    pub chunks: Vec<(RequestId, Tokens, Tokens)>,
    /// Requests that decode one token each, in running order.
    pub decoding: Vec<RequestId>,
}

/// What a pass, or a plan, brought for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// It left the waiting queue; `cached` tokens of what it must compute were there. Comes again after a preemption.
    Admitted {
        /// Which.
        request: RequestId,
        /// Prompt tokens found on the device.
        cached: Tokens,
        /// When.
        at: Time,
    },
    /// What the lower tiers had of its prompt is on the device.
    Loaded {
        /// Which.
        request: RequestId,
        /// Prompt tokens from L1.
        host: Tokens,
        /// Prompt tokens from L2.
        pool: Tokens,
        /// Whether all came that was promised; else it waits again, and is computed from there.
        whole: bool,
        /// When.
        at: Time,
    },
    /// It gave up its blocks, or lost them with its worker's process, and waits again.
    Preempted {
        /// Which.
        request: RequestId,
    },
    /// What it has spent its time on; its first token comes out next.
    Split {
        /// Which.
        request: RequestId,
        /// From its arrival at this engine to its first token.
        spent: Spent,
        /// When it arrived there.
        since: Time,
    },
    /// Its first token came out.
    FirstToken {
        /// Which.
        request: RequestId,
        /// Prompt tokens computed since it was admitted last.
        computed: Tokens,
        /// When.
        at: Time,
    },
    /// A later token came out, not in the pass after the one before.
    Resumed {
        /// Which.
        request: RequestId,
        /// When the token before it came out.
        before: Time,
        /// When.
        at: Time,
    },
    /// Later tokens came out, one per pass (told only where work is recorded).
    Tokens {
        /// Which.
        request: RequestId,
        /// How many.
        count: u64,
    },
    /// Its last token came out, and all it held is released.
    Finished {
        /// Which.
        request: RequestId,
        /// When.
        at: Time,
    },
    /// It was taken back by its client, and all it held is released.
    Cancelled {
        /// Which.
        request: RequestId,
    },
}

/// One worker's engine: batcher and device cache, without a clock and without arithmetic on tensors.
#[derive(Debug)]
pub struct Replica {
    config: EngineConfig,
    threshold: Tokens,
    cache: TieredCache,
    sequences: Sequences,
    waiting: VecDeque<SeqId>, // in order of their turns
    /// Turns given so far: to those who arrive from the end, to those who lost their blocks from the start.
    turns: Range<i64>,
    running: Vec<SeqId>,    // in order of admission
    prefilling: Vec<SeqId>, // those of `running` that still compute what they were admitted with
    decoders: Decoders,
    /// How many were cancelled and have not let go yet.
    cancelled: u32,
    /// The head of `waiting` cannot start before something is released or becomes visible.
    blocked: bool,
    flight: Option<Box<Batch>>,
    next: Option<Box<Batch>>, // planned already, under async scheduling
    #[expect(clippy::vec_box, reason = "batches go from hand to hand as pointers")]
    spare: Vec<Box<Batch>>,
    number: u64,
    /// When the pass before ended.
    ended_at: Time,
    outputs: VecDeque<Output>,
    moves: Moves,
    queue_watch: QueueWatch,
}

impl Replica {
    /// An idle worker with a cold cache.
    ///
    /// # Errors
    /// Where the settings contradict each other.
    pub fn new(config: EngineConfig) -> Result<Self, InvalidEngine> {
        for (name, value) in [
            ("max_num_seqs", config.max_num_seqs),
            ("max_num_batched_tokens", config.max_num_batched_tokens.0),
            ("max_model_len", config.max_model_len.0),
            ("block_size", config.cache.block.0),
            ("long_prefill_token_threshold", config.long_prefill_token_threshold.map_or(1, |tokens| tokens.0)),
        ] {
            if value == 0 {
                return Err(InvalidEngine::Zero(name));
            }
        }
        if config.max_num_batched_tokens.0 < config.max_num_seqs {
            return Err(InvalidEngine::BudgetBelowSequences);
        }
        if !config.chunked_prefill && config.max_num_batched_tokens < config.max_model_len {
            return Err(InvalidEngine::BudgetBelowModelLen);
        }
        let (needed, capacity) = (config.max_model_len.blocks(config.cache.block), config.cache.capacity);
        if needed > capacity {
            return Err(InvalidEngine::CacheBelowModelLen { needed, capacity });
        }
        Ok(Self {
            config,
            threshold: config.chunk_cap(),
            cache: TieredCache::new(WorkerCache::new(config.cache), config.tiers),
            sequences: Sequences::default(),
            waiting: VecDeque::new(),
            turns: 0..0,
            running: Vec::new(),
            prefilling: Vec::new(),
            decoders: Decoders::new(config.cache.block),
            cancelled: 0,
            blocked: false,
            flight: None,
            next: None,
            spare: Vec::new(),
            number: 0,
            ended_at: Time::ZERO,
            outputs: VecDeque::new(),
            moves: Moves::new(&config),
            queue_watch: QueueWatch::default(),
        })
    }

    /// Its settings.
    #[must_use]
    pub const fn config(&self) -> &EngineConfig {
        &self.config
    }

    /// Its cache, all tiers.
    #[must_use]
    pub const fn cache(&self) -> &TieredCache {
        &self.cache
    }

    /// Takes a request into the waiting queue. `pieces` name the prompt and the reply of `output` tokens behind it.
    ///
    /// # Errors
    /// Where it can never be served; nothing changed.
    pub fn submit(
        &mut self,
        request: RequestId,
        pieces: &[Piece],
        prompt: Tokens,
        output: Tokens,
        now: Time,
    ) -> Result<(), Refused> {
        self.config.would_serve(prompt, output)?;
        assert_eq!(pieces.last().map(|piece| piece.end), Some(prompt + output), "pieces name prompt and reply");
        let watch = Watch::start(self.queue_watch.lacked_by(now), now);
        let id = self.sequences.add(request, pieces, prompt, output, watch);
        self.wait_last(id);
        self.ask_ahead(id, now);
        Ok(())
    }

    /// Prompt and reply of `request` are called `pieces` from now on: a reply that somebody computes is known as it is said,
    /// and what comes of it can be found by a prompt that goes on from it. Of its blocks that are full none may be called
    /// otherwise than before. Says whether it is so: the request may be gone, or its prompt has to be told from its reply
    /// ([`kvcache::TierConfig::save_unfull_chunk`]). O(requests here + pieces).
    ///
    /// # Panics
    /// Where the pieces do not end with the longest reply it may have.
    pub fn name(&mut self, request: RequestId, pieces: &[Piece]) -> bool {
        if self.config.tiers.is_some_and(|tiers| tiers.save_unfull_chunk && !tiers.save_decode_cache) {
            return false;
        }
        let Self { running, waiting, moves, sequences, .. } = self;
        let mut here = running.iter().chain(&*waiting).chain(&moves.loading).chain(&moves.looking);
        let Some(id) = here.find(|id| sequences[**id].request == request).copied() else { return false };
        let sequence = &mut sequences[id];
        let end = sequence.prompt + sequence.output;
        assert_eq!(pieces.last().map(|piece| piece.end), Some(end), "pieces name prompt and reply");
        sequence.pieces.clear();
        sequence.pieces.extend_from_slice(pieces);
        true
    }

    /// A sequence waits behind all others.
    fn wait_last(&mut self, id: SeqId) {
        self.sequences[id].turn = self.turns.end;
        self.turns.end += 1;
        self.waiting.push_back(id);
    }

    /// A sequence waits before all others, those included who have stepped aside.
    fn wait_first(&mut self, id: SeqId) {
        self.turns.start -= 1;
        self.sequences[id].turn = self.turns.start;
        self.waiting.push_front(id);
    }

    /// Whether an arrival now could be admitted by the next plan: where not, it ends no stretch.
    #[must_use]
    pub fn would_look_at_arrival(&self) -> bool {
        self.waiting.is_empty() && self.running.len() < self.config.max_num_seqs as usize
    }

    /// Starts the next pass, unless there is nothing to do or something to wait for ([`Replica::stall`]). The engine must
    /// be free.
    pub fn start(&mut self, now: Time) -> Option<Pass> {
        assert!(self.flight.is_none(), "one pass at a time");
        let flight = if self.config.tiers.is_some() {
            self.next_with_loads(now)?
        } else {
            self.next.take().or_else(|| self.schedule(now))?
        };
        let (shape, steady) = (flight.shape, flight.steady);
        self.flight = Some(flight);
        self.compute_flight(now);
        if self.config.async_scheduling {
            self.next = self.schedule(now);
        }
        Some(Pass { shape, steady, repeats: self.repeats() })
    }

    /// The pass in flight ran `times` times more. Tells which blocks requests began in those.
    ///
    /// # Panics
    /// Where that is more than [`Pass::repeats`] allowed.
    pub fn repeat(&mut self, times: u64) -> Begun {
        if times == 0 {
            return Begun::default();
        }
        let begun = self.decoders.begun(times);
        self.cache.reserve(Blocks(begun.blocks as u32)).expect("the stretch was planned to fit");
        self.decoders.advance(times);
        assert!(self.decoders.passes <= self.decoders.next_end, "nobody ends inside a stretch");
        let grown = times * self.decoders.count;
        let flight = self.flight.as_mut().expect("a pass is in flight");
        flight.passes += times;
        if let Some(next) = &mut self.next {
            next.shape.context += grown;
            next.shape.longest += times;
        }
        self.mark_endings();
        begun
    }

    /// Whether `times` more passes would evict blocks, which an index elsewhere should hear of.
    #[must_use]
    pub fn repeats_evict(&self, times: u64) -> bool {
        self.decoders.blocks_begun(times) > u64::from(self.cache.usage().free.0)
    }

    /// How often the pass in flight may run: until somebody ends, blocks run out, or a plan could change.
    fn repeats(&self) -> u64 {
        let as_planned = |batch: &Batch| batch.preempted.is_empty() && !batch.withdrawn;
        let alone = |batch: &Batch| batch.chunks.is_empty() && !batch.endings && as_planned(batch);
        let same = match (&self.flight, &self.next) {
            (Some(flight), None) => alone(flight) && !self.config.async_scheduling,
            (Some(flight), Some(next)) => alone(flight) && alone(next) && flight.steady == next.steady,
            (None, _) => false,
        };
        let closed = self.waiting.is_empty() || self.blocked || self.running.len() == self.config.max_num_seqs as usize;
        if !same || !closed || !self.prefilling.is_empty() || self.decoders.count == 0 {
            return 1;
        }
        let most = (self.decoders.next_end - self.decoders.passes).min(self.config.max_repeats - 1);
        1 + self.decoders.passes_that_fit(most, u64::from(self.cache.available().0))
    }

    /// Whether there is an output that nobody was told of yet.
    #[inline]
    #[must_use]
    pub fn has_output(&self) -> bool {
        !self.outputs.is_empty()
    }

    /// The next output that nobody was told of yet.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// The next change of the cache that nobody was told of yet.
    pub fn poll_cache_event(&mut self) -> Option<CacheEvent> {
        self.cache.poll_event()
    }

    /// All changes of the cache that nobody was told of yet, in order.
    #[inline]
    pub fn cache_events(&self) -> impl ExactSizeIterator<Item = &CacheEvent> {
        self.cache.device().events()
    }

    /// [`kvcache::WorkerCache::tell_by_strand`] of its device.
    pub const fn tell_by_strand(&mut self, by_strand: bool) {
        self.cache.tell_by_strand(by_strand);
    }

    /// Hands the next changes of the cache that nobody was told of yet, at most `most` of them, to `hear`, in order, where
    /// there are any.
    pub fn take_cache_events(&mut self, most: usize, hear: impl FnOnce(&[CacheEvent])) {
        self.cache.take_events(most, hear);
    }

    /// Who takes part in the pass in flight (empty where [`EngineConfig::record_work`] is off), and how often it ran.
    #[must_use]
    pub fn work(&self) -> Option<(&Work, u64)> {
        self.flight.as_ref().map(|flight| (&flight.work, flight.passes))
    }

    /// Requests that it has and has not ended.
    #[must_use]
    pub fn live(&self) -> usize {
        self.sequences.live()
    }

    /// Of those, the ones that run.
    #[must_use]
    pub const fn running(&self) -> usize {
        self.running.len()
    }

    /// Asserts every law: of the cache, and that each private block belongs to a sequence. O(live state).
    ///
    /// # Panics
    /// Where one is broken: a bug.
    pub fn check(&self) {
        self.cache.check();
        let holding = self.running.iter().chain(self.moves.loading.iter()).chain(self.waiting.iter());
        let private: Blocks =
            holding.filter_map(|id| Some(self.cache.private_of(self.sequences[*id].hold?, self.reserved(*id)))).sum();
        let kept = self.cache.kept_for_loads();
        assert_eq!(private + kept, self.cache.usage().private, "each private block belongs to a sequence or a load");
        assert!(self.running.iter().all(|id| self.sequences[*id].hold.is_some()), "a running sequence holds blocks");
        let decoding = self.running.iter().filter(|id| matches!(self.sequences[**id].phase, Phase::Decode(_))).count();
        assert_eq!(decoding as u64, self.decoders.count, "decoders are counted");
        assert!(self.decoders.count > 0 || self.decoders.is_idle(), "no decoder, no trace of one");
        let known = self.waiting.len() + self.running.len() + self.moves.looking.len() + self.moves.loading.len();
        assert_eq!(known, self.sequences.live(), "each sequence waits, runs, looks or loads");
        let turns = self.waiting.iter().map(|id| self.sequences[*id].turn);
        assert!(turns.is_sorted_by(|one, other| one < other), "who waits does so in order of turns");
    }

    /// Up to which token a running sequence has blocks.
    fn reserved(&self, id: SeqId) -> Tokens {
        let sequence = &self.sequences[id];
        match sequence.phase {
            Phase::Decode(joined) => sequence.computed + Tokens((self.decoders.passes - joined.since) as u32),
            _ => sequence.computed,
        }
    }
}
