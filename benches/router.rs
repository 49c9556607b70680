//! What a decision costs: hashing, matching, deciding and hearing events, at 64 workers and 8,192 tokens.
//!
//! The index holds 1,024 sequences in blocks of 16 (32 beginnings of half the length, shared by 32 sequences each, and
//! held by every fourth worker; sequence s on worker s mod 64). Half of the prompts are sequences with a turn of 64 tokens
//! behind, half have a beginning and a fresh end. `benches/peers` runs the same beside other crates.

use cpu::CpuTime;
use criterion::{Criterion, Throughput};
use kvcache::{CacheEvent, Chain, Change, Epoch, Piece, PieceKey, RequestId, Time, Tokens, WorkerId};
use router::{Api, Index, IndexConfig, Matches, RouteRequest, Router, RouterConfig, Signal, Strategy, TokenHasher};
use std::hint::black_box;

mod cpu; // CPU time instead of wall time

const UNIT: Tokens = Tokens(16);
const WORKERS: u16 = 64;
const TOKENS: u32 = 8192;
const SEQUENCES: u32 = 1024;
const GROUPS: u32 = 32;

/// Tokens that look like none of another seed.
fn tokens(seed: u32, count: u32) -> impl Iterator<Item = u32> {
    (0..count).map(move |at| (seed.wrapping_mul(0x9e37_79b9) ^ at).wrapping_mul(0x85eb_ca6b) >> 15)
}

fn sequence(number: u32) -> Vec<u32> {
    tokens(number % GROUPS, TOKENS / 2).chain(tokens(1000 + number, TOKENS / 2)).collect()
}

fn prompts() -> Vec<Vec<u32>> {
    (0..256)
        .map(|query| match query % 2 {
            0 => sequence(query * 7 % SEQUENCES).into_iter().chain(tokens(100_000 + query, 64)).collect(),
            _ => tokens(query % GROUPS, TOKENS / 2).chain(tokens(200_000 + query, TOKENS / 2)).collect(),
        })
        .collect()
}

/// Calls `hold` for each worker and the prefix that it holds.
fn filled(mut hold: impl FnMut(WorkerId, &[Piece], Tokens)) {
    let mut hasher = TokenHasher::new(UNIT, 0);
    for number in 0..SEQUENCES {
        let pieces = hasher.pieces(&sequence(number)).to_vec();
        hold(WorkerId((number % u32::from(WORKERS)) as u16), &pieces, Tokens(TOKENS));
        if number < GROUPS {
            (0..WORKERS).step_by(4).for_each(|worker| hold(WorkerId(worker), &pieces, Tokens(TOKENS / 2)));
        }
    }
}

fn index() -> Index {
    let mut index = Index::new(IndexConfig::new(WORKERS, UNIT));
    filled(|worker, pieces, upto| index.store_chain(worker, Chain::new(pieces, UNIT), upto));
    index
}

/// The events by which a worker tells that it holds the first `upto` tokens of a prompt, of so many blocks each.
fn stored(pieces: &[Piece], upto: Tokens, blocks: usize) -> impl Iterator<Item = Change> {
    let parents = std::iter::once(PieceKey::ROOT).chain(pieces.chunks(blocks).map(|chunk| chunk[chunk.len() - 1].key));
    let pieces = &pieces[..(upto.0 / UNIT.0) as usize];
    pieces.chunks(blocks).zip(parents).map(|(chunk, parent)| Change::Stored {
        parent,
        start: chunk[0].end - UNIT,
        upto: chunk[chunk.len() - 1].end,
        pieces: chunk.into(),
        strand: None,
    })
}

/// Those by which it tells that they are gone, the last first.
fn evicted(pieces: &[Piece], blocks: usize) -> impl Iterator<Item = Change> {
    pieces.chunks(blocks).rev().map(|chunk| Change::Evicted {
        left: chunk[0].end - UNIT,
        pieces: chunk.into(),
        strand: None,
    })
}

/// A router that has heard of it all.
fn router(strategy: Strategy) -> (Router, Vec<u64>) {
    let mut router = Router::new(RouterConfig::new(strategy, WORKERS));
    let mut sequences = vec![0; usize::from(WORKERS)];
    filled(|worker, pieces, upto| {
        for change in stored(pieces, upto, 1) {
            tell(&mut router, &mut sequences, worker, change);
        }
    });
    (router, sequences)
}

fn tell(router: &mut Router, sequences: &mut [u64], worker: WorkerId, change: Change) {
    let event = CacheEvent { epoch: Epoch(0), sequence: sequences[worker.index()], change };
    sequences[worker.index()] += 1;
    router.observe(worker, Signal::Cache(&[event]), Time::ZERO, Time::ZERO);
}

fn parts(criterion: &mut Criterion<CpuTime>) {
    let prompts = prompts();
    let mut group = criterion.benchmark_group("64 workers, 8,192 tokens");
    let mut hasher = TokenHasher::new(UNIT, 0);
    let mut next = (0..prompts.len()).cycle();
    group.bench_function("hash", |bencher| {
        bencher.iter(|| black_box(hasher.pieces(&prompts[next.next().expect("endless")]).len()));
    });
    let index = index();
    let chains: Vec<Vec<Piece>> = prompts.iter().map(|prompt| hasher.pieces(prompt).to_vec()).collect();
    let mut matches = Matches::new();
    group.bench_function("match", |bencher| {
        bencher.iter(|| {
            index.matches(Chain::new(&chains[next.next().expect("endless")], UNIT), &mut matches);
            black_box(matches.tokens()[0])
        });
    });
    group.finish();
}

fn decisions(criterion: &mut Criterion<CpuTime>) {
    let prompts = prompts();
    let mut group = criterion.benchmark_group("decision, hashing included, 64 workers, 8,192 tokens");
    for strategy in [Strategy::KvAware, Strategy::KvAwarePlus, Strategy::PredictedTtft] {
        let (mut router, _) = router(strategy);
        let mut hasher = TokenHasher::new(UNIT, 0);
        let (mut number, mut now) = (0, Time::ZERO);
        group.bench_function(strategy.as_str(), |bencher| {
            bencher.iter(|| {
                let pieces = hasher.pieces(&prompts[number as usize % prompts.len()]);
                let chain = Chain::new(pieces, UNIT);
                let request = RouteRequest { request: RequestId(number), session: None, chain, api: Api::Completions };
                let decision = router.route(&request, &[], now).expect("nobody is excluded");
                router.observe(decision.worker, Signal::FirstToken(RequestId(number)), now, now);
                router.observe(decision.worker, Signal::Finished(RequestId(number)), now, now);
                // A hundred requests a second.
                (number, now) = (number + 1, now + kvcache::Span::from_millis(10));
                black_box(decision.worker)
            });
        });
    }
    group.finish();
}

/// A sequence comes to a worker and goes again, in events of one block, and of 32, as a pass of a prefill has them; after every
/// hundred blocks or so a decision is made.
fn events(criterion: &mut Criterion<CpuTime>) {
    let prompts = prompts();
    let mut group = criterion.benchmark_group("blocks told, a decision after each hundred, 64 workers");
    for (strategy, blocks) in [Strategy::KvAware, Strategy::KvAwarePlus]
        .into_iter()
        .flat_map(|strategy| [1, 32].map(|blocks| (strategy, blocks)))
    {
        let (mut router, mut sequences) = router(strategy);
        let mut hasher = TokenHasher::new(UNIT, 0);
        let mut number = 0_u32;
        group.throughput(Throughput::Elements(u64::from(TOKENS / UNIT.0) * 2));
        group.bench_function(format!("{}, {blocks} an event", strategy.as_str()), |bencher| {
            bencher.iter(|| {
                let tokens: Vec<u32> = tokens(1_000_000 + number, TOKENS).collect();
                let pieces = hasher.pieces(&tokens).to_vec();
                let worker = WorkerId((number % u32::from(WORKERS)) as u16);
                let changes = stored(&pieces, Tokens(TOKENS), blocks).chain(evicted(&pieces, blocks));
                for (count, change) in (1..).map(|event| event * blocks).zip(changes) {
                    tell(&mut router, &mut sequences, worker, change);
                    if count / 100 > (count - blocks) / 100 {
                        let pieces = hasher.pieces(&prompts[count % prompts.len()]);
                        let chain = Chain::new(pieces, UNIT);
                        let request = RequestId(u64::from(number) * 2000 + count as u64);
                        let asked = RouteRequest { request, session: None, chain, api: Api::Completions };
                        let decision = router.route(&asked, &[], Time::ZERO).expect("nobody is excluded");
                        router.observe(decision.worker, Signal::Finished(request), Time::ZERO, Time::ZERO);
                    }
                }
                number += 1;
            });
        });
    }
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default().with_measurement(CpuTime).configure_from_args();
    parts(&mut criterion);
    decisions(&mut criterion);
    events(&mut criterion);
    criterion.final_summary();
}
