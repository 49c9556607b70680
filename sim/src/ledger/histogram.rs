//! A log-linear histogram of spans: 128 buckets per octave, each with the least and the greatest span in it.
//!
//! Mean, count, least and greatest span are exact. A quantile is that of [`quantile`](super::quantile()), with the spans
//! of a bucket taken to lie evenly between its least and its greatest: neither too low nor too high on average, exact
//! for spans that are equal or in arithmetic progression, and off by less than 1/128 (0.8 %) whatever they are.

use super::quantile::interpolated;
use alloc::vec::Vec;
use kvcache::Span;

/// Counts of spans.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    buckets: Vec<Bucket>,
    total: u64,
    sum: u128,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Bucket {
    count: u64,
    least: u64,
    greatest: u64,
}

const EMPTY: Bucket = Bucket { count: 0, least: u64::MAX, greatest: 0 };

const PER_OCTAVE_BITS: u32 = 7;
const PER_OCTAVE: u64 = 1 << PER_OCTAVE_BITS;

fn octave(value: u64) -> u32 {
    64 - (value | (PER_OCTAVE - 1)).leading_zeros() - PER_OCTAVE_BITS
}

fn bucket_of(value: u64) -> usize {
    let octave = octave(value);
    (u64::from(octave) << PER_OCTAVE_BITS | ((value >> octave.saturating_sub(1)) & (PER_OCTAVE - 1))) as usize
}

/// The last value in the bucket of `value`.
fn bucket_last(value: u64) -> u64 {
    value | ((1 << octave(value).saturating_sub(1)) - 1)
}

impl Bucket {
    /// Its span number `index`, from 0, by size.
    fn at(&self, index: u64) -> f64 {
        // In a bucket of one, that is its least.
        let part = index as f64 / self.count.saturating_sub(1).max(1) as f64;
        self.least as f64 + (self.greatest - self.least) as f64 * part
    }
}

impl Histogram {
    /// How many spans were added.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.total
    }

    /// Adds `span`, `times` times.
    pub fn add(&mut self, span: Span, times: u64) {
        self.add_series(span, Span::ZERO, 1, times);
    }

    /// Adds `first, first + growth, ...`, `steps` spans, each `times` times: one addition per bucket touched.
    pub fn add_series(&mut self, first: Span, growth: Span, mut steps: u64, times: u64) {
        if times == 0 {
            return;
        }
        let (mut value, growth) = (first.0, growth.0);
        while steps > 0 {
            let inside = (bucket_last(value) - value).checked_div(growth).map_or(steps, |more| more + 1);
            let here = inside.min(steps);
            self.add_inside(value, growth, here, times);
            steps -= here;
            if steps > 0 {
                value += growth * here;
            }
        }
    }

    /// Adds a series that lies in one bucket.
    fn add_inside(&mut self, first: u64, growth: u64, steps: u64, times: u64) {
        let index = bucket_of(first);
        if self.buckets.len() <= index {
            self.buckets.resize(index + 1, EMPTY);
        }
        let last = first + growth * (steps - 1);
        let bucket = &mut self.buckets[index];
        bucket.count += steps * times;
        bucket.least = bucket.least.min(first);
        bucket.greatest = bucket.greatest.max(last);
        self.total += steps * times;
        // Twice the sum of a series is its length times its ends together, always an even number.
        self.sum += (u128::from(first) + u128::from(last)) * u128::from(steps) / 2 * u128::from(times);
    }

    /// All samples together, in picoseconds.
    #[must_use]
    pub const fn sum(&self) -> u128 {
        self.sum
    }

    /// The mean, rounded down to a picosecond; `None` of nothing.
    #[must_use]
    pub fn mean(&self) -> Option<Span> {
        (self.total > 0).then(|| Span((self.sum / u128::from(self.total)) as u64))
    }

    /// The quantile `q`, from 0 to 1, in picoseconds: between the two nearest ranks, as [`quantile`](super::quantile())
    /// does it with raw samples, and less than 0.8 % from that. `None` of nothing. O(buckets).
    #[must_use]
    pub fn quantile(&self, q: f64) -> Option<f64> {
        interpolated(self.total, q, |rank| self.at(rank))
    }

    /// The span number `rank`, from 0, by size.
    fn at(&self, rank: u64) -> f64 {
        let mut before = 0;
        for bucket in &self.buckets {
            if rank - before < bucket.count {
                return bucket.at(rank - before);
            }
            before += bucket.count;
        }
        unreachable!("a rank lies below the count");
    }
}
