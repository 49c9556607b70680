//! A worker's process dies and is back at once, cold: what becomes of who was there, by hand.
//!
//! A pass takes 1 ms and 10 us for each token: a prompt of 600 tokens 7 ms, a decoder's token 1.01 ms.

use super::world::{World, outlast_the_dead, pool, tiers};
use kvcache::{
    Chain, ChainBuilder, Change, Epoch, LoadMode, RequestId, Span, StoreMode, TierConfig, Time, Tokens, WorkerId,
};
use router::{Api, Reason, Strategy};
use sim::cluster::{Arrival, Cluster, Event};
use sim::cost::{CostModel, Segment, Shape};
use sim::executor::Stretch;
use sim::ledger::Ledger;
use sim::replica::{Output, Replica, Spent, Stall};
use sim::transport::PoolAccess;
use sim::workload::{Pacing, Segment as Content, Workload};

struct TenMicros;

impl CostModel for TenMicros {
    fn segment(&self, shape: &Shape) -> Segment {
        let base = Span::from_millis(1) + Span::from_micros(10) * shape.tokens;
        Segment::line(base, Span::ZERO)
    }
}

const FIRST: WorkerId = WorkerId(0);

fn at(micros: u64) -> Time {
    Time::ZERO + Span::from_micros(micros)
}

fn world(workers: u16) -> World {
    let mut world = World::new(workers, 63);
    world.engine.max_model_len = Tokens(1000);
    world.transport.host_bytes_per_s = 256e6;
    world
}

fn arrive(cluster: &mut Cluster, request: u64, content: u64, prompt: u32, output: u32) {
    let mut chain = ChainBuilder::new();
    chain.push(content, Tokens(prompt));
    chain.push(1000 + request, Tokens(output));
    cluster.arrive(&Arrival {
        request: RequestId(request),
        session: None,
        pieces: chain.pieces(),
        prompt: Tokens(prompt),
        output: Tokens(output),
        api: Api::Completions,
    });
}

fn events(cluster: &mut Cluster) -> Vec<Event> {
    std::iter::from_fn(|| cluster.poll()).collect()
}

/// Lets all that is under way end; gives what happened.
fn rest(cluster: &mut Cluster) -> Vec<Event> {
    while let Some(due) = cluster.next_due() {
        cluster.advance(due);
        cluster.check();
    }
    events(cluster)
}

fn outputs(events: &[Event]) -> Vec<Output> {
    let output = |event: &Event| if let Event::Output { output, .. } = event { Some(*output) } else { None };
    events.iter().filter_map(output).collect()
}

/// Passes told of, and what was lost.
fn engine_time(events: &[Event]) -> (Vec<(Time, u64)>, Vec<Span>) {
    let ran = |event: &Event| match event {
        Event::Ran { stretch: Stretch { started, passes, .. }, .. } => Some((*started, *passes)),
        _ => None,
    };
    let lost = |event: &Event| if let Event::Restarted { lost, .. } = event { Some(*lost) } else { None };
    (events.iter().filter_map(ran).collect(), events.iter().filter_map(lost).collect())
}

/// One request of 600 tokens and `output` to come; the worker restarts after `crash` microseconds.
fn one_request(async_scheduling: bool, max_repeats: u64, output: u32, crash: u64) -> Vec<Event> {
    let mut world = world(1);
    (world.engine.async_scheduling, world.engine.max_repeats) = (async_scheduling, max_repeats);
    let mut cluster = world.cluster(TenMicros);
    arrive(&mut cluster, 0, 7, 600, output);
    cluster.advance(at(crash));
    cluster.restart(FIRST);
    cluster.check();
    rest(&mut cluster)
}

/// Both ways of planning, and both ways of running what is planned.
const WAYS: [(bool, u64); 4] = [(false, 1 << 14), (false, 1), (true, 1 << 14), (true, 1)];

#[test]
fn in_the_middle_of_a_prompt() {
    let request = RequestId(0);
    for (asynchronous, repeats) in WAYS {
        // 4 of 7 ms are lost; then 7 ms, and 1.01 ms twice.
        let events = one_request(asynchronous, repeats, 3, 4000);
        let admitted = |micros| Output::Admitted { request, cached: Tokens(0), at: at(micros) };
        // What was lost was computed, too.
        let spent = Spent { compute: Span::from_millis(4 + 7), ..Spent::default() };
        let first = Output::FirstToken { request, computed: Tokens(600), at: at(11_000) };
        let expected = [
            admitted(0),
            Output::Preempted { request },
            admitted(4000),
            Output::Split { request, spent, since: at(0) },
            first,
            Output::Finished { request, at: at(13_020) },
        ];
        assert_eq!(outputs(&events), expected);
        let (ran, lost) = engine_time(&events);
        assert_eq!(ran[0], (at(4000), 1), "the first pass that ended began anew");
        assert_eq!(lost, [Span::from_millis(4)]);
    }
}

#[test]
fn in_the_middle_of_a_reply() {
    let request = RequestId(0);
    for (asynchronous, repeats) in WAYS {
        // Tokens come out after 7, 8.01, 9.02 and 10.03 ms. From 10.53 ms on 604 tokens are computed, in 7.04 ms.
        let events = one_request(asynchronous, repeats, 10, 10_530);
        let before = [
            Output::Admitted { request, cached: Tokens(0), at: at(0) },
            Output::Split { request, spent: Spent { compute: Span::from_millis(7), ..Spent::default() }, since: at(0) },
            Output::FirstToken { request, computed: Tokens(600), at: at(7000) },
            Output::Preempted { request },
        ];
        let after = |again: u64, before: u64| {
            [
                Output::Admitted { request, cached: Tokens(0), at: at(again) },
                Output::Resumed { request, before: at(before), at: at(again + 7040) },
                Output::Finished { request, at: at(again + 7040 + 5 * 1010) },
            ]
        };
        assert_eq!(outputs(&events), [&before[..], &after(10_530, 10_030)].concat());
        let (ran, lost) = engine_time(&events);
        let passes: u64 = ran.iter().map(|(_, passes)| *passes).sum();
        assert_eq!((passes, lost), (1 + 3 + 1 + 5, vec![Span::from_micros(500)]));
        // What comes out at that very moment has come out, and nothing else is under way.
        let events = one_request(asynchronous, repeats, 10, 10_030);
        assert_eq!(outputs(&events), [&before[..], &after(10_030, 10_030)].concat());
        assert_eq!(engine_time(&events).1, [Span::ZERO]);
    }
}

/// The last token is planned, and under async scheduling a whole pass ahead: it has not come out.
#[test]
fn just_before_the_end() {
    let request = RequestId(0);
    for (asynchronous, repeats) in WAYS {
        for (crash, before, left) in [(9000, 8010, 2), (7500, 7000, 3), (6500, 0, 4)] {
            let events = one_request(asynchronous, repeats, 4, crash);
            let again = crash + 1000 + 10 * (600 + 4 - left);
            let outputs = outputs(&events);
            let resumed = outputs
                .iter()
                .any(|output| matches!(output, Output::Resumed { before: told, .. } if *told == at(before)));
            assert_eq!(resumed, left < 4, "after {crash} us");
            let end = again + 1010 * (left - 1);
            assert_eq!(outputs.last(), Some(&Output::Finished { request, at: at(end) }), "after {crash} us");
        }
    }
}

#[test]
fn in_order_of_arrival() {
    // One seat. 0 runs, 1 and 2 wait; 1 goes away while it waits, 0 while its pass is computed.
    let mut world = world(1);
    world.engine.max_num_seqs = 1;
    for (cancelled, expected) in [(None, vec![0, 1, 2]), (Some(0), vec![1, 2]), (Some(1), vec![0, 2])] {
        let mut cluster = world.cluster(TenMicros);
        for request in 0..3 {
            arrive(&mut cluster, request, request, 300, 2);
        }
        cluster.advance(at(1000));
        if let Some(request) = cancelled {
            cluster.cancel(FIRST, RequestId(request));
        }
        cluster.advance(at(2000));
        cluster.restart(FIRST);
        let outputs = outputs(&rest(&mut cluster));
        let finished = outputs.iter().filter_map(|output| match output {
            Output::Finished { request, .. } => Some(request.0),
            _ => None,
        });
        assert_eq!(finished.collect::<Vec<_>>(), expected);
        let preempted = outputs.contains(&Output::Preempted { request: RequestId(0) });
        assert_eq!(preempted, cancelled != Some(0), "who leaves does not wait again");
        let ends = outputs.iter().filter(|output| matches!(output, Output::Cancelled { .. })).count();
        assert_eq!(ends, usize::from(cancelled.is_some()));
    }
}

#[test]
fn an_idle_worker_loses_what_it_has_cached() {
    let mut cluster = world(1).cluster(TenMicros);
    arrive(&mut cluster, 0, 7, 600, 1);
    cluster.advance(at(10_000));
    cluster.restart(FIRST);
    cluster.check();
    arrive(&mut cluster, 1, 7, 600, 1);
    let told = outputs(&rest(&mut cluster));
    let request = RequestId(1);
    assert!(told.contains(&Output::Admitted { request, cached: Tokens(0), at: at(10_000) }), "{told:?}");
}

#[test]
fn whoever_listens_hears_of_a_new_epoch() {
    let mut engine = world(1).engine;
    engine.cache.events = true;
    let mut replica = Replica::new(engine).expect("valid settings");
    let mut chain = ChainBuilder::new();
    chain.push(7, Tokens(320));
    chain.push(8, Tokens(5));
    let piece = Chain::new(chain.pieces(), Tokens(16)).pieces()[0].key;
    replica.submit(RequestId(0), chain.pieces(), Tokens(320), Tokens(5), at(0)).expect("it fits");
    let told = |replica: &mut Replica| {
        let events = std::iter::from_fn(|| replica.poll_cache_event());
        events.map(|event| (event.epoch, event.sequence, event.change)).collect::<Vec<_>>()
    };
    let stored = |change: &Change| match change {
        Change::Stored { upto, pieces, .. } => (*upto, pieces[0].key, pieces.len()) == (Tokens(320), piece, 1),
        _ => false,
    };
    replica.start(at(0)).expect("it has something to do");
    replica.ended(at(4200));
    assert!(matches!(&told(&mut replica)[..], [(Epoch(0), 0, change)] if stored(change)));
    replica.start(at(4200)).expect("it decodes");
    replica.restart(Some(at(4200)), at(4500));
    assert_eq!(told(&mut replica), [(Epoch(1), 0, Change::Cleared)]);
    replica.start(at(4500)).expect("it has something to do");
    replica.ended(at(9000));
    assert!(matches!(&told(&mut replica)[..], [(Epoch(1), 1, change)] if stored(change)));
    replica.restart(None, at(9000));
    assert_eq!(told(&mut replica), [(Epoch(2), 0, Change::Cleared)]);
    replica.check();
}

#[test]
#[should_panic(expected = "a pass under way has begun")]
fn a_pass_under_way_is_not_forgotten() {
    let mut cluster = Replica::new(world(1).engine).expect("valid settings");
    let mut chain = ChainBuilder::new();
    chain.push(7, Tokens(325));
    cluster.submit(RequestId(0), chain.pieces(), Tokens(320), Tokens(5), at(0)).expect("it fits");
    cluster.start(at(0)).expect("it has something to do");
    cluster.restart(None, at(1000));
}

/// `kvaware` follows who holds the prefix, to the second worker; and nobody any more when that has died.
#[test]
fn an_index_elsewhere_forgets_the_worker() {
    let mut world = world(3);
    world.strategy = Strategy::KvAware;
    for (died, holder) in [(None, true), (Some(0), true), (Some(1), false)] {
        let mut cluster = world.cluster(TenMicros);
        arrive(&mut cluster, 0, 6, 600, 1);
        arrive(&mut cluster, 1, 7, 600, 1);
        rest(&mut cluster);
        if let Some(worker) = died {
            cluster.restart(WorkerId(worker));
        }
        arrive(&mut cluster, 2, 7, 600, 1);
        let routed = events(&mut cluster).into_iter().find_map(|event| match event {
            Event::Routed { decision, .. } => Some(decision),
            _ => None,
        });
        let decision = routed.expect("somebody serves it");
        assert_eq!(decision.reason == Reason::FirstHolder, holder, "{died:?}: {decision:?}");
    }
}

// With something below the device.

fn asked(asks: &[(u64, u64, u32)]) -> Workload {
    let mut workload = Workload::new(Pacing::Open);
    for &(millis, id, tokens) in asks {
        let at = Time::ZERO + Span::from_millis(millis);
        workload.push(at, None, &[Content { id, tokens: Tokens(tokens) }], Tokens(1));
    }
    workload
}

fn found(ledger: &Ledger, request: usize) -> [u32; 3] {
    let record = ledger.records()[request];
    [record.cached, record.from_l1, record.from_l2].map(|tokens| tokens.expect("it was admitted").0)
}

fn ttft(ledger: &Ledger, request: usize) -> Span {
    ledger.records()[request].ttft().expect("it was served")
}

fn slow_pool() -> PoolAccess {
    PoolAccess { bytes_per_s: 128e6, ..pool(1, 1 << 30) }
}

#[test]
fn l1_goes_and_l2_stays() {
    let asks = [(0, 1, 600), (200, 1, 600)];
    for (config, access, expected, micros) in [
        (tiers(Some(10_000), false), None, [0, 0, 0], 7000),
        // Two objects looked up in 2 ms, leased in 1 ms, loaded in 4 ms; then 88 tokens.
        (tiers(Some(10_000), true), Some(slow_pool()), [0, 0, 512], 2000 + 1000 + 4000 + 1880),
    ] {
        let mut cluster = world(1).with(config, access).cluster(TenMicros);
        cluster.restart_at(FIRST, at(100_000));
        let ledger = World::serve(&mut cluster, &asked(&asks));
        assert_eq!((found(&ledger, 1), ttft(&ledger, 1)), (expected, Span::from_micros(micros)));
    }
}

/// The second worker loads from L2 what the first computed, and dies when a part of it has come; and then again, before
/// anything has. Nobody releases what it had leased.
#[test]
fn in_the_middle_of_a_load() {
    let second = WorkerId(1);
    for (load, store) in [
        (LoadMode::Blocking, StoreMode::Blocking),
        (LoadMode::Blocking, StoreMode::Overlapped),
        (LoadMode::Overlapped, StoreMode::Overlapped),
        (LoadMode::Layerwise, StoreMode::Overlapped),
    ] {
        let config = TierConfig { load, store, ..tiers(None, true) };
        let mut cluster = world(2).with(config, Some(slow_pool())).cluster(TenMicros);
        // Asked from 200 to 202, leased by 203, loaded by 207.
        cluster.restart_at(second, at(204_500));
        // Asked from 204.5 to 206.5.
        cluster.restart_at(second, at(206_000));
        let ledger = World::serve(&mut cluster, &asked(&[(0, 1, 600), (200, 1, 600)]));
        let compute = if load == LoadMode::Layerwise { 0 } else { 1880 };
        assert_eq!(ttft(&ledger, 1), Span::from_micros(6000 + 2000 + 1000 + 4000 + compute), "{load:?}");
        // In 1.5 ms, 192,000 bytes have come, over all ways: through the pool, between the nodes, onto the device.
        let moved = ledger.summary(None).bytes_moved.expect("there is an L2");
        let carried = (moved.device_to_host, moved.host_to_device, moved.nic, moved.l2);
        assert_eq!(carried, (512_000, 704_000, 704_000, 512_000 + 704_000), "{load:?}");
        outlast_the_dead(&mut cluster);
        let pool = cluster.transport().and_then(|transport| transport.pool()).expect("there is one");
        assert_eq!((pool.counts().expired_leases, pool.counts().discarded), (1, 0));
    }
}

/// A store is cut off on its way to the host, or into the pool: its objects are there only when somebody puts them anew,
/// after the time of the first put.
#[test]
fn in_the_middle_of_a_store() {
    // A miss takes 0.5 ms. The copy lasts from 7.5 to 9.5 ms, the way into the pool from there to 13.5 ms.
    for (crash, copied, put, is_there) in
        [(8500, 256_000, 0, false), (10_500, 512_000, 128_000, false), (14_000, 512_000, 512_000, true)]
    {
        let serve = |asks: &[(u64, u64, u32)]| {
            let mut cluster = world(1).with(tiers(None, true), Some(slow_pool())).cluster(TenMicros);
            cluster.restart_at(FIRST, at(crash));
            (World::serve(&mut cluster, &asked(asks)), cluster)
        };
        let (ledger, cluster) = serve(&[(0, 1, 600), (20, 1, 600)]);
        let loaded = if is_there { 512 } else { 0 };
        assert_eq!(found(&ledger, 1), [0, 0, loaded], "after {crash} us");
        // What the dead one's put is thought to bring, nobody else stores.
        let moved = cluster.transport().expect("there is an L2").moved();
        let brought = (moved.device_to_host, moved.pool);
        assert_eq!(brought, (copied, put + 1000 * u128::from(loaded)), "after {crash} us");
        // 999 tokens push all else off the device.
        let later = [(60_000, 2, 999), (60_100, 1, 600), (60_200, 2, 999), (60_300, 1, 600)];
        let (ledger, cluster) = serve(&[&[(0, 1, 600), (20, 1, 600)], &later[..]].concat());
        assert_eq!(found(&ledger, 3), [0, 0, loaded], "after {crash} us");
        assert_eq!(found(&ledger, 5), [0, 0, 512], "after {crash} us");
        let pool = cluster.transport().and_then(|transport| transport.pool()).expect("there is one");
        assert_eq!(pool.counts().discarded, u64::from(!is_there), "after {crash} us");
    }
}

/// Layer by layer, the pass is computed after 1.88 ms and waits for its load until 2 ms have passed: it has not ended.
#[test]
fn a_pass_that_waits_for_its_load_is_lost() {
    let config = TierConfig { load: LoadMode::Layerwise, ..tiers(Some(10_000), false) };
    let mut cluster = world(1).with(config, None).cluster(TenMicros);
    for (millis, request, content, prompt) in [(0, 0, 1, 600), (100, 1, 2, 999), (200, 2, 1, 600)] {
        cluster.advance(at(1000 * millis));
        arrive(&mut cluster, request, content, prompt, 1);
    }
    cluster.advance(at(201_950));
    events(&mut cluster);
    cluster.restart(FIRST);
    let told = rest(&mut cluster);
    let (cause, span) = (Stall::LoadHost, Span::from_micros(70));
    assert!(told.contains(&Event::Stalled { worker: FIRST, cause, span }), "{told:?}");
    let lost = Span::from_micros(1880);
    assert!(told.contains(&Event::Restarted { worker: FIRST, lost, at: at(201_950) }), "{told:?}");
    let request = RequestId(2);
    assert_eq!(outputs(&told).last(), Some(&Output::Finished { request, at: at(201_950 + 7000) }));
}

/// What a crash costs the engine is engine time: 4 + 7 ms against 7 ms.
#[test]
fn lost_time_kept_the_engine_busy() {
    let mut cluster = world(2).cluster(TenMicros);
    cluster.restart_at(FIRST, at(4000));
    // In the past, it is now: nothing is under way yet.
    cluster.restart_at(WorkerId(1), at(0));
    let ledger = World::serve(&mut cluster, &asked(&[(0, 1, 600), (0, 2, 600)]));
    assert_eq!((ttft(&ledger, 0), ttft(&ledger, 1)), (Span::from_millis(11), Span::from_millis(7)));
    let imbalance = ledger.summary(None).imbalance.expect("engines ran");
    assert!((imbalance - 11.0 / 9.0).abs() < 1e-12, "{imbalance}");
    assert_eq!((ledger.passes(), ledger.preemptions()), (2, 1));
}
