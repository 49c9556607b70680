//! How a daemon's store is set up.

use crate::shelf::Eviction;
use crate::time::Span;

/// What is done with a lease on an object that is not there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Hold {
    /// It waits for as long as its client allows, whoever may bring the object.
    #[default]
    Always,
    /// It waits only while somebody is bringing it: a put is under way.
    Pending,
}

/// How a daemon's store is set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeConfig {
    /// Bytes of the segment; what is no whole block at its end is not used.
    pub bytes: u64,
    /// Bytes of a block: an object takes whole ones.
    pub block: u32,
    /// In which order objects go when room is needed.
    pub eviction: Eviction,
    /// A put that leaves the segment fuller than this, in thousandths of it, makes room ahead of need; at 1000, room is made
    /// on demand only.
    pub watermark: u16,
    /// How much goes then, in thousandths of the segment.
    pub evict: u16,
    /// After so long, a put that nobody finished is discarded.
    pub put_ttl: Span,
    /// Leases under way, and waits for one, at most: each of both.
    pub leases: u32,
    /// What is done with a lease on what is not there.
    pub hold: Hold,
    /// Of the sampling of [`Eviction::Lfu`].
    pub seed: u64,
}

impl NodeConfig {
    /// A segment of `bytes` in blocks of 64 KiB, by the rules of [`crate::PoolConfig::tiered_storage`]: least recently used
    /// first, 5 % go at 90 %, puts are discarded after 30 s.
    #[must_use]
    pub const fn new(bytes: u64) -> Self {
        Self {
            bytes,
            block: 64 << 10,
            eviction: Eviction::Lru,
            watermark: 900,
            evict: 50,
            put_ttl: Span::from_secs(30),
            leases: 1 << 20,
            hold: Hold::Always,
            seed: 0,
        }
    }

    /// Blocks of the segment.
    ///
    /// # Panics
    /// Where a block has no bytes, or there are not 1 to 2^32 - 1 blocks.
    #[must_use]
    pub const fn blocks(&self) -> u32 {
        let blocks = self.bytes / self.block as u64;
        assert!(blocks > 0 && blocks < u32::MAX as u64, "a segment has 1 to 2^32 - 1 blocks");
        blocks as u32
    }
}
