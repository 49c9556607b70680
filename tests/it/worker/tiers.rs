//! L1 and L2 for real: bytes leave a worker by the core's decisions, lie in host memory, and come to it or to another. Whoever
//! is served from any tier has the bits of a cold run.

use super::bench::{Bench, Sequence, model, prompt};
use kvcache::{
    Blocks, BreakerConfig, CacheConfig, Choice, Deadline, Duplicates, Eviction, HostConfig, Identity, LoadMode, Piece,
    PoolConfig, RequestId, Salt, Span, StoreMode, TierConfig, Time, Tokens, WorkerId,
};
use router::{Api, Router, RouterConfig, Strategy};
use sim::cluster::{Arrival, Cluster, Event};
use sim::cost::{CostModel, Segment, Shape};
use sim::executor::Stretch;
use sim::replica::{EngineConfig, Output};
use sim::streams::Streams;
use sim::transport::{PoolAccess, ProbeMode, TransportConfig, Way};
use std::collections::BTreeMap;
use worker::block::HEADER;
use worker::depot::Depot;
use worker::engine::{Ask, Memory, Reply, Sampling, Worker};
use worker::kernel::Level;

const BLOCK: Tokens = Tokens(16);
const CHUNK: Tokens = Tokens(32);
/// Of the tiny model: 2 layers, keys and values of 2 heads of 64, halves; and its share of a block's header.
const TOKEN_BYTES: u64 = 2 * 2 * 2 * 64 * 2 + HEADER as u64 / 16 + 1;

#[derive(Debug)]
struct PerToken;

impl CostModel for PerToken {
    fn segment(&self, shape: &Shape) -> Segment {
        Segment::line(Span::from_millis(1) + Span::from_micros(20) * shape.tokens, Span::ZERO)
    }
}

/// How much the tiers hold, in tokens, and how they are used.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tiers {
    pub(super) pages: u32,
    pub(super) host: u64,
    pub(super) pool: u64,
    pub(super) load: LoadMode,
    pub(super) tails: bool,
    pub(super) breaker: BreakerConfig,
}

pub(super) const ROOMY: Tiers = Tiers {
    pages: 44,
    host: 4000,
    pool: 8000,
    load: LoadMode::Blocking,
    tails: true,
    breaker: BreakerConfig { failures: 3, probe_every: Span::from_secs(5), silence: Span::from_secs(1) },
};

pub(super) fn cluster(workers: u16, tiers: Tiers) -> Cluster {
    let host = HostConfig {
        capacity: tiers.host * TOKEN_BYTES,
        token_bytes: TOKEN_BYTES,
        chunk: CHUNK,
        eviction: Eviction::Lru,
        watermark: 1000,
        evict: 200,
        seed: 0,
    };
    let config = TierConfig {
        chunk: CHUNK,
        host: (tiers.host > 0).then_some(host),
        pool: tiers.pool > 0,
        load: tiers.load,
        store: StoreMode::Blocking,
        choice: Choice::Always,
        save_unfull_chunk: tiers.tails,
        save_decode_cache: false,
        min_retrieve: Tokens::ZERO,
        deadline: Deadline::default(),
        breaker: tiers.breaker,
    };
    let engine = EngineConfig {
        max_num_seqs: 6,
        max_num_batched_tokens: Tokens(96),
        max_model_len: Tokens(700),
        chunked_prefill: true,
        long_prefill_token_threshold: None,
        max_num_partial_prefills: 1,
        reserve_full_isl: false,
        async_scheduling: false,
        max_repeats: 1,
        record_work: true,
        tiers: Some(config),
        cache: CacheConfig {
            capacity: Blocks(tiers.pages),
            block: BLOCK,
            prefix_caching: true,
            duplicates: Duplicates::Keep,
            events: true,
        },
    };
    let pool = PoolConfig { chunk: CHUNK, ..PoolConfig::tiered_storage(TOKEN_BYTES, 1, tiers.pool * TOKEN_BYTES) };
    let access = PoolAccess {
        pool,
        bytes_per_s: 1e12,
        round_trip: Span::ZERO,
        miss_wait: Span::ZERO,
        probe: ProbeMode::Batched,
        in_flight: 8,
    };
    let ways = TransportConfig {
        token_bytes: TOKEN_BYTES,
        host_bytes_per_s: 1e12,
        nic_bytes_per_s: 1e12,
        workers_per_node: workers,
        pool: (tiers.pool > 0).then_some(access),
    };
    let router = Router::new(RouterConfig::new(Strategy::RoundRobin, workers));
    Cluster::new(workers, engine, router, Box::new(PerToken), Some(ways)).expect("valid")
}

/// A request: when, which tokens, how many to emit.
#[derive(Clone, Debug)]
struct Asked {
    at: Time,
    tokens: Vec<u32>,
    output: Tokens,
}

fn pieces(tokens: &[u32], number: u64, output: Tokens) -> Vec<Piece> {
    let salt = Salt::for_tenant("", None).expect("no client chose one");
    let mut hash = Identity { model: "tiny", dtype: "f16", block: BLOCK, salt: &salt, adapter: "" }.root();
    let (mut pieces, mut end) = (Vec::new(), Tokens::ZERO);
    for block in tokens.chunks(BLOCK.0 as usize) {
        hash = hash.then(block);
        end += Tokens(block.len() as u32);
        pieces.push(Piece { key: hash.piece_key(), end });
    }
    let last = pieces.last().expect("a prompt is not empty").key;
    pieces.push(Piece { key: last.then(end, number), end: end + output });
    pieces
}

/// Workers, what is below them, and what came out.
struct Stack {
    cluster: Cluster,
    workers: Vec<Worker>,
    depot: Depot,
    tiers: Tiers,
    asked: Vec<Asked>,
    /// By request: tokens emitted, and the bits of the scores that each was drawn from.
    emitted: BTreeMap<RequestId, Vec<(u32, Vec<u32>)>>,
    /// Prompt tokens by tier, and preemptions.
    found: [u64; 3],
    preempted: u64,
    by_request: BTreeMap<RequestId, [u64; 3]>,
}

impl Stack {
    fn new(workers: u16, tiers: Tiers) -> Self {
        let memory = Memory { block: BLOCK, pages: tiers.pages };
        let worker = |_| Worker::new(model(), memory, Level::detect(), 1).expect("no thread is needed");
        Self {
            cluster: cluster(workers, tiers).with_external_passes(),
            workers: (0..workers).map(worker).collect(),
            depot: Depot::new(workers),
            tiers,
            asked: Vec::new(),
            emitted: BTreeMap::new(),
            found: [0; 3],
            preempted: 0,
            by_request: BTreeMap::new(),
        }
    }

    fn play(mut self, script: Vec<Asked>) -> Self {
        for asked in script {
            self.ask(asked);
        }
        self.rest();
        self
    }

    fn ask(&mut self, asked: Asked) -> RequestId {
        self.until(Some(asked.at.max(self.cluster.now())));
        let request = RequestId(self.asked.len() as u64);
        let pieces = pieces(&asked.tokens, request.0, asked.output);
        let (prompt, output) = (Tokens(asked.tokens.len() as u32), asked.output);
        self.asked.push(asked);
        self.cluster.arrive(&Arrival {
            request,
            session: None,
            pieces: &pieces,
            prompt,
            output,
            api: Api::Completions,
        });
        self.hear();
        request
    }

    /// Until nothing happens any more: then every law of pages and bytes holds.
    fn rest(&mut self) {
        self.until(None);
        self.cluster.check();
        for (number, (worker, replica)) in self.workers.iter().zip(self.cluster.replicas()).enumerate() {
            assert_eq!((worker.tables().live(), replica.live()), (0, 0), "nobody is left");
            worker.tables().check(replica.cache().device().usage());
            let ready = replica.cache().host().map_or(0, |host| host.usage().ready);
            let (objects, of) = (self.depot.objects(Some(WorkerId(number as u16))) as u64, u64::from(CHUNK.0));
            assert!(ready.div_ceil(of) <= objects && objects <= ready, "L1 has {objects} objects of {ready} tokens");
        }
        if self.tiers.tails {
            return; // part of a block is counted by its tokens, and takes a block
        }
        assert!(self.depot.pool_bytes() <= self.tiers.pool * TOKEN_BYTES, "L2 is bounded");
        let hosts = self.tiers.host * TOKEN_BYTES * self.workers.len() as u64;
        assert!(self.depot.host_bytes() <= hosts, "L1 is bounded");
    }

    fn until(&mut self, to: Option<Time>) {
        while let Some(due) = self.cluster.next_due().filter(|due| to.is_none_or(|to| *due < to)) {
            self.cluster.advance(due);
            self.hear();
        }
        if let Some(to) = to {
            self.cluster.advance(to);
            self.hear();
        }
    }

    fn hear(&mut self) {
        while let Some(event) = self.cluster.poll() {
            match event {
                Event::Routed { request, decision, .. } => {
                    let asked = &self.asked[request.0 as usize];
                    let pieces = pieces(&asked.tokens, request.0, asked.output);
                    let ask = Ask { tokens: asked.tokens.clone(), pieces, reply: Reply::Drawn(Sampling::GREEDY) };
                    self.workers[decision.worker.index()].submit(request, ask);
                }
                Event::Cache { worker, told } => self.workers[worker.index()].hear_cache(&told),
                Event::Output { worker, output } => self.output(worker, &output),
                Event::Move(asked) => {
                    let parcels = self.depot.begin(&asked);
                    let (came, parcels) = self.workers[asked.worker.index()].carry(&asked, parcels);
                    self.depot.left(asked.worker, asked.op, parcels);
                    self.cluster.moved(asked.worker, asked.op, came);
                }
                Event::Moved { worker, op } => self.depot.end(worker, op),
                Event::Shelved { worker, told } => self.depot.hear(worker, &told),
                Event::LetGo { worker, request } => self.workers[worker.index()].let_go(request),
                Event::Started { worker, pass, work, .. } => {
                    let emitted = &mut self.emitted;
                    let mut scores = Vec::new();
                    let seen = |_, values: &[f32]| scores.push(values.iter().map(|value| value.to_bits()).collect());
                    let said = self.workers[worker.index()].run_seen(&work, seen);
                    for ((request, token), scores) in said.into_iter().zip(scores) {
                        emitted.entry(request).or_default().push((token, scores));
                    }
                    self.cluster.lasted(worker, Stretch::begin(&PerToken, &pass, self.cluster.now()).first);
                }
                Event::Refused { refusal, .. } => panic!("{refusal}"),
                _ => {}
            }
        }
    }

    fn output(&mut self, worker: WorkerId, output: &Output) {
        self.workers[worker.index()].hear(output);
        match *output {
            Output::Admitted { request, cached, .. } => {
                self.by_request.entry(request).or_default()[0] = u64::from(cached.0);
                self.found[0] += u64::from(cached.0);
            }
            Output::Loaded { request, host, pool, .. } => {
                let found = self.by_request.entry(request).or_default();
                (found[1], found[2]) = (u64::from(host.0), u64::from(pool.0));
                self.found[1] += u64::from(host.0);
                self.found[2] += u64::from(pool.0);
            }
            Output::Preempted { .. } => self.preempted += 1,
            _ => {}
        }
    }

    /// Every reply has the tokens of a cold worker that serves it alone, and each token the bits of its scores.
    fn check(&self) {
        for (number, asked) in self.asked.iter().enumerate() {
            let emitted = &self.emitted[&RequestId(number as u64)];
            let cold = alone(asked);
            assert_eq!(emitted.len(), cold.len(), "request {number}");
            for (place, (warm, cold)) in emitted.iter().zip(&cold).enumerate() {
                assert!(warm == cold, "request {number}, {} tokens: token {place} has other bits", asked.tokens.len());
            }
        }
    }
}

/// What a cold worker emits that serves this request alone, its prompt at once.
fn alone(asked: &Asked) -> Vec<(u32, Vec<u32>)> {
    let pages = (asked.tokens.len() + asked.output.0 as usize).div_ceil(16);
    let mut bench = Bench::new(&model(), 16, pages, 1);
    let mut sequence = Sequence::new(asked.tokens.clone(), 0..pages as u32);
    let mut emitted = Vec::new();
    for _ in 0..asked.output.0 {
        let left = sequence.tokens.len() - sequence.computed;
        let scores = bench.pass(&mut [(&mut sequence, left)]).remove(0);
        let best = scores.iter().map(|bits| f32::from_bits(*bits)).enumerate();
        let best = best.max_by(|(i, a), (j, b)| a.total_cmp(b).then(j.cmp(i))).expect("a vocabulary").0 as u32;
        sequence.tokens.push(best);
        emitted.push((best, scores));
    }
    emitted
}

/// Bursts of prompts of 1 to 600 tokens that begin alike, many of them at edges of blocks and chunks.
fn script(seed: u64) -> Vec<Asked> {
    let mut draws = Streams::new(seed).named("script");
    let (mut all, mut at) = (Vec::new(), Time::ZERO);
    for _ in 0..7 {
        at += Span::from_millis(draws.below(80));
        for _ in 0..1 + draws.below(5) {
            let length = match draws.below(3) {
                0 => 1 + draws.below(600),
                _ => (16 * (1 + draws.below(37)) + draws.below(3)).saturating_sub(1).max(1),
            };
            let tokens = prompt(600, 257, draws.below(3))[..length as usize].to_vec();
            all.push(Asked { at, tokens, output: Tokens(1 + draws.below(5) as u32) });
        }
    }
    all
}

#[test]
fn whoever_is_served_from_any_tier_has_the_bits_of_a_cold_run() {
    let (mut found, mut preempted) = ([0; 3], 0);
    for seed in 0..6 {
        let load = [LoadMode::Blocking, LoadMode::Overlapped, LoadMode::Layerwise][seed as usize % 3];
        // Devices that hold little more than one prompt, and an L1 that overflows, too.
        let tiers = Tiers { load, tails: seed % 2 == 0, host: 700, pool: 2500, ..ROOMY };
        let stack = Stack::new(2, tiers).play(script(seed));
        stack.check();
        found = core::array::from_fn(|tier| found[tier] + stack.found[tier]);
        preempted += stack.preempted;
    }
    assert!(found.iter().all(|tokens| *tokens > 400), "each tier is to serve: {found:?}");
    assert!(preempted > 0, "devices are to overflow");
}

/// One prompt, sent to one worker, then to the other.
fn twice(length: usize, between: impl FnOnce(&mut Stack)) -> [u64; 3] {
    let mut stack = Stack::new(2, ROOMY);
    let asked = Asked { at: Time::ZERO, tokens: prompt(length, 257, 5), output: Tokens(3) };
    stack.ask(asked.clone());
    stack.rest();
    between(&mut stack);
    let again = stack.ask(asked);
    stack.rest();
    stack.check();
    stack.by_request[&again]
}

#[test]
fn what_one_worker_computed_the_other_loads_from_l2() {
    for length in [33, 64, 65, 200, 255, 256, 257, 600] {
        let found = twice(length, |_| ());
        assert_eq!(
            found,
            [0, 0, length as u64 - 1],
            "{length} tokens: all but the last, which is computed in any case"
        );
    }
}

#[test]
fn bytes_that_are_not_what_they_should_be_are_a_miss() {
    let found = twice(300, |stack| stack.depot.spoil(None));
    assert_eq!(found, [0, 0, 0], "nothing of it is used, and the reply is right");
}

#[test]
fn what_is_spoiled_is_gone_and_is_stored_anew() {
    let mut stack = Stack::new(1, ROOMY);
    let asked = |at| Asked { at: Time(at), tokens: prompt(128, 257, 5), output: Tokens(2) };
    stack.ask(asked(0));
    stack.rest();
    // Other prompts take its place on the device.
    for seed in 20..26 {
        stack.ask(Asked { tokens: prompt(300, 257, seed), ..asked(0) });
        stack.rest();
    }
    stack.depot.spoil(Some(WorkerId(0)));
    stack.depot.spoil(None);
    let spoiled = stack.ask(asked(0));
    stack.rest();
    assert_eq!(stack.by_request[&spoiled][1..], [0, 0]);
    for seed in 20..26 {
        stack.ask(Asked { tokens: prompt(300, 257, seed + 10), ..asked(0) });
        stack.rest();
    }
    let again = stack.ask(asked(0));
    stack.rest();
    let [device, host, pool] = stack.by_request[&again];
    assert_eq!((device + host, pool), (127, 0), "it is in L1 again");
    assert!(host >= 64, "most of it is only there: {host}");
    stack.check();
}

/// A needle in a haystack: the same prompt behind prefixes of many lengths, cold and from each tier.
#[test]
fn needles_behind_prefixes_of_many_lengths_are_found_alike_from_each_tier() {
    for length in (16..=560).step_by(32).flat_map(|length| [length - 1, length, length + 1]) {
        let mut stack = Stack::new(2, ROOMY);
        let prefix = prompt(length, 257, 9);
        let ask = |stack: &mut Stack, needle: u64| {
            let tokens = [prefix.clone(), prompt(20, 257, needle)].concat();
            let request = stack.ask(Asked { at: Time::ZERO, tokens, output: Tokens(8) });
            stack.rest();
            request
        };
        // Worker 0 cold; worker 1 from L2; worker 0 from its device.
        let all = [ask(&mut stack, 1), ask(&mut stack, 2), ask(&mut stack, 3)];
        stack.check();
        let full = |unit: u32| (length as u32 / unit * unit).into();
        assert_eq!(stack.by_request[&all[1]], [0, 0, full(CHUNK.0)], "{length}");
        assert_eq!(stack.by_request[&all[2]][0], full(BLOCK.0), "{length}");
    }
}

/// A pass that was given up in its middle has computed nothing, and nothing of it leaves the device.
#[test]
fn what_was_left_out_is_not_stored() {
    for left_out in [false, true] {
        let mut cluster = cluster(1, ROOMY).with_external_passes();
        let (worker, request) = (WorkerId(0), RequestId(0));
        let (prompt, output) = (Tokens(80), Tokens(8));
        let pieces = pieces(&(0..prompt.0).collect::<Vec<_>>(), 0, output);
        cluster.arrive(&Arrival { request, session: None, pieces: &pieces, prompt, output, api: Api::Completions });
        cluster.advance(Time(1));
        let mut told: Vec<_> = core::iter::from_fn(|| cluster.poll()).collect();
        assert!(told.iter().any(|event| matches!(event, Event::Started { .. })), "{told:?}");
        cluster.cancel(worker, request);
        if left_out {
            cluster.left_out(worker, request);
        }
        cluster.lasted(worker, Span::from_millis(1));
        cluster.advance(Time::ZERO + Span::from_millis(2));
        told.extend(core::iter::from_fn(|| cluster.poll()));
        let stored = told.iter().any(|event| matches!(event, Event::Move(asked) if asked.way == Way::Store));
        assert_eq!(stored, !left_out, "what was computed is stored, and only that: {told:?}");
    }
}
