//! Random schedules over random clusters with tiers: whatever befalls them, every law holds, every request ends once, and in
//! the end nobody holds anything.

use crate::tiers::fuzz::{Chance, Linear, seeds, world};
use crate::tiers::world::outlast_the_dead;
use kvcache::{Blocks, Span, Time, Tokens, WorkerId};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use router::Api;
use sim::cluster::{Change, Cluster, Event, Presence, RequestLimits};
use sim::extent::Extent;
use sim::fleet::{AutoscalerConfig, Fleet, FleetConfig, Metric, Planned, Trigger, What};
use sim::ledger::{Ledger, Status};
use sim::simulate::{Path, simulate_within};
use sim::transport::Reach;
use sim::workload::{Pacing, Segment as Content, Workload};

fn workload(chance: &mut Chance) -> Workload {
    let pacing = if chance.percent(50) { Pacing::Open } else { Pacing::Closed { concurrency: 1 + chance.below(20) } };
    let mut workload = Workload::new(pacing);
    let mut at = Time::ZERO;
    for request in 0..120_u64 {
        let document = u64::from(chance.below(4));
        let mut prompt = vec![Content { id: document, tokens: Tokens(40 + 30 * document as u32) }];
        for turn in 0..chance.below(6) {
            prompt.push(Content { id: 100 + u64::from(turn * 10 + chance.below(2)), tokens: Tokens(37 + turn) });
        }
        prompt.push(Content { id: 10_000 + request, tokens: Tokens(chance.below(60)) });
        // Some are too long to be served at all.
        let long = if chance.percent(3) { 800 } else { 0 };
        workload.push(at, None, &prompt, Tokens(1 + chance.below(90) + long));
        at += Span::from_micros(u64::from(chance.below(3_000)));
    }
    workload
}

fn config(chance: &mut Chance, capacity: u16) -> FleetConfig {
    let micros = |chance: &mut Chance, most: u32| Span::from_micros(u64::from(chance.below(most)));
    let mut schedule: Vec<Planned> = (0..chance.below(14))
        .map(|_| {
            let at = Time::ZERO + micros(chance, 250_000);
            let worker = WorkerId(chance.below(u32::from(capacity)) as u16);
            let lasts = chance.percent(70).then(|| Span::from_micros(u64::from(chance.below(40_000))));
            let what = match chance.below(6) {
                0 | 1 => What::Crash { worker, lasts },
                2 => What::Replicas(chance.below(u32::from(capacity) + 1) as u16),
                3 => What::Slow { worker, permille: chance.of(&[500, 3000, 20_000]), lasts },
                4 => What::PoolOut { reach: chance.of(&[Reach::Refused, Reach::Silent]), lasts },
                _ => What::ShardLost { shard: 0, lasts },
            };
            Planned { at, what }
        })
        .collect();
    schedule.sort_by_key(|planned| planned.at);
    let trigger = Trigger { metric: Metric::InFlight, target: 3.0, per_worker: true, mean: false, activation: 0.0 };
    let autoscaler = chance.percent(25).then(|| AutoscalerConfig {
        min: chance.below(2) as u16,
        max: capacity,
        polling: Span::from_secs(10),
        cooldown: Span::from_secs(20),
        initial_cooldown: Span::ZERO,
        up_stabilization: Span::ZERO,
        down_stabilization: Span::ZERO,
        triggers: vec![trigger],
    });
    FleetConfig {
        replicas: 1 + chance.below(u32::from(capacity)) as u16,
        startup: micros(chance, 30_000),
        grace: micros(chance, 30_000),
        detect: if chance.percent(50) { Span::ZERO } else { micros(chance, 20_000) },
        retries: chance.below(3),
        schedule,
        autoscaler,
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    completed: u64,
    errored: u64,
    refused: u64,
    overflowed: u64,
    sent_again: u64,
    deaths: u64,
    cut_off: u64,
    left: u64,
    started: u64,
}

/// Who takes requests, as the events tell it.
#[derive(Default)]
struct Told {
    up: Vec<bool>,
    seen: Seen,
}

impl Told {
    fn hear(&mut self, event: &Event) {
        match event {
            Event::Routed { decision, .. } => assert!(
                self.up[decision.worker.index()],
                "nobody is sent where nobody takes requests, unless nobody knows it"
            ),
            Event::Worker { worker, change, .. } => {
                let up = &mut self.up[worker.index()];
                match change {
                    Change::Started => {
                        *up = true;
                        self.seen.started += 1;
                    }
                    Change::Draining => *up = false,
                    Change::Left => {
                        *up = false;
                        self.seen.left += 1;
                    }
                    Change::Died { .. } => {
                        self.seen.cut_off += u64::from(!*up);
                        self.seen.deaths += 1;
                    }
                    Change::Ordered | Change::Paced(_) => {}
                }
            }
            _ => {}
        }
    }
}

fn check_end(ledger: &Ledger, cluster: &Cluster) {
    ledger.check();
    cluster.check();
    assert_eq!(ledger.in_system(), 0, "every request has ended");
    for (worker, replica) in cluster.replicas().enumerate() {
        assert_eq!(replica.live(), 0);
        let usage = replica.cache().usage();
        assert_eq!((usage.private, usage.held), (Blocks::ZERO, Blocks::ZERO), "nobody holds anything");
        if matches!(cluster.presence(WorkerId(worker as u16)), Presence::Absent | Presence::Down) {
            assert_eq!(usage.idle, Blocks::ZERO, "who is not there has nothing");
            let known = cluster.router().index().filter(|_| cluster.router().listens_to_cache());
            let held = known.map(|index| index.held(WorkerId(worker as u16)));
            assert!(held.is_none_or(|held| held == 0), "and the router knows: {held:?}");
        }
    }
    let last = ledger.workers().last().copied().unwrap_or_default();
    let presences = || (0..cluster.replicas().count() as u16).map(|worker| cluster.presence(WorkerId(worker)));
    let up = presences().filter(|presence| *presence == Presence::Up).count();
    let provisioned = presences().filter(|presence| *presence != Presence::Absent).count();
    assert_eq!((usize::from(last.up), usize::from(last.provisioned)), (up, provisioned), "the books know who is there");
}

fn history(seed: u64) -> Seen {
    let mut chance = Chance(ChaCha8Rng::seed_from_u64(seed));
    let mut world = world(&mut chance);
    world.workers = 1 + chance.below(4) as u16;
    let config = config(&mut chance, world.workers);
    let limits = chance.percent(50).then(|| RequestLimits {
        concurrent: 1 + chance.below(6),
        queue: chance.percent(50).then(|| chance.below(4)),
        status: 429,
    });
    let workload = workload(&mut chance);
    let told = format!("seed {seed}: {config:?} {limits:?}");
    let lived = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let mut cluster = world.cluster(Linear).with_present(config.replicas).with_limits(limits);
        let up = (0..world.workers).map(|worker| worker < config.replicas).collect();
        let mut heard = Told { up, seen: Seen::default() };
        let mut fleet = Fleet::new(config);
        let path = Path { latency: Span::from_micros(100), api: Api::Completions, names_session: false };
        let ledger = simulate_within(&workload, &mut cluster, Some(&mut fleet), path, Extent::default(), |event| {
            heard.hear(event)
        });
        let ledger = ledger.expect("it ends in time");
        check_end(&ledger, &cluster);
        assert_eq!(ledger.records().len(), 120, "all are sent");
        outlast_the_dead(&mut cluster);
        let count = |status: Status| ledger.records().iter().filter(|record| record.status == status).count() as u64;
        let overflowed =
            |record: &&sim::ledger::Record| record.refusal.is_some_and(|refusal| refusal.class() == "overflow");
        let fleet = ledger.summary(None).fleet.unwrap_or_default();
        Seen {
            completed: count(Status::Completed),
            errored: count(Status::Errored),
            refused: count(Status::Refused),
            overflowed: ledger.records().iter().filter(overflowed).count() as u64,
            sent_again: fleet.counts.sent_again,
            ..heard.seen
        }
    }));
    lived.unwrap_or_else(|panic| {
        eprintln!("failed in {told}");
        std::panic::resume_unwind(panic)
    })
}

type Count = fn(&Seen) -> u64;

#[test]
fn all_laws_hold_whoever_comes_and_goes() {
    let all: Vec<Seen> = (0..400 * seeds()).map(history).collect();
    let counts: [(&str, Count); 9] = [
        ("completed", |s| s.completed),
        ("errored", |s| s.errored),
        ("refused", |s| s.refused),
        ("overflowed", |s| s.overflowed),
        ("sent again", |s| s.sent_again),
        ("deaths", |s| s.deaths),
        ("cut off", |s| s.cut_off),
        ("left", |s| s.left),
        ("started", |s| s.started),
    ];
    for (name, count) in counts {
        let total: u64 = all.iter().map(count).sum();
        println!("{name}: {total}");
        assert!(total > 100, "{name} happens too rarely to prove anything: {total}");
    }
}
