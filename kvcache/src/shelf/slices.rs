//! Slices: what one strip has on one shard. They are what policies order and what fills a shard.

use super::policy::{Order, Policy};
use super::strips::{Mask, StripId};
use crate::time::Time;
use alloc::vec::Vec;

/// A slice's number; it is used again when the slice is gone. Each shard counts its own, so that what its policy keeps
/// of them takes no more room than they do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SliceId(u64); // the shard, and 32 bits for its place there: as one word, they are compared at once

impl SliceId {
    pub(super) const NONE: Self = Self(u64::MAX);

    pub(crate) const fn new(shard: u16, place: u32) -> Self {
        Self((shard as u64) << 32 | place as u64)
    }

    /// The shard it is on.
    pub(super) const fn shard(self) -> u16 {
        (self.0 >> 32) as u16
    }

    /// Its place among those of its shard.
    pub(crate) const fn index(self) -> usize {
        self.0 as u32 as usize
    }
}

/// The objects that a strip has on a shard. Which of them are ready, and which pending, is the strip's to know.
/// Policies know of it while something is ready.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slice {
    pub(super) strip: StripId,
    pub(super) len: u32,        // how many objects
    pub(super) next: SliceId,   // of the same strip; of a vacant one, the next that is vacant
    pub(super) before: SliceId, // of the same strip
    pub(super) objects: Mask,
    pub(super) at: Time, // of its last use, or of its publication where that alone counts
}

impl Slice {
    /// One of nothing, without neighbours.
    pub(super) const ALONE: Self =
        Self { strip: StripId::ROOT, len: 0, next: SliceId::NONE, before: SliceId::NONE, objects: 0, at: Time::ZERO };

    /// The same with other objects.
    pub(super) const fn with(self, objects: Mask) -> Self {
        Self { objects, len: objects.count_ones(), ..self }
    }
}

/// A part of a shelf with a capacity and an order of its own.
#[derive(Debug)]
pub(crate) struct Shard {
    pub(super) capacity: u64,
    pub(super) usage: ShardUsage,
    pub(super) policy: Order,
    pub(super) by_age: bool,    // of the policy
    pub(super) is_fuller: bool, // among those that [`super::Shelf::evict_ahead`] looks at
    pub(super) slices: Vec<Slice>,
    pub(super) joined: SliceId, // of a strip that is being joined with another; else none
    vacant: SliceId,
}

/// What is on a shard, in tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ShardUsage {
    /// In objects that are there, pinned ones included.
    pub(crate) ready: u64,
    /// In objects that are being written.
    pub(crate) pending: u64,
    /// In objects that are there and may not go.
    pub(crate) pinned: u64,
    /// Evicted since the shelf was made.
    pub(crate) evicted: u64,
}

impl Shard {
    /// An empty shard of `capacity` tokens.
    pub(crate) fn new(capacity: u64, policy: Order) -> Self {
        let (by_age, usage) = (policy.by_age(), ShardUsage::default());
        let (slices, joined, vacant) = (Vec::new(), SliceId::NONE, SliceId::NONE);
        Self { capacity, usage, policy, by_age, is_fuller: false, slices, joined, vacant }
    }

    /// Tokens that can be reserved: what nobody holds can be evicted.
    pub(super) const fn available(&self) -> u64 {
        self.capacity - self.usage.pending - self.usage.pinned
    }

    pub(super) const fn used(&self) -> u64 {
        self.usage.ready + self.usage.pending
    }

    /// A new slice of this shard, which is number `shard`.
    #[inline]
    pub(super) fn add(&mut self, shard: u16, slice: Slice) -> SliceId {
        let id = self.vacant;
        if id == SliceId::NONE {
            self.slices.push(slice);
            return SliceId::new(shard, self.slices.len() as u32 - 1);
        }
        self.vacant = self.slices[id.index()].next;
        self.slices[id.index()] = slice;
        id
    }

    /// The number of a slice that is gone may be used again.
    #[inline]
    pub(super) fn remove(&mut self, id: SliceId) {
        self.slices[id.index()].next = self.vacant;
        self.vacant = id;
    }

    #[inline]
    pub(super) fn slice(&mut self, id: SliceId) -> &mut Slice {
        &mut self.slices[id.index()]
    }

    fn count(&self) -> usize {
        let (mut vacant, mut next) = (0, self.vacant);
        while next != SliceId::NONE {
            vacant += 1;
            next = self.slices[next.index()].next;
        }
        self.slices.len() - vacant
    }

    fn clear(&mut self) {
        self.usage = ShardUsage { evicted: self.usage.evicted, ..ShardUsage::default() };
        self.policy.clear();
        self.slices.clear();
        self.vacant = SliceId::NONE;
        self.is_fuller = false;
    }
}

/// The shards of a shelf, with their slices.
#[derive(Debug)]
pub(super) struct Shards(Vec<Shard>);

impl Shards {
    pub(super) const fn new(shards: Vec<Shard>) -> Self {
        Self(shards)
    }

    pub(super) const fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Shard> {
        self.0.iter()
    }

    #[inline]
    pub(super) fn of(&self, shard: u16) -> &Shard {
        &self.0[usize::from(shard)]
    }

    #[inline]
    pub(super) fn of_mut(&mut self, shard: u16) -> &mut Shard {
        &mut self.0[usize::from(shard)]
    }

    #[inline]
    pub(super) fn at(&self, id: SliceId) -> &Slice {
        &self.of(id.shard()).slices[id.index()]
    }

    #[inline]
    pub(super) fn at_mut(&mut self, id: SliceId) -> &mut Slice {
        self.of_mut(id.shard()).slice(id)
    }

    /// Everything on all shards goes.
    pub(super) fn clear(&mut self) {
        self.0.iter_mut().for_each(Shard::clear);
    }

    /// How many slices there are. O(vacant numbers).
    pub(super) fn count(&self) -> usize {
        self.0.iter().map(Shard::count).sum()
    }
}
