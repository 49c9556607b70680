//! What a shared pool is made of.

use crate::shelf::Eviction;
use crate::time::Span;
use crate::units::Tokens;

/// Which pool it is: `l2CacheBackend` of the endpoint file. Decides how room is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// A daemon on every node (HyperPod's `ai-toolkit`). How it evicts is not published; what is here is Mooncake's
    /// store: a shard that a put leaves fuller than the watermark evicts a share of its capacity ahead of need.
    TieredStorage {
        /// In thousandths of a shard's capacity; at 1000, room is made on demand only.
        watermark: u16,
        /// How much goes then, in thousandths of a shard's capacity.
        evict: u16,
    },
    /// One Redis: evicts on demand, when a put finds `maxmemory` reached.
    Redis,
}

/// How a pool is set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolConfig {
    /// Tokens in an object (LMCache: 256).
    pub chunk: Tokens,
    /// Bytes of a token's KV, of all tensor-parallel ranks together. The key of a rank's object is
    /// `model@rank@group@hash`, so a daemon can place all objects of a chunk by its hash alone. Here it does: they
    /// share their shard and their fate, and one object stands for all of them.
    pub token_bytes: u64,
    /// Shards: nodes with a daemon, or 1.
    pub shards: u16,
    /// Bytes of a shard.
    pub shard_bytes: u64,
    /// Which pool it is.
    pub backend: Backend,
    /// In which order objects go when room is needed.
    pub eviction: Eviction,
    /// How long a lease that nobody releases pins what it covers.
    pub lease_ttl: Span,
    /// After so long, a put that nobody finished is discarded.
    pub put_ttl: Span,
    /// An object that was not used for so long is gone; with [`Eviction::Fifo`], where uses renew nothing, one that was
    /// written so long ago. `None`: objects go for want of room alone.
    pub ttl: Option<Span>,
    /// Of placement, and of the sampling of [`Eviction::Lfu`].
    pub seed: u64,
}

impl PoolConfig {
    /// `tieredstorage`: chunk, lease and put as LMCache's client and Mooncake's store have them (256 tokens, 30 s, 30
    /// s), watermark 90 %, evicting 5 %, least recently used first.
    #[must_use]
    pub const fn tiered_storage(token_bytes: u64, shards: u16, shard_bytes: u64) -> Self {
        Self {
            chunk: Tokens(256),
            token_bytes,
            shards,
            shard_bytes,
            backend: Backend::TieredStorage { watermark: 900, evict: 50 },
            eviction: Eviction::Lru,
            lease_ttl: Span::from_secs(30),
            put_ttl: Span::from_secs(30),
            ttl: None,
            seed: 0,
        }
    }

    /// `redis`: one instance with `maxmemory` bytes and `allkeys-lfu`, as AWS's sample has it.
    #[must_use]
    pub const fn redis(token_bytes: u64, maxmemory: u64) -> Self {
        Self { backend: Backend::Redis, eviction: Eviction::Lfu, ..Self::tiered_storage(token_bytes, 1, maxmemory) }
    }

    /// Tokens that fit on a shard.
    #[must_use]
    pub const fn shard_tokens(&self) -> u64 {
        self.shard_bytes / self.token_bytes
    }
}
