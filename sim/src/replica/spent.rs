//! What a request spends its time on between its arrival and its first token.
//!
//! At each moment it does exactly one of four things, so that the four spans add up to that time, to the picosecond:
//!
//! * **Waits for KV room** (`kv_wait`): it is in the waiting queue, and the latest plan of a pass left the queue standing
//!   because its head found no room, or because room had to be taken from somebody who ran (such a plan admits nobody).
//!   It is the head, or stands behind it.
//! * **Waits for its turn** (`budget_wait`): everything else before it is computed. In the queue: a pass is under way, the
//!   budget or the seats are taken, those before it are admitted first. Admitted: the pass that it is planned for has not
//!   begun, or passes run in which it has no chunk.
//! * **Waits for the lower tiers** (`tiers`): it has asked L2 and is next, or is held up by somebody's load of the
//!   same prefix; a load of its own is under way and nothing of it is computed meanwhile; the pass with its chunk is computed
//!   and stands still for its load, or for copies off the device.
//! * **Is computed** (`compute`): a pass with a chunk of its prompt runs.
//!
//! Who is preempted, or loses its worker's process, before its first token goes back to the queue: what it had spent stays
//! spent, and what is computed twice counts twice.
//!
//! The queue is told once for all who stand in it: how long it has lacked room in all is a clock, and who leaves the
//! queue looks by how much that went on. O(1) for each change of a request.

use super::Replica;
use super::sequence::{Phase, SeqId};
use kvcache::{Span, Time};

/// What a request has spent its time on, from its arrival to its first token. See the module.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// Waiting for KV room.
    pub kv_wait: Span,
    /// Waiting for its turn.
    pub budget_wait: Span,
    /// Waiting for the lower tiers.
    pub tiers: Span,
    /// Being computed.
    pub compute: Span,
}

impl Spent {
    /// All of it.
    #[must_use]
    pub fn total(&self) -> Span {
        self.kv_wait + self.budget_wait + self.tiers + self.compute
    }
}

/// What a request does now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doing {
    /// It is in the queue, which is told as one.
    Queue,
    /// It is admitted, and in no pass that runs.
    Turn,
    /// It waits for the lower tiers.
    Tiers,
    /// A pass with a chunk of it runs.
    Compute,
    /// Its first token is out: nothing is told any more.
    Over,
}

/// What a request has spent its time on so far, and does since when.
#[derive(Clone, Copy, Debug)]
pub(super) struct Watch {
    pub(super) began: Time,
    pub(super) doing: Doing,
    since: Time,
    /// How long the queue had lacked room by then.
    lacked: Span,
    pub(super) spent: Spent,
}

impl Watch {
    pub(super) const fn start(lacked: Span, now: Time) -> Self {
        let spent = Spent { kv_wait: Span::ZERO, budget_wait: Span::ZERO, tiers: Span::ZERO, compute: Span::ZERO };
        Self { began: now, doing: Doing::Queue, since: now, lacked, spent }
    }

    fn turn(&mut self, next: Doing, lacked: Span, now: Time) {
        if self.doing == Doing::Over || self.doing == next {
            return;
        }
        let span = now.since(self.since);
        match self.doing {
            Doing::Queue => {
                let kv_wait = lacked - self.lacked;
                self.spent.kv_wait += kv_wait;
                self.spent.budget_wait += span - kv_wait;
            }
            Doing::Turn => self.spent.budget_wait += span,
            Doing::Tiers => self.spent.tiers += span,
            Doing::Compute => self.spent.compute += span,
            Doing::Over => {}
        }
        (self.doing, self.since, self.lacked) = (next, now, lacked);
    }
}

/// How long the waiting queue has lacked room.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct QueueWatch {
    lacks: bool,
    since: Time,
    lacked: Span,
}

impl QueueWatch {
    /// A plan was made: it left the queue standing for lack of room, or did not.
    #[inline]
    pub(super) fn tell(&mut self, lacks: bool, now: Time) {
        if lacks != self.lacks {
            self.lacked = self.lacked_by(now);
            (self.lacks, self.since) = (lacks, now);
        }
    }

    #[inline]
    pub(super) fn lacked_by(&self, now: Time) -> Span {
        if self.lacks { self.lacked + now.since(self.since) } else { self.lacked }
    }
}

impl Replica {
    /// From now on a request does this.
    #[inline]
    pub(super) fn turn_to(&mut self, id: SeqId, next: Doing, now: Time) {
        let lacked = self.queue_watch.lacked_by(now);
        self.sequences[id].watch.turn(next, lacked, now);
    }

    /// From now on a request does what one in its phase does while no pass computes it.
    pub(super) fn turn_by_phase(&mut self, id: SeqId, now: Time) {
        let next = match self.sequences[id].phase {
            Phase::Waiting => Doing::Queue,
            Phase::Looking | Phase::Loading => Doing::Tiers,
            Phase::Prefill | Phase::Decode(_) | Phase::Ending { .. } | Phase::Gone => Doing::Turn,
        };
        self.turn_to(id, next, now);
    }

    /// A pass begins: whoever has a chunk in it is computed.
    pub(super) fn compute_flight(&mut self, now: Time) {
        let Self { flight: Some(flight), sequences, queue_watch, .. } = self else { return };
        let lacked = queue_watch.lacked_by(now);
        for chunk in &flight.chunks {
            sequences[chunk.sequence].watch.turn(Doing::Compute, lacked, now);
        }
    }

    /// The pass in flight is computed and stands still: who has a chunk in it waits for copies of it, or for its own load.
    pub(super) fn hold_up_flight(&mut self, for_copies: bool, now: Time) {
        let Self { flight: Some(flight), sequences, queue_watch, .. } = self else { return };
        let lacked = queue_watch.lacked_by(now);
        for chunk in &flight.chunks {
            let sequence = &mut sequences[chunk.sequence];
            if for_copies || (chunk.is_of(sequence) && sequence.load.is_some()) {
                sequence.watch.turn(Doing::Tiers, lacked, now);
            }
        }
    }

    /// A load has come while a pass runs or is about to: whoever waited for it waits for its turn, or for the end of the
    /// pass that has computed it.
    pub(super) fn load_has_come(&mut self, id: SeqId, now: Time) {
        if self.sequences[id].watch.doing == Doing::Tiers {
            let of_flight = |chunk: &super::schedule::Chunk| chunk.sequence == id;
            let computed = self.flight.as_ref().is_some_and(|flight| flight.chunks.iter().any(of_flight));
            self.turn_to(id, if computed { Doing::Compute } else { Doing::Turn }, now);
        }
    }
}
