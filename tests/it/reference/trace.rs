//! The conversation trace of Mooncake on caches that barely hold its longest request.

use super::differ;
use super::scenario::{Cost, Routing, Scenario};
use crate::support;
use kvcache::{Blocks, CacheConfig, Duplicates, Span, Tokens};
use sim::replica::EngineConfig;
use sim::workload::{Workload, mooncake};

fn conversations() -> Option<Workload> {
    let text = std::fs::read_to_string(support::conversation()?).expect("the trace can be read");
    Some(mooncake::parse(&text).expect("a valid trace"))
}

fn agrees(requests: usize, async_scheduling: bool, routing: Routing) {
    let Some(workload) = conversations().map(|all| all.first(requests)) else { return };
    let longest = workload.requests().iter().map(|request| request.prompt + request.output).max().unwrap_or_default();
    let engine = EngineConfig {
        max_num_seqs: 256,
        max_num_batched_tokens: Tokens(8192),
        max_model_len: longest,
        chunked_prefill: true,
        long_prefill_token_threshold: None,
        max_num_partial_prefills: 1,
        reserve_full_isl: false,
        async_scheduling,
        max_repeats: 16384,
        record_work: true,
        tiers: None,
        cache: CacheConfig {
            capacity: longest.blocks(Tokens(16)) + Blocks(7),
            block: Tokens(16),
            prefix_caching: true,
            duplicates: Duplicates::Keep,
            events: false,
        },
    };
    let (workload, latency) = (workload.sped_up(0.7), Span::from_millis(20));
    let restarts = Vec::new();
    let seen =
        differ::compare(&Scenario { workload, engine, workers: 2, routing, cost: Cost::Linear, latency, restarts });
    eprintln!("{seen:?}");
    assert!(seen.preemptions > 100 && seen.evicted > 100_000 && seen.stretched > 10_000, "{seen:?}");
}

#[test]
fn the_conversation_trace_agrees() {
    agrees(1500, false, Routing::RoundRobin);
}

#[test]
fn the_conversation_trace_agrees_under_async_scheduling() {
    agrees(1500, true, Routing::RoundRobin);
}

#[test]
fn the_conversation_trace_agrees_under_kvaware() {
    let (threshold, window, chunk) = (Tokens(2000), Span::from_secs(60), Tokens(256));
    agrees(600, true, Routing::KvAware { threshold, window, chunk });
}
