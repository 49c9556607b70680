//! Clusters and servers to test with.

use driver::emulate::clock::TimeScale;
use driver::emulate::{Emulator, Settings};
use kvcache::{
    Blocks, BreakerConfig, CacheConfig, Choice, Deadline, Duplicates, Eviction, HostConfig, LoadMode, PoolConfig, Span,
    StoreMode, TierConfig, Tokens,
};
use router::{Router, RouterConfig, Strategy};
use sim::cluster::Cluster;
use sim::cost::{CostModel, Segment, Shape};
use sim::replica::EngineConfig;
use sim::transport::{PoolAccess, ProbeMode, TransportConfig};

/// Passes that cost so much, and so much per new token and per token of context.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Linear {
    pub(crate) pass: Span,
    pub(crate) token: Span,
    pub(crate) context: Span,
}

impl CostModel for Linear {
    fn segment(&self, shape: &Shape) -> Segment {
        Segment::line(self.pass + self.token * shape.tokens, self.context)
    }
}

/// What a cluster is made of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct World {
    pub(crate) workers: u16,
    pub(crate) strategy: Strategy,
    pub(crate) capacity: Blocks,
    pub(crate) max_model_len: Tokens,
    pub(crate) async_scheduling: bool,
    /// L1 and L2, and what the engine does while they load; `None`: there is the device alone.
    pub(crate) lower: Option<LoadMode>,
    pub(crate) cost: Linear,
}

impl World {
    /// Passes of 2 ms and 20 us per new token; caches in which everything fits.
    pub(crate) const fn new(workers: u16, strategy: Strategy) -> Self {
        let cost = Linear { pass: Span::from_millis(2), token: Span::from_micros(20), context: Span::from_nanos(100) };
        let (capacity, max_model_len) = (Blocks(10_000), Tokens(4096));
        Self { workers, strategy, capacity, max_model_len, async_scheduling: false, lower: None, cost }
    }

    pub(crate) fn cluster(&self) -> Cluster {
        let engine = EngineConfig {
            max_num_seqs: 64,
            max_num_batched_tokens: Tokens(512),
            max_model_len: self.max_model_len,
            chunked_prefill: true,
            long_prefill_token_threshold: None,
            max_num_partial_prefills: 1,
            reserve_full_isl: false,
            async_scheduling: self.async_scheduling,
            max_repeats: 1,
            record_work: true,
            tiers: self.lower.map(tiers),
            cache: CacheConfig {
                capacity: self.capacity,
                block: Tokens(16),
                prefix_caching: true,
                duplicates: Duplicates::Keep,
                events: true,
            },
        };
        let router = Router::new(RouterConfig::new(self.strategy, self.workers));
        Cluster::new(self.workers, engine, router, Box::new(self.cost), self.lower.map(|_| transport())).expect("valid")
    }

    pub(crate) fn settings(&self) -> Settings {
        Settings::new("toy", self.strategy)
    }

    pub(crate) fn serve(self, settings: Settings) -> Emulator {
        Emulator::spawn(move || self.cluster(), settings).expect("a server")
    }
}

const CHUNK: Tokens = Tokens(64);
const TOKEN_BYTES: u64 = 1000;

/// An L1 of 12 chunks, and an L2.
fn tiers(load: LoadMode) -> TierConfig {
    let capacity = 12 * u64::from(CHUNK.0) * TOKEN_BYTES;
    let host = HostConfig {
        capacity,
        token_bytes: TOKEN_BYTES,
        chunk: CHUNK,
        eviction: Eviction::Lru,
        watermark: 800,
        evict: 200,
        seed: 0,
    };
    TierConfig {
        chunk: CHUNK,
        host: Some(host),
        pool: true,
        load,
        store: StoreMode::Blocking,
        choice: Choice::Always,
        save_unfull_chunk: false,
        save_decode_cache: false,
        min_retrieve: Tokens::ZERO,
        deadline: Deadline::default(),
        breaker: BreakerConfig::default(),
    }
}

fn transport() -> TransportConfig {
    let pool = PoolConfig { chunk: CHUNK, ..PoolConfig::tiered_storage(TOKEN_BYTES, 3, 1 << 30) };
    let access = PoolAccess {
        pool,
        bytes_per_s: 100e6,
        round_trip: Span::from_micros(300),
        miss_wait: Span::ZERO,
        probe: ProbeMode::Sequential,
        in_flight: 4,
    };
    TransportConfig {
        token_bytes: TOKEN_BYTES,
        host_bytes_per_s: 200e6,
        nic_bytes_per_s: 100e6,
        workers_per_node: 1,
        pool: Some(access),
    }
}

/// A server of two workers in turn, modelled time `scale` times as fast as the wall's.
pub(crate) fn server(scale: f64) -> Emulator {
    let world = World::new(2, Strategy::RoundRobin);
    world.serve(Settings { time_scale: TimeScale::try_from(scale).expect("valid"), ..world.settings() })
}
