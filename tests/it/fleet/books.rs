//! What the books of a fleet say of its warm-up and its failures; outages that overlap; whom the router counts.

use super::by_hand::{Run, TenMicros, at, cluster, config, crash, micros, workload};
use crate::tiers::world::{World, pool, tiers};
use kvcache::{ChainBuilder, RequestId, Span, Tokens, WorkerId};
use router::{Api, Strategy};
use sim::cluster::{Arrival, Cluster, RequestLimits};
use sim::extent::Extent;
use sim::fleet::{Fleet, What};
use sim::ledger::{Status, Warmup};
use sim::simulate::{Path, simulate_within};
use sim::transport::Reach;

const PATH: Path = Path { latency: Span::ZERO, api: Api::Completions, names_session: false };

#[test]
fn what_befell_it_before_the_cut_is_in_no_figure() {
    // Worker 0 dies at 2 ms with request 0 and is back at 12 ms; request 2, from 50 ms on, is what is measured.
    let workload = workload(&[(0, 1, 600, 1), (1_000, 2, 600, 1), (50_000, 3, 600, 1)]);
    let measured = |warmup| {
        let mut cluster = cluster(2, Strategy::RoundRobin);
        let mut fleet = Fleet::new(config(2, &[(2_000, crash(0, 10_000))]));
        let extent = Extent { warmup, ..Extent::default() };
        let ledger = simulate_within(&workload, &mut cluster, Some(&mut fleet), PATH, extent, |_| ());
        let fleet = ledger.expect("it ends in time").summary(None).fleet.expect("something happened");
        (fleet.counts.deaths, fleet.counts.sent_again, fleet.least_workers)
    };
    assert_eq!(measured(Warmup::Nothing), (1, 1, 1));
    assert_eq!(measured(Warmup::Requests(2)), (0, 0, 2));
}

#[test]
fn what_leaves_no_token_behind_is_told_all_the_same() {
    // The first token is out at 7 ms; at 9 ms the only worker dies, and nothing comes out any more.
    let workload = workload(&[(0, 1, 600, 20), (8_500, 2, 600, 1)]);
    let run = Run::of(&workload, cluster(1, Strategy::RoundRobin), config(1, &[(9_000, crash(0, 10_000))]));
    assert_eq!(run.statuses(), [Status::Errored, Status::Refused]);
    let summary = run.ledger.summary(None);
    let fleet = summary.fleet.expect("a worker died");
    assert_eq!((fleet.counts.deaths, fleet.least_workers, fleet.timeline.len()), (1, 0, 2));
    // Nobody was served: no prompt counts as computed or found.
    assert_eq!((summary.tokens.computed, summary.hit_rate.total), (0, None));
}

#[test]
fn of_outages_that_overlap_the_latest_counts_and_ends_when_it_says() {
    let mut world = World::new(1, 200);
    world.engine.max_model_len = Tokens(1000);
    let world = world.with(tiers(None, true), Some(pool(2, 10_000)));
    let workload = workload(&[(0, 1, 600, 1), (100_000, 2, 600, 1), (300_000, 3, 600, 1)]);
    let out = |lasts: Option<u64>| What::PoolOut { reach: Reach::Refused, lasts: lasts.map(micros) };
    let lost = |lasts: Option<u64>| What::ShardLost { shard: 0, lasts: lasts.map(micros) };
    // What the last prompt leaves in L2, 300 ms after the start.
    let kept = |schedule: &[(u64, What)]| {
        let mut cluster = world.cluster(TenMicros);
        let mut fleet = Fleet::new(config(1, schedule));
        let ledger = simulate_within(&workload, &mut cluster, Some(&mut fleet), PATH, Extent::default(), |_| ());
        ledger.expect("it ends in time").check();
        let pool = cluster.transport().and_then(|transport| transport.pool()).expect("there is one");
        [0, 1].map(|shard| pool.usage(shard).used)
    };
    let (always, never) = (kept(&[]), kept(&[(1, out(None))]));
    assert!(always.iter().sum::<u64>() > 0 && never == [0, 0], "{always:?} {never:?}");
    assert_eq!(kept(&[(1, out(Some(50_000))), (2, out(None))]), never, "the first does not end the second");
    let without = kept(&[(1, lost(None))]);
    assert_eq!(without[0], 0, "a shard that is lost gets nothing new");
    assert_eq!(kept(&[(1, lost(Some(50_000))), (2, lost(None))]), without);
}

/// A request of 600 tokens and ten more.
fn arrive(cluster: &mut Cluster, request: u64) {
    let mut chain = ChainBuilder::new();
    chain.push(request, Tokens(600));
    chain.push(1000 + request, Tokens(10));
    cluster.arrive(&Arrival {
        request: RequestId(request),
        session: None,
        pieces: chain.pieces(),
        prompt: Tokens(600),
        output: Tokens(10),
        api: Api::Completions,
    });
}

#[test]
fn whoever_leaves_the_line_is_counted_nowhere() {
    let limits = RequestLimits { concurrent: 1, queue: None, status: 429 };
    let mut cluster = cluster(1, Strategy::LeastLoaded).with_limits(Some(limits));
    arrive(&mut cluster, 0);
    arrive(&mut cluster, 1);
    cluster.advance(at(1_000));
    assert_eq!((cluster.in_line(), cluster.router().loads().load(WorkerId(0)).requests), (1, 2));
    cluster.cancel(WorkerId(0), RequestId(1));
    assert_eq!((cluster.in_line(), cluster.router().loads().load(WorkerId(0)).requests), (0, 1));
    // Nor does a worker that is to go wait for it.
    arrive(&mut cluster, 2);
    cluster.drain(WorkerId(0));
    cluster.cancel(WorkerId(0), RequestId(2));
    while let Some(due) = cluster.next_due() {
        cluster.advance(due);
    }
    assert_eq!(cluster.presence(WorkerId(0)), sim::cluster::Presence::Absent);
}
