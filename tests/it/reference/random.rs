//! Random workloads. A failure names its seed; `PODLAB_SEED=n` runs that one alone, `PODLAB_SEEDS=n` n times as many.

use super::differ::{self, Seen};
use super::scenario::{Chance, Scenario};
use kvcache::Span;
use sim::workload::Pacing;
use std::ops::Range;

struct Place(u64);

impl Drop for Place {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let scenario = Scenario::random(self.0);
            eprintln!("PODLAB_SEED={} failed: {:?}", self.0, scenario.engine);
            let Scenario { workers, routing, cost, latency, .. } = scenario;
            eprintln!("{workers} workers, {routing:?}, {cost:?}, latency {latency}");
        }
    }
}

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Runs `test` on the scenarios of `seeds`; gives what was seen.
fn each(seeds: Range<u64>, mut test: impl FnMut(u64, &Scenario) -> Seen) -> Vec<Seen> {
    let times = setting("PODLAB_SEEDS").unwrap_or(1);
    let seeds = match setting("PODLAB_SEED") {
        Some(seed) => seed..seed + 1,
        None => seeds.start * times..seeds.end * times,
    };
    seeds
        .map(|seed| {
            let _place = Place(seed);
            test(seed, &Scenario::random(seed))
        })
        .collect()
}

/// Asserts that enough happened for agreement to mean something.
fn tell(all: &[Seen]) {
    let share = |happened: fn(&Seen) -> u64| all.iter().filter(|seen| happened(seen) > 0).count() * 100 / all.len();
    let shares = [
        ("preemptions", share(|seen| seen.preemptions), 30),
        ("evictions", share(|seen| seen.evicted), 40),
        ("hits", share(|seen| seen.hits), 60),
        ("refusals", share(|seen| seen.refused), 4),
        ("stretches", share(|seen| seen.stretched), 60),
    ];
    let (passes, preemptions) = all.iter().fold((0, 0), |(p, q), seen| (p + seen.passes, q + seen.preemptions));
    // Whoever runs never wants more than in the pass in which somebody was admitted behind it, and that pass had budget
    // left; so all who run fit into every budget, and only the last can be cut short.
    assert!(all.iter().all(|seen| seen.sat_out == 0), "a decoder found no budget");
    eprintln!("{} workloads, {passes} passes, {preemptions} preemptions; % with {shares:?}", all.len());
    if all.len() > 100 {
        for (what, share, least) in shares {
            assert!(share >= least, "{share} % of the workloads had {what}, at least {least} % should");
        }
    }
}

fn against_the_reference(seeds: Range<u64>) {
    tell(&each(seeds, |_, scenario| differ::compare(scenario)));
}

// Several tests, so that they run side by side.
#[test]
fn the_simulator_agrees_with_the_reference_1() {
    against_the_reference(0..400);
}

#[test]
fn the_simulator_agrees_with_the_reference_2() {
    against_the_reference(400..800);
}

#[test]
fn the_simulator_agrees_with_the_reference_3() {
    against_the_reference(800..1200);
}

#[test]
fn the_simulator_agrees_with_the_reference_4() {
    against_the_reference(1200..1600);
}

#[test]
fn the_simulator_agrees_with_the_reference_where_workers_restart() {
    let all = each(40_000..40_600, |seed, scenario| differ::compare(&scenario.clone().with_restarts(seed)));
    tell(&all);
    let crashes = [0, 1, 2].map(|kind| all.iter().map(|seen| seen.crashes[kind]).sum::<u64>());
    eprintln!("{crashes:?} restarts in a pass, in a stretch, at the end of a pass");
    assert!(all.len() < 100 || (crashes[1] > 500 && crashes[2] > 100), "{crashes:?}: too few to tell");
}

#[test]
fn stretches_change_nothing_where_workers_restart() {
    each(50_000..50_150, |seed, scenario| {
        let with = |max_repeats| {
            let mut scenario = scenario.clone().with_restarts(seed);
            (scenario.engine.max_repeats, scenario.engine.record_work) = (max_repeats, true);
            differ::fast(&scenario).0
        };
        assert!(with(1) == with(16384), "pass by pass, the outcome is another");
        Seen::default()
    });
}

#[test]
fn stretches_change_nothing() {
    each(10_000..10_150, |_, scenario| {
        let with = |max_repeats| {
            let mut scenario = scenario.clone();
            (scenario.engine.max_repeats, scenario.engine.record_work) = (max_repeats, true);
            differ::fast(&scenario).0
        };
        assert!(with(1) == with(16384), "pass by pass, the outcome is another");
        Seen::default()
    });
}

#[test]
fn how_often_time_is_told_changes_nothing_and_every_law_holds_after_each_step() {
    each(20_000..20_100, |seed, scenario| {
        if scenario.workload.pacing() == Pacing::Open {
            let (_, events) = differ::fast(scenario);
            let step = Span::from_micros(u64::from(Chance::new(seed).within(20_000, 400_000)));
            differ::advance_in_steps(scenario, step, &events);
        }
        Seen::default()
    });
}

#[test]
fn stretches_change_nothing_where_clients_go_away() {
    each(30_000..30_150, |seed, scenario| {
        let mut chance = Chance::new(seed);
        let mut cancels = Vec::new();
        for (index, request) in scenario.workload.requests().iter().enumerate() {
            if chance.percent(30) {
                let patience = Span::from_micros(u64::from(chance.within(1, 3_000_000)));
                cancels.push((request.at + scenario.latency + patience + Span(1), index));
            }
        }
        let with = |max_repeats| {
            let mut scenario = scenario.clone();
            (scenario.engine.max_repeats, scenario.engine.record_work) = (max_repeats, true);
            differ::with_cancels(&scenario, &cancels)
        };
        for (fast, slow) in with(16384).iter().zip(&with(1)) {
            differ::same_worker(fast, slow);
        }
        Seen::default()
    });
}
