//! How sure a difference is: the bootstrap.
//!
//! Requests are drawn again, with replacement, as often as there are any, and the difference is worked out of those; the
//! middle 95 % of many such differences are its interval (Efron's percentile interval). Requests that wait behind each other
//! are alike, so they are drawn in runs of n^(1/3) neighbours, from a circle (Politis and Romano, 1992). Where both runs sent
//! the same requests, these are drawn for both at once: what makes a request slow in both then counts for neither.

use super::metric::{Estimate, Metric, Ratio, Sample};
use crate::told::{Request, quantile};
use serde::{Deserialize, Serialize};
use sim::streams::{Stream, Streams};

/// How sure an interval is.
pub const LEVEL: f64 = 0.95;
/// So many draws, where that is not too much work.
const DRAWS: usize = 2000;
/// So few, however long the runs are.
const LEAST_DRAWS: usize = 200;
/// Draws times requests.
const WORK: usize = 40_000_000;

/// Where a difference may lie.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Its lower end.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
}

impl Interval {
    /// Whether it leaves zero out.
    #[must_use]
    pub fn tells_apart(self) -> bool {
        self.low > 0.0 || self.high < 0.0
    }
}

/// The interval of `b`'s figure less `a`'s, for each of `metrics`; `None` where requests do not tell it. Where `paired`, both
/// lists hold the same requests in the same order. Deterministic.
#[must_use]
pub fn intervals(a: &[&Request], b: &[&Request], paired: bool, metrics: &[Metric]) -> Vec<Option<Interval>> {
    assert!(!paired || a.len() == b.len(), "pairs have two halves");
    let longest = a.len().max(b.len());
    if a.len().min(b.len()) < 2 {
        return vec![None; metrics.len()];
    }
    let sides = (Side::new(a, metrics), Side::new(b, metrics));
    let draws = (WORK / longest).clamp(LEAST_DRAWS, DRAWS);
    let mut random = Streams::new(0).named("bootstrap");
    let (mut drawn_a, mut drawn_b) = (vec![0_u32; a.len()], vec![0_u32; b.len()]);
    let (mut of_a, mut of_b) = (vec![None; metrics.len()], vec![None; metrics.len()]);
    let mut differences: Vec<Vec<f64>> = vec![Vec::with_capacity(draws); metrics.len()];
    for _ in 0..draws {
        draw(&mut random, &mut drawn_a);
        if !paired {
            draw(&mut random, &mut drawn_b);
        }
        sides.0.figures(&drawn_a, &mut of_a);
        sides.1.figures(if paired { &drawn_a } else { &drawn_b }, &mut of_b);
        for ((one, other), differences) in of_a.iter().zip(&of_b).zip(&mut differences) {
            differences.extend(one.zip(*other).map(|(one, other): (f64, f64)| other - one));
        }
    }
    differences.into_iter().map(|differences| middle(differences, draws)).collect()
}

/// The middle of the differences. Where many draws had none, little is known.
fn middle(mut differences: Vec<f64>, draws: usize) -> Option<Interval> {
    if differences.len() * 10 < draws * 9 {
        return None;
    }
    differences.sort_by(f64::total_cmp);
    let at = |q: f64| quantile(&differences, q);
    Some(Interval { low: at((1.0 - LEVEL) / 2.0)?, high: at((1.0 + LEVEL) / 2.0)? })
}

/// How many neighbours are drawn together.
fn neighbours(requests: usize) -> usize {
    ((requests as f64).cbrt().floor() as usize).max(1)
}

/// How often each request is drawn.
fn draw(random: &mut Stream, drawn: &mut [u32]) {
    drawn.fill(0);
    let count = drawn.len();
    let length = neighbours(count);
    let mut left = count;
    while left > 0 {
        let from = random.below(count as u64) as usize;
        for step in 0..length.min(left) {
            drawn[(from + step) % count] += 1;
        }
        left -= length.min(left);
    }
}

/// A latency of a run's requests, the least first.
struct Sorted {
    sample: Sample,
    /// Which request, and its latency.
    values: Vec<(u32, f64)>,
    /// Where the mean goes.
    mean: Option<usize>,
    /// Percentiles, in thousandths, the least first, and where they go.
    quantiles: Vec<(u16, usize)>,
}

/// What a run's requests add to a figure that is a sum over a sum.
struct Sums {
    of: Vec<(f64, f64)>,
    place: usize,
}

struct Side {
    latencies: Vec<Sorted>,
    sums: Vec<Sums>,
}

impl Side {
    fn new(requests: &[&Request], metrics: &[Metric]) -> Self {
        let sorted = |sample: Sample| {
            let values = requests.iter().enumerate();
            let mut values: Vec<(u32, f64)> =
                values.filter_map(|(number, request)| Some((number as u32, sample.of(request)?))).collect();
            values.sort_by(|one, other| one.1.total_cmp(&other.1));
            let mut quantiles = Vec::new();
            let mut mean = None;
            for (place, metric) in metrics.iter().enumerate() {
                match metric.estimate {
                    Estimate::Mean(of) if of == sample => mean = Some(place),
                    Estimate::Quantile(of, q) if of == sample => quantiles.push((q, place)),
                    _ => {}
                }
            }
            quantiles.sort_unstable();
            Sorted { sample, values, mean, quantiles }
        };
        let sums = |(place, metric): (usize, &Metric)| match metric.estimate {
            Estimate::Ratio(ratio) => Some(Sums { of: of_all(requests, ratio)?, place }),
            _ => None,
        };
        Self { latencies: Sample::ALL.map(sorted).into(), sums: metrics.iter().enumerate().filter_map(sums).collect() }
    }

    /// The figures of those drawn, each in its place.
    fn figures(&self, drawn: &[u32], into: &mut [Option<f64>]) {
        for sorted in &self.latencies {
            sorted.figures(drawn, into);
        }
        for sums in &self.sums {
            let (mut part, mut whole) = (0.0, 0.0);
            for (count, (above, below)) in drawn.iter().zip(&sums.of) {
                part += f64::from(*count) * above;
                whole += f64::from(*count) * below;
            }
            into[sums.place] = (whole > 0.0).then(|| part / whole);
        }
    }
}

/// `None`: no request tells it. Those that do not, where others do, add nothing.
fn of_all(requests: &[&Request], ratio: Ratio) -> Option<Vec<(f64, f64)>> {
    let all: Vec<Option<(f64, f64)>> = requests.iter().map(|request| ratio.of(request)).collect();
    all.iter().any(Option::is_some).then(|| all.into_iter().map(Option::unwrap_or_default).collect())
}

impl Sorted {
    fn figures(&self, drawn: &[u32], into: &mut [Option<f64>]) {
        debug_assert!(Sample::ALL.contains(&self.sample));
        let (mut count, mut sum) = (0_u64, 0.0);
        for (request, value) in &self.values {
            let times = drawn[*request as usize];
            count += u64::from(times);
            sum += f64::from(times) * value;
        }
        if let Some(place) = self.mean {
            into[place] = (count > 0).then(|| sum / count as f64);
        }
        let mut walk = Walk { values: self.values.iter(), drawn, passed: 0, value: 0.0 };
        for (q, place) in &self.quantiles {
            into[*place] = count.checked_sub(1).map(|last| {
                let rank = f64::from(*q) / 1000.0 * last as f64;
                let below = rank.floor();
                let low = walk.at(below as u64);
                // A quantile above may lie between the same two ranks.
                let high = walk.clone().at((below as u64 + 1).min(last));
                low + (high - low) * (rank - below)
            });
        }
    }
}

/// Values in order, each as often as it was drawn.
#[derive(Clone)]
struct Walk<'a> {
    values: std::slice::Iter<'a, (u32, f64)>,
    drawn: &'a [u32],
    /// How many are passed, the last of which is the value.
    passed: u64,
    value: f64,
}

impl Walk<'_> {
    /// The value of a rank, counted from 0, that is no less than the last one asked for.
    fn at(&mut self, rank: u64) -> f64 {
        while self.passed <= rank {
            let Some((request, value)) = self.values.next() else { break };
            let times = u64::from(self.drawn[*request as usize]);
            if times > 0 {
                self.passed += times;
                self.value = *value;
            }
        }
        self.value
    }
}
