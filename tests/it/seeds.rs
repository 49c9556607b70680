//! What several seeds say together.

use crate::support::project;
use driver::endpoint::Endpoint;
use driver::experiment::slo::Kept;
use driver::experiment::{Case, Experiment, Load, Outcome, Source, Tiers};
use driver::report::{seeds, table};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use router::Strategy;
use serde_json::Value;
use std::collections::BTreeMap;

/// Runs of these strategies, of which those of the n-th seed have these TTFTs.
fn outcomes(of: &[(Strategy, &[f64])]) -> Vec<Outcome> {
    let (endpoint, _) = Endpoint::read(&project("driver/examples/aws-blog-70b.yaml")).expect("the sample is valid");
    let source = Source::read("docqa", Some(3)).expect("there is such a workload");
    let experiment = Experiment { endpoint, file: "e.yaml".to_owned(), workload: "docqa".to_owned(), source };
    let run = |strategy, seed: usize, ttft: f64| {
        let (cache, load) = (Tiers::L0, Load::Concurrency(1));
        let case = Case { strategy, cache, replicas: 2, load, seed: seed as u64, settings: BTreeMap::new() };
        let assembled = experiment.assemble(&case).expect("it can be simulated");
        let mut outcome = experiment.run(case, &assembled).expect("it ends");
        (outcome.summary.ttft.mean, outcome.summary.ttft.p90) = (Some(ttft), Some(2.0 * ttft));
        outcome
    };
    let of =
        of.iter().flat_map(|(strategy, ttfts)| ttfts.iter().enumerate().map(|(seed, ttft)| (*strategy, seed, *ttft)));
    of.map(|(strategy, seed, ttft)| run(strategy, seed, ttft)).collect()
}

fn close(value: &Value, expected: f64) {
    let value = value.as_f64().expect("it is a number");
    assert!((value - expected).abs() < 1e-3 * expected.abs().max(1.0), "{value}, not {expected}");
}

#[test]
fn intervals_by_hand() {
    let some = outcomes(&[(Strategy::RoundRobin, &[11.0, 14.0, 17.0]), (Strategy::KvAware, &[10.0, 12.0, 14.0])]);
    let told = seeds::json(&some).expect("there are three seeds");
    assert_eq!(
        (&told[0]["strategy"], &told[0]["seeds"], &told[1]["replicas"]),
        (&"roundrobin".into(), &3.into(), &2.into())
    );
    // Student's t of two degrees of freedom is 4.3027 at 97.5 %. Deviations of 3 and 2, by three seeds.
    close(&told[0]["mean_ttft_ms"]["mean"], 14.0);
    close(&told[0]["mean_ttft_ms"]["half_width"], 4.3027 * 3.0 / 3_f64.sqrt());
    close(&told[1]["p90_ttft_ms"]["half_width"], 4.3027 * 4.0 / 3_f64.sqrt());
    // Seed by seed they differ by 1, 2 and 3: not enough, though each seed says the same.
    let compared = seeds::comparisons(&some).expect("two strategies, three seeds");
    let one = &compared[0];
    assert_eq!(
        (&one["figure"], &one["best"], &one["strategy"]),
        (&"mean_ttft_ms".into(), &"kvaware".into(), &"roundrobin".into())
    );
    assert_eq!((&one["replicas"], &one["concurrency"], &one["cache"]), (&2.into(), &1.into(), &"l0".into()));
    close(&one["difference"], 2.0);
    close(&one["low"], 2.0 - 4.3027 / 3_f64.sqrt());
    close(&one["high"], 2.0 + 4.3027 / 3_f64.sqrt());
    let text = table(&some);
    let words: Vec<&str> = text.split_whitespace().collect();
    let text = words.join(" ");
    assert!(text.contains("mean TTFT: the least with kvaware, 12.0 ms. These seeds do not tell it from roundrobin by 2.00 (-0.48 to 4.48)"), "{text}");
    assert!(text.contains("Means of 3 seeds; ±: half of the 95 % interval"), "{text}");
    assert!(text.contains("│ roundrobin 14.0 7.45 28.0 14.9 "), "{text}");
}

/// What all seeds have in common says nothing, and with more strategies more is asked for.
#[test]
fn strategies_are_compared_seed_by_seed() {
    let slow = [110.0, 220.0, 330.0, 440.0];
    let (a, mut b) = (slow.map(|ttft| ttft + 5.0), slow.map(|ttft| ttft + 5.5));
    (b[0], b[2]) = (b[0] + 0.1, b[2] - 0.1);
    let two = outcomes(&[(Strategy::RoundRobin, &a), (Strategy::KvAware, &b)]);
    let first = |some: &[Outcome]| {
        let compared = seeds::comparisons(some).expect("it compares");
        (compared[0]["low"].as_f64().expect("a number"), compared[0]["high"].as_f64().expect("a number"))
    };
    let (low, high) = first(&two);
    assert!(low > 0.0 && high < 1.0, "half a millisecond among hundreds: {low} to {high}");
    let text = table(&two);
    assert!(text.contains("the least with roundrobin, 280 ms. Longer with kvaware by 0.50 (0.37 to 0.63)."), "{text}");
    let (twice, thrice) = (slow.map(|ttft| ttft * 2.0), slow.map(|ttft| ttft * 3.0));
    let others: [(Strategy, &[f64]); 2] = [(Strategy::Session, &twice), (Strategy::Random, &thrice)];
    let four = outcomes(&[[(Strategy::RoundRobin, &a[..]), (Strategy::KvAware, &b[..])], others].concat());
    let wider = first(&four);
    assert!(wider.0 < low && wider.1 > high, "six pairs instead of one: {wider:?} {low} {high}");
}

/// What was promised has an interval, too; and who failed is not among those compared.
#[test]
fn promises_and_failures_are_told() {
    let mut some = outcomes(&[(Strategy::RoundRobin, &[11.0, 14.0, 17.0]), (Strategy::KvAware, &[10.0, 12.0, 14.0])]);
    assert!(seeds::json(&some).expect("three seeds")[0].get("goodput").is_none(), "nothing was promised");
    assert!(!table(&some).contains("of completed requests alone"));
    for (outcome, goodput) in some.iter_mut().zip([3.0, 5.0, 7.0, 4.0, 4.0, 4.0]) {
        let kept = Kept { holds: true, terms: vec![], good_share: goodput / 10.0, goodput: Some(goodput) };
        outcome.kept = Some(kept);
    }
    some[4].summary.failed = 1;
    let told = seeds::json(&some).expect("there are three seeds");
    // Deviation 2 of three seeds; Student's t of two degrees of freedom.
    close(&told[0]["goodput"]["mean"], 5.0);
    close(&told[0]["goodput"]["half_width"], 4.3027 * 2.0 / 3_f64.sqrt());
    close(&told[1]["good_share"]["mean"], 0.4);
    let text = table(&some);
    assert!(text.contains("mean TTFT: the least with kvaware, 12.0 ms, of completed requests alone."), "{text}");
    let words: Vec<&str> = text.split_whitespace().collect();
    assert!(words.join(" ").contains(" 50.0 49.7 5.00 4.97 "), "{text}");
}

#[test]
fn few_seeds_claim_nothing() {
    let one = outcomes(&[(Strategy::RoundRobin, &[1.0]), (Strategy::KvAware, &[100.0])]);
    assert_eq!((seeds::json(&one), seeds::comparisons(&one)), (None, None));
    assert!(seeds::text(&one).starts_with("One seed: no claim is made") && !seeds::text(&one).contains("least"));
    assert_eq!(seeds::text(&one[..1]), "", "there is nothing to compare");
    let two = outcomes(&[(Strategy::RoundRobin, &[1.0, 1.1]), (Strategy::KvAware, &[100.0, 101.0])]);
    assert!(seeds::json(&two).is_some() && seeds::comparisons(&two).is_none());
    assert!(!table(&two).contains("the least with") && table(&two).contains("2 seeds: no claim is made"));
    let alone = outcomes(&[(Strategy::RoundRobin, &[1.0, 1.1, 1.2])]);
    assert!(seeds::comparisons(&alone).is_none(), "there is nothing to compare it with");
}

/// Where seeds change nothing, as in a trace, many of them are no evidence.
#[test]
fn one_run_made_several_times_is_one_run() {
    let same = outcomes(&[(Strategy::RoundRobin, &[5.0; 3]), (Strategy::KvAware, &[6.0; 3])]);
    assert_eq!(seeds::comparisons(&same), None);
    let text = table(&same);
    assert!(text.contains("Seeds change nothing in these runs") && !text.contains("the least with"), "{text}");
}

/// Of many comparisons of what is the same, at most one in twenty claims a difference.
#[test]
fn what_is_the_same_is_seldom_told_apart() {
    let mut draws = ChaCha8Rng::seed_from_u64(3);
    let mut normal = || (0..12).map(|_| draws.next_u64() as f64 / u64::MAX as f64).sum::<f64>() - 6.0;
    let three = [Strategy::RoundRobin, Strategy::KvAware, Strategy::Session];
    let mut some = outcomes(&three.map(|strategy| (strategy, &[0.0; 4][..])));
    let mut claimed = 0;
    for _ in 0..2000 {
        some.iter_mut().for_each(|outcome| outcome.summary.ttft.mean = Some(100.0 + normal()));
        let compared = seeds::comparisons(&some).expect("it compares");
        let mut compared = compared.as_array().expect("a list").iter().filter(|one| one["figure"] == "mean_ttft_ms");
        claimed += u32::from(compared.any(|one| one["low"].as_f64() > Some(0.0)));
    }
    // Within three standard errors of what is allowed; and not never, or it would claim nothing at all.
    assert!((20..=100 + 30).contains(&claimed), "{claimed} of 2000");
}
