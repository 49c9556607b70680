//! Loads and stores: who waits for what, and what becomes of them when it has come.
//!
//! * **Blocking** (LMCache's default). The pass that needs a load does not begin before that has ended, nor before the
//!   pool has answered for whom it may admit. Everybody waits.
//! * **Overlapped.** Who waits for an answer or a load steps out of the queue; others go on. Back at the head, it holds
//!   its blocks already.
//! * **Layerwise.** The pass begins at once and cannot end before its loads.
//! * **Blocking stores** (LMCache's default). What a pass computed is copied off the device when it is done, before its
//!   tokens come out: vLLM waits for its connector before it samples.
//! * **Short.** Who was promised more than came gives up its blocks, keeps what came in the cache, and waits at the head
//!   of the queue; lower tiers are not asked again for it. A pass that was planned with it runs as planned.

use super::schedule::{Admitted, Batch};
use super::sequence::{Phase, SeqId};
use super::spent::Doing;
use super::{EngineConfig, Output, Replica};
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use kvcache::{
    Blocks, Chain, Inquiry, LoadEnd, LoadMode, Looked, Offer, Op, OpId, RequestId, Shelved, StoreMode, Time, Tokens,
};

/// What is under way between the device and the lower tiers.
#[derive(Debug)]
pub(super) struct Moves {
    pub(super) mode: LoadMode,
    pub(super) store: StoreMode,
    pub(super) asks_in_turn: bool,
    /// Who waits for an answer of the pool, or for another's load of the same prefix.
    pub(super) looking: Vec<SeqId>,
    /// Who waits for a load of its own.
    pub(super) loading: Vec<SeqId>,
    /// A pass that waits for its loads.
    pub(super) stalled: Option<Box<Batch>>,
    /// Loads under way of the pass in flight, or of the one that waits.
    pub(super) awaited: Vec<OpId>,
    /// Who asked.
    pub(super) asked: Vec<(OpId, SeqId)>,
    pub(super) loads: Vec<Loading>,
    /// Loads that ended while a pass was in flight: they take effect when that ends, as nothing may change the cache inside
    /// a stretch.
    pub(super) landed: Vec<LoadEnd>,
    ops: VecDeque<(SeqId, Op)>,
    /// Who gave up its blocks while it waited; kept where somebody asks.
    pub(super) let_go: Option<Vec<RequestId>>,
}

/// A load under way, and whose it is, or was.
#[derive(Clone, Copy, Debug)]
pub(super) struct Loading {
    pub(super) op: OpId,
    pub(super) id: SeqId,
}

/// Why an engine with work to do stands still.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stall {
    /// The pool has not answered yet for whom it might serve next.
    LookUp,
    /// What is to be computed next needs something from L1.
    LoadHost,
    /// What is to be computed next needs something from L2, and perhaps from L1 too.
    LoadPool,
    /// A copy off the device must end.
    Store,
}

/// An operation, and the prompt that names its objects.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The operation.
    pub op: Op,
    /// The objects that its bounds count.
    pub objects: Chain<'a>,
    /// When it must have ended, if it must.
    pub deadline: Option<Time>,
}

impl Moves {
    pub(super) fn new(config: &EngineConfig) -> Self {
        let tiers = config.tiers;
        Self {
            mode: tiers.map_or(LoadMode::Blocking, |tiers| tiers.load),
            store: tiers.map_or(StoreMode::Overlapped, |tiers| tiers.store),
            asks_in_turn: tiers.is_some_and(|tiers| tiers.pool && tiers.asks_in_turn()),
            looking: Vec::new(),
            loading: Vec::new(),
            stalled: None,
            awaited: Vec::new(),
            asked: Vec::new(),
            loads: Vec::new(),
            landed: Vec::new(),
            ops: VecDeque::new(),
            let_go: None,
        }
    }
}

impl Replica {
    /// The same engine, which tells what comes and goes below the device, and who gives up blocks while it waits.
    pub(crate) fn telling(mut self) -> Self {
        self.cache = self.cache.telling();
        self.moves.let_go = Some(Vec::new());
        self
    }

    /// Which objects came to L1 and went since this was asked last.
    pub(crate) fn take_shelved(&mut self) -> Vec<Shelved> {
        self.cache.take_shelved()
    }

    /// Who gave up its blocks while it waited, since this was asked last.
    pub(crate) fn take_let_go(&mut self) -> Vec<RequestId> {
        self.moves.let_go.as_mut().map(core::mem::take).unwrap_or_default()
    }

    /// What lies in L1 under an object's name is not what it should be.
    pub(crate) fn lose_in_host(&mut self, objects: Chain<'_>, object: Blocks) {
        self.cache.lose_in_host(objects, object);
    }

    /// Whether there is an operation that nobody was told of yet.
    #[inline]
    #[must_use]
    pub fn has_op(&self) -> bool {
        !self.moves.ops.is_empty()
    }

    /// The next operation that nobody was told of yet.
    pub fn poll_op(&mut self) -> Option<Asked<'_>> {
        let (id, op) = self.moves.ops.pop_front()?;
        let sequence = &self.sequences[id];
        let objects = self.cache.objects(sequence.chain(self.config.cache.block), sequence.prompt);
        Some(Asked { op, objects, deadline: self.cache.deadline_of(op.id) })
    }

    /// Why the engine, asked to start, stands still though it has work; `None`: it does not, or has none. Of several causes
    /// the one that ends last for sure: what waits for a load has been looked up.
    #[must_use]
    pub fn stall(&self) -> Option<Stall> {
        if self.flight.is_some() || self.sequences.live() == 0 {
            return None;
        }
        if self.waits_for_copies() {
            return Some(Stall::Store);
        }
        if self.moves.asks_in_turn && self.moves.stalled.is_none() && !self.moves.asked.is_empty() {
            return Some(Stall::LookUp);
        }
        if self.moves.loads.is_empty() {
            return (!self.moves.asked.is_empty()).then_some(Stall::LookUp);
        }
        Some(self.stall_for(self.moves.loads.iter().map(|load| load.op)))
    }

    /// Which tier loads come from.
    fn stall_for(&self, mut loads: impl Iterator<Item = OpId>) -> Stall {
        if loads.any(|op| self.cache.needs_pool(op)) { Stall::LoadPool } else { Stall::LoadHost }
    }

    fn waits_for_copies(&self) -> bool {
        self.moves.store == StoreMode::Blocking && self.cache.copying() > 0
    }

    /// The pass in flight is computed: why it cannot end yet; `None`: it can. Asked again whenever something has come.
    ///
    /// # Panics
    /// Where no pass is in flight.
    pub fn held_up(&mut self, now: Time) -> Option<Stall> {
        self.flight.as_mut().expect("a pass is in flight").done = true;
        if !self.moves.awaited.is_empty() {
            self.hold_up_flight(false, now);
            return Some(self.stall_for(self.moves.awaited.iter().copied()));
        }
        if self.moves.store == StoreMode::Blocking {
            self.store_flight(now);
        }
        if !self.waits_for_copies() {
            return None;
        }
        self.hold_up_flight(true, now);
        Some(Stall::Store)
    }

    /// What the pass in flight computed goes on its way to the lower tiers.
    fn store_flight(&mut self, now: Time) {
        let flight = self.flight.as_mut().expect("a pass is in flight");
        if core::mem::replace(&mut flight.stored, true) || flight.chunks.is_empty() {
            return;
        }
        // Whose load came short has computed upon nothing.
        self.take_landed(now);
        assert!(self.moves.landed.is_empty(), "what is stored rests upon what has come");
        let chunks = self.flight.as_ref().map_or(0, |flight| flight.chunks.len());
        for place in 0..chunks {
            let Some(chunk) = self.flight.as_ref().map(|flight| flight.chunks[place]) else { return };
            let Self { sequences, cache, config, .. } = self;
            let sequence = &sequences[chunk.sequence];
            if let (true, Some(hold)) = (chunk.is_computed(sequence), sequence.hold) {
                let chain = sequence.chain(config.cache.block);
                cache.store(chunk.request, hold, chain, sequence.prompt, chunk.upto, now);
                self.take_ops(chunk.sequence);
            }
        }
    }

    /// The pass to start now, its loads under way.
    pub(super) fn next_with_loads(&mut self, now: Time) -> Option<Box<Batch>> {
        if self.waits_for_copies() {
            return None;
        }
        if let Some(batch) = self.moves.stalled.take() {
            if self.moves.awaited.is_empty() {
                return Some(batch);
            }
            self.moves.stalled = Some(batch);
            return None;
        }
        if self.next.is_none() && self.lacks_answers(now) {
            self.queue_watch.tell(false, now);
            return None;
        }
        let batch = self.next.take().or_else(|| self.schedule(now))?;
        for &(op, id) in &batch.loads {
            self.cache.start_load(op, now);
            self.moves.awaited.push(op);
            self.moves.loads.push(Loading { op, id });
            self.turn_to(id, Doing::Tiers, now);
        }
        if let Some((_, id)) = batch.loads.first().copied() {
            self.take_ops_of_loads(id);
        }
        if self.moves.mode == LoadMode::Blocking && !batch.loads.is_empty() {
            self.moves.stalled = Some(batch);
            return None;
        }
        Some(batch)
    }

    /// Under LMCache's synchronous look-up: asks for those whom the next plan may admit, one after the other. Says whether
    /// an answer is missing.
    fn lacks_answers(&mut self, now: Time) -> bool {
        if !self.moves.asks_in_turn || self.blocked {
            return false;
        }
        let mut seats = (self.config.max_num_seqs as usize).saturating_sub(self.running.len());
        let mut budget = self.config.max_num_batched_tokens.saturating_sub(Tokens(self.decoders.count as u32));
        let mut place = 0;
        while seats > 0 && budget > Tokens::ZERO && place < self.waiting.len() {
            let id = self.waiting[place];
            if matches!(self.sequences[id].inquiry, Inquiry::New | Inquiry::Asked { .. }) {
                let looked = self.look_up(id, now);
                if matches!(self.sequences[id].inquiry, Inquiry::Asked { .. }) {
                    return true;
                }
                let Looked::Ready(offer) = looked else { return false };
                budget = budget.saturating_sub(self.sequences[id].total() - offer.cached());
            } else {
                budget = budget.saturating_sub(self.left_at_most(id));
            }
            (seats, place) = (seats - 1, place + 1);
        }
        false
    }

    /// What a sequence has to compute at most, by what the pool answered.
    fn left_at_most(&self, id: SeqId) -> Tokens {
        let sequence = &self.sequences[id];
        let (Inquiry::Known { upto, .. }, Some(tiers)) = (sequence.inquiry, self.config.tiers) else {
            return sequence.total();
        };
        sequence.total().saturating_sub(upto.tokens(tiers.chunk)).max(Tokens(1))
    }

    /// What the tiers hold for a waiting sequence.
    pub(super) fn look_up(&mut self, id: SeqId, now: Time) -> Looked {
        let others = self.waiting.len() as u32 - 1;
        let Self { sequences, cache, config, .. } = self;
        let sequence = &sequences[id];
        let mut inquiry = sequence.inquiry;
        let looked = cache.look_up(sequence.wanted(config.cache.block, others), &mut inquiry, now);
        self.note(id, inquiry, now);
        looked
    }

    /// Asks the pool when a request arrives, where the answer is not waited for.
    pub(super) fn ask_ahead(&mut self, id: SeqId, now: Time) {
        if self.config.tiers.is_none() || self.moves.asks_in_turn {
            return;
        }
        let others = self.waiting.len() as u32 - 1;
        let Self { sequences, cache, config, .. } = self;
        let sequence = &sequences[id];
        let mut inquiry = sequence.inquiry;
        cache.ask_ahead(sequence.wanted(config.cache.block, others), &mut inquiry, now);
        self.note(id, inquiry, now);
    }

    fn note(&mut self, id: SeqId, inquiry: Inquiry, now: Time) {
        let before = core::mem::replace(&mut self.sequences[id].inquiry, inquiry);
        if let Inquiry::Asked { op, .. } = inquiry
            && before != inquiry
        {
            self.moves.asked.push((op, id));
            if self.moves.asks_in_turn {
                self.turn_to(id, Doing::Tiers, now);
            }
        }
        self.take_ops(id);
    }

    /// What the cache wants done for a sequence.
    pub(super) fn take_ops(&mut self, id: SeqId) {
        while let Some(op) = self.cache.poll_op() {
            self.moves.ops.push_back((id, op));
        }
    }

    /// The same for loads, which are started together.
    fn take_ops_of_loads(&mut self, otherwise: SeqId) {
        while let Some(op) = self.cache.poll_op() {
            let whose = self.moves.loads.iter().find(|load| load.op == op.id).map_or(otherwise, |load| load.id);
            self.moves.ops.push_back((whose, op));
        }
    }

    /// The head of the queue lets others pass until what it waits for is known.
    pub(super) fn step_aside(&mut self, id: SeqId, now: Time) -> Admitted {
        self.waiting.pop_front();
        self.turn_to(id, Doing::Tiers, now);
        self.sequences[id].phase = Phase::Looking;
        self.moves.looking.push(id);
        Admitted::SteppedAside
    }

    /// A sequence takes hold of what it was offered and of blocks up to `upto`.
    pub(super) fn hold_offer(&mut self, id: SeqId, offer: &Offer, upto: Tokens, now: Time) {
        let Self { sequences, cache, config, .. } = self;
        let sequence = &mut sequences[id];
        let chain = sequence.chain(config.cache.block);
        let admission = cache.begin(sequence.request, chain, offer, upto, now).expect("room was checked");
        (sequence.hold, sequence.load) = (Some(admission.hold), admission.load);
        sequence.admissions += 1;
        sequence.emitted_before = sequence.emitted;
        (sequence.computed, sequence.fresh) = (offer.cached(), Tokens::ZERO);
        let request = sequence.request;
        self.outputs.push_back(Output::Admitted { request, cached: offer.device(), at: now });
    }

    /// The head of the queue steps aside with its blocks in hand while its prompt is loaded.
    pub(super) fn admit_to_load(&mut self, id: SeqId, offer: &Offer, now: Time) -> Admitted {
        let must_fit = if self.config.reserve_full_isl { self.sequences[id].total() } else { offer.cached() };
        if !self.cache.has_room(offer, must_fit) {
            return Admitted::NoRoom;
        }
        self.hold_offer(id, offer, offer.cached(), now);
        self.waiting.pop_front();
        self.turn_to(id, Doing::Tiers, now);
        self.sequences[id].phase = Phase::Loading;
        self.moves.loading.push(id);
        let op = self.sequences[id].load.expect("an offer that loads plans a load");
        self.cache.start_load(op, now);
        self.moves.loads.push(Loading { op, id });
        self.take_ops(id);
        Admitted::SteppedAside
    }
}
