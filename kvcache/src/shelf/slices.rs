//! Slices: what one strip has on one shard. They are what policies order and what fills a shard.

use super::policy::Policy;
use super::strips::{Mask, StripId};
use crate::time::Time;
use alloc::boxed::Box;
use alloc::vec::Vec;

/// A slice's number; it is used again when the slice is gone. Each shard counts its own, so that what its policy keeps of
/// them takes no more room than they do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SliceId {
    number: u32,
    shard: u16,
}

impl SliceId {
    pub(super) const NONE: Self = Self { number: u32::MAX, shard: 0 };

    /// Its place among those of its shard.
    pub(super) const fn index(self) -> usize {
        self.number as usize
    }
}

/// The objects of a strip that are ready or pending on a shard. Policies know of it while something is ready.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slice {
    pub(super) strip: StripId,
    pub(super) next: SliceId, // of the same strip
    pub(super) shard: u16,
    pub(super) ready: Mask,
    pub(super) pending: Mask,
    pub(super) at: Time, // of its last use, or of its publication where that alone counts
}

impl Slice {
    pub(super) const fn is_empty(&self) -> bool {
        self.ready | self.pending == 0
    }
}

#[derive(Debug)]
pub(super) struct Slices {
    shards: Vec<OnShard>,
}

#[derive(Debug, Default)]
struct OnShard {
    slices: Vec<Slice>,
    vacant: Vec<SliceId>,
}

impl Slices {
    pub(super) fn new(shards: usize) -> Self {
        Self { shards: (0..shards).map(|_| OnShard::default()).collect() }
    }

    #[inline]
    pub(super) fn at(&self, id: SliceId) -> &Slice {
        &self.shards[usize::from(id.shard)].slices[id.index()]
    }

    #[inline]
    pub(super) fn at_mut(&mut self, id: SliceId) -> &mut Slice {
        &mut self.shards[usize::from(id.shard)].slices[id.index()]
    }

    pub(super) fn add(&mut self, slice: Slice) -> SliceId {
        let of = &mut self.shards[usize::from(slice.shard)];
        if let Some(id) = of.vacant.pop() {
            of.slices[id.index()] = slice;
            return id;
        }
        of.slices.push(slice);
        SliceId { number: of.slices.len() as u32 - 1, shard: slice.shard }
    }

    pub(super) fn remove(&mut self, id: SliceId) {
        self.shards[usize::from(id.shard)].vacant.push(id);
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.shards.iter().map(|of| of.slices.len() - of.vacant.len()).sum()
    }
}

/// A part of a shelf with a capacity and an order of its own.
#[derive(Debug)]
pub(crate) struct Shard {
    pub(super) capacity: u64,
    pub(super) usage: ShardUsage,
    pub(super) policy: Box<dyn Policy>,
    pub(super) by_age: bool, // of the policy
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
    pub(crate) fn new(capacity: u64, policy: Box<dyn Policy>) -> Self {
        let by_age = policy.by_age();
        Self { capacity, usage: ShardUsage::default(), policy, by_age }
    }

    /// Tokens that can be reserved: what nobody holds can be evicted.
    pub(super) const fn available(&self) -> u64 {
        self.capacity - self.usage.pending - self.usage.pinned
    }

    pub(super) const fn used(&self) -> u64 {
        self.usage.ready + self.usage.pending
    }
}
