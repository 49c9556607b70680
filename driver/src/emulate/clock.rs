//! Wall clock to core time: so many modelled picoseconds pass in a nanosecond of the wall's.
//!
//! Integers only, so that a moment converted to the wall and back is never early, and time never runs backwards.

use core::fmt;
use kvcache::{Span, Time};
use std::time::Duration;
use tokio::time::Instant;

/// How much faster than the wall clock modelled time passes, in thousandths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeScale {
    picos_per_nano: u64,
}

/// A time scale that is no number from 0.001 to 1000000.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct InvalidTimeScale(pub f64);

impl fmt::Display for InvalidTimeScale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "run at time scale {}: it must be from 0.001 to 1000000", self.0)
    }
}

impl std::error::Error for InvalidTimeScale {}

impl TimeScale {
    /// A modelled second lasts a second.
    pub const REAL: Self = Self { picos_per_nano: 1000 };
}

impl TryFrom<f64> for TimeScale {
    type Error = InvalidTimeScale;

    /// `factor` modelled seconds per wall second, rounded to a thousandth.
    fn try_from(factor: f64) -> Result<Self, InvalidTimeScale> {
        if !(0.001..=1e6).contains(&factor) {
            return Err(InvalidTimeScale(factor));
        }
        Ok(Self { picos_per_nano: (factor * 1000.0).round() as u64 })
    }
}

/// The latest moment a clock tells, 200 days: what is begun then still ends within 64 bits of picoseconds.
pub const LAST: Time = Time(200 * 86_400 * 1_000_000_000_000);

/// Reads the wall clock as core time.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
    origin: Time,
    scale: TimeScale,
}

impl Clock {
    /// A clock that reads `origin` at this moment.
    #[must_use]
    pub fn starting_at(origin: Time, scale: TimeScale) -> Self {
        Self { start: Instant::now(), origin, scale }
    }

    /// The present moment; from [`LAST`] on, that.
    #[must_use]
    pub fn now(&self) -> Time {
        let nanos = u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        Time(self.origin.0.saturating_add(nanos.saturating_mul(self.scale.picos_per_nano))).min(LAST)
    }

    /// The first nanosecond of the wall clock at which [`Clock::now`] is at or after `at`.
    #[must_use]
    pub fn wall(&self, at: Time) -> Instant {
        let nanos = at.0.saturating_sub(self.origin.0).div_ceil(self.scale.picos_per_nano);
        self.start + Duration::from_nanos(nanos)
    }

    /// How long `span` lasts on the wall, to the nanosecond.
    #[must_use]
    pub fn lasts(&self, span: Span) -> Duration {
        Duration::from_nanos(span.0 / self.scale.picos_per_nano)
    }
}
