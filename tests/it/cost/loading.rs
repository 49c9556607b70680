//! Loading against computing: coefficients by hand, and against the passes they stand for.

use super::{instance, model};
use kvcache::{Costs, PoolConfig, Span, TierCost, Tokens};
use sim::cost::catalogue::{H100, L40S};
use sim::cost::deployment::{Deployment, EngineSpec};
use sim::cost::loading::{costs, host_bytes_per_s};
use sim::cost::{CostModel, Segment, Shape};
use sim::transport::{PoolAccess, ProbeMode, TransportConfig};

/// A pass of 7 ms, 3 us a token and 5 ns for 1,024 pairs.
struct Linear;

impl CostModel for Linear {
    fn segment(&self, shape: &Shape) -> Segment {
        let base = Span(7_000_000_000 + 3_000_000 * shape.tokens + 5_000 * shape.pairs / 1024);
        Segment::line(base, Span::ZERO)
    }
}

/// 1,000 bytes a token; 1 GB/s to the host, 2 GB/s to the network, 4 GB/s from the pool.
fn ways(pool: PoolConfig) -> TransportConfig {
    let access = PoolAccess {
        pool,
        bytes_per_s: 4e9,
        round_trip: Span::from_millis(1),
        miss_wait: Span::from_secs(1),
        probe: ProbeMode::Sequential,
        in_flight: 8,
    };
    TransportConfig {
        token_bytes: 1000,
        host_bytes_per_s: 1e9,
        nic_bytes_per_s: 2e9,
        workers_per_node: 1,
        pool: Some(access),
    }
}

#[test]
fn coefficients_by_hand() {
    let of = |pool: PoolConfig| costs(&Linear, &ways(pool));
    let Costs { new_token, pairs_1024, host, pool } = of(PoolConfig::tiered_storage(1000, 4, 1 << 30));
    assert_eq!((new_token, pairs_1024), (Span::from_micros(3), Span::from_nanos(5)));
    assert_eq!(host, TierCost { fixed: Span::ZERO, per_token: Span::from_micros(1) });
    // The slowest of host 1,000 ns, daemon 250, network 500 for three nodes of four; two round trips for 256 tokens, eight at
    // a time, and up to two more.
    let asking = Span(2_000_000_000 / 2048);
    assert_eq!(pool, TierCost { fixed: Span::from_millis(2), per_token: Span::from_nanos(1000) + asking });
    // All of a Redis is elsewhere; a pool of one node never is.
    let slow =
        |pool: PoolConfig| costs(&Linear, &TransportConfig { nic_bytes_per_s: 0.5e9, ..ways(pool) }).pool.per_token;
    assert_eq!(slow(PoolConfig::redis(1000, 1 << 30)), Span::from_nanos(2000) + asking);
    assert_eq!(slow(PoolConfig::tiered_storage(1000, 4, 1 << 30)), Span::from_nanos(1500) + asking);
    assert_eq!(slow(PoolConfig::tiered_storage(1000, 1, 1 << 30)), Span::from_nanos(1000) + asking);
    let none = costs(&Linear, &TransportConfig { pool: None, ..ways(PoolConfig::redis(1000, 1 << 30)) });
    assert_eq!(none.pool, TierCost::default());
}

#[test]
fn computing_takes_what_a_large_prefill_takes() {
    for (on, of, tp) in
        [("p5.48xlarge", "Llama-3.1-70B", 8), ("g5.12xlarge", "Llama-3.1-8B", 4), ("g6e.4xlarge", "Qwen2-7B", 1)]
    {
        let spec = EngineSpec { tp, max_model_len: Some(Tokens(8_192)), ..EngineSpec::default() };
        let deployment = Deployment::plan(&instance(on), &model(of), &spec).expect("it fits");
        let roofline = deployment.roofline(Span::ZERO, false);
        let costs = costs(&roofline, &ways(PoolConfig::redis(1000, 1 << 30)));
        // 4,096 more tokens after 30,000 that are there, beside 8,192 of somebody else.
        let (more, had) = (4096, 30_000);
        let pairs = more * had + more * (more + 1) / 2;
        let shape = |tokens: u64, pairs: u64| Shape { tokens, pairs, prefill_context: had + more, ..Shape::default() };
        let lasts = |shape: Shape| roofline.segment(&shape).base.0 as f64;
        let real = lasts(shape(8192 + more, (1 << 26) + pairs)) - lasts(shape(8192, 1 << 26));
        let told = (costs.new_token * more).0 as f64 + costs.pairs_1024.0 as f64 * pairs as f64 / 1024.0;
        assert!((told / real - 1.0).abs() < 0.001, "{on} {of}: {told} against {real}");
    }
}

#[test]
fn a_link_to_the_host_is_a_share_of_its_peak() {
    assert!((host_bytes_per_s(&H100) / 50.4e9 - 1.0).abs() < 1e-12);
    assert!((host_bytes_per_s(&L40S) / 25.2e9 - 1.0).abs() < 1e-12);
}
