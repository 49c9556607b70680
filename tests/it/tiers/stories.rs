//! Short stories with times worked out by hand.
//!
//! A pass takes 1 ms and 10 us for each token that it computes. A chunk of 256 tokens has 256,000 bytes: 1 ms over the host
//! link, 2 ms through the pool, 0.02048 ms over a node's network; a round trip to the pool takes 0.5 ms.
//!
//! The prompt has 600 tokens: two chunks, and 88 tokens more. Cold it takes 1 + 6 = 7 ms; after two chunks were loaded,
//! 1 + 0.88 = 1.88 ms.

use super::world::{World, pool, tiers};
use kvcache::{Choice, LoadMode, Span, StoreMode, TierConfig, Time, Tokens};
use sim::cost::{CostModel, Segment, Shape};
use sim::ledger::{Ledger, Record};
use sim::transport::{PoolAccess, ProbeMode, Reach};
use sim::workload::{Pacing, Segment as Content, Workload};

struct TenMicros;

impl CostModel for TenMicros {
    fn segment(&self, shape: &Shape) -> Segment {
        let base = Span::from_millis(1) + Span::from_micros(10) * shape.tokens;
        Segment::line(base, Span::ZERO)
    }
}

/// At a millisecond, a prompt of so many tokens of this content, and so many tokens of reply.
type Ask = (u64, u64, u32, u32);

fn asked(asks: &[Ask]) -> Workload {
    let mut workload = Workload::new(Pacing::Open);
    for &(at, id, tokens, output) in asks {
        let at = Time::ZERO + Span::from_millis(at);
        workload.push(at, None, &[Content { id, tokens: Tokens(tokens) }], Tokens(output));
    }
    workload
}

fn world(workers: u16, config: TierConfig, access: Option<PoolAccess>) -> World {
    // 63 blocks: a prompt of 999 tokens pushes out all that was there.
    let mut world = World::new(workers, 63).with(config, access);
    world.engine.max_model_len = Tokens(1000);
    world.engine.max_num_batched_tokens = Tokens(1024);
    world.transport.host_bytes_per_s = 256e6;
    world
}

fn slow_pool() -> PoolAccess {
    PoolAccess { bytes_per_s: 128e6, ..pool(1, 1 << 30) }
}

fn ttft(ledger: &Ledger, request: usize) -> Span {
    ledger.records()[request].ttft().expect("it was served")
}

/// What the TTFT of a request was spent on: lower tiers, and computing.
fn tiers_and_compute(ledger: &Ledger, request: usize) -> (Span, Span) {
    let spent = ledger.records()[request].spent.expect("it was served");
    assert_eq!(spent.kv_wait, Span::ZERO, "there is room");
    (spent.tiers, spent.compute)
}

fn found(record: Record) -> [u32; 3] {
    [record.cached, record.from_l1, record.from_l2].map(|tokens| tokens.expect("it was admitted").0)
}

/// The prompt, another that pushes it off the device, and the prompt again; a reply of one token each.
const AGAIN: [Ask; 3] = [(0, 1, 600, 1), (100, 2, 999, 1), (200, 1, 600, 1)];

#[test]
fn l1_gives_back_what_the_device_forgot() {
    let with = |load| TierConfig { load, ..tiers(Some(10_000), false) };
    // Blocking and overlapped: 2 ms for two chunks, then 1.88 ms. Layerwise: the pass is done after 1.88 ms and waits until
    // the last layer has come.
    for (load, expected) in [
        (LoadMode::Blocking, Span::from_micros(3880)),
        (LoadMode::Overlapped, Span::from_micros(3880)),
        (LoadMode::Layerwise, Span::from_millis(2)),
    ] {
        let (ledger, _) = world(1, with(load), None).run(TenMicros, &asked(&AGAIN));
        assert_eq!(ttft(&ledger, 0), Span::from_millis(7), "cold");
        assert_eq!(found(ledger.records()[2]), [0, 512, 0]);
        assert_eq!(ttft(&ledger, 2), expected, "{load:?}");
        let compute = Span::from_micros(1880);
        assert_eq!(tiers_and_compute(&ledger, 2), (expected - compute, compute), "{load:?}");
        let summary = ledger.summary(None);
        let moved = summary.bytes_moved.expect("there is an L1");
        // Stored: two chunks and three chunks. Loaded: two.
        assert_eq!((moved.device_to_host, moved.host_to_device, moved.nic, moved.l2), (1_280_000, 512_000, 0, 0));
        let stall = summary.stall.expect("there is an L1");
        let waited = match load {
            LoadMode::Blocking => 2e-3,
            // Nobody else is there to go on.
            LoadMode::Overlapped => 2e-3,
            LoadMode::Layerwise => 0.12e-3,
        };
        assert!((stall.load_l1 - waited).abs() < 1e-12, "{load:?}: {stall:?}");
        assert!(stall.lookup + stall.load_l2 + stall.store < 1e-12, "{stall:?}");
    }
}

#[test]
fn l2_gives_another_worker_what_the_first_computed() {
    let config = tiers(None, true);
    let (ledger, _) = world(2, config, Some(slow_pool())).run(TenMicros, &asked(&[(0, 1, 600, 1), (200, 1, 600, 1)]));
    assert_eq!(ledger.records()[1].worker.map(|worker| worker.0), Some(1));
    assert_eq!(found(ledger.records()[1]), [0, 0, 512]);
    // Two objects looked up, a lease and its release each: 4 round trips. Two leases and two releases, four at a time: two
    // round trips. Then at once: from the other node 0.04096 ms, through the pool 4 ms, to the device 2 ms. The pass: 1.88 ms.
    assert_eq!(ttft(&ledger, 1), Span::from_micros(2000 + 1000 + 4000 + 1880));
    assert_eq!(tiers_and_compute(&ledger, 1), (Span::from_millis(7), Span::from_micros(1880)));
    let moved = ledger.summary(None).bytes_moved.expect("there is an L2");
    // Two chunks off the first device and onto the second; into the pool and out of it; once from node to node.
    assert_eq!(
        (moved.device_to_host, moved.host_to_device, moved.nic, moved.l2),
        (512_000, 512_000, 512_000, 1_024_000)
    );
    let stall = ledger.summary(None).stall.expect("there is an L2");
    // The first look-up misses its first object: one round trip.
    assert!((stall.lookup - 2.5e-3).abs() < 1e-12 && (stall.load_l2 - 5e-3).abs() < 1e-12, "{stall:?}");
}

#[test]
fn what_was_copied_under_an_expired_lease_does_not_count() {
    let mut access = slow_pool();
    // The copy takes 5 ms, leases included.
    access.pool.lease_ttl = Span::from_micros(4999);
    let (ledger, _) =
        world(2, tiers(None, true), Some(access)).run(TenMicros, &asked(&[(0, 1, 600, 1), (200, 1, 600, 1)]));
    assert_eq!(found(ledger.records()[1]), [0, 0, 0]);
    // All of it in vain, and the pass that was planned with it; then 600 tokens are computed.
    assert_eq!(ttft(&ledger, 1), Span::from_micros(2000 + 1000 + 4000 + 1880 + 7000));
    assert_eq!(
        tiers_and_compute(&ledger, 1),
        (Span::from_millis(7), Span::from_millis(7)),
        "the pass in vain has no part of it"
    );
}

#[test]
fn all_at_once_a_look_up_takes_two_round_trips() {
    let access = PoolAccess { probe: ProbeMode::Batched, ..slow_pool() };
    let asks = [(0, 1, 900, 1), (200, 1, 900, 1)];
    let (sequential, _) = world(2, tiers(None, true), Some(slow_pool())).run(TenMicros, &asked(&asks));
    let (batched, _) = world(2, tiers(None, true), Some(access)).run(TenMicros, &asked(&asks));
    // Three objects: 6 round trips one after the other, 2 all at once.
    assert_eq!(ttft(&sequential, 1) - ttft(&batched, 1), Span::from_millis(2));
}

#[test]
fn a_miss_costs_what_the_daemon_holds_it_for() {
    let held = PoolAccess { miss_wait: Span::from_millis(1000), ..slow_pool() };
    let (ledger, _) = world(1, tiers(None, true), Some(held)).run(TenMicros, &asked(&[(0, 1, 600, 1)]));
    assert_eq!(ttft(&ledger, 0), Span::from_micros(1_000_500 + 7_000));
}

#[test]
fn who_decodes_waits_longest_for_a_blocking_load_and_not_at_all_for_an_overlapped_one() {
    // Request 0 and 1 as before; 2 decodes 40 tokens, 1.01 ms each, while 3 has its prompt loaded.
    let asks = [(0, 1, 600, 1), (100, 2, 999, 1), (200, 3, 100, 40), (210, 1, 600, 1)];
    let longest = |load| {
        let (ledger, _) =
            world(1, TierConfig { load, ..tiers(Some(10_000), false) }, None).run(TenMicros, &asked(&asks));
        assert_eq!(found(ledger.records()[3]), [0, 512, 0]);
        let summary = ledger.summary(None);
        (summary.itl.p99.expect("somebody decodes") * 1000.0).round()
    };
    // With the 88 tokens of the prompt a pass takes 1.89 ms, after 2 ms of standing still; loaded layer by layer it takes 2.
    let (blocking, overlapped, layerwise) =
        (longest(LoadMode::Blocking), longest(LoadMode::Overlapped), longest(LoadMode::Layerwise));
    assert!(blocking > layerwise && layerwise > overlapped, "{blocking} {layerwise} {overlapped}");
}

#[test]
fn a_blocking_store_keeps_its_own_tokens_waiting() {
    let with = |store| TierConfig { store, ..tiers(Some(10_000), false) };
    // Two tokens of reply: the first comes out when two chunks have been copied, 2 ms after it was computed.
    let run = |store| world(1, with(store), None).run(TenMicros, &asked(&[(0, 1, 600, 2)])).0;
    let times = |ledger: &Ledger| {
        let record = ledger.records()[0];
        (ttft(ledger, 0), record.last_token.expect("it ended").since(record.first_token.expect("it began")))
    };
    let (waits, goes_on) = (run(StoreMode::Blocking), run(StoreMode::Overlapped));
    assert_eq!(times(&goes_on), (Span::from_millis(7), Span::from_micros(1010)));
    assert_eq!(times(&waits), (Span::from_millis(7 + 2), Span::from_micros(1010)));
    assert_eq!(tiers_and_compute(&waits, 0), (Span::from_millis(2), Span::from_millis(7)));
    assert_eq!(tiers_and_compute(&goes_on, 0), (Span::ZERO, Span::from_millis(7)));
    let stall = waits.summary(None).stall.expect("there is an L1").store;
    assert!((stall - 2e-3).abs() < 1e-12, "{stall}");
}

#[test]
fn what_comes_too_late_is_computed() {
    // Two chunks at 1 MB/s take 512 ms to the device; the time is up after 1 s and 0.25 s for each 1,024 tokens, so this is
    // in time; where leases take 0.8 s, it is not: the time for 512 tokens is up after 1.125 s.
    let mut access = slow_pool();
    let run = |access| {
        let mut world = world(2, tiers(None, true), Some(access));
        world.transport.host_bytes_per_s = 1e6;
        world.run(TenMicros, &asked(&[(0, 1, 600, 1), (10_000, 1, 600, 1)])).0
    };
    let ledger = run(access);
    // 2 ms of look-up, 1 of leases, 512 to the device, 1.88 for the rest.
    assert_eq!(ttft(&ledger, 1), Span::from_micros(2000 + 1000 + 512_000 + 1880));
    access.round_trip = Span::from_millis(400);
    let ledger = run(access);
    // Leases: 800 ms; of the 512 ms to the device, 325 are left when the time is up, enough for one chunk. It counts. The
    // pass that was planned with both, 1.88 ms, runs all the same; then 344 tokens are computed.
    assert_eq!(found(ledger.records()[1]), [0, 0, 256]);
    let looked_up = Span::from_millis(4 * 400);
    assert_eq!(ttft(&ledger, 1), looked_up + Span::from_millis(1125) + Span::from_micros(1880 + 1000 + 3440));
}

/// While a long prompt is computed in many passes, six others come whose prompts are in L1. Their loads end one after the
/// other, some within one pass; whoever came first is served first.
#[test]
fn who_waited_for_a_load_comes_back_in_order_of_arrival() {
    for load in [LoadMode::Blocking, LoadMode::Overlapped, LoadMode::Layerwise] {
        let mut world = World::new(1, 400).with(TierConfig { load, ..tiers(Some(20_000), false) }, None);
        world.engine.max_model_len = Tokens(1000);
        // A pass has room for the 88 tokens of one of them.
        (world.engine.max_num_batched_tokens, world.engine.max_num_seqs) = (Tokens(100), 50);
        world.transport.host_bytes_per_s = 256e6;
        let first = (0..6).map(|n| (100 * n, 1 + n, 600, 1));
        let others = (6..14).map(|n| (100 * n, 1 + n, 999, 1));
        let again = (0..6).map(|n| (2001 + n, 1 + n, 600, 1));
        let asks: Vec<Ask> = first.chain(others).chain([(2000, 99, 999, 1)]).chain(again).collect();
        let (ledger, _) = world.run(TenMicros, &asked(&asks));
        let again = &ledger.records()[15..];
        assert!(again.iter().all(|record| found(*record) == [0, 512, 0]), "all were forgotten and are in L1");
        assert!(again.is_sorted_by_key(|record| record.first_token), "{load:?}: first come, first served");
    }
}

/// The pass of a load that comes short computes upon nothing: that is stored nowhere.
#[test]
fn what_was_computed_upon_nothing_is_not_stored() {
    let access = PoolAccess { round_trip: Span::from_millis(400), ..slow_pool() };
    let config = TierConfig { load: LoadMode::Layerwise, store: StoreMode::Blocking, ..tiers(Some(10_000), true) };
    let mut world = world(2, config, Some(access));
    world.transport.host_bytes_per_s = 1e6;
    // 800 tokens: two chunks are known to the second worker, the third is new.
    let mut workload = Workload::new(Pacing::Open);
    let ask = |workload: &mut Workload, at: u64, ids: &[(u64, u32)]| {
        let content: Vec<Content> =
            ids.iter().map(|(id, tokens)| Content { id: *id, tokens: Tokens(*tokens) }).collect();
        workload.push(Time::ZERO + Span::from_millis(at), None, &content, Tokens(1));
    };
    ask(&mut workload, 0, &[(1, 600)]);
    ask(&mut workload, 10_000, &[(1, 600), (2, 200)]);
    let (ledger, _) = world.run(TenMicros, &workload);
    assert_eq!(found(ledger.records()[1]), [0, 0, 256], "one of two chunks came");
    let moved = ledger.summary(None).bytes_moved.expect("there is an L2");
    assert_eq!(moved.device_to_host, 3 * 256_000, "two chunks of the first worker, one new one of the second, once");
}

/// The same, but both chunks have come through the pool into the host when the time is up: L1 keeps them.
#[test]
fn what_came_half_the_way_is_in_l1() {
    let access = PoolAccess { round_trip: Span::from_millis(400), ..slow_pool() };
    let mut world = world(2, tiers(Some(10_000), true), Some(access));
    world.transport.host_bytes_per_s = 1e6;
    // Worker 1 loads the prompt of worker 0, forgets it, and has it again.
    let asks = [
        (0, 1, 600, 1),
        (10_000, 1, 600, 1),
        (20_000, 8, 300, 1),
        (30_000, 2, 999, 1),
        (40_000, 8, 300, 1),
        (50_000, 1, 600, 1),
    ];
    let (ledger, _) = world.run(TenMicros, &asked(&asks));
    assert_eq!(found(ledger.records()[1]), [0, 0, 256], "so much came all the way");
    assert_eq!(found(ledger.records()[5]), [0, 512, 0], "and so much half the way");
    let moved = ledger.summary(None).bytes_moved.expect("there is an L2");
    // Worker 0 has computed two chunks and one, worker 1 three: none of what was cut short had to be copied again.
    assert_eq!(moved.device_to_host, 6 * 256_000);
    // Of the load that was cut short, 325 ms came over the host link.
    assert_eq!(moved.host_to_device, 325_000 + 512_000, "what was cut short counts as far as it came");
}

#[test]
fn a_load_needs_no_longer_than_its_slowest_way() {
    let load = |host: f64, pool: f64, nic: f64| {
        let mut world = world(2, tiers(None, true), Some(PoolAccess { bytes_per_s: pool, ..slow_pool() }));
        (world.transport.host_bytes_per_s, world.transport.nic_bytes_per_s) = (host, nic);
        let (ledger, _) = world.run(TenMicros, &asked(&[(0, 1, 600, 1), (2000, 1, 600, 1)]));
        ttft(&ledger, 1)
    };
    // 512,000 bytes at 10 MB/s; 2 ms of look-up, 1 of leases, 1.88 of pass.
    let expected = Span::from_micros(51_200 + 2000 + 1000 + 1880);
    for (host, pool, nic) in [(1e7, 1e9, 1e9), (1e9, 1e7, 1e9), (1e9, 1e9, 1e7), (1e7, 1e7, 1e7)] {
        assert_eq!(load(host, pool, nic), expected, "{host} {pool} {nic}");
    }
}

/// The pool says nothing at all. A look-up waits 3 s, a put 5 s. After three in vain nobody asks, but for one every 5 s.
#[test]
fn a_silent_l2_is_left_alone_after_three_time_outs() {
    let world = world(1, tiers(None, true), Some(slow_pool()));
    let mut cluster = world.cluster(TenMicros);
    cluster.transport_mut().expect("there is an L2").set_reach(Reach::Silent);
    let at = [0, 10_000, 14_000, 17_000, 20_000, 24_000];
    let asks: Vec<Ask> = (0..).zip(at).map(|(n, at)| (at, n, 600, 1)).collect();
    let ledger = world.run_on(&mut cluster, &asked(&asks));
    // In vain: the first look-up up to 3 s, its put up to 8 s, the second look-up up to 13 s. Probes are due from 18 s on,
    // and after the one at 20 s, which ends at 23 s, from 28 s on.
    let waited: Vec<u64> = (0..6).map(|n| ttft(&ledger, n).0 / Span::from_millis(1).0).collect();
    assert_eq!(waited, [3007, 3007, 7, 7, 3007, 7]);
    assert_eq!(ledger.summary(None).bytes_moved.map(|moved| moved.l2), Some(0));
}

#[test]
fn an_l2_that_cannot_be_reached_costs_l1_nothing() {
    let world = world(1, tiers(Some(10_000), true), Some(slow_pool()));
    let mut cluster = world.cluster(TenMicros);
    cluster.transport_mut().expect("there is an L2").set_reach(Reach::Refused);
    let ledger = world.run_on(&mut cluster, &asked(&AGAIN));
    assert_eq!(found(ledger.records()[2]), [0, 512, 0], "what was computed is in L1 all the same");
    let moved = ledger.summary(None).bytes_moved.expect("there is an L1");
    assert_eq!((moved.device_to_host, moved.nic, moved.l2), (1_280_000, 0, 0), "it was copied, and went no further");
}

/// Without L1 the copy is for L2 alone, and that L2 does not take it turns out only then.
#[test]
fn a_store_for_l2_alone_is_copied_before_l2_refuses() {
    for reach in [Reach::Up, Reach::Refused, Reach::Silent] {
        let config = TierConfig { store: StoreMode::Blocking, choice: Choice::Never, ..tiers(None, true) };
        let world = world(1, config, Some(slow_pool()));
        let mut cluster = world.cluster(TenMicros);
        cluster.transport_mut().expect("there is an L2").set_reach(reach);
        let ledger = world.run_on(&mut cluster, &asked(&[(0, 1, 600, 1)]));
        assert_eq!(ttft(&ledger, 0), Span::from_millis(7 + 2), "{reach:?}");
        assert_eq!(ledger.summary(None).bytes_moved.map(|moved| moved.device_to_host), Some(512_000), "{reach:?}");
    }
}

/// Two requests decode; a third is looked up, which the engine waits a second for; then blocks run out. The second is part
/// of a gap between tokens also of whoever is preempted right after it (asserted of every ledger).
#[test]
fn what_an_engine_stood_still_is_part_of_a_gap() {
    let held = PoolAccess { miss_wait: Span::from_millis(1000), ..slow_pool() };
    let mut world = world(1, tiers(None, true), Some(held));
    world.engine.reserve_full_isl = false;
    let preempted = (2000..2100).filter(|at| {
        let (ledger, _) = world.run(TenMicros, &asked(&[(0, 1, 480, 150), (10, 2, 480, 150), (*at, 3, 300, 2)]));
        ledger.preemptions() > 0
    });
    assert!(preempted.count() > 10);
}

#[test]
#[should_panic(expected = "an L2 must be reached somehow")]
fn an_l2_without_a_way_to_it_is_a_mistake() {
    let _ = world(1, tiers(None, true), None).cluster(TenMicros);
}
