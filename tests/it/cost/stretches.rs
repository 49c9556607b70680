//! A worker whose passes a profile prices goes in stretches exactly as it goes pass by pass.

use super::table::{graphs, table};
use kvcache::{Blocks, CacheConfig, Duplicates, Span, Time, Tokens};
use router::{Api, Router, RouterConfig, Strategy};
use sim::cluster::Cluster;
use sim::cost::table::Running;
use sim::ledger::Ledger;
use sim::replica::EngineConfig;
use sim::simulate::{Path, simulate};
use sim::streams::Streams;
use sim::workload::{Pacing, Segment, Workload};

fn run(running: Running, blocks: u32, max_repeats: u64, workload: &Workload) -> Ledger {
    let engine = EngineConfig {
        max_num_seqs: 128,
        max_num_batched_tokens: Tokens(1_024),
        max_model_len: Tokens(4_096),
        chunked_prefill: true,
        long_prefill_token_threshold: None,
        max_num_partial_prefills: 1,
        reserve_full_isl: false,
        async_scheduling: running.async_scheduling,
        max_repeats,
        record_work: false,
        cache: CacheConfig {
            capacity: Blocks(blocks),
            block: Tokens(16),
            prefix_caching: true,
            duplicates: Duplicates::Keep,
            events: false,
        },
        tiers: None,
    };
    let router = Router::new(RouterConfig {
        block: Tokens(16),
        chunk: Tokens(16),
        ..RouterConfig::new(Strategy::RoundRobin, 1)
    });
    let mut cluster = Cluster::new(1, engine, router, Box::new(table(running)), None).expect("the engine is one");
    let path = Path { latency: Span::ZERO, api: Api::Completions, names_session: false };
    simulate(workload, &mut cluster, path, |_| {}).expect("within the horizon")
}

#[test]
fn stretches_end_when_single_passes_would() {
    let mut draws = Streams::new(3).named("requests");
    let mut workload = Workload::new(Pacing::Open);
    let mut at = Time::ZERO;
    for id in 0..160 {
        at += Span::from_micros(5_000 * draws.below(40));
        let prompt = Segment { id, tokens: Tokens(1 + draws.below(2_000) as u32) };
        workload.push(at, None, &[prompt], Tokens(1 + draws.below(700) as u32));
    }
    for running in [
        Running::default(),
        Running { async_scheduling: true, host: Span::from_micros(900), ..graphs() },
        Running { async_scheduling: true, host: Span::from_micros(900), ..Running::default() },
        graphs(),
    ] {
        for blocks in [400, 4_000] {
            let [single, many] = [1, 1 << 14].map(|repeats| run(running.clone(), blocks, repeats, &workload));
            assert_eq!(single.records(), many.records(), "{running:?}, {blocks}");
            assert_eq!(single.passes(), many.passes());
            assert_eq!(single.passes_beyond().collect::<Vec<_>>(), many.passes_beyond().collect::<Vec<_>>());
            assert!(blocks > 400 || single.summary(None).preemptions > 0, "there is too little room");
        }
    }
}
