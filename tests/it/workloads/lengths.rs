//! The distributions of lengths.

use super::has_mean;
use kvcache::Tokens;
use sim::streams::Streams;
use sim::workload::lengths::{Geometric, LogNormal};

#[test]
fn a_geometric_length_has_its_mean_and_its_tail() {
    for mean in [2, 40, 128, 5000] {
        let mut stream = Streams::new(u64::from(mean)).named("lengths");
        let lengths: Vec<f64> =
            (0..20_000).map(|_| f64::from(Geometric { mean: Tokens(mean) }.draw(&mut stream).0)).collect();
        let stays = 1.0 - 1.0 / f64::from(mean);
        has_mean(lengths.iter().copied(), f64::from(mean), "geometric");
        // Each longer one is rarer by the same factor.
        for length in [1, mean, 3 * mean] {
            let share = lengths.iter().filter(|drawn| **drawn > f64::from(length)).count() as f64 / 20_000.0;
            let expected = stays.powi(length as i32);
            let error = (expected * (1.0 - expected) / 20_000.0).sqrt();
            assert!((share - expected).abs() <= 3.0 * error, "beyond {length} of mean {mean}: {share}, not {expected}");
        }
        assert!(lengths.iter().all(|length| *length >= 1.0));
    }
}

#[test]
fn the_shortest_mean_is_one_token_and_the_longest_draw_is_known() {
    let mut stream = Streams::new(1).named("lengths");
    for mean in [0, 1] {
        assert!((0..1000).all(|_| Geometric { mean: Tokens(mean) }.draw(&mut stream) == Tokens(1)));
        assert_eq!(Geometric { mean: Tokens(mean) }.longest(), 1);
    }
    // -ln(2^-53) is 36.7, and a mean of 2 halves what is left with every token.
    assert_eq!(Geometric { mean: Tokens(2) }.longest(), 54);
    let longest = Geometric { mean: Tokens(1_000_000) }.longest();
    assert!((36_736_000..36_738_000).contains(&longest), "{longest}");
}

#[test]
fn a_log_normal_length_has_its_median_its_spread_and_its_end() {
    let mut stream = Streams::new(2).named("lengths");
    let wide = LogNormal { median: Tokens(500), spread: 1.0, longest: Tokens(10_000) };
    let lengths: Vec<u32> = (0..20_000).map(|_| wide.draw(&mut stream).0).collect();
    // The normal distribution function at -1, 0, 1, 2 standard deviations.
    for (power, expected) in [(-1.0, 0.158_655), (0.0, 0.5), (1.0, 0.841_345), (2.0, 0.977_250)] {
        let length = 500.0 * f64::exp(power);
        let share = lengths.iter().filter(|drawn| f64::from(**drawn) <= length).count() as f64 / 20_000.0;
        let error = (expected * (1.0 - expected) / 20_000.0_f64).sqrt();
        assert!((share - expected).abs() <= 3.0 * error, "up to {length}: {share}, not {expected} +- {error}");
    }
    // Three standard deviations are 10,043 tokens.
    let cut = lengths.iter().filter(|length| **length == 10_000).count();
    assert!((5..60).contains(&cut), "{cut} of some 27 are cut off");
    assert!(lengths.iter().all(|length| (1..=10_000).contains(length)));

    let exact = LogNormal { median: Tokens(500), spread: 0.0, longest: Tokens(10_000) };
    assert!((0..1000).all(|_| exact.draw(&mut stream) == Tokens(500)));
    let tiny = LogNormal { median: Tokens(1), spread: 3.0, longest: Tokens(2) };
    assert!((0..1000).all(|_| (1..=2).contains(&tiny.draw(&mut stream).0)));
}
