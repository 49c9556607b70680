//! Crashes, draining, limits and slow nodes, by hand.
//!
//! A pass takes 1 ms and 10 us for each token: a prompt of 600 tokens 7 ms, a decoder's token 1.01 ms. Between client and
//! router there is nothing.

use crate::tiers::world::World;
use kvcache::{Span, Time, Tokens, WorkerId};
use router::{Api, Strategy};
use sim::cluster::{Change, Cluster, Event, Refusal, RequestLimits};
use sim::cost::{CostModel, Segment, Shape};
use sim::extent::Extent;
use sim::fleet::{Fleet, FleetConfig, Missed, Planned, What};
use sim::ledger::{Ledger, Price, Record, Status, Workers};
use sim::simulate::{Path, simulate_within};
use sim::workload::{Pacing, Segment as Content, Turn, Workload};

pub(super) struct TenMicros;

impl CostModel for TenMicros {
    fn segment(&self, shape: &Shape) -> Segment {
        let base = Span::from_millis(1) + Span::from_micros(10) * shape.tokens;
        Segment::line(base, Span::ZERO)
    }
}

pub(super) fn at(micros: u64) -> Time {
    Time::ZERO + Span::from_micros(micros)
}

pub(super) const fn micros(micros: u64) -> Span {
    Span::from_micros(micros)
}

/// Workers as they come, none of whom has tiers below the device.
pub(super) fn cluster(workers: u16, strategy: Strategy) -> Cluster {
    let mut world = World::new(workers, 200);
    world.strategy = strategy;
    world.engine.max_model_len = Tokens(1000);
    world.cluster(TenMicros)
}

/// `(sent, content, prompt, output)`, in order.
pub(super) fn workload(requests: &[(u64, u64, u32, u32)]) -> Workload {
    let mut workload = Workload::new(Pacing::Open);
    for &(sent, id, prompt, output) in requests {
        workload.push(at(sent), None, &[Content { id, tokens: Tokens(prompt) }], Tokens(output));
    }
    workload
}

pub(super) fn config(replicas: u16, schedule: &[(u64, What)]) -> FleetConfig {
    FleetConfig {
        replicas,
        startup: micros(50_000),
        grace: micros(20_000),
        detect: Span::ZERO,
        retries: 1,
        schedule: schedule.iter().map(|&(when, what)| Planned { at: at(when), what }).collect(),
        autoscaler: None,
    }
}

pub(super) struct Run {
    pub(super) ledger: Ledger,
    changes: Vec<(u64, u16, Change)>,
    pub(super) missed: Vec<(Planned, Missed)>,
}

impl Run {
    pub(super) fn of(workload: &Workload, cluster: Cluster, config: FleetConfig) -> Self {
        let mut cluster = cluster.with_present(config.replicas);
        let mut fleet = Fleet::new(config);
        let mut changes = Vec::new();
        let path = Path { latency: Span::ZERO, api: Api::Completions, names_session: false };
        let ledger = simulate_within(workload, &mut cluster, Some(&mut fleet), path, Extent::default(), |event| {
            if let Event::Worker { worker, change, at } = event {
                changes.push((at.0 / 1_000_000, worker.0, *change));
            }
        })
        .expect("it ends in time");
        ledger.check();
        cluster.check();
        let missed = fleet.missed().map(|(planned, missed)| (*planned, missed)).collect();
        Self { ledger, changes, missed }
    }

    fn record(&self, request: usize) -> &Record {
        &self.ledger.records()[request]
    }

    fn first(&self, request: usize) -> Option<u64> {
        self.record(request).first_token.map(|at| at.0 / 1_000_000)
    }

    pub(super) fn statuses(&self) -> Vec<Status> {
        self.ledger.records().iter().map(|record| record.status).collect()
    }
}

const FIRST: WorkerId = WorkerId(0);

pub(super) fn crash(worker: u16, lasts: u64) -> What {
    What::Crash { worker: WorkerId(worker), lasts: Some(micros(lasts)) }
}

#[test]
fn who_has_no_token_yet_is_sent_again_and_who_has_gets_an_error() {
    // Worker 0 serves request 0 (first token at 7 ms) until it dies at 12 ms, in the pass that computes request 2, which is
    // sent again to worker 1: it is idle since request 1 ended at 9 ms, and takes 7 ms.
    let workload = workload(&[(0, 1, 600, 20), (1_000, 2, 600, 1), (11_500, 3, 600, 1)]);
    let run = Run::of(&workload, cluster(2, Strategy::RoundRobin), config(2, &[(12_000, crash(0, 30_000))]));
    assert_eq!(run.statuses(), [Status::Errored, Status::Completed, Status::Completed]);
    assert_eq!((run.first(0), run.first(1), run.first(2)), (Some(7_000), Some(8_000), Some(19_000)));
    assert_eq!(run.record(2).worker, Some(WorkerId(1)));
    assert_eq!([0, 1, 2].map(|request| run.record(request).lost), [1, 0, 1]);
    assert_eq!(run.record(2).computed, Some(Tokens(600)), "it never was admitted before");
    // Its engine had computed since 11.04 ms: four tokens after the first, the pass that began then is lost.
    let lost = micros(12_000 - 7_000 - 4 * 1_010);
    assert_eq!(run.changes, [(12_000, 0, Change::Died { lost })], "nothing happens once all have ended");
    let fleet = run.ledger.summary(None).fleet.expect("something happened");
    assert_eq!((fleet.counts.deaths, fleet.counts.sent_again, fleet.counts.errored), (1, 1, 1));
}

#[test]
fn without_retries_everybody_gets_an_error() {
    let workload = workload(&[(0, 1, 600, 20), (1_000, 2, 600, 1)]);
    let config = FleetConfig { retries: 0, ..config(1, &[(2_000, crash(0, 30_000))]) };
    let run = Run::of(&workload, cluster(1, Strategy::RoundRobin), config);
    assert_eq!(run.statuses(), [Status::Errored; 2]);
    assert_eq!(run.ledger.residence(), u128::from(micros(2_000 + 1_000).0), "both were here until then");
}

#[test]
fn nobody_to_choose_is_a_refusal() {
    let workload = workload(&[(0, 1, 600, 1), (5_000, 2, 600, 1), (40_000, 3, 600, 1)]);
    let run = Run::of(&workload, cluster(1, Strategy::RoundRobin), config(1, &[(2_000, crash(0, 30_000))]));
    assert_eq!(run.statuses(), [Status::Refused, Status::Refused, Status::Completed]);
    assert_eq!(run.record(0).refusal, Some(Refusal::NoWorker), "nobody is there to send it again to");
    // It was there from 32 ms on.
    assert_eq!(run.first(2), Some(47_000));
    assert_eq!(run.changes[1], (32_000, 0, Change::Started));
}

#[test]
fn what_dies_unnoticed_goes_on_being_sent_to() {
    // Worker 0 dies at 2 ms, which is noticed at 10 ms; requests 0 and 2 are then sent to worker 1.
    let workload = workload(&[(0, 1, 600, 1), (1_000, 2, 600, 1), (5_000, 3, 600, 1)]);
    let config = FleetConfig { detect: micros(8_000), ..config(2, &[(2_000, crash(0, 30_000))]) };
    let run = Run::of(&workload, cluster(2, Strategy::RoundRobin), config);
    assert_eq!(run.statuses(), [Status::Completed; 3]);
    assert_eq!([0, 1, 2].map(|request| run.record(request).worker), [Some(WorkerId(1)); 3]);
    // Worker 1 is idle from 8 ms on; at 10 ms it gets both, 1,200 tokens in one pass of 13 ms.
    assert_eq!([0, 1, 2].map(|request| run.first(request)), [Some(23_000), Some(8_000), Some(23_000)]);
    assert_eq!([0, 1, 2].map(|request| run.record(request).outside), [10_000, 0, 5_000].map(micros));
}

#[test]
fn a_process_that_is_back_before_anybody_notices_is_noticed_then() {
    let workload = workload(&[(0, 1, 600, 1), (5_000, 2, 600, 1)]);
    let config = FleetConfig { detect: micros(60_000), ..config(1, &[(2_000, crash(0, 10_000))]) };
    let run = Run::of(&workload, cluster(1, Strategy::RoundRobin), config);
    assert_eq!(run.statuses(), [Status::Completed; 2]);
    assert_eq!((run.first(0), run.first(1)), (Some(12_000 + 13_000), Some(25_000)));
}

#[test]
fn it_comes_back_cold() {
    // The same prompt three times: computed, found (but for its last block), and computed again after the crash.
    let workload = workload(&[(0, 1, 600, 1), (10_000, 1, 600, 1), (100_000, 1, 600, 1)]);
    let run = Run::of(&workload, cluster(1, Strategy::RoundRobin), config(1, &[(50_000, crash(0, 10_000))]));
    let computed: Vec<_> = run.ledger.records().iter().map(|record| record.computed).collect();
    assert_eq!(computed, [Some(Tokens(600)), Some(Tokens(8)), Some(Tokens(600))]);
}

#[test]
fn a_router_forgets_what_died_with_a_worker() {
    // Worker 0 has the document, and dies; whether that was told by its cache or known from what was sent makes no difference.
    let workload = workload(&[(0, 1, 600, 1), (20_000, 1, 600, 1), (100_000, 1, 600, 1)]);
    for strategy in [Strategy::KvAwarePlus, Strategy::PrefixAwarePlus] {
        let matched = |schedule: &[(u64, What)]| {
            let run = Run::of(&workload, cluster(2, strategy), config(2, schedule));
            assert_eq!(run.record(1).worker, Some(FIRST));
            [1, 2].map(|request| run.record(request).matched.map_or(0, |tokens| tokens.0))
        };
        let [before, after] = matched(&[(50_000, crash(0, 10_000))]);
        assert!(before > 500 && after == 0, "{strategy}: {before}, {after}");
        assert_eq!(matched(&[]), [before, before], "{strategy}: else it would know it still");
    }
}

#[test]
fn who_is_scaled_in_finishes_first_and_costs_until_then() {
    // At 1 ms there should be one worker. Worker 1, no older than worker 0 and with the higher number, takes no more and
    // goes when request 1 has ended: 7 ms for its prompt and one more token, from 0.5 ms on.
    let workload = workload(&[(0, 1, 600, 1), (500, 2, 600, 2), (2_000, 3, 600, 1)]);
    let run = Run::of(&workload, cluster(2, Strategy::RoundRobin), config(2, &[(1_000, What::Replicas(1))]));
    assert_eq!(run.statuses(), [Status::Completed; 3]);
    assert_eq!([0, 1, 2].map(|request| run.record(request).worker.map(|worker| worker.0)), [Some(0), Some(1), Some(0)]);
    assert_eq!(run.changes, [(1_000, 1, Change::Draining), (8_510, 1, Change::Left)]);
    let timeline: Vec<_> = run
        .ledger
        .workers()
        .iter()
        .map(|Workers { at, up, provisioned }| (at.0 / 1_000_000, *up, *provisioned))
        .collect();
    assert_eq!(timeline, [(0, 2, 2), (1_000, 1, 2), (8_510, 1, 1)]);
}

#[test]
fn whoever_does_not_finish_in_time_is_cut_off() {
    // 20 ms after it should have gone, request 1 has got its first token and gets an error; request 3 waited behind it.
    let workload = workload(&[(0, 1, 600, 1), (500, 2, 600, 100), (600, 3, 600, 1), (700, 4, 600, 100)]);
    let mut cluster = cluster(2, Strategy::RoundRobin);
    cluster = cluster.with_limits(Some(RequestLimits { concurrent: 1, queue: None, status: 429 }));
    let run = Run::of(&workload, cluster, config(2, &[(1_000, What::Replicas(1))]));
    assert_eq!(run.statuses(), [Status::Completed, Status::Errored, Status::Completed, Status::Completed]);
    let changes: Vec<_> = run.changes.iter().map(|(at, worker, change)| (*at, *worker, *change)).collect();
    // Its pass had begun at 7.5 + 13 x 1.01 ms.
    let lost = micros(21_000 - 7_500 - 13 * 1_010);
    assert_eq!(changes, [(1_000, 1, Change::Draining), (21_000, 1, Change::Died { lost }), (21_000, 1, Change::Left)]);
    assert_eq!(run.record(3).worker, Some(FIRST), "sent again");
    assert_eq!(run.record(3).lost, 1);
}

#[test]
fn a_new_worker_takes_requests_once_it_has_started() {
    // Ordered at 1 ms, there at 51 ms. What comes before that goes to worker 0.
    let workload = workload(&[(0, 1, 600, 1), (20_000, 2, 600, 1), (50_900, 3, 600, 1), (51_000, 4, 600, 1)]);
    let run = Run::of(&workload, cluster(2, Strategy::LeastLoaded), config(1, &[(1_000, What::Replicas(2))]));
    assert_eq!([0, 1, 2, 3].map(|request| run.record(request).worker.map(|worker| worker.0)), [0, 0, 0, 1].map(Some));
    assert_eq!(run.changes, [(1_000, 1, Change::Ordered), (51_000, 1, Change::Started)]);
    let fleet = run.ledger.summary(None).fleet.expect("something happened");
    // Until the last token at 58 ms: two workers for 7 ms; two paid for, for 57 ms.
    assert!((fleet.mean_workers - (51.0 + 2.0 * 7.0) / 58.0).abs() < 1e-12, "{fleet:?}");
    assert!((fleet.mean_provisioned - (1.0 + 2.0 * 57.0) / 58.0).abs() < 1e-12, "{fleet:?}");
    // A cent per worker and second; four tokens came out. Two workers to an instance cost one instance throughout.
    let cost = |workers_per_instance| {
        run.ledger.summary(Some(Price { usd_per_hour: 36.0, workers_per_instance })).cost.output_only.expect("known")
    };
    assert!((cost(1) - 0.01 * 0.115 / 4.0 * 1000.0).abs() < 1e-12, "{}", cost(1));
    assert!((cost(2) - 0.01 * 0.058 / 4.0 * 1000.0).abs() < 1e-12, "{}", cost(2));
}

#[test]
fn whoever_is_too_many_waits_in_line_or_is_turned_away() {
    // One at the engine, one in line, and request 2 is refused; request 3 comes when the line is empty again.
    let workload = workload(&[(0, 1, 600, 1), (100, 2, 600, 1), (200, 3, 600, 1), (7_500, 4, 600, 1)]);
    let limits = RequestLimits { concurrent: 1, queue: Some(1), status: 503 };
    let cluster = cluster(1, Strategy::RoundRobin).with_limits(Some(limits));
    let run = Run::of(&workload, cluster, config(1, &[]));
    assert_eq!(run.statuses(), [Status::Completed, Status::Completed, Status::Refused, Status::Completed]);
    assert_eq!(run.record(2).refusal, Some(Refusal::Overflow { status: 503 }));
    assert_eq!([0, 1, 3].map(|request| run.first(request)), [Some(7_000), Some(14_000), Some(21_000)]);
    let outside = [0, 1, 3].map(|request| run.record(request).outside);
    assert_eq!(outside, [0, 7_000 - 100, 14_000 - 7_500].map(micros), "that is where the time has gone");
}

#[test]
fn without_limits_both_would_have_shared_a_pass() {
    let workload = workload(&[(0, 1, 600, 1), (100, 2, 600, 1), (200, 3, 600, 1)]);
    let run = Run::of(&workload, cluster(1, Strategy::RoundRobin), config(1, &[]));
    assert_eq!([1, 2].map(|request| run.first(request)), [Some(20_000); 2]);
}

#[test]
fn a_slow_worker_is_slow_from_its_next_pass_on_and_until_it_is_not() {
    // Three times as slow from 2 to 30 ms: the pass under way at 2 ms ends when it would, decoding goes on at 3.03 ms a token:
    // tokens at 7, 10.03, ... 28.24 and, begun before 30 ms, 31.27 ms; then every 1.01 ms.
    let slow = What::Slow { worker: FIRST, permille: 3000, lasts: Some(micros(28_000)) };
    let workload = workload(&[(0, 1, 600, 12)]);
    let run = Run::of(&workload, cluster(1, Strategy::RoundRobin), config(1, &[(2_000, slow)]));
    assert_eq!(run.first(0), Some(7_000));
    assert_eq!(run.record(0).last_token, Some(at(7_000 + 8 * 3_030 + 3 * 1_010)));
    let twice = run.ledger.summary(None).fleet;
    assert!(twice.is_none_or(|fleet| fleet.counts == Default::default()), "nobody came or went");
}

#[test]
fn a_start_that_was_planned_for_a_life_before_does_not_happen() {
    // Crashed at 1 ms, to be back at 41 ms; scaled in at 2 ms, and ordered again at 3 ms: there at 53 ms.
    let schedule = [(1_000, crash(1, 40_000)), (2_000, What::Replicas(1)), (3_000, What::Replicas(2))];
    let workload = workload(&[(0, 1, 600, 1), (60_000, 2, 600, 1)]);
    let run = Run::of(&workload, cluster(2, Strategy::RoundRobin), config(2, &schedule));
    let kinds: Vec<_> = run.changes.iter().skip(1).map(|(at, _, change)| (*at, *change)).collect();
    assert_eq!(kinds, [(2_000, Change::Left), (3_000, Change::Ordered), (53_000, Change::Started)]);
}

#[test]
fn nobody_is_cut_off_for_a_life_before() {
    // Worker 1 drains at 1 ms and leaves at 8.51 ms; ordered at 9 ms and back at 14 ms, it drains again at 17 ms, with a
    // request that takes until 15 + 7 + 14 x 1.01 ms. Its time is over at 37 ms, and not at 21 ms.
    let schedule = [(1_000, What::Replicas(1)), (9_000, What::Replicas(2)), (17_000, What::Replicas(1))];
    let workload = workload(&[(0, 1, 600, 60), (500, 2, 600, 2), (15_000, 3, 600, 15)]);
    let config = FleetConfig { startup: micros(5_000), ..config(2, &schedule) };
    let run = Run::of(&workload, cluster(2, Strategy::LeastLoaded), config);
    assert_eq!(run.record(2).worker, Some(WorkerId(1)));
    assert_eq!(run.statuses(), [Status::Completed; 3]);
    assert_eq!(run.changes.last(), Some(&(36_140, 1, Change::Left)));
}

#[test]
fn a_new_worker_may_have_to_wait_for_the_place_of_one_that_leaves() {
    // Worker 1 works until 8.51 ms on what it has; only then is there room for the second worker that is wanted from 2 ms on.
    let schedule = [(1_000, What::Replicas(1)), (2_000, What::Replicas(2))];
    let workload = workload(&[(0, 1, 600, 1), (500, 2, 600, 2), (60_000, 3, 600, 1)]);
    let run = Run::of(&workload, cluster(2, Strategy::RoundRobin), config(2, &schedule));
    let kinds: Vec<_> = run.changes.iter().map(|(at, _, change)| (*at, *change)).collect();
    let expected =
        [(1_000, Change::Draining), (8_510, Change::Left), (8_510, Change::Ordered), (58_510, Change::Started)];
    assert_eq!(kinds, expected);
}

#[test]
fn nobody_regrets_what_only_a_leaving_worker_has() {
    // Only worker 1 has the document; it is on its way out when that is asked about again.
    let workload = workload(&[(0, 9, 600, 1), (500, 1, 600, 60), (20_000, 1, 600, 1)]);
    let regrets = |schedule: &[(u64, What)]| {
        let run = Run::of(&workload, cluster(2, Strategy::RoundRobin).with_audit(), config(2, schedule));
        run.record(2).regret
    };
    assert_eq!(regrets(&[(15_000, What::Replicas(1))]), Some(Tokens(0)));
    assert_eq!(regrets(&[]), Some(Tokens(592)), "else it would be");
}

#[test]
fn what_was_reserved_for_a_lost_request_comes_free() {
    // Request 0 gets its error at 10 ms. Worker 0 is back at 12 ms, and as idle as worker 1: of equals, the first is chosen.
    let workload = workload(&[(0, 1, 600, 100), (20_000, 2, 600, 1)]);
    let run = Run::of(&workload, cluster(2, Strategy::LeastLoaded), config(2, &[(10_000, crash(0, 2_000))]));
    assert_eq!(run.statuses(), [Status::Errored, Status::Completed]);
    assert_eq!(run.record(1).worker, Some(FIRST));
}

#[test]
fn whoever_comes_after_a_slow_worker_is_as_fast_as_any() {
    let slow = What::Slow { worker: WorkerId(1), permille: 3000, lasts: None };
    let schedule = [(1_000, slow), (2_000, What::Replicas(1)), (3_000, What::Replicas(2))];
    let workload = workload(&[(0, 1, 600, 100), (60_000, 2, 600, 1)]);
    let run = Run::of(&workload, cluster(2, Strategy::LeastLoaded), config(2, &schedule));
    assert_eq!((run.record(1).worker, run.first(1)), (Some(WorkerId(1)), Some(67_000)));
}

#[test]
fn of_events_that_overlap_the_latest_counts_and_ends_when_it_says() {
    let slow = |permille, lasts: Option<u64>| What::Slow { worker: FIRST, permille, lasts: lasts.map(micros) };
    let workload = workload(&[(0, 1, 600, 12)]);
    let last = |schedule: &[(u64, What)]| {
        let run = Run::of(&workload, cluster(1, Strategy::RoundRobin), config(1, schedule));
        run.record(0).last_token.expect("it completes").0 / 1_000_000
    };
    // From 7 ms on eleven more tokens, three times as slow to the end, though the first event would be over at 10 ms.
    let both = last(&[(2_000, slow(3000, Some(8_000))), (3_000, slow(3000, None))]);
    assert_eq!(both, 7_000 + 11 * 3_030);
    assert_eq!(last(&[(2_000, slow(3000, None))]), both);
}

#[test]
fn fleets_live_on_while_nobody_is_there_in_a_closed_loop() {
    // What happens while nobody is in the system: before the first arrives, and between a reply and the next request.
    let requests: Vec<_> = (0..12).map(|id| (0, id, 600, 2)).collect();
    for (latency, think) in [(5_000, 0), (0, 40_000)] {
        let closed = workload(&requests).paced(Pacing::Closed { concurrency: 1 });
        let turns =
            (0..12).map(|place: u32| Turn { after: place.checked_sub(1), think: micros(think), gap: Span::ZERO });
        let workload = if think > 0 { workload(&requests).in_turns(turns.collect()) } else { closed };
        let schedule: Vec<_> = (0..60).map(|step| (step * 1_300, crash((step % 2) as u16, 900))).collect();
        let mut cluster = cluster(2, Strategy::RoundRobin);
        let mut fleet = Fleet::new(config(2, &schedule));
        let path = Path { latency: micros(latency), api: Api::Completions, names_session: false };
        let ledger = simulate_within(&workload, &mut cluster, Some(&mut fleet), path, Extent::default(), |_| ());
        let ledger = ledger.expect("it ends in time");
        ledger.check();
        cluster.check();
        assert_eq!(ledger.records().len(), 12, "all are sent");
    }
}

#[test]
fn what_is_planned_for_later_than_the_end_does_not_happen() {
    let workload = workload(&[(0, 1, 600, 1)]);
    let run = Run::of(&workload, cluster(1, Strategy::RoundRobin), config(1, &[(3_600_000_000, crash(0, 1))]));
    assert_eq!(run.statuses(), [Status::Completed]);
    assert!(run.changes.is_empty());
    assert_eq!(run.first(0), Some(7_000));
    // Nor is anybody idle who never came.
    let schedule = [(3_600_000_000, What::Replicas(2))];
    let run = Run::of(&workload, cluster(2, Strategy::RoundRobin), config(1, &schedule));
    assert_eq!(run.ledger.summary(None).imbalance, Some(1.0));
}

#[test]
fn closed_loops_go_on_after_an_error() {
    // One in flight at a time. The first is cut off at 10 ms with an error, and the second is sent then.
    let mut workload = workload(&[(0, 1, 600, 100), (0, 2, 600, 1)]);
    workload = workload.paced(Pacing::Closed { concurrency: 1 });
    let run = Run::of(&workload, cluster(2, Strategy::RoundRobin), config(2, &[(10_000, crash(0, 1_000))]));
    assert_eq!(run.statuses(), [Status::Errored, Status::Completed]);
    assert_eq!(run.record(1).sent, at(10_000));
}
