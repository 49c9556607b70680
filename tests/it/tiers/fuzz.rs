//! Random clusters with tiers so small that everything goes wrong: loads come short, are cut off by their deadline, or
//! find the pool gone; blocks run out; clients leave at any moment; shards are lost; workers restart. After every step all
//! laws hold, and in the end every request has ended once and nothing is held any more.

use super::world::{TOKEN_BYTES, World, outlast_the_dead, pins_nothing, pool, tiers};
use kvcache::{
    Blocks, ChainBuilder, Choice, Costs, Deadline, Eviction, HostConfig, LoadMode, PoolConfig, RequestId, Span,
    StoreMode, TierCost, Time, Tokens, Usage, WorkerId,
};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use router::{Api, Strategy};
use sim::cluster::{Arrival, Cluster, Event};
use sim::cost::{CostModel, Segment, Shape};
use sim::replica::{Output, Replica};
use sim::simulate::{Path, simulate};
use sim::transport::{ProbeMode, Reach};
use sim::workload::{Pacing, Segment as Content, Workload};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

pub(crate) struct Linear;

impl CostModel for Linear {
    fn segment(&self, shape: &Shape) -> Segment {
        let base = Span::from_micros(200) + Span::from_micros(3) * shape.tokens;
        Segment::line(base, Span::from_nanos(5))
    }
}

pub(crate) struct Chance(pub(crate) ChaCha8Rng);

impl Chance {
    pub(crate) fn below(&mut self, below: u32) -> u32 {
        ((u64::from(self.0.next_u32()) * u64::from(below)) >> 32) as u32
    }
    pub(crate) fn percent(&mut self, percent: u32) -> bool {
        self.below(100) < percent
    }
    pub(crate) fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u32) as usize]
    }
}

/// What happened in a history, and has to happen for it to prove anything.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    finished: u64,
    cancelled: u64,
    loads: u64,
    from_host: u64,
    from_pool: u64,
    short: u64,
    preempted: u64,
    stalls: u64,
    restarts: u64,
    /// Passes that were under way at a restart.
    lost: u64,
}

pub(crate) const CHUNK: u32 = 32;

pub(crate) fn world(chance: &mut Chance) -> World {
    let longest = 700_u32;
    let mut world = World::new(1 + chance.below(3) as u16, longest.div_ceil(8) + chance.below(120));
    world.strategy = chance.of(&[Strategy::RoundRobin, Strategy::KvAware, Strategy::PrefixAware]);
    let engine = &mut world.engine;
    engine.cache.block = Tokens(8);
    engine.max_model_len = Tokens(longest);
    engine.max_num_seqs = 1 + chance.below(12);
    engine.max_num_batched_tokens = Tokens(16 + chance.below(400));
    engine.reserve_full_isl = chance.percent(50);
    engine.async_scheduling = chance.percent(50);
    let (host, shared) = chance.of(&[(true, false), (false, true), (true, true), (true, true)]);
    let mut config = tiers(host.then_some(u64::from(CHUNK * chance.below(60))), shared);
    config.chunk = Tokens(CHUNK);
    if let Some(host) = &mut config.host {
        host.chunk = Tokens(CHUNK);
        host.eviction = chance.of(&[Eviction::Lru, Eviction::Fifo, Eviction::S3Fifo, Eviction::Arc, Eviction::Lfu]);
        host.watermark = chance.of(&[1000, 800]);
    }
    config.load = chance.of(&[LoadMode::Blocking, LoadMode::Overlapped, LoadMode::Layerwise]);
    config.store = chance.of(&[StoreMode::Blocking, StoreMode::Overlapped]);
    let cost = TierCost { fixed: Span::from_micros(50), per_token: Span::from_nanos(500) };
    let costs = Costs { new_token: Span::from_micros(3), pairs_1024: Span::ZERO, host: cost, pool: cost };
    config.choice = chance.of(&[Choice::Always, Choice::Always, Choice::ByCost(costs)]);
    config.save_unfull_chunk = chance.percent(30);
    config.save_decode_cache = chance.percent(30);
    config.min_retrieve = Tokens(chance.of(&[0, 0, 40]));
    config.deadline = Deadline { base: Span::from_micros(chance.of(&[300, 5_000])), per_1k: Span::from_millis(1) };
    let mut access = pool(1 + chance.below(3) as u16, u64::from(CHUNK * (4 + chance.below(100))));
    access.pool.chunk = Tokens(CHUNK);
    if chance.percent(30) {
        access.pool =
            PoolConfig { chunk: Tokens(CHUNK), ..PoolConfig::redis(TOKEN_BYTES, u64::from(CHUNK * 90) * TOKEN_BYTES) };
    }
    access.round_trip = Span::from_micros(chance.of(&[0, 20, 100]));
    access.miss_wait = Span::from_micros(chance.of(&[0, 500]));
    access.bytes_per_s = chance.of(&[50e6, 1e9]);
    access.probe = chance.of(&[ProbeMode::Sequential, ProbeMode::Batched]);
    world.transport.host_bytes_per_s = chance.of(&[100e6, 2e9]);
    world.transport.nic_bytes_per_s = 500e6;
    world.with(config, shared.then_some(access))
}

struct History {
    chance: Chance,
    cluster: Cluster,
    /// Where each live request is.
    live: BTreeMap<RequestId, Option<WorkerId>>,
    next: u64,
    /// Whose first token came out.
    begun: BTreeSet<RequestId>,
    /// Of each request: its prompt, times it was admitted, and tokens of the prompt found on the device and loaded.
    found: BTreeMap<RequestId, (u32, u32, u32)>,
    /// All that came out, and in how many stretches.
    outputs: Vec<(WorkerId, Output)>,
    passes: u64,
    seen: Seen,
}

impl History {
    fn arrive(&mut self) {
        let mut chain = ChainBuilder::new();
        // A few documents, a few turns each, so that prefixes are shared in every way.
        let (document, turns) = (u64::from(self.chance.below(4)), self.chance.below(6));
        chain.push(document, Tokens(40 + 30 * document as u32));
        let mut prompt = 40 + 30 * document as u32;
        for turn in 0..turns {
            let id = 100 + u64::from(turn * 10 + self.chance.below(2));
            chain.push(id, Tokens(37 + turn));
            prompt += 37 + turn;
        }
        if self.chance.percent(30) {
            chain.push(10_000 + self.next, Tokens(1 + self.chance.below(60)));
            prompt = chain.pieces().last().expect("it has pieces").end.0;
        }
        let most = if self.chance.percent(50) { 2 } else { 90 };
        let output = 1 + self.chance.below(most);
        chain.push(20_000 + self.next, Tokens(output));
        let request = RequestId(self.next);
        self.next += 1;
        self.live.insert(request, None);
        self.found.insert(request, (prompt, 0, 0));
        self.cluster.arrive(&Arrival {
            request,
            session: None,
            pieces: chain.pieces(),
            prompt: Tokens(prompt),
            output: Tokens(output),
            api: Api::Completions,
        });
        self.note();
    }

    fn note(&mut self) {
        while let Some(event) = self.cluster.poll() {
            match event {
                Event::Routed { request, decision, .. } => {
                    self.live.insert(request, Some(decision.worker));
                }
                Event::Refused { request, .. } => self.leave(request),
                Event::Stalled { span, .. } => self.seen.stalls += u64::from(span > Span::ZERO),
                Event::Output { worker, output } => {
                    self.outputs.push((worker, output));
                    self.note_output(output);
                }
                Event::Ran { .. } => self.passes += 1,
                Event::Restarted { lost, .. } => {
                    self.seen.restarts += 1;
                    self.seen.lost += u64::from(lost > Span::ZERO);
                }
                Event::Worker { .. } | Event::Lost { .. } => panic!("nobody dies for good here"),
                Event::Cache { .. }
                | Event::Started { .. }
                | Event::Move(_)
                | Event::Moved { .. }
                | Event::Shelved { .. }
                | Event::LetGo { .. } => panic!("nobody else executes passes"),
            }
        }
    }

    fn note_output(&mut self, output: Output) {
        match output {
            Output::Finished { request, .. } => {
                self.seen.finished += 1;
                self.leave(request);
            }
            Output::Cancelled { request } => {
                self.seen.cancelled += 1;
                self.leave(request);
            }
            Output::Admitted { request, cached, .. } => {
                let (_, admissions, found) = self.found.get_mut(&request).expect("it arrived");
                (*admissions, *found) = (*admissions + 1, cached.0);
            }
            Output::Loaded { request, host, pool, whole, .. } => {
                self.found.get_mut(&request).expect("it arrived").2 += host.0 + pool.0;
                self.seen.loads += 1;
                self.seen.from_host += u64::from(host.0);
                self.seen.from_pool += u64::from(pool.0);
                self.seen.short += u64::from(!whole);
            }
            Output::Preempted { .. } => self.seen.preempted += 1,
            Output::FirstToken { request, computed, .. } => {
                let (prompt, admissions, found) = self.found[&request];
                if admissions == 1 {
                    assert_eq!(found + computed.0, prompt, "{request}: each token is found or computed, once");
                }
                assert!(self.begun.insert(request), "{request}: a first token comes once");
                assert!(self.live.contains_key(&request), "{request}: nothing comes after its end");
            }
            _ => {}
        }
    }

    fn new(chance: Chance, cluster: Cluster) -> Self {
        let (live, begun, found) = (BTreeMap::new(), BTreeSet::new(), BTreeMap::new());
        Self { chance, cluster, live, next: 0, begun, found, outputs: Vec::new(), passes: 0, seen: Seen::default() }
    }

    fn leave(&mut self, request: RequestId) {
        assert!(self.live.remove(&request).is_some(), "{request} ends once");
    }

    fn cancel(&mut self) {
        let count = self.live.len() as u32;
        if count == 0 {
            return;
        }
        let place = self.chance.below(count) as usize;
        let request = *self.live.keys().nth(place).expect("it is there");
        self.cancel_one(request);
    }

    fn cancel_one(&mut self, request: RequestId) {
        if let Some(Some(worker)) = self.live.get(&request).copied() {
            self.cluster.cancel(worker, request);
            self.note();
        }
    }

    fn disturb(&mut self) {
        let now = self.cluster.now();
        let reach = self.chance.of(&[Reach::Up, Reach::Up, Reach::Refused, Reach::Silent]);
        let shard = self.chance.below(3) as u16;
        let lose = self.chance.percent(30);
        let Some(transport) = self.cluster.transport_mut() else { return };
        transport.set_reach(reach);
        if let Some(pool) = transport.pool_mut().filter(|pool| shard < pool.config().shards) {
            if lose {
                pool.lose_shard(shard, now);
            } else {
                pool.restore_shard(shard);
            }
        }
    }

    fn restart(&mut self) {
        let worker = WorkerId(self.chance.below(self.cluster.replicas().count() as u32) as u16);
        let before = self.cluster.replicas().nth(worker.index()).map(Replica::live);
        self.cluster.restart(worker);
        let replica = self.cluster.replicas().nth(worker.index()).expect("it is there");
        assert!(Some(replica.live()) <= before, "only who was taken back has gone");
        let usage = replica.cache().usage();
        assert_eq!(usage.free, replica.config().cache.capacity, "the device is empty");
        assert!(replica.cache().host().is_none_or(|host| host.usage().ready == 0), "L1 is empty");
        self.note();
    }

    fn live_through(mut self, steps: u32) -> Seen {
        for _ in 0..steps {
            match self.chance.below(100) {
                0..45 => self.arrive(),
                45..53 => self.cancel(),
                53..55 => self.disturb(),
                55..57 => self.restart(),
                _ => {
                    let now = self.cluster.now();
                    let gap = Span::from_micros(u64::from(self.chance.below(3000)));
                    let due = self.cluster.next_due().filter(|_| self.chance.percent(60));
                    self.cluster.advance(due.unwrap_or(now + gap));
                    self.note();
                }
            }
            self.cluster.check();
        }
        while let Some(due) = self.cluster.next_due() {
            assert!(due < Time(3_600_000_000_000_000), "it ends at all");
            self.cluster.advance(due);
            self.note();
            self.cluster.check();
        }
        assert!(self.live.is_empty(), "every request ends: {:?} did not", self.live);
        for replica in self.cluster.replicas() {
            assert_eq!(replica.live(), 0);
            let usage = replica.cache().usage();
            assert_eq!((usage.private, usage.held), (Blocks::ZERO, Blocks::ZERO), "nobody holds anything");
            if let Some(host) = replica.cache().host() {
                assert_eq!((host.usage().pinned, host.usage().pending), (0, 0), "nothing is pinned or pending");
            }
        }
        outlast_the_dead(&mut self.cluster);
        self.seen
    }
}

fn history(seed: u64, steps: u32) -> Seen {
    let mut chance = Chance(ChaCha8Rng::seed_from_u64(seed));
    let world = world(&mut chance);
    let told = format!("seed {seed}: {world:?}");
    let cluster = world.cluster(Linear);
    let history = History::new(chance, cluster);
    let lived = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| history.live_through(steps)));
    lived.unwrap_or_else(|panic| {
        eprintln!("failed in {told}");
        std::panic::resume_unwind(panic)
    })
}

/// How many times as many histories as usual.
pub(crate) fn seeds() -> u64 {
    std::env::var("PODLAB_SEEDS").map_or(1, |seeds| seeds.parse().expect("PODLAB_SEEDS is a number"))
}

#[test]
fn all_laws_hold_whatever_happens() {
    let all: Vec<Seen> = (0..400 * seeds()).map(|seed| history(seed, 250)).collect();
    let counts: [fn(&Seen) -> u64; 10] = [
        |s| s.finished,
        |s| s.cancelled,
        |s| s.loads,
        |s| s.from_host,
        |s| s.from_pool,
        |s| s.short,
        |s| s.preempted,
        |s| s.stalls,
        |s| s.restarts,
        |s| s.lost,
    ];
    for of in counts {
        let total: u64 = all.iter().map(of).sum();
        assert!(total > 300, "too little happens: {:?}", counts.map(|of| all.iter().map(of).sum::<u64>()));
    }
}

/// What a script does at a moment.
#[derive(Clone, Copy, Debug)]
enum Act {
    Arrive,
    Cancel(u64),
    Disturb,
    Restart,
    Look,
}

/// All that comes out of a cluster that lives through a script of its own times.
fn outcome(world: &World, seed: u64, acts: &[(Time, Act)]) -> (Vec<(WorkerId, Output)>, Vec<Usage>, u64) {
    let chance = Chance(ChaCha8Rng::seed_from_u64(seed));
    let mut history = History::new(chance, world.cluster(Linear));
    for (at, act) in acts {
        history.cluster.advance(*at);
        history.note();
        match act {
            Act::Arrive => history.arrive(),
            Act::Cancel(request) => history.cancel_one(RequestId(*request)),
            Act::Disturb => history.disturb(),
            Act::Restart => history.restart(),
            Act::Look => {}
        }
    }
    history.cluster.advance(Time::ZERO + Span::from_secs(100));
    history.note();
    assert!(history.live.is_empty(), "every request ends");
    let usage = history.cluster.replicas().map(|replica| replica.cache().usage()).collect();
    (history.outputs, usage, history.passes)
}

/// Running passes as one stretch has exactly the outcome of going pass by pass, whatever moves meanwhile.
#[test]
fn stretches_change_nothing() {
    // The last two once showed a difference.
    both_ways((1000..1000 + 200 * seeds()).chain([2888, 3832]), 80..80);
}

#[test]
fn stretches_change_nothing_where_workers_restart() {
    both_ways(40_000..40_000 + 200 * seeds(), 80..90);
}

/// Lives through the scripts of `seeds` both ways. `restarts` is which of a hundred acts are some.
fn both_ways(seeds: impl Iterator<Item = u64>, restarts: Range<u32>) {
    let (mut stretches, mut passes) = (0, 0);
    for seed in seeds {
        let mut chance = Chance(ChaCha8Rng::seed_from_u64(seed));
        let mut world = world(&mut chance);
        let mut at = Time::ZERO;
        let acts: Vec<(Time, Act)> = (0..80_u64)
            .map(|step| {
                at += Span::from_micros(u64::from(chance.below(9000)));
                let act = match chance.below(100) {
                    0..60 => Act::Arrive,
                    60..75 => Act::Cancel(u64::from(chance.below(step as u32 + 1))),
                    75..80 => Act::Disturb,
                    other if restarts.contains(&other) => Act::Restart,
                    _ => Act::Look,
                };
                (at, act)
            })
            .collect();
        let (as_one, left, events) = outcome(&world, seed, &acts);
        world.engine.max_repeats = 1;
        let (one_by_one, left_one_by_one, all) = outcome(&world, seed, &acts);
        for (n, (one, other)) in as_one.iter().zip(&one_by_one).enumerate() {
            assert_eq!(one, other, "seed {seed}: output {n} of {world:?}");
        }
        assert_eq!((as_one.len(), left), (one_by_one.len(), left_one_by_one), "seed {seed}");
        stretches += events;
        passes += all;
    }
    assert!(stretches * 2 < passes, "{passes} passes in {stretches} stretches: too few to tell");
}

/// In clusters where nobody leaves, the books balance: each prompt token was found, loaded or computed once, and the gaps
/// between tokens fill the time from the first to the last.
#[test]
fn the_books_balance() {
    // The last three tell of what few others do: a last token, and a stray one, taken back with a load that came short.
    balance((20_000..20_000 + 300 * seeds()).chain([20_932, 21_386, 28_436]), 0);
}

#[test]
fn the_books_balance_where_workers_restart() {
    balance(60_000..60_000 + 300 * seeds(), 12);
}

fn balance(seeds: impl Iterator<Item = u64>, most_restarts: u32) {
    let (mut short, mut preempted) = (0, 0);
    for seed in seeds {
        let mut chance = Chance(ChaCha8Rng::seed_from_u64(seed));
        let world = world(&mut chance);
        let mut workload = Workload::new(Pacing::Open);
        let mut at = Time::ZERO;
        for _ in 0..40 {
            at += Span::from_micros(u64::from(chance.below(4000)));
            let document = u64::from(chance.below(3));
            let turn = (10 + u64::from(chance.below(3)), 1 + chance.below(200));
            let content = [(document, 150), turn].map(|(id, tokens)| Content { id, tokens: Tokens(tokens) });
            workload.push(at, None, &content, Tokens(1 + chance.below(90)));
        }
        let mut cluster = world.cluster(Linear);
        let restarts = if most_restarts > 0 { 1 + chance.below(most_restarts) } else { 0 };
        for _ in 0..restarts {
            let at = Time::ZERO + Span::from_micros(u64::from(chance.below(120_000)));
            cluster.restart_at(WorkerId(chance.below(u32::from(world.workers)) as u16), at);
        }
        let ledger = World::serve(&mut cluster, &workload);
        if restarts == 0 {
            assert!(pins_nothing(&cluster), "every lease is released, every put ended");
        }
        outlast_the_dead(&mut cluster);
        let events = ledger.summary(None).tier_events.expect("there are lower tiers");
        (short, preempted) = (short + events.short_loads, preempted + ledger.preemptions());
    }
    assert!(short > 100 && preempted > 100, "{short} short loads, {preempted} preemptions: too little to tell");
}

/// Replies so long that those who decode are preempted again and again, and loads that overlap: whoever has its blocks
/// loaded and must wait is not robbed of them by one who then waits for the same.
#[test]
fn everybody_is_served_in_the_end() {
    let mut preempted = 0;
    for seed in 0..200 * seeds() {
        let mut chance = Chance(ChaCha8Rng::seed_from_u64(80_000 + seed));
        let mut world = world(&mut chance);
        world.workers = 1;
        let tiers = world.engine.tiers.as_mut().expect("it has some");
        (tiers.load, tiers.save_decode_cache) = (LoadMode::Overlapped, true);
        tiers.host = tiers.host.map(|host| HostConfig { capacity: 100_000 * TOKEN_BYTES, ..host });
        let mut workload = Workload::new(Pacing::Open);
        for _ in 0..20 {
            let content = [(u64::from(chance.below(3)), 150), (10 + u64::from(chance.below(3)), 1 + chance.below(200))];
            let content = content.map(|(id, tokens)| Content { id, tokens: Tokens(tokens) });
            workload.push(Time::ZERO, None, &content, Tokens(1 + chance.below(340)));
        }
        let (mut cluster, mut events) = (world.cluster(Linear), 0);
        let path = Path { latency: Span::ZERO, api: Api::Completions, names_session: true };
        let ledger = simulate(&workload, &mut cluster, path, |_| {
            events += 1;
            assert!(events < 100_000, "seed {seed}: it goes on for ever in {world:?}");
        });
        let ledger = ledger.expect("it ends in time");
        ledger.check();
        preempted += ledger.preemptions();
    }
    assert!(preempted > 1000, "{preempted} preemptions: too few to tell");
}
