//! Rendezvous hashing: an even spread, and nothing moves that need not.

use crate::cache::prompts::Chance;
use kvcache::{BlockKey, Blocks, Chain, ChainBuilder, Pool, PoolConfig, Time, Tokens};

const KEYS: usize = 100_000;

fn pool(shards: u16, seed: u64) -> Pool {
    Pool::new(PoolConfig { seed, ..PoolConfig::tiered_storage(1, shards, 1 << 20) })
}

/// Keys as they come: half of one long chain, half without any relation.
fn keys() -> Vec<BlockKey> {
    let mut builder = ChainBuilder::new();
    builder.push(1, Tokens(KEYS as u32 / 2 * 256));
    let chain = Chain::new(builder.pieces(), Tokens(256));
    let mut chance = Chance::new(7);
    let mut random = || BlockKey(u64::from(chance.below(u32::MAX)) << 32 | u64::from(chance.below(u32::MAX)));
    (0..KEYS as u32).map(|n| if n % 2 == 0 { chain.key(Blocks(n / 2)) } else { random() }).collect()
}

fn spread(pool: &Pool, keys: &[BlockKey]) -> Vec<Option<u16>> {
    keys.iter().map(|key| pool.shard_of(*key)).collect()
}

/// The number of keys on a shard is binomial; the sum of the squared standard scores is chi-squared with shards - 1
/// degrees of freedom, and stays below its mean + 5 standard deviations (never seen by chance in so few draws).
fn assert_even(places: &[Option<u16>], shards: &[u16]) {
    let expected = places.len() as f64 / shards.len() as f64;
    let counts = shards.iter().map(|shard| places.iter().filter(|place| **place == Some(*shard)).count());
    let counts: Vec<usize> = counts.collect();
    assert_eq!(counts.iter().sum::<usize>(), places.len(), "each key has a shard that is up");
    let chi2: f64 = counts.iter().map(|count| (*count as f64 - expected).powi(2) / expected).sum();
    let freedom = shards.len() as f64 - 1.0;
    assert!(chi2 < freedom + 5.0 * (2.0 * freedom).sqrt() + 1e-9, "chi-squared {chi2:.1} for {counts:?}");
}

#[test]
fn keys_spread_evenly() {
    let keys = keys();
    for shards in [1, 2, 3, 7, 8, 16, 64] {
        let all: Vec<u16> = (0..shards).collect();
        for seed in 0..3 {
            assert_even(&spread(&pool(shards, seed), &keys), &all);
        }
    }
}

#[test]
fn seeds_give_other_spreads() {
    let keys = keys();
    let same = spread(&pool(8, 0), &keys).iter().zip(spread(&pool(8, 1), &keys)).filter(|(a, b)| **a == *b).count();
    assert!(same.abs_diff(KEYS / 8) < 600, "as if drawn anew: {same}");
}

#[test]
fn only_the_keys_of_a_lost_shard_move() {
    let keys = keys();
    for (shards, lost) in [(2, 0), (3, 1), (7, 6), (8, 3)] {
        let mut pool = pool(shards, 5);
        let before = spread(&pool, &keys);
        pool.lose_shard(lost, Time::ZERO);
        let during = spread(&pool, &keys);
        let left: Vec<u16> = (0..shards).filter(|shard| *shard != lost).collect();
        assert_even(&during, &left);
        for (before, during) in before.iter().zip(&during) {
            assert!(before == during || *before == Some(lost), "{before:?} moved to {during:?}");
        }
        // The keys of the lost shard spread evenly, too.
        let moved: Vec<Option<u16>> = before.iter().zip(&during).filter(|(b, d)| b != d).map(|(_, d)| *d).collect();
        assert_even(&moved, &left);
        pool.restore_shard(lost);
        assert_eq!(spread(&pool, &keys), before, "they come back");
    }
}

/// Down to the last one, and up again: also where nearly all are down, each step moves the keys of one shard.
#[test]
fn shards_go_and_come_one_by_one() {
    let keys = &keys()[..20_000];
    let mut pool = pool(40, 9);
    // In no order that means anything: 7 and 40 have no common factor.
    let order: Vec<u16> = (0..40).map(|n| n * 7 % 40).collect();
    let mut spreads = vec![spread(&pool, keys)];
    for (gone, lost) in order[..39].iter().enumerate() {
        pool.lose_shard(*lost, Time::ZERO);
        let (before, after) = (&spreads[gone], spread(&pool, keys));
        assert_even(&after, &order[gone + 1..]);
        assert!(before.iter().zip(&after).all(|(before, after)| before == after || *before == Some(*lost)));
        spreads.push(after);
    }
    for (gone, back) in order[..39].iter().enumerate().rev() {
        pool.restore_shard(*back);
        assert_eq!(spread(&pool, keys), spreads[gone], "each comes back to its own keys");
    }
}

#[test]
fn a_new_shard_takes_only_its_own_keys() {
    let keys = keys();
    let (small, large) = (spread(&pool(7, 3), &keys), spread(&pool(8, 3), &keys));
    assert!(small.iter().zip(&large).all(|(small, large)| small == large || *large == Some(7)));
}

#[test]
fn no_shard_no_place() {
    let mut pool = pool(2, 0);
    pool.lose_shard(1, Time::ZERO);
    pool.lose_shard(0, Time::ZERO);
    pool.lose_shard(0, Time::ZERO);
    assert_eq!(pool.shard_of(BlockKey(1)), None);
    pool.restore_shard(1);
    pool.restore_shard(1);
    assert_eq!(pool.shard_of(BlockKey(1)), Some(1));
}

#[test]
#[should_panic(expected = "a pool of 3 shards has no shard 3")]
fn a_shard_that_does_not_exist_does_not_come_up() {
    pool(3, 0).restore_shard(3);
}
