//! Means with their intervals, and percentiles.

use kvcache::Span;
use serde_json::{Map, Value, json};
use sim::ledger::{Distribution, Histogram};
use statrs::distribution::{ContinuousCDF, StudentsT};

/// Picoseconds in a nanosecond.
const PICOS: u64 = 1000;

/// The distribution of spans in nanoseconds, by the estimator of the simulator's ledger.
#[must_use]
pub fn distribution(nanos: impl Iterator<Item = u64>) -> Distribution {
    Distribution::of(nanos.map(|nanos| nanos.saturating_mul(PICOS)).collect())
}

/// The distribution of many spans in nanoseconds.
#[must_use]
pub fn of_many(nanos: impl Iterator<Item = u64>) -> Distribution {
    let mut histogram = Histogram::default();
    nanos.for_each(|nanos| histogram.add(Span(nanos.saturating_mul(PICOS)), 1));
    Distribution::of_histogram(&histogram)
}

/// Adds the keys of vLLM's benchmark, such as `p99_ttft_ms`.
pub fn push(into: &mut Map<String, Value>, name: &str, of: &Distribution) {
    let parts = [("mean", of.mean), ("p50", of.p50), ("p90", of.p90), ("p95", of.p95), ("p99", of.p99)];
    for (part, value) in parts {
        into.insert(format!("{part}_{name}_ms"), json!(value));
    }
}

/// A sample's mean, variance and size.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mean {
    /// The mean.
    pub mean: f64,
    variance: f64,
    count: f64,
}

impl Mean {
    /// Of a sample; `None` of nothing.
    #[must_use]
    pub fn of(sample: &[f64]) -> Option<Self> {
        let count = sample.len() as f64;
        let mean = sample.iter().sum::<f64>() / count;
        let squares: f64 = sample.iter().map(|value| (value - mean).powi(2)).sum();
        (!sample.is_empty()).then(|| Self { mean, variance: squares / (count - 1.0).max(1.0), count })
    }

    /// Of a sample whose neighbours are alike, `size` of them at a time: the mean of all, with the variance that the means of such
    /// batches have (batch means; Law and Kelton). `None` of nothing.
    #[must_use]
    pub fn of_batches(sample: &[f64], size: usize) -> Option<Self> {
        let count = (sample.len() / size.max(1)).max(1);
        let bounds: Vec<usize> = (0..=count).map(|batch| batch * sample.len() / count).collect();
        let means = bounds.windows(2).map(|pair| &sample[pair[0]..pair[1]]);
        let means: Vec<f64> = means.map(|batch| batch.iter().sum::<f64>() / batch.len() as f64).collect();
        Some(Self { mean: Self::of(sample)?.mean, ..Self::of(&means)? })
    }

    /// Its 95 % interval by Student's t; `None` of fewer than two.
    #[must_use]
    pub fn interval(&self) -> Option<[f64; 2]> {
        let half = student(self.count - 1.0)? * (self.variance / self.count).sqrt();
        Some([self.mean - half, self.mean + half])
    }

    /// How much greater this mean is than another, with the 95 % interval of the difference by Welch's t.
    #[must_use]
    pub fn minus(&self, other: &Self) -> (f64, Option<[f64; 2]>) {
        let difference = self.mean - other.mean;
        let (a, b) = (self.variance / self.count, other.variance / other.count);
        let freedom = (a + b).powi(2) / (a.powi(2) / (self.count - 1.0) + b.powi(2) / (other.count - 1.0));
        let half = student(freedom).map(|t| t * (a + b).sqrt());
        (difference, half.map(|half| [difference - half, difference + half]))
    }
}

/// The 97.5th percentile of Student's t.
fn student(freedom: f64) -> Option<f64> {
    let t = StudentsT::new(0.0, 1.0, freedom).ok().filter(|_| freedom.is_finite() && freedom > 0.0)?;
    Some(t.inverse_cdf(0.975))
}
