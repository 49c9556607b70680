//! Random histories. After every step, pool and model must agree on everything that can be asked.
//!
//! A failure names the world and the step.

use super::model::{self, Model, Place};
use crate::cache::histories::{self, History, learn, rounds};
use crate::cache::model::Name;
use crate::cache::prompts::{Author, Chance, Cut, Prompt};
use kvcache::{
    Backend, Blocks, Chain, Eviction, LeaseId, Leased, Piece, Pool, PoolConfig, PoolUsage, PutId, Span, Time,
};
use kvcache::{Tokens, Unknown};
use std::collections::BTreeMap;

const STEPS: u32 = 1000;
const PROMPTS: usize = 10;
const CHUNK: Tokens = Tokens(4);

struct World {
    pool: Pool,
    tails: bool, // what fills a chunk only in part is an object, too
    model: Model,
    author: Author,
    known: Vec<Prompt>,
    chains: BTreeMap<Name, (Vec<Piece>, u32)>, // where an object is found
    leases: Vec<(LeaseId, u64)>,               // all, with their number in the model
    puts: Vec<(PutId, u64, u32)>,              // all, with their number in the model and their end
    now: Time,
    chance: Chance,
}

/// What happened in a history: one in which nothing happens proves nothing.
#[derive(Debug, Default)]
struct Seen {
    steps: u64,
    hits: u64,
    present: u64,
    skipped: u64,
    evicted: u64,
    aged: u64,
    expired: u64,
    discarded: u64,
}

impl World {
    fn new(seed: u64, config: PoolConfig) -> Self {
        Self {
            pool: Pool::new(config),
            // Where the model learns only how much went, all must weigh the same.
            tails: seed / 2 % 2 == 1 && matches!(config.eviction, Eviction::Lru | Eviction::Fifo),
            model: Model::new(config),
            author: Author::new(CHUNK.0, if seed.is_multiple_of(2) { Cut::Even(16) } else { Cut::Irregular(21) }, 140),
            known: Vec::new(),
            chains: BTreeMap::new(),
            leases: Vec::new(),
            puts: Vec::new(),
            now: Time::ZERO,
            chance: Chance::new(seed),
        }
    }

    /// Mostly a little; now and then to a deadline, or to the last moment before it.
    fn pass_time(&mut self) {
        self.now += match self.chance.below(10) {
            0..3 => Span::ZERO,
            3..9 => Span(u64::from(self.chance.below(1 << 30)) << 10), // about half a second
            _ => {
                let due = self.model.deadline().unwrap_or(self.now).max(self.now);
                let before = u64::from(self.chance.percent(50));
                Span(due.since(self.now).0.saturating_sub(before))
            }
        };
    }

    fn learn(&mut self) -> &'static str {
        let prompt = self.author.write(&mut self.chance, &self.known);
        for (name, index) in prompt.names.iter().zip(0..) {
            self.chains.entry(*name).or_insert_with(|| (prompt.pieces.clone(), index));
        }
        learn(&mut self.known, prompt, PROMPTS, &mut self.chance);
        "learn"
    }

    fn chain<'a>(&self, prompt: &'a Prompt) -> Chain<'a> {
        prompt.chain(CHUNK).with_tail(self.tails)
    }

    /// Objects `from..to` of a prompt, as far as it has them.
    fn places(&self, prompt: &Prompt, from: u32, to: u32) -> Vec<Place> {
        let chunk = u64::from(CHUNK.0);
        let full = prompt.names.iter().map(|name| (*name, chunk));
        let tail = prompt.tail.filter(|_| self.tails).map(|name| (name, u64::from(prompt.tokens) % chunk));
        let all = full.chain(tail).zip(0..).map(|((name, tokens), index)| Place { name, index, tokens });
        all.filter(|object| (from..to).contains(&object.index)).collect()
    }

    fn any_shard(&mut self) -> u16 {
        self.chance.below(u32::from(self.pool.config().shards)) as u16
    }

    /// A prompt, and a range of its objects: mostly from the start, mostly to the end, now and then beyond.
    fn range(&mut self) -> Option<(Prompt, u32, u32)> {
        let prompt = self.known.get(self.chance.below(self.known.len().max(1) as u32) as usize)?.clone();
        let most = self.chain(&prompt).objects().0;
        let from = if self.chance.percent(70) { 0 } else { self.chance.below(most + 1) };
        let to = if self.chance.percent(70) { most } else { self.chance.within(from, most) };
        let beyond = if to == most && self.chance.percent(10) { 3 } else { 0 };
        Some((prompt, from, to + beyond))
    }

    fn lease(&mut self) -> &'static str {
        let Some((prompt, from, to)) = self.range() else { return "lease nothing" };
        let chain = self.chain(&prompt);
        let waits = self.chance.percent(50);
        let mut from_shards = BTreeMap::new();
        let by_shard = |shard: u16, tokens: Tokens| *from_shards.entry(shard).or_default() += u64::from(tokens.0);
        let (from, to, now) = (Blocks(from), Blocks(to), self.now);
        let leased = if waits {
            self.pool.lease_or_wait(chain, from, to, now, by_shard)
        } else {
            let leased = self.pool.lease(chain, from, to, now, by_shard);
            leased.map_or(Leased::Absent, |(id, end)| Leased::Got { id, end })
        };
        let expected = self.model.lease(&self.places(&prompt, from.0, to.0), now, waits);
        let leased = match leased {
            Leased::Pending => model::Leased::Pending,
            Leased::Absent => model::Leased::Absent,
            Leased::Got { id, end } => {
                let model::Leased::Got { lease, .. } = expected else { panic!("there was nothing to lease") };
                self.leases.push((id, lease));
                model::Leased::Got { lease, end: end.0, from_shards }
            }
        };
        assert_eq!(leased, expected, "a lease of {from}..{to}");
        if waits { "lease or wait" } else { "lease" }
    }

    fn release(&mut self) -> &'static str {
        if self.leases.is_empty() || self.chance.percent(5) {
            let never = LeaseId::from_bits(u64::from(self.chance.below(8)) + (1 << 60));
            assert_eq!(self.pool.release(never, self.now), Err(Unknown));
            self.model.timeout(self.now);
            return "release what never was";
        }
        // Mostly a recent one, so many are under way; they stay in the list, to be released again.
        let recent = (self.leases.len() as u32).min(if self.chance.percent(90) { 4 } else { u32::MAX });
        let (id, lease) = self.leases[self.leases.len() - 1 - self.chance.below(recent) as usize];
        let answer = self.model.release(lease, self.now).then_some(()).ok_or(Unknown);
        assert_eq!(self.pool.release(id, self.now), answer, "release of lease {lease}");
        "release"
    }

    fn begin_put(&mut self) -> &'static str {
        let Some((prompt, from, to)) = self.range() else { return "put nothing" };
        let chain = self.chain(&prompt);
        let objects = self.places(&prompt, from, to);
        let key = |object: &Place| chain.key(Blocks(object.index));
        let shards: Vec<_> = objects.iter().map(|object| self.pool.shard_of(key(object))).collect();
        let mut new = BTreeMap::new();
        let by_shard = |shard: u16, tokens: Tokens| *new.entry(shard).or_default() += u64::from(tokens.0);
        let begun = self.pool.begin_put(chain, Blocks(from), Blocks(to), self.now, by_shard);
        let expected = self.model.begin_put(&objects, &shards, from, self.now);
        assert_eq!((begun.end.0, &new), (expected.end, &expected.new), "a put of {from}..{to}");
        assert_eq!(u64::from(begun.new.0), new.values().sum::<u64>());
        assert_eq!(begun.put.is_some(), expected.put.is_some());
        if let (Some(id), Some(put)) = (begun.put, expected.put) {
            self.puts.push((id, put, begun.end.0));
        }
        "begin a put"
    }

    fn end_put(&mut self) -> &'static str {
        if self.puts.is_empty() {
            return "end no put";
        }
        let recent = (self.puts.len() as u32).min(if self.chance.percent(80) { 4 } else { u32::MAX });
        let (id, put, end) = self.puts[self.puts.len() - 1 - self.chance.below(recent) as usize];
        let upto = match self.chance.below(10) {
            0 => 0,
            1..3 => self.chance.below(end + 1),
            3 => end + 5,
            _ => end,
        };
        let answer = self.model.end_put(put, upto, self.now).then_some(()).ok_or(Unknown);
        assert_eq!(self.pool.end_put(id, Blocks(upto), self.now), answer, "end of put {put} at {upto}");
        "end a put"
    }

    fn lose_shard(&mut self) -> &'static str {
        let shard = self.any_shard();
        self.pool.lose_shard(shard, self.now);
        self.model.lose_shard(shard, self.now);
        if self.chance.percent(60) {
            self.pool.restore_shard(shard);
            self.model.restore_shard(shard);
        }
        "lose a shard"
    }

    fn lose_object(&mut self) -> &'static str {
        let Some((prompt, from, _)) = self.range() else { return "lose nothing" };
        let Some(object) = self.places(&prompt, from, from + 1).pop() else { return "lose nothing" };
        self.pool.lose_object(self.chain(&prompt), Blocks(from), self.now);
        self.model.lose_object(object.name, self.now);
        "lose an object"
    }

    /// Where the model does not know the order of eviction, it learns what went, but not how much.
    fn learn_what_went(&mut self) {
        if self.model.owed.values().all(|tokens| *tokens == 0) {
            return;
        }
        for name in self.model.idle_names() {
            let (pieces, index) = &self.chains[&name];
            let (from, to) = (Blocks(*index), Blocks(index + 1));
            if self.pool.probe(Chain::new(pieces, CHUNK), from, to, self.now) == from {
                self.model.went(name);
            }
        }
        assert!(self.model.owed.values().all(|tokens| *tokens == 0), "something else went: {:?}", self.model.owed);
    }
}

impl History for World {
    fn step(&mut self) -> &'static str {
        self.pass_time();
        match self.chance.below(1000) {
            0..50 => self.learn(),
            50..280 => self.lease(),
            280..530 => self.release(),
            530..700 => self.begin_put(),
            700..930 => self.end_put(),
            930..960 => {
                self.pool.timeout(self.now);
                self.model.timeout(self.now);
                "timeout"
            }
            960..975 => self.lose_shard(),
            975..985 => {
                let shard = self.any_shard();
                self.pool.restore_shard(shard);
                self.model.restore_shard(shard);
                "restore a shard"
            }
            _ => self.lose_object(),
        }
    }

    fn compare(&mut self, _: u32) {
        // What ends by itself is not told to those who only look.
        self.pool.timeout(self.now);
        self.model.timeout(self.now);
        self.learn_what_went();
        self.pool.check();
        assert_eq!(self.pool.counts(), self.model.counts);
        assert_eq!(self.pool.deadline(), self.model.deadline(), "deadline");
        let pinned = self.model.pinned();
        for shard in 0..self.pool.config().shards {
            let pinned = pinned.get(&shard).copied().unwrap_or(0);
            let (used, up) = (self.model.used(shard), self.model.is_up(shard));
            let expected = PoolUsage { capacity: self.pool.config().shard_tokens(), used, pinned, up };
            assert_eq!(self.pool.usage(shard), expected, "shard {shard}");
        }
        for prompt in &self.known {
            let (chain, most) = (self.chain(prompt), self.chain(prompt).objects().0);
            // All consecutive stretches, so each object.
            let mut from = 0;
            while from < most {
                let end = self.pool.probe(chain, Blocks(from), Blocks(most), self.now).0;
                assert_eq!(
                    end,
                    from + self.model.probe(&self.places(prompt, from, most)),
                    "what is there from {from} on"
                );
                from = end + 1;
            }
        }
        for (id, lease) in self.leases.iter().rev().take(20) {
            assert_eq!(self.pool.is_live(*id, self.now), self.model.is_live(*lease, self.now), "lease {lease}");
        }
    }
}

fn live(seed: u64, config: PoolConfig, seen: &mut Seen) {
    let mut world = World::new(seed, config);
    histories::live((seed, config), STEPS, &mut world);
    let counts = world.pool.counts();
    seen.steps += u64::from(STEPS);
    seen.hits += counts.hits;
    seen.present += counts.present;
    seen.skipped += counts.skipped;
    seen.evicted += counts.evicted;
    seen.aged += counts.aged;
    seen.expired += counts.expired_leases;
    seen.discarded += counts.discarded;
}

/// Histories of pools with so many shards, which hold so many objects in all.
fn worlds(eviction: Eviction, ttl: Option<Span>, pools: &[(u16, u64)], seeds: u64) -> Seen {
    let mut seen = Seen::default();
    for seed in 0..seeds * rounds() {
        let (shards, objects) = pools[seed as usize % pools.len()];
        let backend = match seed / 3 % 3 {
            0 => Backend::Redis,
            1 => Backend::TieredStorage { watermark: 900, evict: 50 },
            _ => Backend::TieredStorage { watermark: 600, evict: 300 },
        };
        // A capacity that objects do not fill evenly, too.
        let shard_bytes = (objects / u64::from(shards) * u64::from(CHUNK.0) + seed % 4) * 2;
        let config = PoolConfig {
            chunk: CHUNK,
            backend,
            eviction,
            ttl,
            lease_ttl: Span::from_secs(if seed.is_multiple_of(2) { 10 } else { 30 }),
            put_ttl: Span::from_secs(15),
            seed,
            ..PoolConfig::tiered_storage(2, shards, shard_bytes)
        };
        live(seed, config, &mut seen);
    }
    println!("{eviction}: {seen:?}");
    seen
}

/// Roomy, tight, and so tight that one prompt fills it.
const POOLS: [(u16, u64); 9] = [(1, 120), (3, 120), (7, 120), (1, 60), (3, 60), (7, 70), (1, 25), (3, 27), (7, 28)];

fn much_happened(seen: &Seen) {
    let Seen { steps, hits, present, skipped, evicted, expired, discarded, .. } = *seen;
    assert!(steps >= 9000);
    for (what, count) in [("hits", hits), ("present", present), ("skipped", skipped), ("evicted", evicted)] {
        assert!(count > steps / 10, "{what}: {count} in {steps} steps");
    }
    assert!(expired > steps / 100 && discarded > steps / 100, "{seen:?}");
}

#[test]
fn least_recently_used() {
    much_happened(&worlds(Eviction::Lru, None, &POOLS, 36));
}

#[test]
fn first_in_first_out() {
    much_happened(&worlds(Eviction::Fifo, None, &POOLS, 27));
}

#[test]
fn with_a_time_to_live() {
    for eviction in [Eviction::Lru, Eviction::Fifo] {
        let seen = worlds(eviction, Some(Span::from_secs(8)), &POOLS, 18);
        assert!(seen.aged > seen.steps / 10 && seen.hits > seen.steps / 10, "{seen:?}");
    }
}

/// Which objects they evict is tested elsewhere; here, that they evict as many as they must and none that is held.
#[test]
fn under_the_other_policies() {
    for eviction in [Eviction::S3Fifo, Eviction::Arc, Eviction::Lfu] {
        much_happened(&worlds(eviction, None, &POOLS, 9));
    }
}
