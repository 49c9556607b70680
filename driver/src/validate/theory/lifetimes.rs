//! L2 with a time to live: objects that each use renews (`l2.eviction=lru`), and that live from writing (`fifo`).
//!
//! The device keeps the latest prompt only. That it is found there now and then, without renewing anything, makes one request in
//! 500 live shorter by a 500th.

use super::caches::{LONGEST, is_hit};
use super::input::{Independent, Poisson, ask};
use super::law::{Law, Seen, by_chance};
use super::links::{BLOCK, TOKEN_BYTES, host_link, tiers};
use super::stage::Stage;
use kvcache::{Eviction, PoolConfig, Span, Time};
use sim::theory::cache;
use sim::transport::{PoolAccess, ProbeMode, TransportConfig};
use sim::workload::{Pacing, Workload};

const OBJECTS: u32 = 500;
/// Requests per second, of all objects together: so few that they do not meet.
const RATE: f64 = 10.0;

/// Each object is asked for `load` times per time to live on average.
fn lives(name: &'static str, eviction: Eviction, load: f64) -> Law {
    let ttl = Span::from_secs_f64(load * f64::from(OBJECTS) / RATE);
    let expected = if eviction == Eviction::Fifo { cache::written(load) } else { cache::renewed(load) };
    Law::new([by_chance(name)], move |bench| {
        // Four times to live forget the empty start.
        let warm_up = (4.0 * load * f64::from(OBJECTS)) as u32;
        let mut objects = Independent::new(bench, &vec![1.0 / f64::from(OBJECTS); OBJECTS as usize]);
        let mut times = Poisson::new(bench, RATE, Time::ZERO);
        let mut workload = Workload::new(Pacing::Open);
        (0..warm_up + bench.requests(16_000)).for_each(|_| ask(&mut workload, times.draw(), objects.draw(), BLOCK));
        let pool = PoolConfig {
            chunk: BLOCK,
            eviction,
            ttl: Some(ttl),
            ..PoolConfig::tiered_storage(TOKEN_BYTES, 1, 1 << 40)
        };
        let access = PoolAccess {
            pool,
            bytes_per_s: 1e12,
            round_trip: Span::from_micros(1),
            miss_wait: Span::ZERO,
            probe: ProbeMode::Sequential,
            in_flight: 4,
        };
        let ways = TransportConfig { pool: Some(access), ..host_link(1e12) };
        let stage = Stage { tiers: Some((tiers(None, true), ways)), ..Stage::caches(1, 2, BLOCK, LONGEST) };
        let ledger = stage.serve(bench, &workload);
        let measured = &ledger.records()[warm_up as usize..];
        let hits = measured.iter().filter(|record| is_hit(record)).count();
        vec![Seen { expected, simulated: hits as f64 / measured.len() as f64 }]
    })
}

pub(super) fn laws() -> Vec<Law> {
    vec![
        lives("ttl.renewed.half", Eviction::Lru, 0.5),
        lives("ttl.renewed.twice", Eviction::Lru, 2.0),
        lives("ttl.written.half", Eviction::Fifo, 0.5),
        lives("ttl.written.twice", Eviction::Fifo, 2.0),
    ]
}
