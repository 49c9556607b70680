//! One monotonic clock for all stamps.

use std::time::Instant;

/// Nanoseconds since the measurement began.
#[derive(Clone, Copy, Debug)]
pub struct Clock(Instant);

impl Clock {
    /// A clock that begins now.
    #[must_use]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Nanoseconds since it began.
    #[must_use]
    pub fn now(self) -> u64 {
        u64::try_from(self.0.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// The moment that many nanoseconds after it began.
    #[must_use]
    pub fn at(self, nanos: u64) -> Instant {
        self.0 + std::time::Duration::from_nanos(nanos)
    }
}
