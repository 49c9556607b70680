//! A node's daemon: objects by name in a segment that its clients read by themselves.
//!
//! The contract is that of HyperPod's node daemon as LMCache's client of it shows it (0.5.6): an object is put whole or not
//! at all and never changes; a lease says where its bytes are and pins them for a while; a miss is an answer. Bytes are
//! opaque: the store decides where they go and when they go, its shell moves them. [`crate::Pool`] is the same contract
//! for the simulator, by ranges of a prompt and without bytes.
//!
//! Laws ([`NodeStore::check`] asserts those that one moment can show):
//! * each block of the segment is free, an object's, or a put's, and in exactly one of the three;
//! * an object has the blocks for its bytes and no more; its fragments do not overlap, adjoin nowhere, and sum to its length;
//! * a name is absent, pending with one put, or ready with one object; only what was finished in time becomes ready;
//! * what a lease covers stays: an object goes only while nobody holds it, and what is condemned while it is held goes
//!   when the last lease ends;
//! * what a put may write to is its own until its writer ends the put: one that was discarded for its age is no longer
//!   pending, but its blocks are nobody else's before the writer has let go, so bytes that come late spoil nothing;
//! * a lease, a put and a wait end exactly once; who ends one that has ended is told so;
//! * a put that finds no room has evicted nothing.
//!
//! Time only passes when the store is told. Each call first does what was due by its `now`.

mod name; // what an object is called
mod config; // how much room, by which rules
mod answer; // what is answered
mod arena; // where room is
mod terms; // what ends by itself
mod write; // puts
mod grant; // leases, and waits for them
mod check; // the laws

use crate::shelf::{Order, Policy, SliceId};
use crate::time::{Span, Time};
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
pub use answer::{Asked, Fragment, Grant, GrantId, NodeCounts, NodeUsage, PutRefusal, WaitId, Write, WriteId};
use arena::{Arena, Extent};
pub use config::{Hold, NodeConfig};
pub use name::{ObjectName, Owners};
use terms::Terms;

/// The store of one node's daemon.
#[derive(Debug)]
pub struct NodeStore {
    config: NodeConfig,
    arena: Arena,
    order: Order,
    names: BTreeMap<ObjectName, Place>,
    objects: Vec<Option<Object>>, // by slot
    vacant: Vec<u32>,             // slots without an object
    leases: Terms<u32>,           // slots
    writes: Terms<Writing>,
    discarded: BTreeMap<u64, Writing>, // puts that are over, whose writer has not let go
    waits: Terms<Waiting>,
    waiting: BTreeSet<(ObjectName, u64)>,
    answers: VecDeque<(WaitId, Option<Grant>)>,
    counts: NodeCounts,
    sums: Sums,
}

/// Kept so that nobody must count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sums {
    objects: u64,      // that are there, condemned ones not included
    object_bytes: u64, // of those
    pinned: u32,       // blocks
    writing: u32,      // blocks
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Pending(u64),
    Ready(u32),
}

#[derive(Debug)]
struct Object {
    name: ObjectName,
    len: u64,
    seal: u32,
    extents: Vec<Extent>,
    pins: u32,
    condemned: bool,
}

#[derive(Debug)]
struct Writing {
    name: ObjectName,
    len: u64,
    extents: Vec<Extent>,
}

#[derive(Debug)]
struct Waiting {
    name: ObjectName,
    ttl: Span,
}

fn blocks_of(extents: &[Extent]) -> u32 {
    extents.iter().map(|extent| extent.len).sum()
}

/// Where the bytes of an object are that has these blocks.
fn fragments(extents: &[Extent], len: u64, block: u32) -> Vec<Fragment> {
    let mut left = len;
    let fragment = |extent: &Extent| {
        let part = left.min(u64::from(extent.len) * u64::from(block));
        left -= part;
        Fragment { offset: u64::from(extent.start) * u64::from(block), len: part }
    };
    extents.iter().map(fragment).collect()
}

impl NodeStore {
    /// An empty store.
    ///
    /// # Panics
    /// As [`NodeConfig::blocks`].
    #[must_use]
    pub fn new(config: NodeConfig) -> Self {
        let blocks = config.blocks();
        Self {
            config,
            arena: Arena::new(blocks),
            order: config.eviction.order(0, u64::from(blocks) * u64::from(config.block), config.seed),
            names: BTreeMap::new(),
            objects: Vec::new(),
            vacant: Vec::new(),
            leases: Terms::new(),
            writes: Terms::new(),
            discarded: BTreeMap::new(),
            waits: Terms::new(),
            waiting: BTreeSet::new(),
            answers: VecDeque::new(),
            counts: NodeCounts::default(),
            sums: Sums::default(),
        }
    }

    /// Its configuration.
    #[must_use]
    pub const fn config(&self) -> &NodeConfig {
        &self.config
    }

    /// What happened so far.
    #[must_use]
    pub const fn counts(&self) -> NodeCounts {
        self.counts
    }

    /// What there is.
    #[must_use]
    pub fn usage(&self) -> NodeUsage {
        let bytes = |blocks: u32| u64::from(blocks) * u64::from(self.config.block);
        let blocks = self.config.blocks();
        NodeUsage {
            capacity: bytes(blocks),
            objects: self.sums.objects,
            object_bytes: self.sums.object_bytes,
            used: bytes(blocks - self.arena.free()),
            pinned: bytes(self.sums.pinned),
            writing: bytes(self.sums.writing),
            leases: self.leases.len() as u64,
            writes: (self.writes.len() + self.discarded.len()) as u64,
            waits: self.waits.len() as u64,
        }
    }

    /// Whether an object is there. A lease says so, too, and keeps it.
    #[must_use]
    pub fn has(&self, name: &ObjectName) -> bool {
        matches!(self.names.get(name), Some(Place::Ready(_)))
    }

    /// When something ends by itself next.
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        [self.leases.deadline(), self.writes.deadline(), self.waits.deadline()].into_iter().flatten().min()
    }

    /// Does what is due by `now`: leases end first, then puts, then waits.
    pub fn timeout(&mut self, now: Time) {
        while let Some((_, slot)) = self.leases.pop_ended(now) {
            self.counts.expired += 1;
            self.unpin(slot, now);
        }
        while let Some((ticket, writing)) = self.writes.pop_ended(now) {
            self.counts.discarded += 1;
            self.nobody_brings(writing.name);
            self.discarded.insert(ticket, writing);
        }
        while let Some((ticket, waiting)) = self.waits.pop_ended(now) {
            self.waiting.remove(&(waiting.name, ticket));
            self.miss(ticket);
        }
    }

    /// An object turned out to be spoiled: it is not found any more, and goes when nobody holds it. Gives whether it was
    /// there.
    pub fn condemn(&mut self, name: &ObjectName, now: Time) -> bool {
        self.timeout(now);
        let Some(Place::Ready(slot)) = self.names.get(name).copied() else { return false };
        self.names.remove(name);
        let Some(object) = self.objects[slot as usize].as_mut() else { return false };
        object.condemned = true;
        self.sums.objects -= 1;
        self.sums.object_bytes -= object.len;
        if object.pins == 0 {
            self.order.gone(slice(slot), None);
            self.vacate(slot);
        }
        true
    }

    /// Evicts objects until so many blocks are free, or nobody's objects are left.
    fn evict_until(&mut self, free: u32, now: Time) {
        while self.arena.free() < free {
            let Some(victim) = self.order.victim(now) else { break };
            let slot = victim.index() as u32;
            let Some(object) = &self.objects[slot as usize] else { break };
            debug_assert!(object.pins == 0 && !object.condemned, "what is held is not evicted");
            self.names.remove(&object.name);
            self.counts.evicted += 1;
            self.counts.evicted_bytes += object.len;
            self.sums.objects -= 1;
            self.sums.object_bytes -= object.len;
            self.order.gone(victim, Some(object.name.word()));
            self.vacate(slot);
        }
    }

    /// The blocks of a slot are free; its order knows it no more.
    fn vacate(&mut self, slot: u32) {
        if let Some(object) = self.objects[slot as usize].take() {
            object.extents.into_iter().for_each(|extent| self.arena.give(extent));
            self.vacant.push(slot);
        }
    }
}

/// What the order calls the object in a slot.
const fn slice(slot: u32) -> SliceId {
    SliceId::new(0, slot)
}
