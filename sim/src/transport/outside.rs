//! Moves whose bytes somebody else carries: a shell with KV in memory. What the ways take is modelled as ever, and may be
//! nothing; an operation does not end before the shell has said what came of it.

use super::transit::Store;
use super::{Asked, Part, Put, Transport, What};
use alloc::boxed::Box;
use alloc::vec::Vec;
use kvcache::{BlockKey, Blocks, Chain, Contact, Failed, OpId, Piece, RequestId, Time, Tokens, WorkerId};

/// Which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From the tiers to the device.
    Load,
    /// From the device to the tiers: off it, and on to a pool that is here.
    Store,
    /// Nowhere: which of these does a pool elsewhere have? The answer is how many, up to the first that it lacks.
    Probe,
    /// What a store has copied, on to a pool elsewhere. It names no objects: they are the store's.
    Put,
}

/// An object to move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Carried {
    /// What it is called.
    pub key: BlockKey,
    /// Its first token, from the start of the prompt.
    pub from: Tokens,
    /// The end of its tokens.
    pub upto: Tokens,
    /// Whether it is in L1, or is to be: what comes from L2 is to be in L1 too, if there is room.
    pub host: bool,
    /// Whether it is in L2, or is to be.
    pub pool: bool,
}

/// A move that somebody else carries out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    /// Whose.
    pub worker: WorkerId,
    /// Its number.
    pub op: OpId,
    /// For which request, whose blocks it moves.
    pub request: RequestId,
    /// Which way.
    pub way: Way,
    /// What, in order of the prompt.
    pub objects: Vec<Carried>,
    /// By when a pool elsewhere must have answered; what has come by then counts. `None`: whenever it does.
    pub deadline: Option<Time>,
}

/// What came of it to ask a pool elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// So many objects are there, came, or were put, from the first on.
    pub came: u32,
    /// What was heard of it.
    pub contact: Contact,
}

/// Moves that were handed out.
#[derive(Debug, Default)]
pub(super) struct Outside {
    handed: Vec<Move>,
    under_way: Vec<UnderWay>,
}

#[derive(Debug)]
struct UnderWay {
    worker: WorkerId,
    op: OpId,
    transit: u32,
    life: u32,
    pieces: Box<[Piece]>,
    unit: Tokens,
    tail: bool,
    from: Blocks,
    objects: u32,
}

/// Objects of which the first is missing or is not what it should be, and of which nobody has looked at the others.
pub(crate) struct Spoiled {
    pieces: Box<[Piece]>,
    unit: Tokens,
    tail: bool,
    from: Blocks,
    to: Blocks,
}

impl Spoiled {
    /// Their places in the prompt.
    pub(crate) fn places(&self) -> impl Iterator<Item = Blocks> + use<> {
        (self.from.0..self.to.0).map(Blocks)
    }

    /// The objects of the prompt that they are some of.
    pub(crate) fn objects(&self) -> Chain<'_> {
        Chain::new(&self.pieces, self.unit).with_tail(self.tail)
    }
}

impl Transport {
    /// The same ways, whose bytes somebody else carries.
    pub(crate) fn carried_outside(mut self) -> Self {
        self.outside = Some(Outside::default());
        self.pool = self.pool.map(kvcache::Pool::telling);
        self
    }

    /// The same ways, whose pool is somewhere else: whoever carries bytes asks it.
    pub(crate) fn with_pool_elsewhere(self) -> Self {
        Self { elsewhere: true, pool: None, ..self }
    }

    /// Moves that nobody was handed yet.
    pub(crate) fn take_handed(&mut self) -> Vec<Move> {
        self.outside.as_mut().map(|outside| core::mem::take(&mut outside.handed)).unwrap_or_default()
    }

    /// Hands out the objects `from..to`; `tiers` says in which of L1 and L2 one is or is to be. Where there are none there is
    /// nothing to carry.
    pub(super) fn hand_out(
        &mut self,
        transit: u32,
        (request, way): (RequestId, Way),
        objects: Chain<'_>,
        (from, to, deadline): (Blocks, Blocks, Option<Time>),
        tiers: impl Fn(Blocks) -> (bool, bool),
    ) {
        let Some(outside) = self.outside.as_mut().filter(|_| from < to) else { return };
        let of = &mut self.transits[transit as usize];
        of.under_way |= Part::Outside.bit();
        let (worker, op) = (of.worker, of.op);
        let carried = (from.0..to.0).map(Blocks).map(|object| {
            let (host, pool) = tiers(object);
            let (from, upto) = (objects.tokens_before(object), objects.tokens_before(object + Blocks(1)));
            Carried { key: objects.key(object), from, upto, host, pool }
        });
        outside.handed.push(Move { worker, op, request, way, objects: carried.collect(), deadline });
        outside.under_way.push(UnderWay {
            worker,
            op,
            transit,
            life: of.life,
            pieces: objects.pieces().into(),
            unit: objects.unit(),
            tail: objects.objects() > objects.tokens().full_blocks(objects.unit()),
            from,
            objects: to.0 - from.0,
        });
    }

    /// Hands out what a store has copied, where the pool is elsewhere.
    pub(super) fn hand_out_put(&mut self, transit: u32) {
        let deadline = Some(self.now + self.put_ttl());
        let of = &mut self.transits[transit as usize];
        let What::Store(Store { put: Put::Elsewhere { request, objects, .. }, .. }) = of.what else { return };
        let Some(outside) = &mut self.outside else { return };
        of.under_way |= Part::Outside.bit();
        let (worker, op, life) = (of.worker, of.op, of.life);
        outside.handed.push(Move { worker, op, request, way: Way::Put, objects: Vec::new(), deadline });
        let (pieces, unit, from) = (Box::default(), Tokens::ZERO, Blocks::ZERO);
        outside.under_way.push(UnderWay { worker, op, transit, life, pieces, unit, tail: false, from, objects });
    }

    /// A pool elsewhere was asked. A load still has to come onto the device ([`Transport::carried`]); anything else has ended.
    /// What nobody waits for changes nothing.
    pub(crate) fn answered(&mut self, worker: WorkerId, op: OpId, answer: Answer, now: Time) {
        self.now = self.now.max(now);
        let Some(outside) = &mut self.outside else { return };
        let Some(place) = outside.under_way.iter().position(|one| (one.worker, one.op) == (worker, op)) else { return };
        let UnderWay { transit: index, life, from, objects, .. } = outside.under_way[place];
        let transit = &mut self.transits[index as usize];
        let is_here = transit.life == life;
        if let (true, What::Load(load)) = (is_here, &mut transit.what) {
            load.contact = answer.contact;
            return;
        }
        outside.under_way.swap_remove(place);
        if !is_here {
            return;
        }
        let failed = match answer.contact {
            Contact::Answered => None,
            Contact::Refused => Some(Failed::Unreachable),
            Contact::Silent => Some(Failed::TimedOut),
            Contact::Unasked => Some(Failed::Broken),
        };
        match &mut transit.what {
            What::Probe { upto } => *upto = from + Blocks(answer.came.min(objects)),
            What::Store(Store { put: Put::Elsewhere { outcome, .. }, .. }) => {
                let short = (answer.came < objects).then_some(Failed::Broken);
                *outcome = failed.or(short).map_or(Ok(()), Err);
            }
            What::Store(_) | What::Load(_) | What::Failed { .. } => {}
        }
        if let (What::Probe { .. }, Some(failed)) = (transit.what, failed) {
            transit.what = What::Failed { failed };
        }
        transit.under_way &= !Part::Outside.bit();
        self.step_on(index);
    }

    /// Nobody carries a move any more: its request has let go of its blocks. Nothing came, which says nothing of any tier.
    pub(crate) fn withdrawn(&mut self, worker: WorkerId, op: OpId, now: Time) {
        let _ = self.carried(worker, op, 0, now);
    }

    /// The first `came` objects of a move have come; the rest of a load is missing or is not what it should be, and what
    /// could not be stored is stored nowhere. Gives the objects of a load that did not come. What nobody waits for changes
    /// nothing.
    pub(crate) fn carried(&mut self, worker: WorkerId, op: OpId, came: u32, now: Time) -> Option<Spoiled> {
        self.now = self.now.max(now);
        let outside = self.outside.as_mut()?;
        let place = outside.under_way.iter().position(|one| (one.worker, one.op) == (worker, op))?;
        let one = outside.under_way.swap_remove(place);
        let transit = &mut self.transits[one.transit as usize];
        if transit.life != one.life {
            return None;
        }
        transit.under_way &= !Part::Outside.bit();
        let mut spoiled = None;
        if came < one.objects {
            match &mut transit.what {
                What::Load(load) => {
                    load.upto = load.upto.min(one.from + Blocks(came));
                    let UnderWay { pieces, unit, tail, from, .. } = one;
                    let all = from + Blocks(one.objects);
                    // A pool elsewhere is told by whoever carries bytes; what it lacks says nothing of L1.
                    let (from, to) = (from + Blocks(came), if self.elsewhere { load.host } else { all });
                    spoiled = (from < to).then_some(Spoiled { pieces, unit, tail, from, to });
                }
                What::Store(Store { put, .. }) => {
                    if let (Put::Begun(put, _), Some(pool)) = (*put, &mut self.pool) {
                        // One that was discarded meanwhile has ended.
                        let _ = pool.end_put(put, Blocks::ZERO, now);
                    }
                    transit.what = What::Failed { failed: Failed::Broken };
                }
                What::Probe { .. } | What::Failed { .. } => {}
            }
        }
        self.step_on(one.transit);
        spoiled
    }

    /// A part of an operation has ended: perhaps all have.
    pub(super) fn step_on(&mut self, index: u32) {
        let transit = &self.transits[index as usize];
        match transit.what {
            _ if transit.under_way != 0 => {}
            What::Store(Store { copied: false, .. }) => self.copied(index),
            _ => self.complete(index),
        }
    }

    /// What an operation of this kind asks of whoever carries bytes.
    pub(super) const fn way(asked: &Asked<'_>) -> (RequestId, Way) {
        let way = if matches!(asked.op.task, kvcache::Task::Store { .. }) { Way::Store } else { Way::Load };
        (asked.op.request, way)
    }
}
