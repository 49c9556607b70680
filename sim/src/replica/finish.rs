//! What a pass that ended leaves behind: visible blocks, tokens, free seats.

use super::schedule::Batch;
use super::sequence::{Phase, SeqId};
use super::spent::Doing;
use super::{Output, Replica};
use kvcache::{RequestId, Time, Tokens};

impl Replica {
    /// The pass in flight ended. What it computed becomes visible, its tokens come out, and who emitted its last one
    /// lets go of its blocks, in running order.
    ///
    /// # Panics
    /// Where no pass is in flight.
    pub fn ended(&mut self, now: Time) {
        self.flight.as_mut().expect("a pass is in flight").done = true;
        self.take_landed(now);
        let flight = self.flight.take().expect("a pass is in flight");
        self.ended_at = now;
        for place in 0..flight.chunks.len() {
            self.end_chunk(&flight, place, now);
        }
        for id in &flight.strays {
            self.sequences[*id].last_token = now;
        }
        if self.config.record_work {
            let count = flight.passes;
            let told = flight.work.decoding.iter().map(|request| Output::Tokens { request: *request, count });
            self.outputs.extend(told);
        }
        if flight.endings {
            self.end_sequences(flight.number, now);
        }
        self.retire(flight);
        self.drop_cancelled(now);
    }

    fn end_chunk(&mut self, flight: &Batch, place: usize, now: Time) {
        let chunk = flight.chunks[place];
        let sequence = &self.sequences[chunk.sequence];
        if sequence.request != chunk.request || sequence.phase == Phase::Gone {
            return; // cancelled, and its slot perhaps another's
        }
        if let (true, Some(hold)) = (chunk.is_computed(sequence), sequence.hold) {
            self.cache.commit(
                sequence.request,
                hold,
                sequence.chain(self.config.cache.block),
                sequence.prompt,
                chunk.upto,
                now,
            );
            self.blocked = false;
            self.take_ops(chunk.sequence);
        }
        if !chunk.last || self.sequences[chunk.sequence].cancelled {
            self.turn_by_phase(chunk.sequence, now);
            return;
        }
        // Only under async scheduling can a sequence have lost its blocks meanwhile; its token came out all the same.
        self.turn_to(chunk.sequence, Doing::Over, now);
        let sequence = &mut self.sequences[chunk.sequence];
        let request = sequence.request;
        let first = chunk.upto == sequence.prompt;
        if first {
            self.outputs.push_back(Output::Split { request, spent: sequence.watch.spent, since: sequence.watch.began });
        }
        let before = core::mem::replace(&mut sequence.last_token, now);
        self.outputs.push_back(if first {
            Output::FirstToken { request, computed: chunk.fresh, at: now }
        } else {
            Output::Resumed { request, before, at: now }
        });
    }

    fn end_sequences(&mut self, number: u64, now: Time) {
        let mut kept = 0;
        for place in 0..self.running.len() {
            let id = self.running[place];
            if self.sequences[id].phase != (Phase::Ending { pass: number }) {
                self.running[kept] = id;
                kept += 1;
                continue;
            }
            let sequence = &self.sequences[id];
            let (request, cancelled) = (sequence.request, sequence.cancelled);
            let hold = sequence.hold.expect("a running sequence holds blocks");
            self.cache.commit(
                request,
                hold,
                sequence.chain(self.config.cache.block),
                sequence.prompt,
                sequence.computed - sequence.left_out,
                now,
            );
            self.cache.release(hold, sequence.computed);
            self.take_ops(id);
            self.forget(id);
            let output = if cancelled { Output::Cancelled { request } } else { Output::Finished { request, at: now } };
            self.outputs.push_back(output);
        }
        self.running.truncate(kept);
        self.blocked = false;
    }

    pub(super) fn forget(&mut self, id: SeqId) {
        let sequence = &mut self.sequences[id];
        sequence.hold = None;
        sequence.load = None;
        self.cancelled -= u32::from(core::mem::take(&mut sequence.cancelled));
        sequence.phase = Phase::Gone;
        self.sequences.remove(id);
    }

    /// The client takes `request` back: gone at once where it waits, when the pass in flight ends where it runs.
    /// Says whether the request was here.
    pub fn cancel(&mut self, request: RequestId) -> bool {
        if let Some(id) = self.stop_waiting(request) {
            if let Some(hold) = self.sequences[id].hold {
                self.cache.release(hold, self.sequences[id].computed);
            }
            self.forget(id);
            self.blocked = false;
            self.outputs.push_back(Output::Cancelled { request });
            return true;
        }
        let Some(id) = self.running.iter().copied().find(|id| self.sequences[*id].request == request) else {
            return false;
        };
        let before = core::mem::replace(&mut self.sequences[id].cancelled, true);
        self.cancelled += u32::from(!before);
        true
    }

    /// Whoever executes the pass in flight has not computed its part for `request`, which was cancelled meanwhile: that is
    /// nothing that anybody may find. Nothing happens where it was not cancelled, or no pass is in flight.
    pub fn left_out(&mut self, request: RequestId) {
        let Some(flight) = &self.flight else { return };
        let here = |id: &&SeqId| self.sequences[**id].request == request && self.sequences[**id].cancelled;
        let Some(id) = self.running.iter().find(here).copied() else { return };
        let sequence = &mut self.sequences[id];
        let is_chunk = sequence.chunk_pass == flight.number;
        sequence.left_out = if is_chunk { sequence.computed - sequence.chunk_from } else { Tokens(1) };
    }

    /// Whoever was cancelled while the pass ran lets go. A pass planned already loses its share of it.
    fn drop_cancelled(&mut self, now: Time) {
        if self.cancelled == 0 {
            return;
        }
        let mut place = 0;
        while place < self.running.len() {
            let id = self.running[place];
            let ending = matches!(self.sequences[id].phase, Phase::Ending { .. });
            if !self.sequences[id].cancelled || ending {
                place += 1;
                continue;
            }
            self.running.remove(place);
            self.withdraw(id);
            self.give_up_blocks(id, now);
            let request = self.sequences[id].request;
            self.forget(id);
            self.blocked = false;
            self.outputs.push_back(Output::Cancelled { request });
        }
    }

    /// Takes a sequence out of the pass that is planned but not started, so that its end finds no one. The pass still
    /// lasts as long as planned: what it computes was handed to the device.
    pub(super) fn withdraw(&mut self, id: SeqId) {
        let sequence = &self.sequences[id];
        let (request, phase, chunk_pass) = (sequence.request, sequence.phase, sequence.chunk_pass);
        let Some(next) = &mut self.next else { return };
        let decodes = match phase {
            // It has joined with the planned pass itself where no pass is counted since.
            Phase::Decode(joined) => self.decoders.passes > joined.since,
            // Its last token was to come out of it, and not of a chunk.
            Phase::Ending { pass } => pass == next.number && chunk_pass != pass,
            _ => false,
        };
        next.withdrawn = true;
        next.steady -= u64::from(decodes);
        next.chunks.retain(|chunk| chunk.sequence != id);
        next.loads.retain(|(_, other)| *other != id);
        next.work.chunks.retain(|(other, ..)| *other != request);
        next.work.decoding.retain(|other| *other != request);
    }
}
