//! Percentiles and histograms: on ten numbers by hand, and against sorted samples.

use kvcache::Span;
use sim::ledger::{Distribution, Histogram, quantile};
use sim::streams::Streams;

#[test]
fn quantiles_of_ten_numbers() {
    // The rank is 9 q: 0, 4.5, 8.1, 8.55, 8.91 and 9.
    let ten = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512];
    check_quantile(&ten, 0.0, 1.0);
    check_quantile(&ten, 0.5, 24.0); // 16 + 0.5 x 16
    check_quantile(&ten, 0.9, 281.6); // 256 + 0.1 x 256
    check_quantile(&ten, 0.95, 396.8); // 256 + 0.55 x 256
    check_quantile(&ten, 0.99, 488.96); // 256 + 0.91 x 256
    check_quantile(&ten, 1.0, 512.0);
    // One is every quantile; between two lies a line.
    for q in [0.0, 0.5, 0.99, 1.0] {
        check_quantile(&[7], q, 7.0);
    }
    check_quantile(&[10, 20], 0.0, 10.0);
    check_quantile(&[10, 20], 0.5, 15.0);
    check_quantile(&[10, 20], 0.95, 19.5);
    check_quantile(&[10, 20], 1.0, 20.0);
    assert_eq!(quantile(&[], 0.5), None);
    assert_eq!(Histogram::default().quantile(0.5), None);
}

/// Of raw samples, and of a histogram, which is exact here: all samples are in buckets of their own, or below 256 ps.
fn check_quantile(sorted: &[u64], q: f64, expected: f64) {
    let raw = quantile(sorted, q).expect("there are samples");
    near("raw", raw, expected);
    near("histogram", histogram(sorted).quantile(q).expect("there are samples"), expected);
}

#[test]
fn a_distribution_is_in_milliseconds() {
    // 30, 10, 20 ms; ranks 2 q = 1, 1.8, 1.9, 1.98.
    let of = Distribution::of([30, 10, 20].map(|ms| Span::from_millis(ms).0).to_vec());
    check_distribution(&of, [20.0, 20.0, 28.0, 29.0, 29.8]);
    assert_eq!(Distribution::of(Vec::new()), Distribution::default());
    assert_eq!(Distribution::of_histogram(&Histogram::default()), Distribution::default());
}

// Histograms.

fn histogram(spans: &[u64]) -> Histogram {
    let mut histogram = Histogram::default();
    spans.iter().for_each(|span| histogram.add(Span(*span), 1));
    histogram
}

/// `count` spans, evenly spread over the logarithms between `from` and `from * 10^decades`, sorted.
fn spans(seed: u64, count: usize, from: f64, decades: f64) -> Vec<u64> {
    let mut draws = Streams::new(seed).named("spans");
    let mut spans: Vec<u64> = (0..count).map(|_| (from * 10_f64.powf(decades * draws.unit())) as u64).collect();
    spans.sort_unstable();
    spans
}

#[test]
fn a_histogram_agrees_with_its_sorted_spans() {
    // From a nanosecond to a second; and so many within an octave that a bucket holds about 800.
    for (count, from, decades) in [(10_000, 1e3, 9.0), (100_000, 1e9, 0.301)] {
        let sorted = spans(1, count, from, decades);
        let histogram = histogram(&sorted);
        let sum: u128 = sorted.iter().map(|span| u128::from(*span)).sum();
        assert_eq!(histogram.count(), count as u64);
        assert_eq!(histogram.mean(), Some(Span((sum / count as u128) as u64)));
        for (q, end) in [(0.0, sorted[0]), (1.0, sorted[count - 1])] {
            near("the least and the greatest are exact", histogram.quantile(q).expect("it has spans"), end as f64);
        }
        let errors: Vec<f64> = (0..=1000)
            .map(|permille| {
                let q = f64::from(permille) / 1000.0;
                let exact = quantile(&sorted, q).expect("there are spans");
                histogram.quantile(q).expect("there are spans") / exact - 1.0
            })
            .collect();
        let worst = errors.iter().fold(0.0_f64, |worst, error| worst.max(error.abs()));
        let bias = errors.iter().sum::<f64>() / errors.len() as f64;
        println!("{count} spans over {decades} decades: worst {worst:.2e}, on average {bias:.1e}");
        assert!(worst <= 0.008, "{worst}");
        assert!(bias.abs() < 1e-4, "neither too low nor too high on average: {bias}");
    }
}

#[test]
fn the_error_of_a_quantile_is_below_a_bucket_whatever_the_spans() {
    // All but the greatest of a bucket are its least, 128 x 2^k: the worst case, a 128th of it but for 1 ps.
    let mut spans = vec![128 << 20; 1000];
    spans.push((129 << 20) - 1);
    let estimate = histogram(&spans).quantile(0.999).expect("it has spans");
    let error = estimate / quantile(&spans, 0.999).expect("there are spans") - 1.0;
    assert!((0.0077..1.0 / 128.0).contains(&error), "{error}");
    // One picosecond more, and the greatest has the next bucket to itself.
    spans[1000] += 1;
    near("two buckets", histogram(&spans).quantile(0.999).expect("it has spans"), f64::from(128 << 20));
}

#[test]
fn a_series_is_its_spans_one_by_one() {
    let octave = 1 << 20;
    let cases = [
        (Span(1_000_000), Span::ZERO, 1000, 3),          // no growth
        (Span::ZERO, Span::ZERO, 5, 1),                  // no time at all
        (Span::ZERO, Span(1), 700, 2),                   // every value has a bucket up to 256, then two, then four
        (Span(255), Span(1), 2, 1),                      // over the last exact bucket
        (Span(octave - 1), Span(1), 2, 5),               // over the edge of an octave
        (Span(octave), Span(octave / 128), 128, 1),      // on the first value of each bucket
        (Span(octave - 1), Span(octave / 128), 128, 1),  // on the last value of the bucket before
        (Span(octave), Span(octave / 128 - 1), 300, 1),  // a little narrower than a bucket
        (Span(12_345), Span(999_999_999), 50, 7),        // far wider than a bucket
        (Span(10_000_000_000), Span(1_234), 16_384, 64), // a stretch of decoding
        (Span(77), Span(7), 1, 1),                       // one span
        (Span(77), Span(7), 0, 9),                       // none
        (Span(77), Span(7), 9, 0),                       // none, nine times
    ];
    for (first, growth, steps, times) in cases {
        let (mut series, mut single) = (Histogram::default(), Histogram::default());
        series.add(Span(600), 1); // some are there already
        single.add(Span(600), 1);
        series.add_series(first, growth, steps, times);
        for step in 0..steps {
            single.add(first + growth * step, times);
        }
        assert_eq!(series, single, "{first:?} + k x {growth:?}, {steps} steps, {times} times");
        assert_eq!(series.count(), 1 + steps * times);
    }
    let mut nothing = Histogram::default();
    nothing.add_series(Span(5), Span(1), 100, 0);
    assert_eq!((nothing.mean(), nothing), (None, Histogram::default()), "nothing leaves no trace");
}

#[test]
fn the_longest_spans_have_a_bucket() {
    let mut longest = Histogram::default();
    longest.add_series(Span(u64::MAX - 10), Span(5), 3, 1);
    assert_eq!(longest.mean(), Some(Span(u64::MAX - 5)));
}

/// Equal but for the rounding of doubles.
pub(crate) fn near(name: &str, value: f64, expected: f64) {
    assert!((value - expected).abs() <= 1e-9 * expected.abs(), "{name}: {value}, expected {expected}");
}

/// `expected`: mean, p50, p90, p95 and p99, ms.
pub(crate) fn check_distribution(of: &Distribution, expected: [f64; 5]) {
    for (value, expected) in [of.mean, of.p50, of.p90, of.p95, of.p99].into_iter().zip(expected) {
        near("ms", value.expect("it was measured"), expected);
    }
}
