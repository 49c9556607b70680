//! A log-linear histogram of spans: 128 buckets per octave, so a quantile is off by at most 0.8 %.

use alloc::vec::Vec;
use kvcache::Span;

/// Counts of spans. Its mean is exact; its quantiles are the lower edge of a bucket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
    sum: u128,
}

const PER_OCTAVE_BITS: u32 = 7;
const PER_OCTAVE: u64 = 1 << PER_OCTAVE_BITS;

fn octave(value: u64) -> u32 {
    64 - (value | (PER_OCTAVE - 1)).leading_zeros() - PER_OCTAVE_BITS
}

fn bucket(value: u64) -> usize {
    let octave = octave(value);
    (u64::from(octave) << PER_OCTAVE_BITS | ((value >> octave.saturating_sub(1)) & (PER_OCTAVE - 1))) as usize
}

/// The first value behind the bucket of `value`.
fn bucket_end(value: u64) -> u64 {
    let shift = octave(value).saturating_sub(1);
    ((value >> shift) + 1) << shift
}

fn bucket_start(bucket: usize) -> u64 {
    let (octave, part) = (bucket as u64 >> PER_OCTAVE_BITS, bucket as u64 & (PER_OCTAVE - 1));
    if octave == 0 { part } else { (PER_OCTAVE + part) << (octave - 1) }
}

impl Histogram {
    /// How many spans were added.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.total
    }

    /// Adds `span`, `times` times.
    pub fn add(&mut self, span: Span, times: u64) {
        if times == 0 {
            return;
        }
        let bucket = bucket(span.0);
        if self.counts.len() <= bucket {
            self.counts.resize(bucket + 1, 0);
        }
        self.counts[bucket] += times;
        self.total += times;
        self.sum += u128::from(span.0) * u128::from(times);
    }

    /// Adds `first, first + growth, ...`, `steps` spans, each `times` times: one addition per bucket touched.
    pub fn add_series(&mut self, first: Span, growth: Span, mut steps: u64, times: u64) {
        let mut value = first.0;
        while steps > 0 {
            let inside = (bucket_end(value) - value).div_ceil(growth.0.max(1));
            let here = if growth == Span::ZERO { steps } else { inside.min(steps) };
            let before = self.sum;
            self.add(Span(value), here * times);
            // The sum is that of the series, not of its first element.
            let (here, growth) = (u128::from(here), u128::from(growth.0));
            let series = u128::from(value) * here + growth * (here * (here - 1) / 2);
            self.sum = before + series * u128::from(times);
            value += (growth * here) as u64;
            steps -= here as u64;
        }
    }

    /// The exact mean; `None` of nothing.
    #[must_use]
    pub fn mean(&self) -> Option<Span> {
        (self.total > 0).then(|| Span((self.sum / u128::from(self.total)) as u64))
    }

    /// The span below or at which a fraction `q` of all lie (nearest rank), as the lower edge of its bucket.
    #[must_use]
    pub fn quantile(&self, q: f64) -> Option<Span> {
        let rank = libm::ceil(q * self.total as f64) as u64;
        let mut seen = 0;
        let found = self.counts.iter().position(|count| {
            seen += count;
            seen >= rank.max(1)
        });
        found.map(|bucket| Span(bucket_start(bucket)))
    }
}
