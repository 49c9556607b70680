//! From an operation to its legs.

use super::{Asked, Due, Hop, PoolAccess, ProbeMode, Put, Task, Transit, Transport, What};
use kvcache::{Blocks, Chain, Failed, OpId, Span, Time, Tokens, WorkerId};

/// Who asks for what.
#[derive(Clone, Copy)]
struct Order<'a> {
    worker: WorkerId,
    op: OpId,
    /// The prompt's objects.
    objects: Chain<'a>,
    deadline: Option<Time>,
}

impl Transport {
    /// Begins an operation.
    pub fn start(&mut self, worker: WorkerId, asked: Asked<'_>, now: Time) {
        self.now = self.now.max(now);
        let order = Order { worker, op: asked.op.id, objects: asked.objects, deadline: asked.deadline };
        match asked.op.task {
            Task::Probe { from, to } => self.start_probe(order, from, to),
            Task::Load { from, host, to, host_tokens, pool_tokens } => {
                self.start_load(order, (from, host, to), (host_tokens, pool_tokens));
            }
            Task::Store { from, to, host_tokens, pool } => self.start_store(order, (from, to), host_tokens, pool),
        }
    }

    fn bytes(&self, tokens: Tokens) -> u64 {
        u64::from(tokens.0) * self.config.token_bytes
    }

    fn add_transit(&mut self, order: Order<'_>, what: What) -> u32 {
        let Order { worker, op, .. } = order;
        if let Some(index) = self.vacant_transits.pop() {
            let slot = &mut self.transits[index as usize];
            (slot.worker, slot.op, slot.what, slot.left) = (worker, op, what, 0);
            return index;
        }
        self.transits.push(Transit { worker, op, what, left: 0, life: 0 });
        self.transits.len() as u32 - 1
    }

    fn send(&mut self, order: Order<'_>, what: What, hops: [Option<Hop>; 4]) {
        let transit = self.add_transit(order, what);
        let leg = self.add_leg(transit, hops);
        self.go(leg);
    }

    /// The connection is refused: at the cost of a round trip.
    fn refuse(&mut self, order: Order<'_>, round_trip: Span) {
        self.send(order, What::Failed { failed: Failed::Unreachable }, [Some(Hop::Wait(round_trip)), None, None, None]);
    }

    fn start_probe(&mut self, order: Order<'_>, from: Blocks, to: Blocks) {
        let (Some(pool), Some(access)) = (&mut self.pool, self.config.pool) else { return };
        pool.timeout(self.now);
        if !self.reachable {
            return self.refuse(order, access.round_trip);
        }
        let upto = pool.probe(order.objects, from, to, self.now);
        let (mut present, mut wait) = ((upto - from).0, access.probing((upto - from).0, upto < to));
        if let Some(left) = order.deadline.map(|at| at.since(self.now)).filter(|left| *left < wait) {
            // What is known by then is the answer.
            present = access.known_after(left).min(present);
            wait = left;
        }
        let upto = from + Blocks(present);
        self.send(order, What::Probe { upto }, [Some(Hop::Wait(wait)), None, None, None]);
    }

    fn start_load(&mut self, order: Order<'_>, (from, host, to): (Blocks, Blocks, Blocks), tokens: (Tokens, Tokens)) {
        let worker = order.worker;
        let (mut lease, mut upto, mut elsewhere, mut leased) = (None, host, Tokens::ZERO, Tokens::ZERO);
        let wanted = to > host;
        if let (true, false, true, Some(access)) = (wanted, self.reachable, host == from, self.config.pool) {
            return self.refuse(order, access.round_trip);
        }
        if let (true, true, Some(pool)) = (wanted, self.reachable, &mut self.pool) {
            let ways = &self.ways;
            let got = pool.lease(order.objects, host, to, self.now, |shard, tokens| {
                leased += tokens;
                if ways.is_elsewhere(worker, shard) {
                    elsewhere += tokens;
                }
            });
            if let Some((id, end)) = got {
                (lease, upto) = (Some(id), end);
            }
        }
        let object_bytes = self.bytes(order.objects.unit());
        let what = What::Load { from, host, upto, lease, legs: [None, None], object_bytes };
        let transit = self.add_transit(order, what);
        let from_host = [Some(self.ways.onto_device(worker, self.bytes(tokens.0))), None, None, None];
        let mut legs = [(host > from).then(|| self.add_leg(transit, from_host)), None];
        if let (true, Some(access)) = (wanted, self.config.pool) {
            let objects = (upto - host).0;
            let from_pool = [
                Some(Hop::Wait(access.leasing(objects))),
                Some(self.ways.network(worker, self.bytes(elsewhere))),
                Some(self.ways.pool(worker, self.bytes(leased))),
                Some(self.ways.onto_device(worker, self.bytes(leased))),
            ];
            legs[1] = Some(self.add_leg(transit, from_pool));
        }
        let slot = &mut self.transits[transit as usize];
        let life = slot.life;
        if let What::Load { legs: known, .. } = &mut slot.what {
            *known = legs;
        }
        if let Some(at) = order.deadline {
            self.agenda.add(at, Due::Deadline { transit, life });
        }
        for leg in legs.into_iter().flatten() {
            self.go(leg);
        }
    }

    fn start_store(&mut self, order: Order<'_>, (from, to): (Blocks, Blocks), host_tokens: Tokens, to_pool: bool) {
        let worker = order.worker;
        let (mut put, mut new, mut elsewhere) = (Put::None, Tokens::ZERO, Tokens::ZERO);
        let mut hops = [None; 4];
        if let (true, Some(pool), Some(access)) = (to_pool, &mut self.pool, self.config.pool) {
            hops[0] = Some(Hop::Wait(access.round_trip));
            if self.reachable {
                let ways = &self.ways;
                let begun = pool.begin_put(order.objects, from, to, self.now, |shard, tokens| {
                    new += tokens;
                    if ways.is_elsewhere(worker, shard) {
                        elsewhere += tokens;
                    }
                });
                put = begun.put.map_or(Put::None, |put| Put::Begun(put, begun.end));
                hops[1] = Some(self.ways.pool(worker, self.bytes(new)));
                hops[2] = Some(self.ways.network(worker, self.bytes(elsewhere)));
            } else {
                // Whether L2 can be reached turns out only once L1 has its copy.
                put = Put::Refused;
            }
        }
        // What L1 has already and L2 has not must come off the device all the same, and the other way round.
        let off = self.ways.off_device(worker, self.bytes(host_tokens.max(new)));
        self.send(order, What::Store { put, hops, copied: false }, [Some(off), None, None, None]);
    }
}

impl PoolAccess {
    /// How long it takes to learn that `present` objects are there and, perhaps, that the next is not.
    ///
    /// `exists` is a lease and its release: two round trips; a miss is one, and what the daemon holds it for.
    fn probing(&self, present: u32, missed: bool) -> Span {
        let miss = if missed { self.round_trip + self.miss_wait } else { Span::ZERO };
        match self.probe {
            ProbeMode::Sequential => self.round_trip * (2 * u64::from(present)) + miss,
            ProbeMode::Batched => {
                let rounds = u64::from(present).div_ceil(u64::from(self.in_flight.max(1)));
                (self.round_trip * (2 * rounds)).max(miss)
            }
        }
    }

    /// How many objects, if they are there, are known to be after so long.
    fn known_after(&self, span: Span) -> u32 {
        let at_a_time = match self.probe {
            ProbeMode::Sequential => 1,
            ProbeMode::Batched => u64::from(self.in_flight.max(1)),
        };
        let rounds = span.0.checked_div(2 * self.round_trip.0).unwrap_or(u64::from(u32::MAX));
        (rounds.saturating_mul(at_a_time)).min(u64::from(u32::MAX)) as u32
    }

    /// How long it takes to lease and release that many objects, `in_flight` at a time.
    fn leasing(&self, objects: u32) -> Span {
        self.round_trip * (2 * u64::from(objects.max(1)).div_ceil(u64::from(self.in_flight.max(1))))
    }
}
