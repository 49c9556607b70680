//! Runs the fast simulator on a scenario, and says what the reference has otherwise.

use super::cluster::{self, OfWorker, Outcome};
use super::engine::Ran;
use super::scenario::{Routing, Scenario};
use kvcache::{RequestId, Span, Time};
use router::{Api, Router, RouterConfig, Strategy};
use sim::cluster::{Arrival, Cluster, Event};
use sim::ledger::{Ledger, Record, Status};
use sim::replica::{Output, Work};
use sim::simulate::{Path, simulate};
use std::fmt::Debug;

/// What happened in a run: one in which nothing happens proves nothing.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    pub(super) preemptions: u64,
    pub(super) sat_out: u64,
    pub(super) evicted: u64,
    pub(super) hits: u64,
    pub(super) refused: u64,
    pub(super) passes: u64,
    /// Passes that the simulator ran as part of a longer stretch.
    pub(super) stretched: u64,
    /// Restarts in the middle of a pass, of which so many in a stretch, and at the very end of one.
    pub(super) crashes: [u64; 3],
}

fn fast_cluster(scenario: &Scenario) -> Cluster {
    let mut config = RouterConfig::new(Strategy::RoundRobin, scenario.workers);
    config.block = scenario.engine.cache.block;
    if let Routing::KvAware { threshold, window, chunk } = scenario.routing {
        config.lmcache_chunk = chunk;
        config.strategy = Strategy::KvAware;
        (config.kv_aware_threshold, config.qps_window) = (threshold, window);
    }
    let router = Router::new(config);
    let mut cluster =
        Cluster::new(scenario.workers, scenario.engine, router, scenario.cost.model(), None).expect("valid settings");
    scenario.restarts.iter().for_each(|(at, worker)| cluster.restart_at(*worker, *at));
    cluster
}

fn path(scenario: &Scenario) -> Path {
    Path { latency: scenario.latency, api: Api::Completions, names_session: true }
}

/// The fast simulator's outcome, and the events that it came from.
pub(super) fn fast(scenario: &Scenario) -> (Outcome, Vec<Event>) {
    let mut cluster = fast_cluster(scenario);
    let mut events = Vec::new();
    let ledger = simulate(&scenario.workload, &mut cluster, path(scenario), |event| events.push(event.clone()))
        .expect("it ends in time");
    ledger.check();
    cluster.check();
    if scenario.engine.record_work {
        check_tokens(&ledger, &events);
    }
    (outcome(&ledger, &cluster, &events), events)
}

/// Whoever waits for every token is told of each once.
fn check_tokens(ledger: &Ledger, events: &[Event]) {
    let mut told = vec![0; ledger.records().len()];
    for event in events {
        let Event::Output { output, .. } = event else { continue };
        match output {
            Output::FirstToken { request, .. } | Output::Resumed { request, .. } => told[request.0 as usize] += 1,
            Output::Tokens { request, count } => told[request.0 as usize] += count,
            _ => {}
        }
    }
    for (record, told) in ledger.records().iter().zip(told) {
        let output = if record.status == Status::Completed { u64::from(record.output.0) } else { 0 };
        assert_eq!(told, output, "tokens told of {record:?}");
    }
}

fn outcome(ledger: &Ledger, cluster: &Cluster, events: &[Event]) -> Outcome {
    Outcome {
        // Why a worker was chosen is the router's to say; the reference says which.
        records: ledger.records().iter().map(|record| Record { reason: None, ..*record }).collect(),
        gaps: ledger.gaps().clone(),
        passes: ledger.passes(),
        preemptions: ledger.preemptions(),
        held: (cluster.held().integral, cluster.held().peak_worker),
        workers: of_workers(cluster, events),
    }
}

/// What each worker did, pass by pass.
fn of_workers(cluster: &Cluster, events: &[Event]) -> Vec<OfWorker> {
    let evicted = cluster.replicas().map(|replica| replica.cache().device().evicted());
    let mut workers: Vec<_> = evicted.map(|evicted| OfWorker { evicted, ..OfWorker::default() }).collect();
    for event in events {
        match event {
            Event::Ran { worker, stretch, work } => {
                let mut started = stretch.started;
                for pass in 0..stretch.passes {
                    let lasts = stretch.first + stretch.growth * pass;
                    let work = work.as_deref().cloned().unwrap_or_default();
                    workers[worker.index()].ran.push(Ran { started, lasts, work });
                    started += lasts;
                }
            }
            Event::Output { output: Output::Resumed { .. } | Output::Tokens { .. }, .. }
            | Event::Routed { .. }
            | Event::Refused { .. } => {}
            Event::Cache { .. }
            | Event::Started { .. }
            | Event::Move(_)
            | Event::Moved { .. }
            | Event::Shelved { .. }
            | Event::LetGo { .. } => panic!("nobody else executes passes"),
            Event::Worker { .. } | Event::Lost { .. } => panic!("nobody dies for good here"),
            Event::Restarted { worker, lost, .. } => workers[worker.index()].lost += *lost,
            Event::Output { worker, output } => workers[worker.index()].told.push(*output),
            Event::Stalled { .. } => panic!("nothing to wait for without lower tiers"),
        }
    }
    workers
}

/// Compares simulator and reference on one scenario.
pub(super) fn compare(scenario: &Scenario) -> Seen {
    let (fast, events) = fast(scenario);
    let (mut slow, sat_out) = cluster::Cluster::new(scenario).run();
    if !scenario.engine.record_work {
        let ran = slow.workers.iter_mut().flat_map(|worker| &mut worker.ran);
        ran.for_each(|ran| ran.work = Work::default());
    }
    same(&fast, &slow);
    let cached = fast.records.iter().filter_map(|record| record.cached).map(|cached| u64::from(cached.0));
    let stretches = events.iter().filter(|event| matches!(event, Event::Ran { .. })).count() as u64;
    Seen {
        preemptions: slow.preemptions,
        sat_out,
        evicted: slow.workers.iter().map(|worker| worker.evicted).sum(),
        hits: cached.sum(),
        refused: fast.records.iter().filter(|record| record.admitted.is_none()).count() as u64,
        passes: slow.passes,
        stretched: slow.passes - stretches,
        crashes: crashes(&events),
    }
}

/// Restarts in the middle of a pass; of those, after at least one of the same stretch has ended; at the end of a pass.
fn crashes(events: &[Event]) -> [u64; 3] {
    let mut crashes = [0; 3];
    let mut latest = None;
    for event in events {
        match event {
            Event::Ran { worker, stretch, .. } => latest = Some((*worker, *stretch)),
            Event::Restarted { worker, lost, at } => {
                let ends = latest.filter(|(of, _)| of == worker).map(|(_, stretch)| (stretch.ends(), stretch.passes));
                let in_pass = *lost > Span::ZERO;
                crashes[0] += u64::from(in_pass);
                crashes[1] += u64::from(in_pass && ends.is_some_and(|(end, passes)| passes > 1 && end + *lost == *at));
                crashes[2] += u64::from(ends.is_some_and(|(end, _)| end == *at));
            }
            _ => {}
        }
    }
    crashes
}

/// Panics with the first difference, the earliest cause first.
fn same(fast: &Outcome, slow: &Outcome) {
    for (fast, slow) in fast.workers.iter().zip(&slow.workers) {
        same_worker(fast, slow);
    }
    same_list("record", &fast.records, &slow.records);
    assert!(fast.gaps == slow.gaps, "gaps between tokens differ");
    assert_eq!(fast.held, slow.held, "what requests held");
    assert!(fast == slow, "fast {:?} is not slow {:?}", summary(fast), summary(slow));
}

pub(super) fn same_worker(fast: &OfWorker, slow: &OfWorker) {
    same_list("pass", &fast.ran, &slow.ran);
    same_list("output", &fast.told, &slow.told);
    assert_eq!(fast.evicted, slow.evicted, "blocks evicted since the last restart");
    assert_eq!(fast.lost, slow.lost, "engine time of passes that never ended");
}

fn same_list<T: PartialEq + Debug>(what: &str, fast: &[T], slow: &[T]) {
    for (index, (fast, slow)) in fast.iter().zip(slow).enumerate() {
        assert!(fast == slow, "{what} {index}:\n fast {fast:?}\n slow {slow:?}");
    }
    assert_eq!(fast.len(), slow.len(), "number of entries, each a {what}");
}

fn summary(outcome: &Outcome) -> (u64, u64, Vec<u64>) {
    (outcome.passes, outcome.preemptions, outcome.workers.iter().map(|worker| worker.evicted).collect())
}

/// The same requests, time told in small steps and every law asserted after each: the same events.
pub(super) fn advance_in_steps(scenario: &Scenario, step: Span, expected: &[Event]) {
    let mut cluster = fast_cluster(scenario);
    let mut events = Vec::new();
    let mut chain = kvcache::ChainBuilder::new();
    for (index, request) in scenario.workload.requests().iter().enumerate() {
        step_to(&mut cluster, request.at + scenario.latency, step, &mut events);
        scenario.workload.chain(request, &mut chain);
        cluster.arrive(&Arrival {
            request: RequestId(index as u64),
            session: request.session,
            pieces: chain.pieces(),
            prompt: request.prompt,
            output: request.output,
            api: Api::Completions,
        });
        cluster.check();
    }
    while let Some(due) = cluster.next_due() {
        step_to(&mut cluster, due, step, &mut events);
    }
    same_list("event", &events, expected);
}

fn step_to(cluster: &mut Cluster, to: Time, step: Span, events: &mut Vec<Event>) {
    while cluster.now() < to {
        let next = cluster.now() + step;
        cluster.advance(next.min(to));
        cluster.check();
        while let Some(event) = cluster.poll() {
            events.push(event);
        }
    }
    cluster.advance(to);
    while let Some(event) = cluster.poll() {
        events.push(event);
    }
}

/// The same requests, of which some are taken back by their clients: at which time, which.
pub(super) fn with_cancels(scenario: &Scenario, cancels: &[(Time, usize)]) -> Vec<OfWorker> {
    let mut cluster = fast_cluster(scenario);
    let (mut events, mut chain) = (Vec::new(), kvcache::ChainBuilder::new());
    let requests = scenario.workload.requests();
    let arrivals = requests.iter().enumerate().map(|(index, request)| (request.at + scenario.latency, false, index));
    let mut script: Vec<_> = arrivals.chain(cancels.iter().map(|(at, index)| (*at, true, *index))).collect();
    script.sort_unstable();
    for (at, cancelled, index) in script {
        cluster.advance(at);
        events.extend(std::iter::from_fn(|| cluster.poll()));
        if cancelled {
            let routed = events.iter().find_map(|event| match event {
                Event::Routed { request, decision, .. } if request.0 == index as u64 => Some(decision.worker),
                _ => None,
            });
            cluster.cancel(routed.expect("it arrived before"), RequestId(index as u64));
        } else {
            scenario.workload.chain(&requests[index], &mut chain);
            cluster.arrive(&Arrival {
                request: RequestId(index as u64),
                session: None,
                pieces: chain.pieces(),
                prompt: requests[index].prompt,
                output: requests[index].output,
                api: Api::Completions,
            });
        }
        cluster.check();
        events.extend(std::iter::from_fn(|| cluster.poll()));
    }
    while let Some(due) = cluster.next_due() {
        cluster.advance(due);
        cluster.check();
        events.extend(std::iter::from_fn(|| cluster.poll()));
    }
    assert!(cluster.replicas().all(|replica| replica.live() == 0), "everything ends");
    of_workers(&cluster, &events)
}
