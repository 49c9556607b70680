//! When the requests of a generated workload are sent.

use super::Pacing;
use crate::streams::{Stream, Streams};
use kvcache::{Span, Time};

/// Who decides when, and how often.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Arrivals {
    /// So many per second, as a Poisson process.
    Poisson {
        /// Requests per second.
        rate: f64,
    },
    /// So many per second on average, with independent gaps that vary as said: the gamma distribution, or none at all.
    Renewal {
        /// Requests per second.
        rate: f64,
        /// Standard deviation over mean of the gaps: 0 for a metronome, 1 for a Poisson process, more for bursts.
        burstiness: f64,
    },
    /// So many at once; the next when an answer is complete.
    Closed {
        /// How many.
        concurrency: u32,
    },
}

impl Arrivals {
    /// The pacing of a workload that is sent so.
    #[must_use]
    pub const fn pacing(self) -> Pacing {
        match self {
            Self::Poisson { .. } | Self::Renewal { .. } => Pacing::Open,
            Self::Closed { concurrency } => Pacing::Closed { concurrency },
        }
    }

    /// The times of sending of one seed, from the stream `arrivals`. Where replies decide, all are zero.
    pub(super) fn times(self, streams: Streams) -> Times {
        Times { arrivals: self, gaps: streams.named("arrivals"), at: Time::ZERO }
    }
}

/// One time of sending after the other.
#[derive(Clone, Debug)]
pub(super) struct Times {
    arrivals: Arrivals,
    gaps: Stream,
    at: Time,
}

impl Times {
    /// The next one, never before the last.
    pub(super) fn draw(&mut self) -> Time {
        let gap = match self.arrivals {
            Arrivals::Poisson { rate } => self.gaps.exponential(1.0 / rate),
            Arrivals::Renewal { rate, burstiness } if burstiness > 0.0 => {
                // A gamma distribution of shape k has a deviation of 1 / sqrt k of its mean.
                let shape = 1.0 / (burstiness * burstiness);
                self.gaps.gamma(shape) / (shape * rate)
            }
            Arrivals::Renewal { rate, .. } => 1.0 / rate,
            Arrivals::Closed { .. } => return self.at,
        };
        self.at = later(self.at, Span::from_secs_f64(gap));
        self.at
    }
}

/// `span` after `at`. Far beyond any horizon it need not be exact.
pub(super) const fn later(at: Time, span: Span) -> Time {
    Time(at.0.saturating_add(span.0))
}
