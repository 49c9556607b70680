//! Overload, and steady load.

use super::bench::{Bench, of};
use driver::experiment::Load;
use router::Strategy;

/// What a fleet serves at most: requests per second with very many always in flight, by turns.
fn capacity(bench: &Bench, requests_per_token: f64) -> f64 {
    bench.run(Strategy::RoundRobin).tokens_per_s * requests_per_token
}

/// At 1.2 times what round robin can serve, whoever finds more in caches serves more, and nobody whose load is read is
/// left far behind: the corrected strategies serve at least what round robin does, and wait less.
#[test]
fn overload_is_shared() {
    let bench = Bench::new("mixed", 2800, Load::Concurrency(700));
    // 2,800 answers of 200 tokens on average.
    let rate = 1.2 * capacity(&bench, 1.0 / 200.0);
    let all = bench.at(Load::Rate(rate)).compare(&format!("mixed sizes, 1.2 x capacity = {rate:.0}/s"), &Strategy::ALL);
    let turns = of(&all, Strategy::RoundRobin);
    for strategy in [Strategy::PrefixAwarePlus, Strategy::KvAwarePlus, Strategy::PredictedTtft] {
        let figures = of(&all, strategy);
        assert!(figures.tokens_per_s > 1.02 * turns.tokens_per_s, "{figures:?} against {turns:?}");
        assert!(figures.mean < turns.mean && figures.p99 < turns.p99, "{figures:?} against {turns:?}");
    }
    let least = all.iter().map(|figures| figures.mean).fold(f64::INFINITY, f64::min);
    assert!(of(&all, Strategy::PredictedTtft).mean <= least * 1.02, "and predicted-ttft is among the first");
}

/// Prompts of one size that share nothing, at half of what the fleet can serve: AWS itself reports no difference between
/// its gateway and round robin there, and there is none.
#[test]
fn a_uniform_fleet_under_steady_load_gains_nothing() {
    let requests = 2100;
    let settings: [(&str, &str); 3] =
        [("docqa.documents", "2100"), ("docqa.document_tokens", "2000"), ("docqa.question_tokens", "64")];
    let bench = Bench::new("docqa", requests, Load::Rate(25.0)).with(&settings);
    let all = bench.compare("unrelated prompts of one size, 25/s", &Strategy::ALL);
    let turns = of(&all, Strategy::RoundRobin);
    let followers = [Strategy::LeastLoaded, Strategy::PrefixAwarePlus, Strategy::KvAwarePlus, Strategy::PredictedTtft];
    for strategy in followers {
        let figures = of(&all, strategy);
        assert!((0.9..=1.05).contains(&(figures.mean / turns.mean)), "{figures:?} against {turns:?}");
        assert!((0.97..=1.03).contains(&(figures.tokens_per_s / turns.tokens_per_s)), "{figures:?} against {turns:?}");
    }
    // Order, not difference: a worker drawn at random is worse than one by turns, and the better of two in between.
    let (random, two) = (of(&all, Strategy::Random), of(&all, Strategy::TwoChoices));
    assert!(turns.mean <= two.mean && two.mean <= random.mean, "{turns:?} {two:?} {random:?}");
}
