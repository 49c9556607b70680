//! Clusters and servers to test with.

use driver::emulate::clock::TimeScale;
use driver::emulate::{Emulator, Settings};
use kvcache::{Blocks, CacheConfig, Duplicates, Span, Tokens};
use router::{Router, RouterConfig, Strategy};
use sim::cluster::Cluster;
use sim::cost::{CostModel, Segment, Shape};
use sim::replica::EngineConfig;

/// Passes that cost so much, and so much per new token and per token of context.
#[derive(Clone, Copy, Debug)]
pub(super) struct Linear {
    pub(super) pass: Span,
    pub(super) token: Span,
    pub(super) context: Span,
}

impl CostModel for Linear {
    fn segment(&self, shape: &Shape) -> Segment {
        Segment { base: self.pass + self.token * shape.tokens, slope: self.context, valid_to: u64::MAX }
    }
}

/// What a cluster is made of.
#[derive(Clone, Copy, Debug)]
pub(super) struct World {
    pub(super) workers: u16,
    pub(super) strategy: Strategy,
    pub(super) capacity: Blocks,
    pub(super) max_model_len: Tokens,
    pub(super) async_scheduling: bool,
    pub(super) cost: Linear,
}

impl World {
    /// Passes of 2 ms and 20 us per new token; caches in which everything fits.
    pub(super) const fn new(workers: u16, strategy: Strategy) -> Self {
        let cost = Linear { pass: Span::from_millis(2), token: Span::from_micros(20), context: Span::from_nanos(100) };
        let (capacity, max_model_len) = (Blocks(10_000), Tokens(4096));
        Self { workers, strategy, capacity, max_model_len, async_scheduling: false, cost }
    }

    pub(super) fn cluster(&self) -> Cluster {
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
            tiers: None,
            cache: CacheConfig {
                capacity: self.capacity,
                block: Tokens(16),
                prefix_caching: true,
                duplicates: Duplicates::Keep,
                events: true,
            },
        };
        let router = Router::new(RouterConfig::new(self.strategy, self.workers));
        Cluster::new(self.workers, engine, router, Box::new(self.cost), None).expect("valid")
    }

    pub(super) fn settings(&self) -> Settings {
        Settings::new("toy", self.strategy)
    }

    pub(super) fn serve(self, settings: Settings) -> Emulator {
        Emulator::spawn(move || self.cluster(), settings).expect("a server")
    }
}

/// A server of two workers in turn, modelled time `scale` times as fast as the wall's.
pub(super) fn server(scale: f64) -> Emulator {
    let world = World::new(2, Strategy::RoundRobin);
    world.serve(Settings { time_scale: TimeScale::try_from(scale).expect("valid"), ..world.settings() })
}
