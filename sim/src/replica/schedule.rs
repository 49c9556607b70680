//! Who takes part in the next pass.
//!
//! Planning counts as computed what it schedules, so that under async scheduling the next plan can be made before this
//! one has run. What a pass really brought is told by [`Replica::ended`].

use super::sequence::{Phase, SeqId, Sequence};
use super::spent::Doing;
use super::{Output, Replica, Work};
use crate::cost::Shape;
use alloc::boxed::Box;
use alloc::vec::Vec;
use kvcache::{Blocks, LoadMode, Looked, Offer, OpId, RequestId, Time, Tokens};

/// Tokens of one sequence that a pass computes: a part of its prompt, and after a preemption of what it had emitted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chunk {
    pub(super) sequence: SeqId,
    pub(super) request: RequestId,
    pub(super) admission: u32,
    pub(super) upto: Tokens,
    /// Tokens computed since the admission, these included.
    pub(super) fresh: Tokens,
    pub(super) last: bool,
}

impl Chunk {
    /// Whether it still is a part of `sequence`: that may have been cancelled, its slot another's by now, or preempted.
    pub(super) fn is_of(&self, sequence: &Sequence) -> bool {
        let here = sequence.request == self.request && sequence.phase != Phase::Gone;
        here && sequence.admissions == self.admission
    }

    /// Whether it is, and has been computed: who was cancelled meanwhile may have been left out.
    pub(super) fn is_computed(&self, sequence: &Sequence) -> bool {
        self.is_of(sequence) && sequence.left_out == Tokens::ZERO
    }
}

/// A planned pass.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) number: u64,
    pub(super) shape: Shape,
    pub(super) steady: u64,
    pub(super) passes: u64,
    pub(super) chunks: Vec<Chunk>,
    /// Somebody's last token comes out of it.
    pub(super) endings: bool,
    /// All of it has run: from now on the cache may change.
    pub(super) done: bool,
    /// What it computed is on its way to the lower tiers.
    pub(super) stored: bool,
    /// Somebody was taken out of it after it was planned: it runs once, as planned.
    pub(super) withdrawn: bool,
    /// Who was preempted to make room for it.
    pub(super) preempted: Vec<SeqId>,
    /// Who stopped decoding while a token of theirs is on its way in this pass.
    pub(super) strays: Vec<SeqId>,
    /// Loads that it needs.
    pub(super) loads: Vec<(OpId, SeqId)>,
    pub(super) work: Work,
}

/// What became of the head of the queue.
pub(super) enum Admitted {
    /// It takes part, with this many tokens.
    Joined(Tokens),
    /// It lets others pass until something has come.
    SteppedAside,
    /// Not now, and nobody behind it either.
    MustWait,
    /// There are not enough blocks for it.
    NoRoom,
}

impl Replica {
    /// Plans the next pass, under async scheduling while another is in flight.
    pub(super) fn schedule(&mut self, now: Time) -> Option<Box<Batch>> {
        if self.running.is_empty() && self.waiting.is_empty() {
            self.queue_watch.tell(false, now);
            return None;
        }
        self.number += 1;
        let mut batch = self.spare.pop().unwrap_or_default();
        (batch.number, batch.passes, batch.shape) = (self.number, 1, Shape::default());
        let mut budget = self.config.max_num_batched_tokens;
        if self.blocks_wanted(budget) <= u64::from(self.cache.available().0) {
            budget -= self.serve_running(&mut batch, budget);
        } else {
            budget -= self.serve_running_in_order(&mut batch, budget, now);
        }
        // Who found no room finds none before something has changed, and is not looked up again: inside a stretch nobody is.
        if batch.preempted.is_empty() && !self.blocked {
            self.admit(&mut batch, budget, now);
        }
        self.queue_watch.tell(self.blocked || !batch.preempted.is_empty(), now);
        batch.steady = self.decoders.count;
        batch.shape.decoders += self.decoders.count;
        batch.shape.context += self.decoders.context;
        batch.shape.longest = batch.shape.longest.max(self.decoders.longest());
        batch.shape.samples += self.decoders.count;
        batch.shape.tokens += self.decoders.count;
        if batch.shape.tokens == 0 {
            // A plan that did nothing but preempt is made again at once, unless a pass that still runs will ask for it.
            let again = !batch.preempted.is_empty() && self.flight.is_none();
            self.retire(batch);
            return if again { self.schedule(now) } else { None };
        }
        self.count_as_computed(&mut batch);
        Some(batch)
    }

    /// The tokens that a running sequence in prefill would compute, given the budget.
    fn wanted(&self, id: SeqId, budget: Tokens) -> Tokens {
        let sequence = &self.sequences[id];
        (sequence.total() - sequence.computed).min(self.threshold).min(budget)
    }

    pub(super) fn blocks_between(&self, from: Tokens, to: Tokens) -> Blocks {
        to.blocks(self.config.cache.block) - from.blocks(self.config.cache.block)
    }

    /// Blocks that all who run would begin. The budget suffices for them in any order, but for the last one perhaps:
    /// when somebody was admitted behind them, tokens were left over, and since then they have wanted no more.
    fn blocks_wanted(&self, budget: Tokens) -> u64 {
        let mut left = budget.saturating_sub(Tokens(self.decoders.count as u32));
        let mut blocks = self.decoders.blocks_begun(1);
        for id in &self.prefilling {
            let new = self.wanted(*id, left);
            let computed = self.sequences[*id].computed;
            blocks += u64::from(self.blocks_between(computed, computed + new).0);
            left -= new;
        }
        blocks
    }

    /// Serves all who run; gives the tokens used.
    fn serve_running(&mut self, batch: &mut Batch, budget: Tokens) -> Tokens {
        let decoding = Tokens(self.decoders.count as u32);
        let begun = Blocks(self.decoders.blocks_begun(1) as u32);
        self.cache.reserve(begun).expect("room was checked");
        let mut left = budget - decoding;
        for place in 0..self.prefilling.len() {
            let id = self.prefilling[place];
            let new = self.wanted(id, left);
            if new > Tokens::ZERO {
                let computed = self.sequences[id].computed;
                self.cache.reserve(self.blocks_between(computed, computed + new)).expect("room was checked");
                self.add_chunk(batch, id, new);
                left -= new;
            }
        }
        budget - left
    }

    /// Serves who runs one by one, in order: the only path on which blocks run out.
    fn serve_running_in_order(&mut self, batch: &mut Batch, budget: Tokens, now: Time) -> Tokens {
        let (mut left, mut place, mut decoded) = (budget, 0, 0);
        while place < self.running.len() && left > Tokens::ZERO {
            let id = self.running[place];
            let sequence = &self.sequences[id];
            let (computed, new) = match sequence.phase {
                Phase::Decode(_) => (self.reserved(id), Tokens(1)),
                Phase::Prefill => (sequence.computed, self.wanted(id, left)),
                Phase::Ending { .. } | Phase::Waiting | Phase::Looking | Phase::Loading | Phase::Gone => {
                    place += 1;
                    continue;
                }
            };
            let needed = self.blocks_between(computed, computed + new);
            while self.cache.available() < needed {
                let victim = self.preempt_last(batch, now);
                if victim == id {
                    return budget - left;
                }
            }
            self.cache.reserve(needed).expect("room was made");
            if matches!(self.sequences[id].phase, Phase::Prefill) {
                self.add_chunk(batch, id, new);
            } else {
                decoded += 1;
            }
            left -= new;
            place += 1;
        }
        assert_eq!(decoded, self.decoders.count, "every decoder gets its token");
        budget - left
    }

    fn add_chunk(&mut self, batch: &mut Batch, id: SeqId, new: Tokens) {
        let number = batch.number;
        let sequence = &mut self.sequences[id];
        let (from, upto) = (sequence.computed, sequence.computed + new);
        sequence.fresh += new;
        (sequence.chunk_pass, sequence.chunk_from, sequence.computed) = (number, from, upto);
        let last = upto == sequence.total();
        // Readmitted, and all but the last token found: that is a decoder's work.
        let decodes = sequence.emitted > Tokens::ZERO && new == Tokens(1) && last;
        let shape = &mut batch.shape;
        let (cached, count) = (u64::from(from.0), u64::from(new.0));
        shape.tokens += count;
        shape.samples += u64::from(last);
        if decodes {
            shape.decoders += 1;
            shape.context += cached + 1;
            shape.longest = shape.longest.max(cached + 1);
        } else {
            shape.pairs += count * cached + count * (count + 1) / 2;
            shape.prefill_context += cached + count;
            shape.squares += count * count;
        }
        let (request, admission, fresh) = (sequence.request, sequence.admissions, sequence.fresh);
        batch.chunks.push(Chunk { sequence: id, request, admission, upto, fresh, last });
        if self.config.record_work {
            batch.work.chunks.push((request, from, new));
        }
    }

    /// Takes waiting sequences in, first come first served, while budget, seats and blocks last.
    fn admit(&mut self, batch: &mut Batch, mut budget: Tokens, now: Time) {
        while budget > Tokens::ZERO && self.running.len() < self.config.max_num_seqs as usize {
            let Some(&id) = self.waiting.front() else { return };
            match self.admit_head(batch, id, budget, now) {
                Admitted::Joined(new) => budget -= new,
                Admitted::SteppedAside => {}
                Admitted::MustWait => return,
                Admitted::NoRoom => {
                    if !self.make_room_among_waiting() {
                        self.blocked = true;
                        return;
                    }
                }
            }
        }
    }

    fn admit_head(&mut self, batch: &mut Batch, id: SeqId, budget: Tokens, now: Time) -> Admitted {
        if self.sequences[id].hold.is_some() {
            return self.admit_loaded(batch, id, budget, now);
        }
        let offer = match self.look_up(id, now) {
            Looked::Ready(offer) => offer,
            Looked::Waiting if self.moves.mode == LoadMode::Blocking => {
                self.turn_to(id, Doing::Tiers, now);
                return Admitted::MustWait;
            }
            Looked::Waiting => return self.step_aside(id, now),
        };
        self.turn_to(id, Doing::Queue, now);
        if offer.loads() && self.moves.mode == LoadMode::Overlapped {
            return self.admit_to_load(id, &offer, now);
        }
        self.admit_now(batch, id, &offer, budget, now)
    }

    /// The tokens of its next chunk, for a waiting sequence with `cached` tokens; `None`: it must wait for a whole budget.
    fn first_chunk(&self, id: SeqId, cached: Tokens, budget: Tokens) -> Option<Tokens> {
        let rest = self.sequences[id].total() - cached;
        let fits = self.config.chunked_prefill || rest <= budget;
        fits.then(|| rest.min(self.threshold).min(budget))
    }

    /// The head of the queue joins the pass with what was offered.
    fn admit_now(&mut self, batch: &mut Batch, id: SeqId, offer: &Offer, budget: Tokens, now: Time) -> Admitted {
        let cached = offer.cached();
        let Some(new) = self.first_chunk(id, cached, budget) else { return Admitted::MustWait };
        let must_fit = if self.config.reserve_full_isl { self.sequences[id].total() } else { cached + new };
        if !self.cache.has_room(offer, must_fit) {
            return Admitted::NoRoom;
        }
        self.hold_offer(id, offer, cached + new, now);
        if let Some(op) = self.sequences[id].load {
            batch.loads.push((op, id));
        }
        self.join(batch, id, new, now)
    }

    /// The head of the queue takes part in passes from this one on.
    fn join(&mut self, batch: &mut Batch, id: SeqId, new: Tokens, now: Time) -> Admitted {
        self.waiting.pop_front();
        self.running.push(id);
        self.prefilling.push(id);
        self.sequences[id].phase = Phase::Prefill;
        self.turn_to(id, Doing::Turn, now);
        self.add_chunk(batch, id, new);
        Admitted::Joined(new)
    }

    /// The head of the queue comes back with blocks in hand: what it was waiting for is on the device.
    fn admit_loaded(&mut self, batch: &mut Batch, id: SeqId, budget: Tokens, now: Time) -> Admitted {
        let cached = self.sequences[id].computed;
        let Some(new) = self.first_chunk(id, cached, budget) else { return Admitted::MustWait };
        let must_fit = if self.config.reserve_full_isl { self.sequences[id].total() } else { cached + new };
        if self.blocks_between(cached, must_fit) > self.cache.available() {
            return Admitted::NoRoom;
        }
        self.cache.reserve(self.blocks_between(cached, cached + new)).expect("room was checked");
        self.join(batch, id, new, now)
    }

    /// Takes all blocks from the sequence admitted last, of those that are not about to end, and lets it wait again.
    fn preempt_last(&mut self, batch: &mut Batch, now: Time) -> SeqId {
        let sequences = &self.sequences;
        let place = self
            .running
            .iter()
            .rposition(|id| !matches!(sequences[*id].phase, Phase::Ending { .. }))
            .expect("somebody asks for blocks, so somebody runs");
        let id = self.running.remove(place);
        self.give_up_blocks(id, now);
        let sequence = &mut self.sequences[id];
        sequence.phase = Phase::Waiting;
        sequence.computed = Tokens::ZERO;
        let request = sequence.request;
        // Under async scheduling a pass may run that computes it still; its end sees to it.
        if sequence.watch.doing != Doing::Compute {
            self.turn_to(id, Doing::Queue, now);
        }
        self.wait_first(id);
        self.blocked = false;
        batch.preempted.push(id);
        self.outputs.push_back(Output::Preempted { request });
        id
    }

    /// Releases what a running sequence holds; what is computed stays findable. A pass in flight counts as ended: every
    /// pass planned from now on runs after it. A pass planned but not started does not.
    pub(super) fn give_up_blocks(&mut self, id: SeqId, now: Time) {
        let decoded = matches!(self.sequences[id].phase, Phase::Decode(_));
        let passes = self.stop_decoding(id);
        if decoded {
            // The caller took it out of `running` already.
            self.refresh_decoders();
        }
        self.prefilling.retain(|other| *other != id);
        let sequence = &mut self.sequences[id];
        let loading = sequence.load.take().is_some();
        let lost = match &self.next {
            Some(next) if sequence.chunk_pass == next.number => sequence.computed - sequence.chunk_from,
            Some(_) if passes > Tokens::ZERO => Tokens(1),
            _ => sequence.left_out,
        };
        let hold = sequence.hold.take().expect("a running sequence holds blocks");
        let sequence = &self.sequences[id];
        if !loading {
            // What is still on its way is no content yet.
            let chain = sequence.chain(self.config.cache.block);
            self.cache.commit(sequence.request, hold, chain, sequence.prompt, sequence.computed - lost, now);
        }
        self.cache.release(hold, sequence.computed);
        if loading {
            // Whoever waited for the same load may have to fetch it for itself.
            self.look_again(|_| true, now);
        }
        self.take_ops(id);
    }

    /// A decoder decodes no more; gives the passes it took part in since it joined.
    pub(super) fn stop_decoding(&mut self, id: SeqId) -> Tokens {
        let sequence = &mut self.sequences[id];
        let Phase::Decode(joined) = sequence.phase else { return Tokens::ZERO };
        let passes = self.decoders.leave(sequence.computed, joined);
        sequence.computed += passes;
        sequence.emitted += passes;
        if let Some(flight) = &mut self.flight {
            // Under async scheduling its latest token is still on its way: the end of the flight stamps it.
            flight.strays.push(id);
        } else if passes > Tokens::ZERO {
            // The engine may have stood still since its last pass ended.
            sequence.last_token = self.ended_at;
        }
        passes
    }

    /// Looks again at who decodes.
    pub(super) fn refresh_decoders(&mut self) {
        let Self { decoders, running, sequences, .. } = self;
        decoders.refresh(running.iter().filter_map(|id| {
            let sequence = &sequences[*id];
            if let Phase::Decode(joined) = sequence.phase { Some((sequence.computed, joined)) } else { None }
        }));
    }

    /// The plan stands: decoders have emitted, prefills have got their chunk.
    fn count_as_computed(&mut self, batch: &mut Batch) {
        if self.config.record_work {
            let Self { running, sequences, .. } = self;
            let decodes = |id: &&SeqId| matches!(sequences[**id].phase, Phase::Decode(_));
            batch.work.decoding.extend(running.iter().filter(decodes).map(|id| sequences[*id].request));
        }
        if self.decoders.count > 0 {
            self.decoders.advance(1);
            batch.endings = self.end_decoders(batch.number);
        }
        for place in 0..batch.chunks.len() {
            let chunk = batch.chunks[place];
            if !chunk.last {
                continue;
            }
            self.prefilling.retain(|id| *id != chunk.sequence);
            let sequence = &mut self.sequences[chunk.sequence];
            sequence.emitted += Tokens(1);
            let left = sequence.output - sequence.emitted;
            sequence.phase = if left == Tokens::ZERO {
                batch.endings = true;
                Phase::Ending { pass: batch.number }
            } else {
                Phase::Decode(self.decoders.join(sequence.computed, left))
            };
        }
    }

    /// Decoders whose last token is scheduled wait for the end of pass `number`. Says whether there is one.
    fn end_decoders(&mut self, number: u64) -> bool {
        if self.decoders.passes < self.decoders.next_end {
            return false;
        }
        for place in 0..self.running.len() {
            let id = self.running[place];
            let sequence = &mut self.sequences[id];
            if let Phase::Decode(joined) = sequence.phase
                && joined.until == self.decoders.passes
            {
                let passes = self.decoders.leave(sequence.computed, joined);
                sequence.computed += passes;
                sequence.emitted += passes;
                sequence.phase = Phase::Ending { pass: number };
            }
        }
        self.refresh_decoders();
        true
    }

    /// After a stretch: who ends with its last pass, or with the one planned behind it?
    pub(super) fn mark_endings(&mut self) {
        let number = self.next.as_ref().or(self.flight.as_ref()).map_or(0, |batch| batch.number);
        let ended = self.end_decoders(number);
        if let Some(batch) = self.next.as_mut().or(self.flight.as_mut()) {
            batch.endings |= ended;
        }
    }

    /// Keeps a batch's buffers for the next one.
    pub(super) fn retire(&mut self, mut batch: Box<Batch>) {
        batch.chunks.clear();
        batch.preempted.clear();
        batch.strays.clear();
        batch.loads.clear();
        batch.work.chunks.clear();
        batch.work.decoding.clear();
        (batch.endings, batch.withdrawn, batch.done, batch.stored) = (false, false, false, false);
        self.spare.push(batch);
    }
}
