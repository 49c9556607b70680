//! The autoscaler alone, against Kubernetes' rules by hand.

use kvcache::{Span, Time};
use sim::fleet::{Autoscaler, AutoscalerConfig, Counts, Metric, SYNC, Trigger};

fn config(min: u16, max: u16, triggers: Vec<Trigger>) -> AutoscalerConfig {
    AutoscalerConfig {
        min,
        max,
        polling: Span::from_secs(30),
        cooldown: Span::from_secs(300),
        initial_cooldown: Span::from_secs(300),
        up_stabilization: Span::ZERO,
        down_stabilization: Span::from_secs(60),
        triggers,
    }
}

const RUNNING: Trigger =
    Trigger { metric: Metric::Running, target: 10.0, per_worker: true, mean: false, activation: 0.0 };

fn running(requests: u64) -> Counts {
    Counts { running: requests, ..Counts::default() }
}

fn at(seconds: u64) -> Time {
    Time::ZERO + Span::from_secs(seconds)
}

/// What it asks for at each look, given what runs at each.
fn asked(config: AutoscalerConfig, from: u16, loads: &[u64]) -> Vec<u16> {
    let mut scaler = Autoscaler::new(config, from);
    let mut workers = from;
    loads
        .iter()
        .map(|requests| {
            let now = scaler.deadline();
            workers = scaler.decide(workers, &running(*requests), now);
            workers
        })
        .collect()
}

#[test]
fn a_total_is_divided_by_its_target() {
    // 45 / 10 = 4.5; at once, as scaling up is not stabilized. Then 54: within a tenth of 5 x 10 nothing changes; 56 is not.
    assert_eq!(asked(config(1, 20, vec![RUNNING]), 3, &[45, 54, 56]), [5, 5, 6]);
}

#[test]
fn a_fleet_grows_by_at_most_its_own_size_or_four() {
    assert_eq!(asked(config(1, 100, vec![RUNNING]), 1, &[900, 900, 900, 900, 900]), [5, 10, 20, 40, 80]);
    assert_eq!(asked(config(1, 7, vec![RUNNING]), 1, &[900, 900]), [5, 7], "and never beyond its maximum");
}

#[test]
fn it_shrinks_to_the_most_of_the_window() {
    // Looks are 15 s apart; the window of 60 s holds this one and the three before it.
    let loads = [80, 20, 20, 50, 20, 20, 20, 20, 20, 20];
    assert_eq!(asked(config(1, 20, vec![RUNNING]), 8, &loads), [8, 8, 8, 8, 5, 5, 5, 2, 2, 2]);
    assert_eq!(asked(config(3, 20, vec![RUNNING]), 8, &loads)[8..], [3, 3], "and never below its minimum");
}

#[test]
fn upwards_a_window_holds_it_back_to_the_least() {
    let config = AutoscalerConfig { up_stabilization: Span::from_secs(30), ..config(1, 20, vec![RUNNING]) };
    assert_eq!(asked(config, 2, &[20, 60, 60, 60]), [2, 2, 6, 6]);
}

#[test]
fn the_trigger_that_asks_for_most_counts_and_a_mean_scales_by_its_ratio() {
    let kv = Trigger { metric: Metric::KvUsage, target: 50.0, per_worker: false, mean: false, activation: 0.0 };
    let mut scaler = Autoscaler::new(config(1, 20, vec![RUNNING, kv]), 4);
    // Running asks for 1; KV in use is 80 %, of which there should be 50: 4 x 1.6 = 6.4.
    let counts = Counts { running: 5, used_blocks: 80, blocks: 100, there: 4, ..Counts::default() };
    assert_eq!(scaler.decide(4, &counts, Time::ZERO + SYNC), 7);
}

#[test]
fn what_there_is_at_first_counts_as_asked_for() {
    // Nothing runs, and the fleet keeps its size for as long as the window is.
    assert_eq!(asked(config(1, 20, vec![RUNNING]), 8, &[10; 6]), [8, 8, 8, 8, 1, 1]);
}

#[test]
fn a_fleet_outside_its_bounds_goes_there_at_once() {
    assert_eq!(asked(config(10, 20, vec![RUNNING]), 1, &[1]), [10]);
    assert_eq!(asked(config(1, 3, vec![RUNNING]), 8, &[80]), [3]);
}

#[test]
fn a_mean_that_is_divided_by_the_workers_again_asks_for_less() {
    // 80 run on 4 workers, 20 each; of a total 80 / 5 = 16, of a mean 20 / 5 = 4, and as a value 20 / 5 times as many.
    let decide = |per_worker, mean| {
        let trigger = Trigger { metric: Metric::Running, target: 5.0, per_worker, mean, activation: 0.0 };
        let mut scaler = Autoscaler::new(config(1, 30, vec![trigger]), 4);
        let counts = Counts { running: 80, there: 4, ..Counts::default() };
        // Looks at the same moment: the step upwards is limited to twice the size.
        scaler.decide(4, &counts, Time::ZERO + SYNC)
    };
    assert_eq!([decide(true, false), decide(true, true), decide(false, true)], [8, 4, 8]);
}

#[test]
fn invocations_are_those_of_the_period() {
    let period = Span::from_secs(30);
    let trigger = |metric| Trigger { metric, target: 100.0, per_worker: true, mean: false, activation: 0.0 };
    let sum = |metric| {
        let mut scaler = Autoscaler::new(config(1, 50, vec![trigger(metric)]), 1);
        let mut workers = 1;
        [300, 600, 900, 900, 900].map(|arrivals| {
            let now = scaler.deadline();
            workers = scaler.decide(workers, &Counts { arrivals, ..Counts::default() }, now);
            workers
        })
    };
    // 300, 600, 600, 300 within the period, then none; the window of 60 s keeps what was asked for within it.
    assert_eq!(sum(Metric::Invocations { period }), [3, 6, 6, 6, 6]);
    // 20 a second are no more than the 100 that each may have.
    assert_eq!(sum(Metric::Rate { period }), [1, 1, 1, 1, 1]);
}

#[test]
fn an_idle_fleet_goes_down_to_nobody_after_its_cooldown_and_comes_back() {
    let mut scaler = Autoscaler::new(config(0, 5, vec![RUNNING]), 2);
    let (mut workers, mut history) = (2, Vec::new());
    while scaler.deadline() < at(700) {
        let now = scaler.deadline();
        // Requests come until 60 s, and again from 500 s on.
        let busy = now <= at(60) || now >= at(500);
        workers = scaler.decide(workers, &running(if busy { 15 } else { 0 }), now);
        history.push((now.0 / 1_000_000_000_000, workers));
    }
    let first =
        |workers: u16, after: u64| history.iter().find(|(at, n)| *at > after && *n == workers).map(|(at, _)| *at);
    assert_eq!(first(1, 0), Some(120), "the last 2 asked for at 60 s has left the window of 60 s");
    assert_eq!(first(0, 0), Some(360), "300 s after it was last active, at 60 s");
    assert_eq!(first(1, 360), Some(510), "looked at every 30 s from 360 s on");
    assert_eq!(first(2, 510), Some(525));
}
