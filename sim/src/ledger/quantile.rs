//! Percentiles of raw samples.

use alloc::vec::Vec;
use kvcache::Span;

/// Mean and percentiles of a sample. `None` where nothing was measured.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Distribution {
    /// Arithmetic mean, ms.
    pub mean: Option<f64>,
    /// Median, ms.
    pub p50: Option<f64>,
    /// 90th percentile, ms.
    pub p90: Option<f64>,
    /// 95th percentile, ms.
    pub p95: Option<f64>,
    /// 99th percentile, ms.
    pub p99: Option<f64>,
}

/// The quantile `q`, from 0 to 1, of sorted samples, by linear interpolation between the two nearest ranks: with n
/// samples the rank is `q (n - 1)`, counted from 0 (the estimator of NumPy and so of vLLM's benchmark). `None` of nothing.
#[must_use]
pub fn quantile(sorted: &[u64], q: f64) -> Option<f64> {
    interpolated(sorted.len() as u64, q, |rank| sorted[rank as usize] as f64)
}

/// The same of samples in any order, which are in another one afterwards. O(n): nothing is sorted.
#[must_use]
pub fn quantile_of(samples: &mut [u64], q: f64) -> Option<f64> {
    Ascending::new(samples).quantile(q)
}

/// Samples of which quantiles are asked for, from the lower ones to the higher ones: whatever lies below one that is known
/// is never looked at again.
pub(super) struct Ascending<'a> {
    samples: &'a mut [u64],
    /// So many are where they would be if all were sorted, as far as anybody asks.
    placed: usize,
}

impl<'a> Ascending<'a> {
    pub(super) const fn new(samples: &'a mut [u64]) -> Self {
        Self { samples, placed: 0 }
    }

    /// The quantile `q`, by the estimator of [`quantile`]; not below one that was asked for before.
    pub(super) fn quantile(&mut self, q: f64) -> Option<f64> {
        interpolated(self.samples.len() as u64, q, |rank| self.at(rank as usize) as f64)
    }

    /// The sample of a rank, which is at least that of the one before.
    fn at(&mut self, rank: usize) -> u64 {
        if rank >= self.placed {
            self.samples[self.placed..].select_nth_unstable(rank - self.placed);
            self.placed = rank + 1;
        }
        self.samples[rank]
    }
}

/// The estimator: of `count` samples, of which `at` tells the one of a rank.
pub(super) fn interpolated(count: u64, q: f64, mut at: impl FnMut(u64) -> f64) -> Option<f64> {
    let last = count.checked_sub(1)?;
    let rank = q * last as f64;
    let below = libm::floor(rank) as u64;
    let (low, high) = (at(below), at((below + 1).min(last)));
    Some(low + (high - low) * (rank - below as f64))
}

impl Distribution {
    /// Of spans, in any order. O(n).
    #[must_use]
    pub fn of(mut spans: Vec<u64>) -> Self {
        let sum: u128 = spans.iter().map(|span| u128::from(*span)).sum();
        let millis = |picos: f64| picos / 1e9;
        let count = spans.len();
        let mut ascending = Ascending::new(&mut spans);
        let mut at = |q| ascending.quantile(q).map(millis);
        let (p50, p90, p95, p99) = (at(0.50), at(0.90), at(0.95), at(0.99));
        let mean = (count > 0).then(|| millis(sum as f64 / count as f64));
        Self { mean, p50, p90, p95, p99 }
    }

    /// Of a histogram: by the same estimator, each quantile off by less than 0.8 %.
    #[must_use]
    pub fn of_histogram(histogram: &super::Histogram) -> Self {
        let at = |q| histogram.quantile(q).map(|picos| picos / 1e9);
        let mean = histogram.mean().map(Span::as_millis_f64);
        Self { mean, p50: at(0.50), p90: at(0.90), p95: at(0.95), p99: at(0.99) }
    }
}
