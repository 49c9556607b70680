//! Transfers that share a link: an M/G/1 queue with processor sharing.
//!
//! Documents of two sizes go through a worker once and into its host's memory; its device forgets them. Then they are asked for
//! again, at the times of a Poisson process, and loaded while others are. A load has the link to itself and whoever else is
//! there; it is all that a time to first token is made of, but for a pass of a microsecond.

use super::input::Poisson;
use super::law::{Law, Seen, by_chance};
use super::queues::mean;
use super::stage::Stage;
use kvcache::{
    BreakerConfig, Choice, Deadline, Eviction, HostConfig, LoadMode, Span, StoreMode, TierConfig, Time, Tokens,
};
use sim::cost::linear::Linear;
use sim::theory::queue;
use sim::transport::TransportConfig;
use sim::workload::{Pacing, Segment, Workload};

/// Tokens of a block, and of an object.
pub(super) const BLOCK: Tokens = Tokens(16);
/// Bytes of a token.
pub(super) const TOKEN_BYTES: u64 = 1000;
/// Bytes per second of the link.
const RATE: f64 = 1e7;
/// Tokens of a document, of which nine in ten are short.
const SIZES: [Tokens; 2] = [Tokens(160), Tokens(1760)];
const LONG_SHARE: f64 = 0.1;
const RHO: f64 = 0.6;

/// Lower tiers that are used whenever they have something.
pub(super) fn tiers(host_objects: Option<u32>, pool: bool) -> TierConfig {
    let host = |objects: u32| HostConfig {
        capacity: u64::from(objects) * u64::from(BLOCK.0) * TOKEN_BYTES,
        token_bytes: TOKEN_BYTES,
        chunk: BLOCK,
        eviction: Eviction::Lru,
        watermark: 1000,
        evict: 0,
        seed: 0,
    };
    TierConfig {
        chunk: BLOCK,
        host: host_objects.map(host),
        pool,
        load: LoadMode::Blocking,
        store: StoreMode::Blocking,
        choice: Choice::Always,
        save_unfull_chunk: false,
        save_decode_cache: false,
        min_retrieve: Tokens(0),
        deadline: Deadline { base: Span::from_secs(10_000), per_1k: Span::ZERO },
        breaker: BreakerConfig::default(),
    }
}

/// A host's memory behind a link, and nothing beyond.
pub(super) const fn host_link(host_bytes_per_s: f64) -> TransportConfig {
    TransportConfig {
        token_bytes: TOKEN_BYTES,
        host_bytes_per_s,
        nic_bytes_per_s: 1e12,
        workers_per_node: 1,
        pool: None,
    }
}

fn alone(size: Tokens) -> f64 {
    u64::from(size.0) as f64 * TOKEN_BYTES as f64 / RATE
}

fn sharing() -> Law {
    let names = ["link.sharing.short", "link.sharing.long"];
    Law::new(names.map(by_chance), |bench| {
        let documents = 400 + bench.requests(24_000);
        let mut draws = bench.streams().named("document lengths");
        let sizes: Vec<Tokens> = (0..documents).map(|_| SIZES[usize::from(draws.unit() < LONG_SHARE)]).collect();
        let mut workload = Workload::new(Pacing::Open);
        let mut ask = |at: Time, id: usize, question: u64| {
            let question = Segment { id: u64::MAX / 4 + question, tokens: Tokens(1) };
            workload.push(at, None, &[Segment { id: id as u64, tokens: sizes[id] }, question], Tokens(1));
        };
        // One after the other, each stored before the next.
        let apart = Span::from_secs_f64(2.0 * alone(SIZES[1]));
        (0..documents as usize).for_each(|id| ask(Time(apart.0 * id as u64), id, 0));
        let again = Time(apart.0 * u64::from(documents) + Span::from_secs(10).0);
        let mean_alone = (1.0 - LONG_SHARE) * alone(SIZES[0]) + LONG_SHARE * alone(SIZES[1]);
        let mut times = Poisson::new(bench, RHO / mean_alone, again);
        (0..documents as usize).for_each(|id| ask(times.draw(), id, 1));

        let model = Linear { per_pass: Span::from_micros(1), ..Linear::default() };
        let host = 200 * documents; // blocks: all of them
        let lower = TierConfig { load: LoadMode::Overlapped, store: StoreMode::Overlapped, ..tiers(Some(host), false) };
        let stage = Stage {
            model,
            seats: 1024,
            tiers: Some((lower, host_link(RATE))),
            ..Stage::caches(1, 8_000, BLOCK, Tokens(2048))
        };
        let ledger = stage.serve(bench, &workload);
        // The first find an idle link, the last are joined by nobody.
        let (documents, edge) = (documents as usize, 200);
        let measured = &ledger.records()[documents + edge..2 * documents - edge];
        let seen = |size: Tokens| {
            let of_size = measured.iter().filter(|record| record.prompt == size + Tokens(1));
            let took: Vec<f64> = of_size
                .map(|record| {
                    assert_eq!(record.from_l1, Some(size), "it comes over the link");
                    record.first_token.expect("it was served").since(record.arrived).as_secs_f64()
                })
                .collect();
            Seen { expected: queue::time_shared(alone(size), RHO), simulated: mean(&took) }
        };
        SIZES.map(seen).to_vec()
    })
}

pub(super) fn laws() -> Vec<Law> {
    vec![sharing()]
}
