//! The ways between the tiers, told the time: GPU to host, host to network, network to pool.
//!
//! A worker's operations ([`kvcache::Op`]) become transfers on links that all transfers under way share, and waits that
//! take no capacity:
//!
//! ```text
//! load    L1:                          host link (in)
//!         L2: round trips for leases -> pool | node's network, as far as it lies elsewhere | host link (in)
//! store       host link (out) -> L1 has it -> its turn -> pool | node's network, as far as it goes elsewhere -> L2 has it
//! probe       round trips, and what a miss costs besides
//! ```
//!
//! What is divided by `|` goes on at once: objects flow through, and the slowest way decides. (LMCache copies onto the
//! device when all has come into the host: a load then takes the host link's time on top.)
//!
//! `tieredstorage`: a shard of the pool on every node, asked through the daemon of the worker's own node, which copies
//! through shared memory; what lies on another node crosses the network of the worker's node first. Redis: one server,
//! and every byte crosses both the node's network and the server's.
//!
//! A pool that *lies elsewhere* ([`Cluster::with_pool_elsewhere`](crate::cluster::Cluster::with_pool_elsewhere)) is somebody else's to ask: look-ups,
//! loads and puts are handed out and answered, and what the links take goes on beside that, to imitate a network.
//!
//! Every operation that comes in ends once (a store tells of its copy besides), loads by their deadline at the latest: what
//! has come onto the device by then counts, if it is a prefix, and what has come into the host stays there. Only those of a
//! worker whose process dies end without a word.

use alloc::collections::VecDeque;
use alloc::vec;
use alloc::vec::Vec;
use kvcache::{Done, Failed, LeaseId, OpId, Pool, Span, Task, Time, WorkerId};

use crate::link::{Link, TransferId};
use crate::replica::Asked;

mod config; // what the ways are like
mod begin; // from an operation to its parts
mod transit; // an operation under way
mod cut; // what is stopped on its way
mod outside; // bytes that somebody else carries
mod due; // what ends when

pub use outside::{Answer, Carried, Move, Way};

pub use config::{PoolAccess, ProbeMode, TransportConfig};

use due::{Agenda, Due};
use transit::{Line, Load, Part, PoolBytes, Put, Store, Transit, Ways, What};

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

/// How the pool answers who begins to use it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reach {
    /// It does.
    #[default]
    Up,
    /// Connections are refused.
    Refused,
    /// Not at all.
    Silent,
}

/// Bytes that have been carried, of operations that ended; of what was stopped on its way, what had come by its slowest way.
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

impl core::ops::Sub for Moved {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            host_to_device: self.host_to_device - before.host_to_device,
            device_to_host: self.device_to_host - before.device_to_host,
            nic: self.nic - before.nic,
            pool: self.pool - before.pool,
        }
    }
}

/// All ways of a cluster.
#[derive(Debug)]
pub struct Transport {
    config: TransportConfig,
    ways: Ways,
    links: Vec<Link>,
    pool: Option<Pool>,
    reach: Reach,
    transits: Vec<Transit>,
    vacant: Vec<u32>,
    lines: Vec<Line>, // by worker
    moved: Moved,
    agenda: Agenda,
    arrived: VecDeque<Arrived>,
    outside: Option<outside::Outside>,
    /// What the pool has is known to whoever carries bytes, and to nobody here.
    elsewhere: bool,
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
            agenda: Agenda::new(links.len()),
            config,
            ways,
            links,
            reach: Reach::Up,
            transits: Vec::new(),
            vacant: Vec::new(),
            lines: (0..workers).map(|_| Line::default()).collect(),
            moved: Moved::default(),
            arrived: VecDeque::new(),
            outside: None,
            elsewhere: false,
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

    /// How the pool answers from now on. Operations under way go on.
    pub const fn set_reach(&mut self, reach: Reach) {
        self.reach = reach;
    }

    /// When something happens next.
    #[inline]
    pub fn due(&mut self) -> Option<Time> {
        if !self.arrived.is_empty() {
            return Some(self.now);
        }
        self.earliest().map(|(at, _)| at)
    }

    /// Whether something may happen by `until`.
    #[inline]
    pub(crate) fn stirs_by(&self, until: Time) -> bool {
        !self.arrived.is_empty() || self.agenda.earliest_at() <= until
    }

    /// The earliest entry of the agenda that stands.
    #[inline]
    fn earliest(&mut self) -> Option<(Time, Due)> {
        loop {
            let (at, due) = self.agenda.earliest()?;
            match due {
                Due::Wait { transit, life } | Due::Deadline { transit, life }
                    if self.transits[transit as usize].life != life =>
                {
                    self.agenda.pop();
                }
                _ => return Some((at, due)),
            }
        }
    }

    /// Time moves on, at most to `until`, to the first moment at which an operation has ended: gives that. Steps on the way
    /// there concern nobody else.
    pub fn run(&mut self, until: Time) -> Option<Time> {
        while self.arrived.is_empty() {
            let (at, due) = self.earliest().filter(|(at, _)| *at <= until)?;
            assert!(at >= self.now, "time ran backwards");
            self.now = at;
            match due {
                Due::Link(link) => self.finish_transfers(link),
                Due::Wait { transit, .. } => {
                    self.agenda.pop();
                    // A load that was cut short waits for nothing any more.
                    if self.transits[transit as usize].under_way & Part::Wait.bit() != 0 {
                        self.waited(transit);
                    }
                }
                Due::Deadline { transit, .. } => {
                    self.agenda.pop();
                    self.cut_short(transit);
                }
            }
        }
        Some(self.now)
    }

    /// The next operation that ended and nobody was told of.
    pub fn poll(&mut self) -> Option<Arrived> {
        self.arrived.pop_front()
    }

    /// Bytes that have been carried by now.
    #[must_use]
    pub const fn moved(&self) -> Moved {
        self.moved
    }

    /// So much has come to a host from the pool, or from a host into it.
    fn count_pool(&mut self, bytes: PoolBytes) {
        self.moved.pool += u128::from(bytes.all);
        self.moved.nic += u128::from(bytes.elsewhere);
    }

    /// A part of an operation joins its link. Says whether it is under way: what is nothing has ended.
    fn carry(&mut self, index: u32, part: Part, bytes: u64) -> bool {
        if bytes == 0 {
            return false;
        }
        let transit = &mut self.transits[index as usize];
        transit.under_way |= part.bit();
        let link = self.ways.link(transit.worker, part, matches!(transit.what, What::Store(_)));
        self.links[link as usize].begin(number(index, part), bytes, self.now);
        self.agenda.schedule(link, self.links[link as usize].deadline());
        true
    }

    /// An operation waits.
    fn wait(&mut self, index: u32, span: Span) {
        if span == Span::ZERO {
            return self.waited(index);
        }
        let transit = &mut self.transits[index as usize];
        transit.under_way |= Part::Wait.bit();
        let at = Time(self.now.0.saturating_add(span.0));
        self.agenda.wait(at, index, transit.life);
    }

    /// What an operation waited for is over: its transfers from or to the pool begin.
    fn waited(&mut self, index: u32) {
        let transit = &mut self.transits[index as usize];
        transit.under_way &= !Part::Wait.bit();
        let (pool, loads) = match transit.what {
            What::Load(Load { pool, .. }) => (pool, true),
            What::Store(Store { pool, .. }) => (pool, false),
            What::Probe { .. } | What::Failed { .. } => return self.step_on(index),
        };
        self.carry(index, Part::Network, pool.elsewhere);
        self.carry(index, Part::Pool, pool.all);
        if loads {
            self.carry(index, Part::Onward, pool.all);
        }
        if self.transits[index as usize].under_way == 0 {
            self.complete(index);
        }
    }

    fn finish_transfers(&mut self, link: u32) {
        while let Some(TransferId(number)) = self.links[link as usize].finished(self.now) {
            let (index, bit) = ((number >> 3) as u32, 1 << (number & 7));
            let transit = &mut self.transits[index as usize];
            transit.under_way &= !bit;
            self.step_on(index);
        }
        self.agenda.schedule(link, self.links[link as usize].deadline());
    }

    /// All parts of an operation have ended.
    fn complete(&mut self, index: u32) {
        let outcome = match self.transits[index as usize].what {
            What::Probe { upto } => Ok(Done::Probed(upto)),
            What::Failed { failed } => Err(failed),
            What::Load(Load { host, upto, lease, contact, host_bytes, pool, .. }) => {
                self.moved.host_to_device += u128::from(host_bytes) + u128::from(pool.all);
                self.count_pool(pool);
                let upto = if self.end_lease(lease) { upto } else { upto.min(host) };
                Ok(Done::Loaded { device: upto, host: upto, pool: contact })
            }
            What::Store(Store { put: Put::Failed(failed), .. }) => Err(failed),
            What::Store(Store { put: Put::None, .. }) => Ok(Done::Stored),
            What::Store(Store { put: Put::Elsewhere { outcome, .. }, pool, .. }) => {
                if outcome.is_ok() {
                    self.count_pool(pool);
                }
                outcome.map(|()| Done::Stored)
            }
            What::Store(Store { put: Put::Begun(put, end), pool, .. }) => {
                self.count_pool(pool);
                let ended = self.pool.as_mut().map(|pool| pool.end_put(put, end, self.now));
                if ended == Some(Ok(())) { Ok(Done::Stored) } else { Err(Failed::Broken) }
            }
        };
        let Transit { worker, what, .. } = self.transits[index as usize];
        self.answer(index, outcome);
        if matches!(what, What::Store(Store { put: Put::Begun(..) | Put::Elsewhere { .. }, .. })) {
            self.next_in_line(worker);
        }
    }

    /// A lease has served. Says whether what was copied under it is what it should be.
    fn end_lease(&mut self, lease: Option<LeaseId>) -> bool {
        let (Some(lease), Some(pool)) = (lease, &mut self.pool) else { return true };
        let live = pool.is_live(lease, self.now);
        // One that has expired meanwhile is released already.
        let _ = pool.release(lease, self.now);
        live
    }

    fn tell_copied(&mut self, index: u32) {
        let Transit { worker, op, .. } = self.transits[index as usize];
        self.arrived.push_back(Arrived { worker, op, outcome: Ok(Done::Copied) });
    }

    fn answer(&mut self, index: u32, outcome: Result<Done, Failed>) {
        let Transit { worker, op, .. } = self.transits[index as usize];
        self.arrived.push_back(Arrived { worker, op, outcome });
        self.vacate(index);
    }

    fn vacate(&mut self, index: u32) {
        let transit = &mut self.transits[index as usize];
        transit.life = transit.life.wrapping_add(1);
        transit.under_way = 0;
        self.vacant.push(index);
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
        let mut vacant = vec![false; self.transits.len()];
        self.vacant.iter().for_each(|index| vacant[*index as usize] = true);
        let mut parts = 0;
        for (transit, vacant) in self.transits.iter().zip(&vacant) {
            assert_eq!(*vacant, transit.under_way == 0, "what has no part under way has ended");
            let on_no_link = Part::Wait.bit() | Part::Turn.bit() | Part::Outside.bit();
            parts += (transit.under_way & !on_no_link).count_ones() as usize;
        }
        let carried: usize = self.links.iter().map(Link::active).sum();
        assert_eq!(carried, parts, "each transfer is a part of an operation");
    }
}

/// A part's number on its link.
const fn number(index: u32, part: Part) -> TransferId {
    TransferId((index as u64) << 3 | part as u64)
}
