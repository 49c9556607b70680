//! From an operation to its parts.

use super::outside::Way;
use super::transit::{Load, PoolBytes, Store};
use super::{Asked, Part, PoolAccess, ProbeMode, Put, Reach, Task, Transit, Transport, What};
use kvcache::{Blocks, Chain, Contact, Failed, OpId, RequestId, Span, Time, Tokens, WorkerId};

/// After so long without a sign of life, a put is given up: the HTTP time-out of LMCache's client.
const GIVEN_UP: Span = Span::from_secs(5);

/// Who asks for what.
#[derive(Clone, Copy)]
struct Order<'a> {
    worker: WorkerId,
    op: OpId,
    /// The prompt's objects.
    objects: Chain<'a>,
    deadline: Option<Time>,
    /// For whom, and which way.
    way: (RequestId, Way),
}

impl Transport {
    /// Begins an operation.
    pub fn start(&mut self, worker: WorkerId, asked: Asked<'_>, now: Time) {
        self.now = self.now.max(now);
        let Asked { objects, deadline, .. } = asked;
        let order = Order { worker, op: asked.op.id, objects, deadline, way: Self::way(&asked) };
        match asked.op.task {
            Task::Probe { from, to } if self.elsewhere => self.ask_elsewhere(order, from, to),
            Task::Probe { from, to } => self.start_probe(order, from, to),
            Task::Load { from, host, to, host_tokens, .. } => self.start_load(order, (from, host, to), host_tokens),
            Task::Store { from, to, host, host_tokens, pool } => {
                self.start_store(order, (from, host, to), host_tokens, pool);
            }
        }
    }

    fn bytes(&self, tokens: Tokens) -> u64 {
        u64::from(tokens.0) * self.config.token_bytes
    }

    fn add(&mut self, order: Order<'_>, what: What) -> u32 {
        let Order { worker, op, .. } = order;
        let began = self.now;
        if let Some(index) = self.vacant.pop() {
            let slot = &mut self.transits[index as usize];
            (slot.worker, slot.op, slot.began, slot.what) = (worker, op, began, what);
            return index;
        }
        self.transits.push(Transit { worker, op, began, what, under_way: 0, life: 0 });
        self.transits.len() as u32 - 1
    }

    fn start_probe(&mut self, order: Order<'_>, from: Blocks, to: Blocks) {
        let (Some(pool), Some(access)) = (&mut self.pool, self.config.pool) else {
            let transit = self.add(order, What::Failed { failed: Failed::Broken });
            return self.complete(transit);
        };
        pool.timeout(self.now);
        let has = order.deadline.map_or(GIVEN_UP, |at| at.since(self.now));
        let (what, wait) = match self.reach {
            Reach::Refused => (What::Failed { failed: Failed::Unreachable }, access.round_trip),
            Reach::Silent => (What::Failed { failed: Failed::TimedOut }, has),
            // Not even the first answer is there by then.
            Reach::Up if has < access.round_trip => (What::Failed { failed: Failed::TimedOut }, has),
            Reach::Up => {
                let upto = pool.probe(order.objects, from, to, self.now);
                let (mut present, mut wait) = ((upto - from).0, access.probing((upto - from).0, upto < to));
                if has < wait {
                    // What is known by then is the answer.
                    (present, wait) = (access.known_after(has).min(present), has);
                }
                (What::Probe { upto: from + Blocks(present) }, wait)
            }
        };
        let transit = self.add(order, what);
        self.wait(transit, wait);
    }

    fn start_load(&mut self, order: Order<'_>, (from, host, to): (Blocks, Blocks, Blocks), host_tokens: Tokens) {
        let (mut lease, mut upto, mut contact, mut asking) = (None, host, Contact::Unasked, None);
        let (mut all, mut elsewhere) = (Tokens::ZERO, Tokens::ZERO);
        if let (true, Some(pool), Some(access)) = (to > host, &mut self.pool, self.config.pool) {
            (contact, asking) = match self.reach {
                Reach::Up => (Contact::Answered, None),
                Reach::Refused => (Contact::Refused, Some(access.round_trip)),
                // Until the deadline cuts it short.
                Reach::Silent => (Contact::Silent, Some(order.deadline.map_or(GIVEN_UP, |at| at.since(self.now)))),
            };
            if self.reach == Reach::Up {
                let (ways, worker) = (&self.ways, order.worker);
                let got = pool.lease(order.objects, host, to, self.now, |shard, tokens| {
                    all += tokens;
                    if ways.is_elsewhere(worker, shard) {
                        elsewhere += tokens;
                    }
                });
                if let Some((id, end)) = got {
                    (lease, upto) = (Some(id), end);
                }
                asking = Some(access.leasing((upto - host).0, upto < to));
            }
        }
        if let (true, true, Some(access)) = (to > host, self.elsewhere, self.config.pool) {
            // What there really is, and whether anybody answers, turns out on the way.
            (upto, contact, asking) = (to, Contact::Unasked, Some(access.round_trip));
            all = order.objects.tokens_before(to) - order.objects.tokens_before(host);
            elsewhere = all;
        }
        let pool = PoolBytes { all: self.bytes(all), elsewhere: self.bytes(elsewhere) };
        let host_bytes = self.bytes(host_tokens);
        let object_bytes = self.bytes(order.objects.unit());
        let load = Load { from, host, upto, lease, contact, object_bytes, host_bytes, pool };
        let transit = self.add(order, What::Load(load));
        if let Some(at) = order.deadline {
            self.agenda.deadline(at, transit, self.transits[transit as usize].life);
        }
        let bounds = (from, upto, order.deadline);
        self.hand_out(transit, order.way, order.objects, bounds, |object| (object < host, object >= host));
        self.carry(transit, Part::Host, host_bytes);
        match asking {
            Some(asking) => self.wait(transit, asking),
            None => self.step_on(transit),
        }
    }

    fn start_store(
        &mut self,
        order: Order<'_>,
        (from, host, to): (Blocks, Blocks, Blocks),
        host_tokens: Tokens,
        to_pool: bool,
    ) {
        let (mut put, mut new, mut elsewhere) = (Put::None, Tokens::ZERO, Tokens::ZERO);
        if let (true, Some(pool)) = (to_pool, &mut self.pool) {
            let too_far = self.config.pool.is_some_and(|access| access.round_trip > GIVEN_UP);
            put = match self.reach {
                Reach::Up if too_far => Put::Failed(Failed::TimedOut),
                Reach::Up => {
                    let (ways, worker) = (&self.ways, order.worker);
                    let begun = pool.begin_put(order.objects, from, to, self.now, |shard, tokens| {
                        new += tokens;
                        if ways.is_elsewhere(worker, shard) {
                            elsewhere += tokens;
                        }
                    });
                    begun.put.map_or(Put::None, |put| Put::Begun(put, begun.end))
                }
                Reach::Refused => Put::Failed(Failed::Unreachable),
                Reach::Silent => Put::Failed(Failed::TimedOut),
            };
        }
        if to_pool && self.elsewhere {
            new = order.objects.tokens_before(to) - order.objects.tokens_before(from);
            elsewhere = new;
            put = Put::Elsewhere { request: order.way.0, objects: (to - from).0, outcome: Ok(()) };
        }
        // L2 gets from L1 what L1 has or gets; what found no room there comes off the device for L2 alone, also where it turns
        // out only then that L2 does not take it.
        let beyond = order.objects.tokens_before(to) - order.objects.tokens_before(host.max(from));
        let apart = if matches!(put, Put::Failed(_)) { beyond } else { new.min(beyond) };
        let pool = PoolBytes { all: self.bytes(new), elsewhere: self.bytes(elsewhere) };
        let host_bytes = self.bytes(host_tokens + apart);
        let transit = self.add(order, What::Store(Store { put, copied: false, host_bytes, pool }));
        let end = match put {
            Put::Begun(_, end) => end,
            Put::Elsewhere { .. } => to,
            Put::None | Put::Failed(_) => from,
        };
        let bounds = (from, host.max(end), None);
        self.hand_out(transit, order.way, order.objects, bounds, |object| (object < host, object < end));
        self.carry(transit, Part::Host, host_bytes);
        self.step_on(transit);
    }

    /// A store has its copy in the host's memory: what becomes of it there?
    pub(super) fn copied(&mut self, index: u32) {
        let transit = &mut self.transits[index as usize];
        let What::Store(store) = &mut transit.what else { return };
        store.copied = true;
        self.moved.device_to_host += u128::from(store.host_bytes);
        let put = store.put;
        if !matches!(put, Put::None) {
            self.tell_copied(index);
        }
        match put {
            Put::None => self.complete(index),
            Put::Failed(Failed::TimedOut) => self.wait(index, GIVEN_UP),
            Put::Failed(_) => self.wait(index, self.config.pool.map_or(Span::ZERO, |access| access.round_trip)),
            Put::Begun(..) | Put::Elsewhere { .. } => self.line_up(index),
        }
    }

    /// A store goes on to the pool when those of its worker before it have arrived there. A put is one request with all of
    /// it behind: nobody waits for an answer before.
    fn line_up(&mut self, index: u32) {
        let transit = &mut self.transits[index as usize];
        let line = &mut self.lines[transit.worker.index()];
        if line.busy {
            transit.under_way |= Part::Turn.bit();
            line.next.push_back(index);
        } else {
            line.busy = true;
            self.set_out(index);
        }
    }

    /// A worker's store has arrived in the pool: the next one's turn. What was discarded meanwhile sets out in vain no more.
    pub(super) fn next_in_line(&mut self, worker: WorkerId) {
        while let Some(index) = self.lines[worker.index()].next.pop_front() {
            let transit = &mut self.transits[index as usize];
            transit.under_way &= !Part::Turn.bit();
            let What::Store(Store { put, .. }) = transit.what else { continue };
            let sets_out = match put {
                Put::Begun(put, _) => self.pool.as_ref().is_some_and(|pool| pool.is_putting(put, self.now)),
                Put::Elsewhere { .. } => self.now < transit.began + self.put_ttl(),
                Put::None | Put::Failed(_) => continue,
            };
            if sets_out {
                return self.set_out(index);
            }
            self.answer(index, Err(Failed::Broken));
        }
        self.lines[worker.index()].busy = false;
    }

    /// A store goes to the pool.
    fn set_out(&mut self, index: u32) {
        self.hand_out_put(index);
        self.waited(index);
    }

    /// Whoever carries bytes is asked what the pool has.
    fn ask_elsewhere(&mut self, order: Order<'_>, from: Blocks, to: Blocks) {
        let transit = self.add(order, What::Probe { upto: from });
        let bounds = (from, to, order.deadline);
        self.hand_out(transit, (order.way.0, Way::Probe), order.objects, bounds, |_| (false, true));
        match self.config.pool {
            Some(access) if access.round_trip > Span::ZERO => self.wait(transit, access.round_trip),
            _ => self.step_on(transit),
        }
    }

    /// After so long, a store that has not reached the pool goes no further.
    pub(super) fn put_ttl(&self) -> Span {
        self.config.pool.map_or(GIVEN_UP, |access| access.pool.put_ttl)
    }
}

impl PoolAccess {
    /// So many of them, at most 53 days: a time must hold it.
    fn round_trips(&self, count: u64) -> Span {
        Span(self.round_trip.0.saturating_mul(count).min(1 << 62))
    }

    /// How long it takes to learn that `present` objects are there and, perhaps, that the next is not.
    ///
    /// `exists` is a lease and its release: two round trips; a miss is one, and what the daemon holds it for.
    fn probing(&self, present: u32, missed: bool) -> Span {
        let miss = if missed { self.round_trip + self.miss_wait } else { Span::ZERO };
        match self.probe {
            ProbeMode::Sequential => self.round_trips(2 * u64::from(present)) + miss,
            ProbeMode::Batched => {
                let at_a_time = self.in_flight.max(1);
                let last = if present.is_multiple_of(at_a_time) { Span::ZERO } else { self.round_trips(2) };
                self.round_trips(2 * u64::from(present / at_a_time)) + last.max(miss)
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

    /// How long it takes to lease and release that many objects, `in_flight` at a time, each in two round trips, and to
    /// learn that the next is not there, where one was `missed`: a daemon may hold that back.
    fn leasing(&self, objects: u32, missed: bool) -> Span {
        let miss = if missed { self.round_trip + self.miss_wait } else { Span::ZERO };
        self.round_trips(2 * u64::from(objects.div_ceil(self.in_flight.max(1)))).max(miss)
    }
}
