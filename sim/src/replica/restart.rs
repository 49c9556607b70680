//! The engine's process dies and is back at once, cold.
//!
//! What was computed is lost, what came out is not: a request waits again as if it had just been sent, and what it had
//! emitted becomes part of what it computes, as after a preemption. Planning counts as emitted what it schedules; so what
//! is *owed*, of the pass under way and of the one planned behind it, is taken back.

use super::decoders::Decoders;
use super::schedule::Batch;
use super::sequence::{Phase, SeqId};
use super::spent::Doing;
use super::tiers::Moves;
use super::{Output, Replica};
use alloc::vec::Vec;
use kvcache::{Inquiry, RequestId, Time, Tokens};

impl Replica {
    /// The worker restarts, cold. The pass under way is lost, of a stretch the last one that was told of
    /// ([`Replica::repeat`]), which began at `began`; `None`: none is under way. So is all that is cached on the device and
    /// in L1, and whatever moved. All requests that are here wait again, in order of arrival; but whoever was taken back by
    /// its client ends. O(live state).
    ///
    /// # Panics
    /// Where `began` says that there is a pass and there is none, or the other way round.
    pub fn restart(&mut self, began: Option<Time>, now: Time) {
        for id in self.lose_all(began, now) {
            if !self.end_cancelled(id) {
                self.wait_last(id);
                self.ask_ahead(id, now);
            }
        }
    }

    /// The worker's process dies, and nobody is there until it is started again, cold: as [`Replica::restart`], but its
    /// requests are gone. Gives them, in order of arrival; whoever was taken back by its client ends. O(live state).
    ///
    /// # Panics
    /// As [`Replica::restart`].
    pub fn die(&mut self, began: Option<Time>, now: Time) -> Vec<RequestId> {
        let mut gone = Vec::new();
        for id in self.lose_all(began, now) {
            if !self.end_cancelled(id) {
                gone.push(self.sequences[id].request);
                self.forget(id);
            }
        }
        gone
    }

    /// A sequence that was taken back by its client ends; says whether it was.
    fn end_cancelled(&mut self, id: SeqId) -> bool {
        let sequence = &self.sequences[id];
        let (cancelled, request) = (sequence.cancelled, sequence.request);
        if cancelled {
            self.forget(id);
            self.outputs.push_back(Output::Cancelled { request });
        }
        cancelled
    }

    /// All that was computed and planned is gone. Gives all sequences, in order of arrival.
    fn lose_all(&mut self, began: Option<Time>, now: Time) -> Vec<SeqId> {
        assert_eq!(began.is_some(), self.flight.is_some(), "a pass under way has begun");
        // Whoever decodes emitted its latest token when the pass before ended: in a stretch, when this one began.
        let stretched = self.flight.as_ref().is_some_and(|flight| flight.passes > 1);
        let ended_at = began.filter(|_| stretched).unwrap_or(self.ended_at);
        self.tell_stretch();
        let mut here: Vec<SeqId> =
            self.running.iter().chain(&self.moves.looking).chain(&self.moves.loading).copied().collect();
        here.extend(&self.waiting);
        here.sort_unstable_by_key(|id| self.sequences[*id].request);
        self.queue_watch.tell(false, now);
        for id in &here {
            self.lose(*id, ended_at);
            self.turn_to(*id, Doing::Queue, now);
        }
        self.forget_plans();
        self.cache.restart();
        here
    }

    /// Passes before the one under way have ended.
    fn tell_stretch(&mut self) {
        let Some(flight) = self.flight.as_ref().filter(|flight| self.config.record_work && flight.passes > 1) else {
            return;
        };
        let count = flight.passes - 1;
        self.outputs.extend(flight.work.decoding.iter().map(|request| Output::Tokens { request: *request, count }));
    }

    /// Batches whose tokens have not come out, oldest first.
    fn pending(&self) -> impl Iterator<Item = &Batch> {
        [&self.flight, &self.next, &self.moves.stalled].into_iter().flatten().map(|batch| &**batch)
    }

    /// Tokens of a sequence that count as emitted and have not come out. From its latest chunk on, a decoder has one in every
    /// pass, that chunk's included.
    fn owed(&self, id: SeqId) -> Tokens {
        let sequence = &self.sequences[id];
        let last = match sequence.phase {
            Phase::Decode(_) => u64::MAX,
            Phase::Ending { pass } => pass,
            // It was preempted by the plan of the next pass.
            _ => return Tokens(u32::from(self.is_stray(id))),
        };
        let has_one = |batch: &&Batch| (sequence.chunk_pass..=last).contains(&batch.number);
        Tokens(self.pending().filter(has_one).count() as u32)
    }

    fn is_stray(&self, id: SeqId) -> bool {
        self.flight.as_ref().is_some_and(|flight| flight.strays.contains(&id))
    }

    /// A sequence loses its blocks and all that is computed of it; `ended_at` is when the latest pass ended.
    fn lose(&mut self, id: SeqId, ended_at: Time) {
        let (owed, reserved, is_stray) = (self.owed(id), self.reserved(id), self.is_stray(id));
        let oldest = self.pending().next().map_or(u64::MAX, |batch| batch.number);
        let sequence = &mut self.sequences[id];
        if let Phase::Decode(joined) = sequence.phase {
            sequence.emitted += Tokens((self.decoders.passes - joined.since) as u32);
        }
        sequence.emitted -= owed;
        let decoded = is_stray || matches!(sequence.phase, Phase::Decode(_) | Phase::Ending { .. });
        if decoded && sequence.chunk_pass < oldest {
            sequence.last_token = ended_at;
        }
        let hold = sequence.hold.take();
        (sequence.phase, sequence.inquiry, sequence.load) = (Phase::Waiting, Inquiry::New, None);
        (sequence.computed, sequence.fresh) = (Tokens::ZERO, Tokens::ZERO);
        let (request, cancelled) = (sequence.request, sequence.cancelled);
        if let Some(hold) = hold {
            self.cache.release(hold, reserved);
            if !cancelled {
                self.outputs.push_back(Output::Preempted { request });
            }
        }
    }

    /// Nobody runs, nothing is planned, nothing moves.
    fn forget_plans(&mut self) {
        for batch in [self.flight.take(), self.next.take(), self.moves.stalled.take()].into_iter().flatten() {
            self.retire(batch);
        }
        self.waiting.clear();
        self.running.clear();
        self.prefilling.clear();
        self.blocked = false;
        self.decoders = Decoders::new(self.config.cache.block);
        self.moves = Moves::new(&self.config);
    }
}
