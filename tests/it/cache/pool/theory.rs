//! Hit rates of a cache with a time to live against their formulas, and frequency against a scan.

use crate::cache::prompts::Chance;
use kvcache::{Backend, Blocks, Chain, ChainBuilder, Eviction, Pool, PoolConfig, Span, Time, Tokens};

const CHUNK: Tokens = Tokens(256);

/// A prompt of one object. Whether it was there; if not, it is put.
fn request(pool: &mut Pool, id: u64, now: Time) -> bool {
    let mut builder = ChainBuilder::new();
    builder.push(id, CHUNK);
    let chain = Chain::new(builder.pieces(), CHUNK);
    if let Some((lease, _)) = pool.lease(chain, Blocks(0), Blocks(1), now, |_, _| {}) {
        pool.release(lease, now).expect("it is live");
        return true;
    }
    let begun = pool.begin_put(chain, Blocks(0), Blocks(1), now, |_, _| {});
    if let Some(put) = begun.put {
        pool.end_put(put, begun.end, now).expect("it is under way");
    }
    false
}

/// The hit rate of objects that are asked for by Poisson processes, each `load` times per time to live.
fn hit_rate(eviction: Eviction, load: f64, seed: u64) -> f64 {
    const OBJECTS: u32 = 50;
    const REQUESTS: u32 = 400_000;
    let ttl = Span::from_secs(10);
    let mut pool = Pool::new(PoolConfig {
        eviction,
        ttl: Some(ttl),
        ..PoolConfig::tiered_storage(1, 3, u64::from(CHUNK.0) * 1000)
    });
    let mut chance = Chance::new(seed);
    let (mut now, mut hits, mut asked) = (Time::ZERO, 0, 0);
    let rate = load / ttl.as_secs_f64() * f64::from(OBJECTS);
    for n in 0..REQUESTS {
        let uniform = (f64::from(chance.below(u32::MAX)) + 0.5) / f64::from(u32::MAX);
        now += Span::from_secs_f64(-uniform.ln() / rate);
        let hit = request(&mut pool, u64::from(chance.below(OBJECTS)), now);
        // The first requests find an empty pool.
        if n >= REQUESTS / 20 {
            asked += 1;
            hits += u32::from(hit);
        }
    }
    pool.check();
    f64::from(hits) / f64::from(asked)
}

/// Fofack et al. 2012, and others before: an object that is asked for p times per second on average and lives for T
/// from writing is there with probability pT / (1 + pT), from its last use with probability 1 - e^(-pT).
#[test]
fn time_to_live_has_the_hit_rate_of_theory() {
    for (load, seed) in [(0.2, 1), (1.0, 2), (3.0, 3)] {
        let written = hit_rate(Eviction::Fifo, load, seed);
        let expected = load / (1.0 + load);
        assert!((written - expected).abs() < 0.003, "from writing, pT = {load}: {written:.4}, theory {expected:.4}");
        let used = hit_rate(Eviction::Lru, load, seed);
        let expected = 1.0 - (-load).exp();
        assert!((used - expected).abs() < 0.003, "from use, pT = {load}: {used:.4}, theory {expected:.4}");
    }
}

/// How many of 400 objects in use survive a scan of 5000 objects that nobody asks for again; 1000 fit.
fn survivors(eviction: Eviction) -> usize {
    let mut pool =
        Pool::new(PoolConfig { eviction, backend: Backend::Redis, ..PoolConfig::redis(1, u64::from(CHUNK.0) * 1000) });
    let mut now = Time::ZERO;
    for _ in 0..30 {
        for hot in 0..400 {
            now += Span::from_millis(1);
            request(&mut pool, hot, now);
        }
    }
    for once in 0..5000 {
        now += Span::from_millis(1);
        assert!(!request(&mut pool, 1_000_000 + once, now), "never asked for before");
    }
    pool.check();
    let mut builder = ChainBuilder::new();
    let mut is_there = |hot| {
        builder.clear();
        builder.push(hot, CHUNK);
        pool.probe(Chain::new(builder.pieces(), CHUNK), Blocks(0), Blocks(1), now) == Blocks(1)
    };
    (0..400).filter(|hot| is_there(*hot)).count()
}

#[test]
fn a_scan_does_not_flush_what_is_used_often() {
    assert_eq!(survivors(Eviction::Lru), 0, "recency alone is flushed");
    let left = survivors(Eviction::Lfu);
    assert!(left >= 380, "frequency is not: {left} of 400");
}
