//! The retry budget, by hand and by its law.

use super::{Chance, at};
use kvcache::{Span, Time};
use router::{RetryBudget, RetryConfig};

/// Plays a story to a budget with the defaults: at each moment, so many requests come in, then retries are wanted until
/// one is refused, and so many were granted.
fn check(story: &[(f64, u64, u64)]) {
    let mut budget = RetryBudget::new(RetryConfig::default());
    for (seconds, requests, expected) in story {
        (0..*requests).for_each(|_| budget.deposit(at(*seconds)));
        let granted = (0..10_000).take_while(|_| budget.try_withdraw(at(*seconds))).count() as u64;
        assert_eq!(granted, *expected, "{requests} requests at {seconds} s");
    }
    assert_eq!(budget.withdrawn(), story.iter().map(|(.., expected)| expected).sum::<u64>());
    assert_eq!(budget.refused(), story.len() as u64);
}

#[test]
fn it_starts_with_a_second_and_earns_ten_a_second() {
    check(&[(0.0, 0, 10), (0.099, 0, 0), (0.1, 0, 1), (0.15, 0, 0), (0.2, 0, 1), (1.2, 0, 10), (2.1, 0, 9)]);
    // Unused, it keeps those of ten seconds.
    check(&[(9.0, 0, 100)]);
    check(&[(8.9, 0, 99), (1_000.0, 0, 100), (1_000.0, 0, 0)]);
}

#[test]
fn five_requests_earn_a_retry() {
    check(&[(0.0, 4, 10), (0.0, 1, 1), (0.0, 1_000, 200)]);
    // Parts add up: 0.5 + 0.6, of which 0.1 is left; then 0.4 + 0.4, and 0.1.
    check(&[(0.0, 0, 10), (0.05, 3, 1), (0.09, 2, 0), (0.1, 0, 1), (0.199, 0, 0)]);
}

#[test]
fn what_requests_earned_is_lost_after_ten_seconds() {
    check(&[(5.0, 500, 60 + 100)]);
    let earned_at = |seconds, asked| {
        let mut budget = RetryBudget::new(RetryConfig { per_second: 0, ..RetryConfig::default() });
        (0..500).for_each(|_| budget.deposit(at(seconds)));
        (0..10_000).take_while(|_| budget.try_withdraw(at(asked))).count()
    };
    assert_eq!(earned_at(5.0, 14.999), 100);
    assert_eq!(earned_at(5.0, 15.0), 0);
    // By tenths of the window: at most a second early.
    assert_eq!(earned_at(5.999, 14.999), 100);
    assert_eq!(earned_at(5.999, 15.0), 0);
    assert_eq!(earned_at(0.0, 1e6), 0);
}

#[test]
fn the_oldest_is_used_first() {
    let mut budget = RetryBudget::new(RetryConfig { per_second: 0, ..RetryConfig::default() });
    (0..5).for_each(|_| budget.deposit(at(0.0)));
    (0..5).for_each(|_| budget.deposit(at(9.0)));
    assert!(budget.try_withdraw(at(9.0)));
    // What is left came at 9 s.
    assert!(budget.try_withdraw(at(18.9)));
    // And the reserve last, which is not lost.
    let mut budget = RetryBudget::new(RetryConfig::default());
    (0..5).for_each(|_| budget.deposit(at(9.0)));
    assert!(budget.try_withdraw(at(9.0)));
    assert_eq!((0..10_000).take_while(|_| budget.try_withdraw(at(9.0))).count(), 100);
}

/// A random run: when requests came in, and when retries were granted.
fn run(seed: u64) -> Vec<(Time, u64, u64)> {
    let mut chance = Chance::new(seed);
    let mut budget = RetryBudget::new(RetryConfig::default());
    let mut now = Time::ZERO;
    let mut run = Vec::new();
    for _ in 0..120 {
        let milliseconds = [1, 100, 1_000, 25_000][[0, 0, 0, 1, 1, 1, 1, 2, 2, 3][chance.below(10) as usize]];
        now += Span(chance.below(Span::from_millis(milliseconds).0));
        let (requests, wanted) = match chance.below(4) {
            0 => (0, 1_000),
            1 => (chance.below(300), 0),
            _ => (chance.below(20), chance.below(20)),
        };
        (0..requests).for_each(|_| budget.deposit(now));
        run.push((now, requests, (0..wanted).take_while(|_| budget.try_withdraw(now)).count() as u64));
    }
    run
}

#[test]
fn within_any_span_retries_are_a_fifth_of_the_requests_and_ten_a_second() {
    let window = RetryConfig::default().window.0;
    let (mut tight, mut spans) = (0, 0);
    for seed in 0..1_000 {
        let run = run(seed);
        for from in 0..run.len() {
            let began = run[from].0.0;
            // Requests since ten seconds before, retries since.
            let mut requests: u64 =
                run[..from].iter().filter(|(at, ..)| at.0 + window > began).map(|(_, count, _)| count).sum();
            let mut retries = 0;
            for (now, came, granted) in &run[from..] {
                (requests, retries) = (requests + came, retries + granted);
                let most = 0.2 * requests as f64 + 10.0 * Span(now.0 - began + window).as_secs_f64();
                assert!(retries as f64 <= most + 1e-6, "{retries} retries from {began}, {most} allowed; seed {seed}");
                let from_start = 0.2 * requests as f64 + 10.0 * now.since(Time::ZERO).as_secs_f64() + 10.0;
                assert!(from > 0 || retries as f64 <= from_start + 1e-6, "{retries} of {from_start}; seed {seed}");
                spans += 1;
                tight += u64::from(retries as f64 > most - 1.0);
            }
        }
    }
    eprintln!("{spans} spans, {tight} of them used to the last retry");
    assert!(tight > 100, "{tight} spans used all they had");
}
