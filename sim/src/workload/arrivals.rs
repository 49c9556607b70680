//! When the requests of a generated workload are sent.

use super::shape::{Shape, Walk};
use super::{Pacing, Turn, Workload};
use crate::streams::{Stream, Streams};
use alloc::vec::Vec;
use kvcache::{SessionId, Span, Time};

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
    /// The same at a rate that changes.
    Shaped {
        /// Requests per second, which the shape multiplies.
        rate: f64,
        /// Standard deviation over mean of the gaps, counted in requests that are expected.
        burstiness: f64,
        /// How it changes.
        shape: Shape,
    },
    /// So many at once; the next when an answer is complete.
    Closed {
        /// How many.
        concurrency: u32,
    },
    /// So many users, who think when an answer is complete, and then send their next request.
    Users {
        /// How many.
        users: u32,
        /// How long they think on average, of exponential distribution; so they do before their first request.
        think: Span,
    },
}

impl Arrivals {
    /// The pacing of a workload that is sent so, until it is said who waits for whom.
    #[must_use]
    pub const fn pacing(self) -> Pacing {
        match self {
            Self::Poisson { .. } | Self::Renewal { .. } | Self::Shaped { .. } | Self::Users { .. } => Pacing::Open,
            Self::Closed { concurrency } => Pacing::Closed { concurrency },
        }
    }

    /// The times of sending of one seed, from the stream `arrivals`. Where replies decide, all are zero; of users, the first
    /// times are those at which they begin.
    pub(super) fn times(self, streams: Streams) -> Times {
        let walk = match self {
            Self::Shaped { rate, shape, .. } => Some(Walk::new(shape, rate)),
            _ => None,
        };
        let mut begin = Vec::new();
        if let Self::Users { users, think } = self {
            let mut thoughts = Thoughts::new(think, streams);
            begin.extend((0..users.max(1)).map(|_| Time(thoughts.draw().0)));
            begin.sort_unstable_by(|a, b| b.cmp(a));
        }
        Times { arrivals: self, gaps: streams.named("arrivals"), at: Time::ZERO, walk, begin }
    }

    /// The user whom request `place` of the list is of, where users decide: they send in turns.
    pub(super) fn user(self, place: u64) -> Option<SessionId> {
        match self {
            Self::Users { users, .. } => Some(SessionId(place % u64::from(users.max(1)))),
            _ => None,
        }
    }

    /// A list of users' requests, each of which waits for the one before it of the same user. Think times are drawn from the
    /// stream `think times`, one for each request. Any other list stays as it is.
    pub(super) fn in_turns(self, workload: Workload, streams: Streams) -> Workload {
        let Self::Users { users, think } = self else { return workload };
        let users = users.max(1) as usize;
        let mut thoughts = Thoughts::new(think, streams);
        // The first of them were drawn for the beginning.
        for _ in 0..users {
            thoughts.draw();
        }
        let turn = |place: usize| match place.checked_sub(users) {
            Some(before) => Turn { after: Some(before as u32), think: thoughts.draw(), gap: Span::ZERO },
            None => Turn::default(),
        };
        let turns = (0..workload.requests().len()).map(turn).collect();
        workload.in_turns(turns)
    }
}

impl Workload {
    /// The same requests, sent as `arrivals` say: of a list that tells no times.
    #[must_use]
    pub fn arriving(mut self, arrivals: Arrivals, streams: Streams) -> Self {
        let mut times = arrivals.times(streams);
        for (place, request) in self.requests.iter_mut().enumerate() {
            request.at = times.draw();
            request.session = arrivals.user(place as u64).or(request.session);
        }
        arrivals.in_turns(self.paced(arrivals.pacing()), streams)
    }
}

/// One think time after the other, of exponential distribution.
struct Thoughts {
    mean: f64,
    stream: Stream,
}

impl Thoughts {
    fn new(mean: Span, streams: Streams) -> Self {
        Self { mean: mean.as_secs_f64(), stream: streams.named("think times") }
    }

    fn draw(&mut self) -> Span {
        Span::from_secs_f64(self.stream.exponential(self.mean))
    }
}

/// One time of sending after the other.
#[derive(Clone, Debug)]
pub(super) struct Times {
    arrivals: Arrivals,
    gaps: Stream,
    at: Time,
    walk: Option<Walk>,
    begin: Vec<Time>, // of users who have not begun, the next last
}

impl Times {
    /// The next one, never before the last.
    pub(super) fn draw(&mut self) -> Time {
        let gap = match self.arrivals {
            Arrivals::Poisson { rate } => self.gaps.exponential(1.0 / rate),
            Arrivals::Renewal { rate, burstiness } => self.gap(burstiness, rate),
            Arrivals::Shaped { burstiness, .. } => {
                let requests = self.gap(burstiness, 1.0);
                if let Some(walk) = &mut self.walk {
                    self.at = self.at.max(walk.on(requests));
                }
                return self.at;
            }
            Arrivals::Closed { .. } => return self.at,
            Arrivals::Users { .. } => {
                self.at = self.begin.pop().unwrap_or(self.at);
                return self.at;
            }
        };
        self.at = later(self.at, Span::from_secs_f64(gap));
        self.at
    }

    /// A gap in seconds at so many requests per second.
    fn gap(&mut self, burstiness: f64, rate: f64) -> f64 {
        if burstiness == 0.0 {
            return 1.0 / rate;
        }
        if burstiness - 1.0 == 0.0 && matches!(self.arrivals, Arrivals::Shaped { .. }) {
            return self.gaps.exponential(1.0 / rate);
        }
        // A gamma distribution of shape k has a deviation of 1 / sqrt k of its mean.
        let shape = 1.0 / (burstiness * burstiness);
        self.gaps.gamma(shape) / (shape * rate)
    }
}

/// `span` after `at`. Far beyond any horizon it need not be exact.
pub(super) const fn later(at: Time, span: Span) -> Time {
    Time(at.0.saturating_add(span.0))
}
