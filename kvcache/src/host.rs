//! Host memory of one worker (L1): full chunks of what the worker computed, beyond what fits on the device.
//!
//! One shard of a flat store of chunks. As LMCache's multi-process L1 does, a use of some chunks of a prompt renews
//! the whole prompt, its head last, and a background eviction keeps part of the memory free.

use crate::chain::Chain;
use crate::shelf::{Eviction, Held, Reserved, Shard, Shelf, Shelved, Uses};
use crate::time::Time;
use crate::units::{Blocks, Tokens};
use alloc::vec;
use alloc::vec::Vec;

/// How an L1 is set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostConfig {
    /// Its size, in bytes.
    pub capacity: u64,
    /// What the KV of one token takes, in bytes.
    pub token_bytes: u64,
    /// Tokens in a chunk: LMCache's `chunk_size`, 256 by default.
    pub chunk: Tokens,
    /// What makes room.
    pub eviction: Eviction,
    /// Above which part of the capacity, in thousandths, more goes than is asked for. 800 in LMCache; 1000: never.
    pub watermark: u16,
    /// How much goes then, in thousandths of what is used. 200 in LMCache.
    pub evict: u16,
    /// For policies that sample.
    pub seed: u64,
}

/// Chunks that are held; they stay until this is given back to [`HostCache::unpin`], which must be done once.
#[derive(Debug)]
#[must_use]
pub struct HostPin(Held);

/// Chunks that are being written; it must be given back to [`HostCache::publish`] once.
#[derive(Debug)]
#[must_use]
pub struct HostWrite {
    held: Held,
    new: Tokens,
}

impl HostWrite {
    /// The first chunk that found no room, or the end of what was asked for.
    #[must_use]
    pub const fn end(&self) -> Blocks {
        self.held.to()
    }

    /// Tokens that are to be copied: of chunks that were neither there nor being written.
    #[must_use]
    pub const fn new_tokens(&self) -> Tokens {
        self.new
    }
}

/// What is in an L1, in tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostUsage {
    /// What fits.
    pub capacity: u64,
    /// In chunks that are there, pinned ones included.
    pub ready: u64,
    /// In chunks that are being written.
    pub pending: u64,
    /// In chunks that are there and held.
    pub pinned: u64,
}

/// The host tier (L1) of one worker.
#[derive(Debug)]
pub struct HostCache {
    config: HostConfig,
    shelf: Shelf,
    skipped: u64,
}

impl HostCache {
    /// An empty L1.
    ///
    /// # Panics
    /// Where a token takes no bytes or a chunk no tokens.
    #[must_use]
    pub fn new(config: HostConfig) -> Self {
        assert!(config.token_bytes > 0 && config.chunk > Tokens::ZERO, "a chunk takes memory");
        let capacity = config.capacity / config.token_bytes;
        let shard = Shard::new(capacity, config.eviction.order(0, capacity, config.seed));
        let shelf = Shelf::new(config.chunk, vec![shard]).with_uses(Uses::Whole);
        Self { config, shelf, skipped: 0 }
    }

    /// The same L1, which tells what comes and goes ([`HostCache::take_told`]).
    #[must_use]
    pub fn telling(self) -> Self {
        Self { shelf: self.shelf.telling(), ..self }
    }

    /// Which chunks came and went since this was asked last, in order.
    pub fn take_told(&mut self) -> Vec<Shelved> {
        self.shelf.take_told()
    }

    /// One chunk is of no use: what lies there is not what it should be. Nothing happens where it is not there.
    pub fn lose_object(&mut self, chain: Chain<'_>, object: Blocks) {
        self.shelf.lose_object(chain, object);
    }

    /// Its set-up.
    #[must_use]
    pub const fn config(&self) -> &HostConfig {
        &self.config
    }

    /// It is `now`: asked for by [`Eviction::Lfu`] alone, whose counters decay.
    pub fn tell(&mut self, now: Time) {
        self.shelf.tell(now);
    }

    /// The end of the consecutive chunks of `chain` that are there from `from` on, at most `to`. Changes nothing.
    #[must_use]
    pub fn find(&self, chain: Chain<'_>, from: Blocks, to: Blocks) -> Blocks {
        debug_assert_eq!(chain.unit(), self.config.chunk, "a chain in chunks");
        self.shelf.find(chain, from, to)
    }

    /// Holds chunks that [`HostCache::find`] found.
    pub fn pin(&mut self, chain: Chain<'_>, from: Blocks, to: Blocks) -> HostPin {
        HostPin(self.shelf.pin(chain, from, to))
    }

    /// Lets go of them: they were used.
    pub fn unpin(&mut self, pin: HostPin) {
        self.shelf.unpin(pin.0);
    }

    /// Begins to write those of the chunks `from..to` that are neither there nor being written, while there is room.
    pub fn reserve(&mut self, chain: Chain<'_>, from: Blocks, to: Blocks) -> HostWrite {
        debug_assert_eq!(chain.unit(), self.config.chunk, "a chain in chunks");
        let Reserved { held, new, skipped, .. } = self.shelf.reserve(chain, from, to, |_| 0, |_, _| ());
        self.skipped += u64::from(skipped.0);
        let used = self.shelf.used(0);
        if used * 1000 > self.shelf.capacity(0) * u64::from(self.config.watermark) {
            self.shelf.evict(0, (used * u64::from(self.config.evict)).div_ceil(1000));
        }
        HostWrite { held, new }
    }

    /// The chunks before `upto` were written, the others will not be.
    pub fn publish(&mut self, write: HostWrite, upto: Blocks) {
        self.shelf.publish(write.held, upto);
    }

    /// What is in it.
    #[must_use]
    pub fn usage(&self) -> HostUsage {
        let usage = self.shelf.usage(0);
        HostUsage { capacity: self.shelf.capacity(0), ready: usage.ready, pending: usage.pending, pinned: usage.pinned }
    }

    /// Tokens evicted since it was made.
    #[must_use]
    pub fn evicted(&self) -> u64 {
        self.shelf.evicted()
    }

    /// Tokens that were to be written and found no room, since it was made.
    #[must_use]
    pub const fn skipped(&self) -> u64 {
        self.skipped
    }

    /// The worker restarts: everything goes. What is still held may be given back or not.
    pub fn clear(&mut self) {
        self.shelf.clear();
    }

    /// Asserts every law of this tier. O(what is in it).
    ///
    /// # Panics
    /// Where one is broken: a bug.
    pub fn check(&self) {
        self.shelf.check();
    }
}
