//! One request on a worker.

use super::decoders::Joined;
use super::spent::Watch;
use alloc::vec::Vec;
use kvcache::{Chain, HoldId, Inquiry, OpId, Piece, RequestId, Time, Tokens, Wanted};

/// An index into [`Sequences`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SeqId(pub(super) u32);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// In the waiting queue, holding nothing, or what was loaded for it.
    Waiting,
    /// Out of the queue until it is known what the lower tiers have of it.
    Looking,
    /// Out of the queue until what the lower tiers have of it is on the device.
    Loading,
    /// Computes its prompt (after a preemption: and what it had emitted), chunk by chunk.
    Prefill,
    /// One token per pass; [`super::decoders::Decoders`] counts for it.
    Decode(Joined),
    /// Its last token is scheduled: it ends when the pass of this number does.
    Ending { pass: u64 },
    /// It has ended; nothing that is under way is for it any more.
    Gone,
}

#[derive(Debug)]
pub(super) struct Sequence {
    pub(super) request: RequestId,
    pub(super) pieces: Vec<Piece>, // prompt, then reply
    pub(super) prompt: Tokens,
    pub(super) output: Tokens, // tokens it will have emitted when it ends
    pub(super) phase: Phase,
    /// Its place in line: the least waits at the head.
    pub(super) turn: i64,
    pub(super) hold: Option<HoldId>,
    /// Tokens whose KV is there once all scheduled passes ended. A decoder's: when it joined.
    pub(super) computed: Tokens,
    /// Tokens emitted once all scheduled passes ended. A decoder's: when it joined.
    pub(super) emitted: Tokens,
    /// The pass of its latest chunk, and where that began.
    pub(super) chunk_pass: u64,
    pub(super) chunk_from: Tokens,
    /// When its latest token left the engine; kept up while it is no decoder.
    pub(super) last_token: Time,
    /// Times it was taken into `running`, so that a chunk in flight can tell a preempted sequence from its next life.
    pub(super) admissions: u32,
    pub(super) cancelled: bool,
    /// Tokens that count as computed, but were left out of the pass in flight since it was cancelled.
    pub(super) left_out: Tokens,
    /// What it has learnt of the pool.
    pub(super) inquiry: Inquiry,
    /// The load that it waits for, planned or under way.
    pub(super) load: Option<OpId>,
    /// Tokens emitted when it was admitted last.
    pub(super) emitted_before: Tokens,
    /// Tokens computed since it was admitted last.
    pub(super) fresh: Tokens,
    /// What it does until its first token.
    pub(super) watch: Watch,
}

impl Sequence {
    /// Tokens to have computed before the next one comes out.
    pub(super) fn total(&self) -> Tokens {
        self.prompt + self.emitted
    }

    /// What it is to have, while so many others wait.
    pub(super) fn wanted(&self, block: Tokens, others: u32) -> Wanted<'_> {
        Wanted { request: self.request, chain: self.chain(block), prompt: self.prompt, total: self.total(), others }
    }

    pub(super) fn chain(&self, block: Tokens) -> Chain<'_> {
        Chain::new(&self.pieces, block)
    }
}

/// All sequences of a worker. Slots and their buffers are used again: memory follows the live state.
#[derive(Debug, Default)]
pub(super) struct Sequences {
    slots: Vec<Sequence>,
    vacant: Vec<SeqId>,
}

impl Sequences {
    pub(super) fn add(
        &mut self,
        request: RequestId,
        pieces: &[Piece],
        prompt: Tokens,
        output: Tokens,
        watch: Watch,
    ) -> SeqId {
        let id = self.vacant.pop().unwrap_or(SeqId(self.slots.len() as u32));
        let mut buffer =
            self.slots.get_mut(id.0 as usize).map_or_else(Vec::new, |slot| core::mem::take(&mut slot.pieces));
        buffer.clear();
        buffer.extend_from_slice(pieces);
        let sequence = Sequence {
            request,
            pieces: buffer,
            prompt,
            output,
            phase: Phase::Waiting,
            turn: 0,
            hold: None,
            computed: Tokens::ZERO,
            emitted: Tokens::ZERO,
            chunk_pass: 0,
            chunk_from: Tokens::ZERO,
            last_token: Time::ZERO,
            admissions: 0,
            cancelled: false,
            left_out: Tokens::ZERO,
            inquiry: Inquiry::New,
            load: None,
            emitted_before: Tokens::ZERO,
            fresh: Tokens::ZERO,
            watch,
        };
        if let Some(slot) = self.slots.get_mut(id.0 as usize) {
            *slot = sequence;
        } else {
            self.slots.push(sequence);
        }
        id
    }

    /// The slot may be used again; what it says stays readable until then.
    pub(super) fn remove(&mut self, id: SeqId) {
        self.vacant.push(id);
    }

    pub(super) fn live(&self) -> usize {
        self.slots.len() - self.vacant.len()
    }
}

impl core::ops::Index<SeqId> for Sequences {
    type Output = Sequence;
    #[inline]
    fn index(&self, id: SeqId) -> &Sequence {
        &self.slots[id.0 as usize]
    }
}

impl core::ops::IndexMut<SeqId> for Sequences {
    #[inline]
    fn index_mut(&mut self, id: SeqId) -> &mut Sequence {
        &mut self.slots[id.0 as usize]
    }
}
