//! The ways between the tiers, told the time: GPU to host, host to network, network to pool.
//!
//! A worker's operations ([`kvcache::Op`]) become transfers on links that all transfers under way share, and waits that
//! take no capacity:
//!
//! ```text
//! load    L1:                                                              host link (in)
//!         L2: round trips for leases -> node's network, if elsewhere -> pool -> host link (in)
//! store       host link (out) -> L1 has it;  round trip -> pool -> node's network, if elsewhere -> L2 has it
//! probe       round trips, and what a miss costs besides
//! ```
//!
//! `tieredstorage`: a shard of the pool on every node, asked through the daemon of the worker's own node, which copies
//! through shared memory; what lies on another node crosses the network of the worker's node first. Redis: one server,
//! and every byte crosses both the node's network and the server's.
//!
//! Every operation that comes in is answered once, loads by their deadline at the latest: what has arrived by then
//! counts, if it is a prefix.

use alloc::collections::VecDeque;
use alloc::vec;
use alloc::vec::Vec;
use kvcache::{Blocks, Done, Failed, OpId, Pool, Task, Time, WorkerId};

use crate::link::{Link, TransferId};
use crate::replica::Asked;

mod config; // what the ways are like
mod begin; // from an operation to its legs
mod transit; // an operation under way
mod due; // what ends when

pub use config::{PoolAccess, ProbeMode, TransportConfig};

use due::{Agenda, Due};
use transit::{Hop, Leg, Put, Transit, Ways, What};

/// An operation that ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrived {
    /// Whose.
    pub worker: WorkerId,
    /// Which.
    pub op: OpId,
    /// How.
    pub outcome: Result<Done, Failed>,
}

/// Bytes that links have carried for transfers that ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// From hosts to GPUs.
    pub host_to_device: u128,
    /// From GPUs to hosts.
    pub device_to_host: u128,
    /// Over nodes' networks.
    pub nic: u128,
    /// Through the pool, both ways.
    pub pool: u128,
}

/// All ways of a cluster.
#[derive(Debug)]
pub struct Transport {
    config: TransportConfig,
    ways: Ways,
    links: Vec<Link>,
    /// For which moment each link is in the agenda.
    scheduled: Vec<Option<Time>>,
    pool: Option<Pool>,
    /// Whether the pool can be reached at all.
    reachable: bool,
    transits: Vec<Transit>,
    vacant_transits: Vec<u32>,
    legs: Vec<Leg>,
    vacant_legs: Vec<u32>,
    agenda: Agenda,
    arrived: VecDeque<Arrived>,
    now: Time,
}

impl Transport {
    /// Idle ways for `workers` workers, and an empty pool.
    #[must_use]
    pub fn new(config: TransportConfig, workers: u16) -> Self {
        let ways = Ways::new(&config, workers);
        let links: Vec<Link> = ways.rates(&config).map(Link::new).collect();
        Self {
            pool: config.pool.map(|access| Pool::new(access.pool)),
            scheduled: vec![None; links.len()],
            config,
            ways,
            links,
            reachable: true,
            transits: Vec::new(),
            vacant_transits: Vec::new(),
            legs: Vec::new(),
            vacant_legs: Vec::new(),
            agenda: Agenda::default(),
            arrived: VecDeque::new(),
            now: Time::ZERO,
        }
    }

    /// The pool, where there is one.
    #[must_use]
    pub const fn pool(&self) -> Option<&Pool> {
        self.pool.as_ref()
    }

    /// The same, to take something from it.
    pub const fn pool_mut(&mut self) -> Option<&mut Pool> {
        self.pool.as_mut()
    }

    /// From now on the pool can be reached, or cannot: then operations fail that would begin to use it.
    pub const fn set_reachable(&mut self, reachable: bool) {
        self.reachable = reachable;
    }

    /// When something happens next.
    #[inline]
    pub fn due(&mut self) -> Option<Time> {
        if !self.arrived.is_empty() {
            return Some(self.now);
        }
        let Self { agenda, scheduled, legs, transits, .. } = self;
        agenda.earliest(|at, due| is_live(scheduled, legs, transits, at, due)).map(|(at, _)| at)
    }

    /// Time moves on, at most to `until`, to the first moment at which an operation has ended: gives that. Steps on the way
    /// there concern nobody else.
    pub fn run(&mut self, until: Time) -> Option<Time> {
        while self.arrived.is_empty() {
            let Self { agenda, scheduled, legs, transits, .. } = self;
            let earliest = agenda.earliest(|at, due| is_live(scheduled, legs, transits, at, due));
            let (at, due) = earliest.filter(|(at, _)| *at <= until)?;
            assert!(at >= self.now, "time ran backwards");
            self.now = at;
            self.agenda.remove_earliest();
            match due {
                Due::Link(link) => self.finish_transfers(link),
                Due::Wait { leg, .. } => self.go_on(leg),
                Due::Deadline { transit, .. } => self.cut_short(transit),
            }
        }
        Some(self.now)
    }

    /// The next operation that ended and nobody was told of.
    pub fn poll(&mut self) -> Option<Arrived> {
        self.arrived.pop_front()
    }

    /// Bytes that links have carried.
    #[must_use]
    pub fn moved(&self) -> Moved {
        let sum = |range: core::ops::Range<u32>| range.map(|link| self.links[link as usize].moved()).sum();
        Moved {
            host_to_device: sum(self.ways.in_links()),
            device_to_host: sum(self.ways.out_links()),
            nic: sum(self.ways.nic_links()),
            pool: sum(self.ways.pool_links()),
        }
    }

    /// A link's next end may have changed.
    fn reschedule(&mut self, link: u32) {
        let next = self.links[link as usize].deadline();
        if self.scheduled[link as usize] != next {
            self.scheduled[link as usize] = next;
            if let Some(at) = next {
                self.agenda.add(at, Due::Link(link));
            }
        }
    }

    fn finish_transfers(&mut self, link: u32) {
        self.scheduled[link as usize] = None;
        while let Some(TransferId(leg)) = self.links[link as usize].finished(self.now) {
            self.go_on(leg as u32);
        }
        self.reschedule(link);
    }

    /// A leg has done a hop.
    fn go_on(&mut self, leg: u32) {
        self.legs[leg as usize].at += 1;
        self.go(leg);
    }

    /// A leg does its next hop; one that takes nothing is done at once.
    fn go(&mut self, leg: u32) {
        loop {
            let way = &mut self.legs[leg as usize];
            match way.hops.get(usize::from(way.at)).copied().flatten() {
                None => return self.leg_done(leg),
                Some(Hop::Wait(span)) if span > kvcache::Span::ZERO => {
                    let (at, life) = (self.now + span, way.life);
                    return self.agenda.add(at, Due::Wait { leg, life });
                }
                Some(Hop::Carry { link, bytes }) if bytes > 0 => {
                    self.links[link as usize].begin(TransferId(u64::from(leg)), bytes, self.now);
                    return self.reschedule(link);
                }
                Some(_) => way.at += 1,
            }
        }
    }

    fn add_leg(&mut self, transit: u32, hops: [Option<Hop>; 4]) -> u32 {
        self.transits[transit as usize].left += 1;
        if let Some(leg) = self.vacant_legs.pop() {
            let slot = &mut self.legs[leg as usize];
            (slot.transit, slot.hops, slot.at) = (transit, hops, 0);
            return leg;
        }
        self.legs.push(Leg { transit, hops, at: 0, life: 0 });
        self.legs.len() as u32 - 1
    }

    /// A leg's number may be given again; whatever the agenda says of its old life is void.
    fn free_leg(&mut self, leg: u32) -> u32 {
        let slot = &mut self.legs[leg as usize];
        slot.life = slot.life.wrapping_add(1);
        self.vacant_legs.push(leg);
        slot.transit
    }

    fn leg_done(&mut self, leg: u32) {
        let index = self.free_leg(leg);
        let transit = &mut self.transits[index as usize];
        transit.left -= 1;
        if let What::Load { legs, .. } = &mut transit.what {
            legs.iter_mut().filter(|other| **other == Some(leg)).for_each(|other| *other = None);
        }
        let (worker, op) = (transit.worker, transit.op);
        if let What::Store { put, hops, copied: copied @ false } = &mut transit.what {
            *copied = true;
            if !matches!(put, Put::None) {
                let hops = *hops;
                self.arrived.push_back(Arrived { worker, op, outcome: Ok(Done::Copied) });
                let next = self.add_leg(index, hops);
                return self.go(next);
            }
        }
        if self.transits[index as usize].left == 0 {
            self.complete(index);
        }
    }

    /// All legs of an operation have ended.
    fn complete(&mut self, index: u32) {
        let now = self.now;
        let outcome = match self.transits[index as usize].what {
            What::Probe { upto } => Ok(Done::Probed(upto)),
            What::Failed { failed } => Err(failed),
            What::Load { host, upto, lease, .. } => {
                let live = lease.is_none_or(|lease| self.pool.as_ref().is_some_and(|pool| pool.is_live(lease, now)));
                self.release(lease);
                Ok(Done::Loaded(if live { upto } else { upto.min(host) }))
            }
            What::Store { put: Put::Refused, .. } => Err(Failed::Unreachable),
            What::Store { put: Put::None, .. } => Ok(Done::Stored),
            What::Store { put: Put::Begun(put, end), .. } => {
                let ended = self.pool.as_mut().map(|pool| pool.end_put(put, end, now));
                if ended == Some(Ok(())) { Ok(Done::Stored) } else { Err(Failed::Broken) }
            }
        };
        self.answer(index, outcome);
    }

    fn release(&mut self, lease: Option<kvcache::LeaseId>) {
        if let (Some(lease), Some(pool)) = (lease, &mut self.pool) {
            // One that has expired meanwhile is released already.
            let _ = pool.release(lease, self.now);
        }
    }

    fn answer(&mut self, index: u32, outcome: Result<Done, Failed>) {
        let transit = &mut self.transits[index as usize];
        transit.life = transit.life.wrapping_add(1);
        self.arrived.push_back(Arrived { worker: transit.worker, op: transit.op, outcome });
        self.vacant_transits.push(index);
    }

    /// A load's deadline: what has not arrived does not count.
    fn cut_short(&mut self, index: u32) {
        let What::Load { from, host, upto, lease, legs, object_bytes } = self.transits[index as usize].what else {
            return;
        };
        let [host_leg, pool_leg] = legs;
        let of_host = self.stop(host_leg, object_bytes);
        let of_pool = self.stop(pool_leg, object_bytes);
        self.release(lease);
        let upto = match (of_host, of_pool) {
            (Some(some), _) => (from + some).min(host).min(upto),
            (None, Some(some)) => (host + some).min(upto),
            (None, None) => upto,
        };
        self.transits[index as usize].left = 0;
        self.answer(index, Ok(Done::Loaded(upto)));
    }

    /// Stops a leg, if it is under way: how many whole objects its last hop has delivered.
    fn stop(&mut self, leg: Option<u32>, object_bytes: u64) -> Option<Blocks> {
        let leg = leg?;
        let Leg { hops, at, .. } = self.legs[leg as usize];
        let last = hops.iter().flatten().count() == usize::from(at) + 1;
        let mut delivered = 0;
        if let Some(Hop::Carry { link, .. }) = hops[usize::from(at)] {
            let bytes = self.links[link as usize].cancel(TransferId(u64::from(leg)), self.now);
            delivered = if last { bytes.unwrap_or(0) } else { 0 };
            self.reschedule(link);
        }
        self.free_leg(leg);
        Some(Blocks((delivered / object_bytes.max(1)) as u32))
    }

    /// Asserts every law. O(live state).
    ///
    /// # Panics
    /// Where one is broken: a bug.
    pub fn check(&self) {
        self.links.iter().for_each(Link::check);
        if let Some(pool) = &self.pool {
            pool.check();
        }
        let under_way = self.transits.len() - self.vacant_transits.len();
        let legs = self.legs.len() - self.vacant_legs.len();
        let carried: usize = self.links.iter().map(Link::active).sum();
        assert!(carried <= legs, "each transfer is a leg's");
        assert!(under_way <= legs, "what has no leg under way has ended");
    }
}

/// Whether an entry of the agenda still stands.
#[inline]
fn is_live(scheduled: &[Option<Time>], legs: &[Leg], transits: &[Transit], at: Time, due: Due) -> bool {
    match due {
        Due::Link(link) => scheduled[link as usize] == Some(at),
        Due::Wait { leg, life } => legs[leg as usize].life == life,
        Due::Deadline { transit, life } => transits[transit as usize].life == life,
    }
}
