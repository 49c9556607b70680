//! What becomes of whoever waited when a load, a copy or an answer has come, or come short.

use super::schedule::Chunk;
use super::sequence::{Phase, SeqId};
use super::spent::Doing;
use super::{Output, Replica};
use kvcache::{Done, Failed, Inquiry, LoadEnd, OpId, RequestId, StoreMode, Time, Tokens, Woken};

impl Replica {
    /// An operation ended, somehow. Says whether that may change what the engine does next.
    pub fn op_done(&mut self, op: OpId, outcome: Result<Done, Failed>, now: Time) -> bool {
        let Some(woken) = self.cache.op_done(op, outcome, now) else { return false };
        match woken {
            Woken::Copied => return self.moves.store == StoreMode::Blocking && self.cache.copying() == 0,
            Woken::Room(end) => {
                self.load_of_the_preempted(&end, now);
                self.forget_load(op);
                self.look_again(|_| true, now);
            }
            Woken::Answered { op, upto, .. } => {
                let Some(place) = self.moves.asked.iter().position(|(asked, _)| *asked == op) else { return true };
                let (_, id) = self.moves.asked.swap_remove(place);
                if self.sequences[id].inquiry.answer(op, upto) {
                    self.look_again(|looking| looking == id, now);
                    self.turn_by_phase(id, now);
                }
            }
            Woken::Loaded(end) => self.load_lands(end, now),
        }
        self.blocked = false;
        true
    }

    fn whose_load(&self, op: OpId) -> Option<SeqId> {
        self.moves.loads.iter().find(|load| load.op == op).map(|load| load.id)
    }

    fn forget_load(&mut self, op: OpId) {
        self.moves.awaited.retain(|other| *other != op);
        self.moves.loads.retain(|load| load.op != op);
    }

    /// Who waited for an answer comes back to the queue.
    pub(super) fn look_again(&mut self, whom: impl Fn(SeqId) -> bool, now: Time) {
        let mut place = 0;
        while place < self.moves.looking.len() {
            let id = self.moves.looking[place];
            if whom(id) {
                self.moves.looking.remove(place);
                self.come_back(id, now);
            } else {
                place += 1;
            }
        }
    }

    /// Who stepped aside waits again, where it would be if it had not. Were it anywhere else, two who take each other's
    /// blocks at the head of the queue ([`Replica::make_room_among_waiting`]) could do so for ever.
    fn come_back(&mut self, id: SeqId, now: Time) {
        self.sequences[id].phase = Phase::Waiting;
        self.turn_to(id, Doing::Queue, now);
        let turn = self.sequences[id].turn;
        let place = self.waiting.partition_point(|other| self.sequences[*other].turn < turn);
        self.waiting.insert(place, id);
    }

    fn load_lands(&mut self, end: LoadEnd, now: Time) {
        self.moves.awaited.retain(|op| *op != end.op);
        if let Some(id) = self.whose_load(end.op) {
            self.load_has_come(id, now);
        }
        if self.flight.is_some() {
            self.moves.landed.push(end);
        } else {
            self.load_ended(end, now);
        }
    }

    /// A load ended whose sequence has let go of its blocks. Where that was preempted by the plan of the next pass while this
    /// one still needs the load, its token comes out all the same, if all has come that it rests upon.
    fn load_of_the_preempted(&mut self, end: &LoadEnd, now: Time) {
        let Some(id) = self.whose_load(end.op) else { return };
        let sequence = &mut self.sequences[id];
        let Some(flight) = &mut self.flight else { return };
        let is_its = |chunk: &Chunk| chunk.sequence == id && chunk.is_of(sequence);
        if !flight.chunks.iter().any(is_its) {
            return;
        }
        let LoadEnd { request, from_host: host, from_pool: pool, whole, .. } = *end;
        if whole {
            self.outputs.push_back(Output::Loaded { request, host, pool, whole, at: now });
        } else {
            flight.chunks.retain(|chunk| chunk.sequence != id);
            flight.strays.retain(|stray| *stray != id);
            flight.withdrawn = true;
            sequence.emitted = sequence.emitted_before;
            sequence.inquiry = Inquiry::Closed;
            self.turn_by_phase(id, now);
        }
    }

    /// The pass in flight is about to end: loads that landed meanwhile take effect.
    pub(super) fn take_landed(&mut self, now: Time) {
        let mut landed = core::mem::take(&mut self.moves.landed);
        for end in landed.drain(..) {
            self.load_ended(end, now);
        }
        self.moves.landed = landed;
    }

    fn load_ended(&mut self, end: LoadEnd, now: Time) {
        let Some(id) = self.whose_load(end.op) else { return };
        let at_rest = self.flight.as_ref().is_none_or(|flight| flight.done);
        assert!(at_rest, "nothing changes the cache inside a stretch: what repeats has been planned with it");
        self.forget_load(end.op);
        self.look_again(|_| true, now);
        if self.sequences[id].load != Some(end.op) {
            return; // it let go of its blocks after the load had ended
        }
        let LoadEnd { request, from_host: host, from_pool: pool, whole, .. } = end;
        self.outputs.push_back(Output::Loaded { request, host, pool, whole, at: now });
        let sequence = &mut self.sequences[id];
        debug_assert_eq!(sequence.request, request, "a load belongs to a sequence that is here");
        sequence.load = None;
        let hold = sequence.hold.expect("who is loaded for holds blocks");
        self.cache.commit_loaded(hold, self.sequences[id].chain(self.config.cache.block), end.got);
        if let Some(place) = self.moves.loading.iter().position(|other| *other == id) {
            self.moves.loading.remove(place);
            self.come_back(id, now);
            if !whole {
                self.let_go(id);
            }
        } else if !whole {
            self.take_back(id, now);
        }
    }

    /// Nobody runs, and the head of the queue finds no room beside others who wait with blocks in hand: the last of them
    /// lets go of its own. Says whether there was one.
    pub(super) fn make_room_among_waiting(&mut self) -> bool {
        if !self.running.is_empty() {
            return false;
        }
        let Some(place) =
            (1..self.waiting.len()).rev().find(|place| self.sequences[self.waiting[*place]].hold.is_some())
        else {
            return false;
        };
        let id = self.waiting[place];
        let inquiry = self.sequences[id].inquiry;
        self.let_go(id);
        self.sequences[id].inquiry = inquiry;
        true
    }

    /// A waiting sequence gives up its blocks; lower tiers are not asked for it again.
    fn let_go(&mut self, id: SeqId) {
        let sequence = &mut self.sequences[id];
        let hold = sequence.hold.take().expect("it holds blocks");
        self.cache.release(hold, sequence.computed);
        sequence.computed = Tokens::ZERO;
        sequence.inquiry = Inquiry::Closed;
        let request = sequence.request;
        self.moves.let_go.iter_mut().for_each(|let_go| let_go.push(request));
    }

    /// A sequence that was planned with more than came goes back to the head of the queue, out of every plan.
    fn take_back(&mut self, id: SeqId, now: Time) {
        self.withdraw(id);
        let decoded = matches!(self.sequences[id].phase, Phase::Decode(_));
        self.stop_decoding(id);
        self.running.retain(|other| *other != id);
        self.prefilling.retain(|other| *other != id);
        if decoded {
            self.refresh_decoders();
        }
        for batch in [&mut self.flight, &mut self.moves.stalled].into_iter().flatten() {
            batch.chunks.retain(|chunk| chunk.sequence != id);
            batch.strays.retain(|stray| *stray != id);
            batch.withdrawn = true;
        }
        self.let_go(id);
        let sequence = &mut self.sequences[id];
        sequence.emitted = sequence.emitted_before;
        if sequence.cancelled {
            // Its client has gone: nobody will compute it.
            let request = sequence.request;
            self.forget(id);
            self.outputs.push_back(Output::Cancelled { request });
            return;
        }
        sequence.phase = Phase::Waiting;
        self.turn_to(id, Doing::Queue, now);
        self.wait_first(id);
    }

    /// Takes a sequence that takes no part in passes out of wherever it waits.
    pub(super) fn stop_waiting(&mut self, request: RequestId) -> Option<SeqId> {
        let is_it = |id: &SeqId| self.sequences[*id].request == request;
        if !self.moves.asks_in_turn {
            // Nobody waits for its answer any more; a scheduler that waits in its look-up does so to the end.
            let sequences = &self.sequences;
            self.moves.asked.retain(|(_, id)| sequences[*id].request != request);
        }
        if let Some(place) = self.waiting.iter().position(is_it) {
            return self.waiting.remove(place);
        }
        if let Some(place) = self.moves.looking.iter().position(is_it) {
            return Some(self.moves.looking.remove(place));
        }
        let place = self.moves.loading.iter().position(is_it)?;
        Some(self.moves.loading.remove(place))
    }
}
