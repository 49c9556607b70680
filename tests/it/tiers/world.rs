//! Clusters with tiers: Llama-3.1-70B on H100 nodes, as in the examples, or anything small.

use kvcache::{
    Blocks, BreakerConfig, CacheConfig, Choice, Deadline, Duplicates, Eviction, HostConfig, LoadMode, PoolConfig, Span,
    StoreMode, TierConfig, Tokens,
};
use router::{Api, Router, RouterConfig, Strategy};
use sim::cluster::{Cluster, Event};
use sim::cost::CostModel;
use sim::ledger::Ledger;
use sim::replica::EngineConfig;
use sim::simulate::{Path, simulate};
use sim::transport::{PoolAccess, ProbeMode, TransportConfig};
use sim::workload::Workload;

/// A cluster in numbers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct World {
    pub(crate) workers: u16,
    pub(crate) strategy: Strategy,
    pub(crate) engine: EngineConfig,
    pub(crate) transport: TransportConfig,
}

/// Bytes of a token's KV in the small worlds.
pub(crate) const TOKEN_BYTES: u64 = 1000;

pub(crate) fn tiers(host: Option<u64>, pool: bool) -> TierConfig {
    TierConfig {
        chunk: Tokens(256),
        host: host.map(|tokens| HostConfig {
            capacity: tokens * TOKEN_BYTES,
            token_bytes: TOKEN_BYTES,
            chunk: Tokens(256),
            eviction: Eviction::Lru,
            watermark: 1000,
            evict: 200,
            seed: 1,
        }),
        pool,
        load: LoadMode::Blocking,
        store: StoreMode::Overlapped,
        choice: Choice::Always,
        save_unfull_chunk: false,
        save_decode_cache: false,
        min_retrieve: Tokens(0),
        deadline: Deadline::default(),
        breaker: BreakerConfig::default(),
    }
}

pub(crate) fn pool(shards: u16, shard_tokens: u64) -> PoolAccess {
    PoolAccess {
        pool: PoolConfig::tiered_storage(TOKEN_BYTES, shards, shard_tokens * TOKEN_BYTES),
        bytes_per_s: 10e9,
        round_trip: Span::from_micros(500),
        miss_wait: Span::ZERO,
        probe: ProbeMode::Sequential,
        in_flight: 4,
    }
}

impl World {
    /// `workers` workers with `blocks` device blocks each, and nothing below.
    pub(crate) fn new(workers: u16, blocks: u32) -> Self {
        Self {
            workers,
            strategy: Strategy::RoundRobin,
            engine: EngineConfig {
                max_num_seqs: 256,
                max_num_batched_tokens: Tokens(8192),
                max_model_len: Tokens(131_072),
                chunked_prefill: true,
                long_prefill_token_threshold: None,
                max_num_partial_prefills: 1,
                reserve_full_isl: true,
                async_scheduling: false,
                max_repeats: 1 << 14,
                record_work: false,
                cache: CacheConfig {
                    capacity: Blocks(blocks),
                    block: Tokens(16),
                    prefix_caching: true,
                    duplicates: Duplicates::Keep,
                    events: false,
                },
                tiers: None,
            },
            transport: TransportConfig {
                token_bytes: TOKEN_BYTES,
                host_bytes_per_s: 25e9,
                nic_bytes_per_s: 12.5e9,
                workers_per_node: 1,
                pool: None,
            },
        }
    }

    pub(crate) fn with(mut self, tiers: TierConfig, pool: Option<PoolAccess>) -> Self {
        self.engine.tiers = Some(tiers);
        self.transport.pool = pool;
        self
    }

    pub(crate) fn cluster(&self, model: impl CostModel + 'static) -> Cluster {
        let router = Router::new(RouterConfig::new(self.strategy, self.workers));
        Cluster::new(self.workers, self.engine, router, Box::new(model), Some(self.transport)).expect("valid settings")
    }

    /// Runs a workload, all laws asserted at the end.
    pub(crate) fn run(&self, model: impl CostModel + 'static, workload: &Workload) -> (Ledger, Cluster) {
        let mut cluster = self.cluster(model);
        let ledger = self.run_on(&mut cluster, workload);
        (ledger, cluster)
    }

    /// The same on a cluster that was made before.
    pub(crate) fn run_on(&self, cluster: &mut Cluster, workload: &Workload) -> Ledger {
        let ledger = Self::serve(cluster, workload);
        assert!(pins_nothing(cluster), "every lease is released, every put ended");
        ledger
    }

    /// The same where workers may die, and leave something behind in the pool.
    pub(crate) fn serve(cluster: &mut Cluster, workload: &Workload) -> Ledger {
        let path = Path { latency: Span::ZERO, api: Api::Completions, names_session: true };
        let ledger = simulate(workload, cluster, path, |_: &Event| {}).expect("it ends in time");
        ledger.check();
        cluster.check();
        ledger
    }
}

/// Whether nothing in the pool is leased or being put.
pub(crate) fn pins_nothing(cluster: &Cluster) -> bool {
    let pool = cluster.transport().and_then(|transport| transport.pool());
    pool.is_none_or(|pool| (0..pool.config().shards).all(|shard| pool.usage(shard).pinned == 0))
}

/// What a worker that died had leased, or begun to put, is over in time.
pub(crate) fn outlast_the_dead(cluster: &mut Cluster) {
    let now = cluster.now() + Span::from_secs(31);
    cluster.advance(now);
    if let Some(pool) = cluster.transport_mut().and_then(|transport| transport.pool_mut()) {
        pool.timeout(now);
        pool.check();
    }
    assert!(pins_nothing(cluster), "every lease and every put is over");
}
