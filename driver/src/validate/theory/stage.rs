//! A cluster set up as a system of theory: the simulator's own router, engines, caches and links, on workers whose speed is
//! known. Faults come in here, and nowhere else in what is simulated.

use super::fault::Fault;
use super::law::Bench;
use kvcache::{Blocks, CacheConfig, Duplicates, Eviction, Span, TierConfig, Time, Tokens};
use router::{Api, Router, RouterConfig, Strategy};
use sim::cluster::Cluster;
use sim::cost::linear::Linear;
use sim::ledger::{Ledger, Record};
use sim::replica::EngineConfig;
use sim::simulate::{Path, simulate};
use sim::transport::TransportConfig;
use sim::workload::{Pacing, Workload};

/// Most tokens of a prompt and its reply, where nothing is cached: more than the generators draw.
const LONGEST: Tokens = Tokens(1 << 20);

/// A cluster.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stage {
    pub(super) workers: u16,
    pub(super) strategy: Strategy,
    /// Requests that a worker serves at a time.
    pub(super) seats: u32,
    pub(super) model: Linear,
    pub(super) cache: CacheConfig,
    pub(super) longest: Tokens,
    pub(super) tiers: Option<(TierConfig, TransportConfig)>,
    /// Between client and router, of no capacity.
    pub(super) latency: Span,
    /// Under [`Fault::Idle`], how often the gateway looks.
    pub(super) tick: Span,
}

impl Stage {
    /// Workers without a prefix cache, whose seats have all the memory they want.
    pub(super) fn queues(workers: u16, seats: u32, model: Linear) -> Self {
        let block = Tokens(64);
        Self {
            workers,
            strategy: Strategy::RoundRobin,
            seats,
            model,
            cache: CacheConfig {
                capacity: Blocks(seats * (LONGEST.0 / block.0 + 1)),
                block,
                prefix_caching: false,
                duplicates: Duplicates::Keep,
                events: false,
            },
            longest: LONGEST,
            tiers: None,
            latency: Span::ZERO,
            tick: Span::ZERO,
        }
    }

    /// Workers that compute one prompt at a time, in a millisecond, and keep `blocks` blocks of `block` tokens.
    pub(super) fn caches(workers: u16, blocks: u32, block: Tokens, longest: Tokens) -> Self {
        let model = Linear { per_pass: Span::from_millis(1), ..Linear::default() };
        Self {
            cache: CacheConfig {
                capacity: Blocks(blocks),
                block,
                prefix_caching: true,
                duplicates: Duplicates::Keep,
                events: false,
            },
            longest,
            ..Self::queues(workers, 1, model)
        }
    }

    pub(super) fn routed(self, strategy: Strategy) -> Self {
        Self { strategy, ..self }
    }

    /// The cluster, with what is wrong with it.
    pub(super) fn cluster(&self, bench: &Bench) -> Cluster {
        let paced = |span: Span| Span((span.0 as f64 * bench.pace()).round() as u64);
        let occupied = if bench.has(Fault::Latency) { self.latency } else { Span::ZERO };
        let model = Linear {
            per_pass: paced(self.model.per_pass),
            per_token: paced(self.model.per_token),
            per_prompt: paced(self.model.per_prompt) + occupied,
        };
        let engine = EngineConfig {
            max_num_seqs: self.seats,
            max_num_batched_tokens: self.longest,
            max_model_len: self.longest,
            chunked_prefill: true,
            long_prefill_token_threshold: None,
            max_num_partial_prefills: 1,
            reserve_full_isl: true,
            async_scheduling: false,
            max_repeats: 1 << 30,
            record_work: false,
            cache: self.cache,
            tiers: self.tiers.map(|(tiers, _)| with_eviction(tiers, bench)),
        };
        let router = Router::new(RouterConfig {
            seed: bench.seed,
            block: self.cache.block,
            chunk: self.cache.block,
            ..RouterConfig::new(routed(self.strategy, bench), self.workers)
        });
        let transport = self.tiers.map(|(_, ways)| with_pool(ways, bench));
        Cluster::new(self.workers, engine, router, Box::new(model), transport)
            .expect("the stages are set up as engines are")
    }

    /// Serves a workload. Times of sending are the clients'.
    pub(super) fn serve(&self, bench: &Bench, workload: &Workload) -> Ledger {
        let latency = if bench.has(Fault::Latency) { Span::ZERO } else { self.latency };
        let path = Path { latency, api: Api::Completions, names_session: true };
        let mut cluster = self.cluster(bench);
        simulate(workload, &mut cluster, path, |_| {}).expect("the stages play within the horizon")
    }

    /// The time that each request of an open workload took beyond `service(request)`, in seconds: from when its client sent it,
    /// without the latency of the way.
    pub(super) fn waits(&self, bench: &Bench, workload: &Workload, service: impl Fn(&Record) -> f64) -> Vec<f64> {
        let idles = bench.has(Fault::Idle) && self.tick > Span::ZERO;
        let ledger = if idles { self.serve(bench, &ticked(workload, self.tick)) } else { self.serve(bench, workload) };
        let wait = |(number, record): (usize, &Record)| {
            let sent = workload.requests()[ledger.place(number)].at;
            let took = record.last_token.expect("nothing is refused here").since(sent);
            took.as_secs_f64() - self.latency.as_secs_f64() - service(record)
        };
        ledger.records().iter().enumerate().map(wait).collect()
    }
}

/// The same requests, each handed on at the next tick.
fn ticked(workload: &Workload, tick: Span) -> Workload {
    let mut late = Workload::new(Pacing::Open);
    for request in workload.requests() {
        let at = Time(request.at.0.next_multiple_of(tick.0));
        late.push(at, request.session, workload.segments(request), request.output);
    }
    late
}

fn routed(strategy: Strategy, bench: &Bench) -> Strategy {
    match strategy {
        strategy if !bench.has(Fault::Routing) => strategy,
        Strategy::LeastLoaded => Strategy::Random,
        Strategy::TwoChoices => Strategy::RoundRobin,
        Strategy::Random => Strategy::LeastLoaded,
        Strategy::RoundRobin => Strategy::PrefixAware,
        Strategy::PrefixAware => Strategy::RoundRobin,
        other => other,
    }
}

fn evicted(eviction: Eviction, bench: &Bench) -> Eviction {
    match eviction {
        Eviction::Lru if bench.has(Fault::Eviction) => Eviction::Fifo,
        Eviction::Fifo if bench.has(Fault::Eviction) => Eviction::Lru,
        other => other,
    }
}

fn with_eviction(mut tiers: TierConfig, bench: &Bench) -> TierConfig {
    if let Some(host) = &mut tiers.host {
        host.eviction = evicted(host.eviction, bench);
    }
    tiers
}

fn with_pool(mut ways: TransportConfig, bench: &Bench) -> TransportConfig {
    ways.host_bytes_per_s /= bench.pace();
    if let Some(access) = &mut ways.pool {
        access.pool.eviction = evicted(access.pool.eviction, bench);
        access.pool.seed = bench.seed;
        if bench.has(Fault::Ttl) {
            access.pool.ttl = access.pool.ttl.map(|ttl| Span(ttl.0 / 100 * 105));
        }
    }
    ways
}
