//! Hit rates that can be computed: Che's approximation (Che, Tung, Wang, IEEE JSAC 2002) and stack distances (Mattson,
//! Gecsei, Slutz, Traiger, IBM Systems Journal 1970).

use super::prompts::Chance;
use kvcache::{Blocks, Chain, ChainBuilder, Eviction, HostCache, HostConfig, Piece, Tokens};

const CHUNK: Tokens = Tokens(16);
const OBJECTS: usize = 2000;
const WORKERS: usize = 8;
const CAPACITY: u64 = 100; // of a worker, in objects

fn cache(objects: u64) -> HostCache {
    HostCache::new(HostConfig {
        capacity: objects * u64::from(CHUNK.0),
        token_bytes: 1,
        chunk: CHUNK,
        eviction: Eviction::Lru,
        watermark: 1000,
        evict: 0,
        seed: 0,
    })
}

/// A prompt of `objects` objects, the first ones of all that has this name.
fn prompt(name: u64, objects: u32) -> Vec<Piece> {
    let mut builder = ChainBuilder::new();
    builder.push(name, Tokens(objects * CHUNK.0));
    builder.pieces().to_vec()
}

/// Asks for a prompt: uses what is there, writes the rest. Gives how many objects were there.
fn ask(cache: &mut HostCache, pieces: &[Piece]) -> u32 {
    let chain = Chain::new(pieces, CHUNK);
    let found = cache.find(chain, Blocks(0), chain.objects());
    let pin = cache.pin(chain, Blocks(0), found);
    let write = cache.reserve(chain, found, chain.objects());
    cache.unpin(pin);
    cache.publish(write, chain.objects());
    found.0
}

/// The probability of each object: that of rank `i` is proportional to `i^-s`.
fn zipf(s: f64) -> Vec<f64> {
    let weights: Vec<f64> = (1..=OBJECTS).map(|rank| (rank as f64).powf(-s)).collect();
    let sum: f64 = weights.iter().sum();
    weights.iter().map(|weight| weight / sum).collect()
}

/// The hit rate of an LRU cache of `capacity` objects under independent requests: an object is there if it was asked
/// for within the characteristic time, in which requests for `capacity` different objects are to be expected.
fn che(p: &[f64], capacity: f64) -> f64 {
    let filled = |time: f64| p.iter().map(|p| 1.0 - (-p * time).exp()).sum::<f64>();
    let (mut low, mut high) = (0.0, 1e9);
    for _ in 0..200 {
        let middle = f64::midpoint(low, high);
        if filled(middle) < capacity { low = middle } else { high = middle }
    }
    let hits: f64 = p.iter().map(|p| p * (1.0 - (-p * low).exp())).sum();
    hits / p.iter().sum::<f64>()
}

/// The hit rate of all workers under independent requests, each sent where `route` says, after a warm-up.
fn measured(p: &[f64], seed: u64, route: impl Fn(usize, usize) -> usize) -> f64 {
    const REQUESTS: usize = 800_000;
    const WARM_UP: usize = 50_000;
    let mut chance = Chance::new(seed);
    let up_to: Vec<f64> = p
        .iter()
        .scan(0.0, |sum, p| {
            *sum += p;
            Some(*sum)
        })
        .collect();
    let prompts: Vec<Vec<Piece>> = (0..OBJECTS as u64).map(|name| prompt(name, 1)).collect();
    let mut workers: Vec<HostCache> = (0..WORKERS).map(|_| cache(CAPACITY)).collect();
    let mut hits = 0;
    for request in 0..REQUESTS {
        let point = f64::from(chance.below(u32::MAX)) / f64::from(u32::MAX);
        let object = up_to.partition_point(|sum| *sum <= point).min(OBJECTS - 1);
        let found = ask(&mut workers[route(request, object)], &prompts[object]);
        if request >= WARM_UP {
            hits += found;
        }
    }
    f64::from(hits) / (REQUESTS - WARM_UP) as f64
}

/// Within 0.3 percentage points.
#[track_caller]
fn agree(what: &str, measured: f64, computed: f64) {
    assert!((measured - computed).abs() < 0.003, "{what}: measured {measured:.4}, computed {computed:.4}");
}

/// Round robin shows each worker the same requests, so each is Che's cache of its own capacity; affinity shows each
/// worker its own objects, so together they are nearly one cache of all capacities.
#[test]
fn hit_rates_are_those_of_che() {
    // Computed apart from this crate, in numpy: round robin, and affinity by another split of the objects.
    for (s, expected) in [(0.6, [0.1363, 0.5804]), (0.8, [0.2874, 0.7131]), (1.0, [0.5060, 0.8393])] {
        let p = zipf(s);
        let shard = |worker: usize| p.iter().copied().skip(worker).step_by(WORKERS).collect::<Vec<f64>>();
        let each = che(&p, CAPACITY as f64);
        let sharded: f64 = (0..WORKERS).map(shard).map(|p| che(&p, CAPACITY as f64) * p.iter().sum::<f64>()).sum();
        let pooled = che(&p, (CAPACITY * WORKERS as u64) as f64);
        assert!((each - expected[0]).abs() < 1e-4, "s = {s}: computed {each:.5}");
        assert!((sharded - expected[1]).abs() < 6e-4, "s = {s}: computed {sharded:.5}");
        agree("round robin", measured(&p, 60, |request, _| request % WORKERS), each);
        let affinity = measured(&p, 61, |_, object| object % WORKERS);
        agree("affinity", affinity, sharded);
        agree("affinity, as one cache", affinity, pooled);
    }
}

/// How many different objects were asked for since the last request for this one; the stack has the most recent first.
fn distance<K: PartialEq>(stack: &mut Vec<K>, key: K) -> Option<usize> {
    let at = stack.iter().position(|known| *known == key);
    if let Some(at) = at {
        stack.remove(at);
    }
    stack.insert(0, key);
    at
}

#[test]
fn lru_hits_exactly_what_is_near_enough_in_the_stack() {
    let mut chance = Chance::new(62);
    let names: Vec<u64> = (0..4000).map(|_| u64::from(chance.below(90).min(chance.below(90)))).collect();
    let mut stack = Vec::new();
    let distances: Vec<Option<usize>> = names.iter().map(|name| distance(&mut stack, *name)).collect();
    let mut smaller = vec![false; names.len()];
    for capacity in 1..=92 {
        let mut cache = cache(capacity);
        let hits: Vec<bool> = names.iter().map(|name| ask(&mut cache, &prompt(*name, 1)) == 1).collect();
        let near: Vec<bool> = distances.iter().map(|d| d.is_some_and(|d| d < capacity as usize)).collect();
        assert_eq!(hits, near, "hits of {capacity} objects");
        assert!(
            smaller.iter().zip(&hits).all(|(small, large)| !small || *large),
            "a larger cache has the hits of a smaller"
        );
        smaller = hits;
    }
}

/// Prompts of many objects: a request touches its objects from the last to the first, so the stack has heads above
/// tails, whatever the capacity. What is hit is the prefix of which every object is near enough.
#[test]
fn inclusion_holds_for_prompts() {
    const LONGEST: u32 = 90; // more than a strip
    let mut chance = Chance::new(63);
    let asked: Vec<(u64, u32)> = (0..1500).map(|_| (u64::from(chance.below(9)), chance.within(1, LONGEST))).collect();
    let capacities: Vec<u64> = (90..130).chain((130..900).step_by(35)).collect();
    let mut caches: Vec<HostCache> = capacities.iter().map(|capacity| cache(*capacity)).collect();
    let mut stack: Vec<(u64, u32)> = Vec::new();
    for (name, objects) in asked {
        let pieces = prompt(name, objects);
        let places: Vec<Option<usize>> =
            (0..objects).map(|object| stack.iter().position(|known| *known == (name, object))).collect();
        (0..objects).rev().for_each(|object| {
            distance(&mut stack, (name, object));
        });
        let mut before = 0;
        for (capacity, cache) in capacities.iter().zip(&mut caches) {
            let near = places.iter().take_while(|place| place.is_some_and(|place| place < *capacity as usize)).count();
            let hits = ask(cache, &pieces);
            assert_eq!(hits, near as u32, "hits of {capacity} objects");
            assert!(hits >= before, "a larger cache hits no less");
            before = hits;
        }
    }
}
