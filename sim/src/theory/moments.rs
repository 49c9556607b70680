//! Moments of service times.
//!
//! Lengths are whole tokens, so a service time that is proportional to one is never quite exponential or log-normal. These
//! are the moments of what is really drawn: a formula of two moments is exact for it.

use crate::workload::lengths::LogNormal;

/// The mean of a random variable and of its square.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Moments {
    /// `E[S]`.
    pub mean: f64,
    /// `E[S^2]`.
    pub square: f64,
}

impl Moments {
    /// Of a constant.
    #[must_use]
    pub fn constant(value: f64) -> Self {
        Self { mean: value, square: value * value }
    }

    /// Of values with these probabilities, which sum to 1.
    #[must_use]
    pub fn of(values: &[(f64, f64)]) -> Self {
        let sum = |power: fn(f64) -> f64| values.iter().map(|(value, chance)| power(*value) * chance).sum();
        Self { mean: sum(|value| value), square: sum(|value| value * value) }
    }

    /// Of the geometric distribution on 1, 2, 3, ... with this mean, at least 1: its variance is `mean (mean - 1)`.
    #[must_use]
    pub fn geometric(mean: f64) -> Self {
        Self { mean, square: mean * (2.0 * mean - 1.0) }
    }

    /// Of [`LogNormal`] as it is drawn: rounded to whole tokens, at least 1 and cut off. `spread` is above 0. O(longest).
    #[must_use]
    pub fn log_normal(lengths: LogNormal) -> Self {
        let median = libm::log(f64::from(lengths.median.0));
        // The share below `length`, by the normal distribution of the logarithm.
        let below =
            |length: f64| 0.5 * libm::erfc((median - libm::log(length)) / (lengths.spread * core::f64::consts::SQRT_2));
        let longest = lengths.longest.0.max(1);
        let (mut mean, mut square, mut before) = (0.0, 0.0, 0.0);
        for length in 1..=longest {
            let up_to = if length == longest { 1.0 } else { below(f64::from(length) + 0.5) };
            let value = f64::from(length);
            mean += value * (up_to - before);
            square += value * value * (up_to - before);
            before = up_to;
        }
        Self { mean, square }
    }

    /// Of `factor` times the variable.
    #[must_use]
    pub fn times(self, factor: f64) -> Self {
        Self { mean: self.mean * factor, square: self.square * factor * factor }
    }
}
