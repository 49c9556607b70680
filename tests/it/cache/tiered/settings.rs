//! Which caches live through histories.

use super::super::prompts::{Chance, Cut};
use kvcache::{
    Blocks, BreakerConfig, CacheConfig, Choice, Costs, Deadline, Duplicates, Eviction, HostConfig, LoadMode, Span,
    StoreMode, TierConfig, TierCost, Tokens,
};

#[derive(Clone, Copy, Debug)]
pub(super) struct Setting {
    pub(super) seed: u64,
    pub(super) cache: CacheConfig,
    pub(super) tiers: Option<TierConfig>,
    pub(super) cut: Cut,
    pub(super) longest: u32,
    /// How often the pool cannot be reached, in percent.
    pub(super) outage: u32,
}

/// Tokens in a block and in a chunk: a chunk of several blocks, of one, of less than one, and such that do not fit.
const SIZES: [(u32, u32); 5] = [(4, 12), (8, 8), (9, 3), (3, 7), (5, 20)];

impl Setting {
    /// The setting with a number: every kind of tier and of choice comes in turn, the rest by chance.
    pub(super) fn numbered(seed: u64) -> Self {
        let mut chance = Chance::new(seed);
        let (block, chunk) = SIZES[(seed % 5) as usize];
        let longest = chunk.max(block) * chance.within(6, 12);
        let one = (longest + 3 * block).div_ceil(block) + 1;
        let cache = CacheConfig {
            capacity: Blocks(one * [2, 3, 4, 8][chance.below(4) as usize] / 2),
            block: Tokens(block),
            prefix_caching: !chance.percent(3),
            duplicates: if chance.percent(50) { Duplicates::Keep } else { Duplicates::Merge },
            events: true,
        };
        let cut = if chance.percent(40) { Cut::Even(chunk) } else { Cut::Irregular(2 * chunk) };
        let (host, pool) =
            [(true, true), (true, false), (true, true), (false, true), (true, true)][chance.below(5) as usize];
        let tiers = TierConfig {
            chunk: Tokens(chunk),
            host: host.then(|| host_of(&mut chance, chunk, longest)),
            pool,
            load: LoadMode::Overlapped,
            store: StoreMode::Overlapped,
            choice: match seed % 8 {
                0 => Choice::Never,
                1 | 3 | 5 => Choice::ByCost(costs(&mut chance)),
                _ => Choice::Always,
            },
            save_unfull_chunk: chance.percent(60),
            save_decode_cache: chance.percent(35),
            min_retrieve: Tokens([0, 0, 0, chunk, 2 * chunk + 1][chance.below(5) as usize]),
            deadline: Deadline { base: Span(u64::from(chance.within(1, 30))), per_1k: Span(1500) },
            breaker: BreakerConfig {
                failures: 2,
                probe_every: Span(60),
                silence: Span(u64::from(chance.within(5, 150))),
            },
        };
        let outage = [0, 6, 35][chance.below(3) as usize];
        Self { seed, cache, tiers: (seed % 24 != 23).then_some(tiers), cut, longest, outage }
    }

    /// Tokens in an object.
    pub(super) fn chunk(&self) -> u32 {
        self.tiers.map_or(1, |tiers| tiers.chunk.0)
    }
}

/// From no room at all to plenty, with and without an eviction in the background.
fn host_of(chance: &mut Chance, chunk: u32, longest: u32) -> HostConfig {
    let percent = [10, 80, 200, 500, 2000][chance.below(5) as usize];
    HostConfig {
        capacity: u64::from(longest * percent / 100) * 2,
        token_bytes: 2,
        chunk: Tokens(chunk),
        eviction: if chance.percent(75) { Eviction::Lru } else { Eviction::Fifo },
        watermark: if chance.percent(30) { 800 } else { 1000 },
        evict: 200,
        seed: 0,
    }
}

/// Where loading is about as dear as computing.
pub(super) fn costs(chance: &mut Chance) -> Costs {
    Costs {
        new_token: Span(u64::from(chance.within(0, 6))),
        pairs_1024: Span(u64::from(chance.within(0, 60))),
        host: TierCost { fixed: Span(u64::from(chance.below(20))), per_token: Span(u64::from(chance.below(3))) },
        pool: TierCost { fixed: Span(u64::from(chance.below(40))), per_token: Span(u64::from(chance.within(0, 4))) },
    }
}
