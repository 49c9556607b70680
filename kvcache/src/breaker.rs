//! When to stop calling what cannot be reached: the circuit breaker of a client of the shared pool.
//!
//! LMCache's client of HyperPod's `tieredstorage` daemon (0.5.6, `sagemaker_hyperpod_client.py`) opens after 3
//! connection failures in a row, time-outs included; from then on one call goes through, as a probe, whenever for 5 s
//! there was neither a probe nor a failure. A miss (404, 504) is an answer: whoever owns the connection reports it as
//! a success.

use crate::time::{Span, Time};

/// When a breaker opens, and how often it looks whether it may close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerConfig {
    /// It opens after so many connection failures without an answer between them.
    pub failures: u32,
    /// While it is open, one call is let through when so long after the last failure; a probe without an answer for so
    /// long has failed.
    pub probe_every: Span,
    /// A call on which nothing at all was heard for so long has failed.
    pub silence: Span,
}

impl Default for BreakerConfig {
    /// Those of LMCache's client of `tieredstorage`, but for the silence. That client gives up a lease after 1.5 s and a put
    /// after 5 s; here a load of few tokens is over after a second already. It counts requests, of which a load or a store
    /// makes one for each object; here an operation counts once.
    fn default() -> Self {
        Self { failures: 3, probe_every: Span::from_secs(5), silence: Span::from_secs(1) }
    }
}

/// What a breaker does with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerState {
    /// Lets it through.
    Closed {
        /// Connection failures since the last answer.
        failures: u32,
    },
    /// Refuses it, up to the moment when a probe is due.
    Open {
        /// From then on, the next call is a probe.
        probe_at: Time,
    },
    /// Refuses it, since a probe is under way.
    HalfOpen {
        /// Without an answer by then, the probe has failed and the next one is due.
        until: Time,
    },
}

/// The breaker of one client. Told the time; all operations are O(1).
#[derive(Clone, Debug)]
pub struct Breaker {
    config: BreakerConfig,
    state: BreakerState,
    opened: u64,
}

impl Breaker {
    /// A closed breaker.
    ///
    /// # Panics
    /// Where `failures` is zero: such a breaker could never close.
    #[must_use]
    pub const fn new(config: BreakerConfig) -> Self {
        assert!(config.failures > 0, "a breaker opens after at least one failure");
        Self { config, state: BreakerState::Closed { failures: 0 }, opened: 0 }
    }

    /// Whether a call may be made now. Where the answer is yes, the caller makes it and reports how it went; while the
    /// breaker is open, that call is the probe.
    pub fn may_call(&mut self, now: Time) -> bool {
        match self.state {
            BreakerState::Closed { .. } => true,
            // A probe that nobody answered for a whole period counts as failed, else it would block for ever.
            BreakerState::Open { probe_at: due } | BreakerState::HalfOpen { until: due } => {
                let probe = now >= due;
                if probe {
                    self.state = BreakerState::HalfOpen { until: now + self.config.probe_every };
                }
                probe
            }
        }
    }

    /// A call was answered, be it with a miss. Closes the breaker, whichever call it was: who answers is there.
    pub fn succeeded(&mut self, _now: Time) {
        self.state = BreakerState::Closed { failures: 0 };
    }

    /// A call found no connection, or lost it.
    pub fn failed(&mut self, now: Time) {
        let was_closed = self.is_closed();
        self.state = match self.state {
            BreakerState::Closed { failures } if failures + 1 < self.config.failures => {
                BreakerState::Closed { failures: failures + 1 }
            }
            // Also where the call was made before the breaker opened: it is the latest news all the same.
            _ => BreakerState::Open { probe_at: now + self.config.probe_every },
        };
        self.opened += u64::from(was_closed && !self.is_closed());
    }

    /// Whoever calls starts afresh and knows nothing: it is closed. How often it opened stays counted.
    pub const fn restart(&mut self) {
        self.state = BreakerState::Closed { failures: 0 };
    }

    /// How often it opened, having been closed.
    #[must_use]
    pub const fn opened(&self) -> u64 {
        self.opened
    }

    /// When the answer of [`Breaker::may_call`] changes by itself: the next probe is due. `None` while it is closed.
    #[must_use]
    pub const fn deadline(&self) -> Option<Time> {
        match self.state {
            BreakerState::Closed { .. } => None,
            BreakerState::Open { probe_at: due } | BreakerState::HalfOpen { until: due } => Some(due),
        }
    }

    /// Whether it lets every call through.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        matches!(self.state, BreakerState::Closed { .. })
    }

    /// What it does with calls now.
    #[must_use]
    pub const fn state(&self) -> BreakerState {
        self.state
    }
}
