//! The circuit breaker of one worker: by consecutive failures, half-open for one probe at a time.
//!
//! Law: it always resolves. Whatever became of earlier probes, a probe that is sent as soon as the breaker lets one
//! through, and answered, closes it.

use super::fleet::HealthConfig;
use kvcache::{RequestId, Span, Time};

/// What a worker's breaker does with requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CircuitState {
    /// Lets them through.
    Closed {
        /// Failures since the last answer. The limit or more: it would be open, had too many others not been.
        failures: u32,
    },
    /// Lets none through before a moment, and then one: the probe.
    Open {
        /// From then on, the next request is the probe.
        until: Time,
    },
    /// Lets none through, since a probe is under way.
    HalfOpen {
        /// The probe.
        probe: RequestId,
        /// Not having ended by then, the probe is taken for lost, and the next request is another one.
        lost_at: Time,
    },
}

/// What a failure did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// It counts.
    Counted,
    /// It is one too many, but there is no room among those who are out.
    Refused,
    /// It opened the breaker.
    Opened,
    /// It was a probe's: the breaker stays open, for longer.
    Prolonged,
}

#[derive(Clone, Debug)]
pub(super) struct Circuit {
    state: CircuitState,
    // Counts up when news of what was sent before stop mattering: the requests that a dying worker takes with it must
    // neither prolong its absence nor count once it is back.
    era: u32,
    open_for: Span, // of the last opening
    failed_at: Time,
}

impl Circuit {
    pub(super) const fn new() -> Self {
        Self { state: CircuitState::Closed { failures: 0 }, era: 0, open_for: Span::ZERO, failed_at: Time::ZERO }
    }

    pub(super) const fn state(&self) -> CircuitState {
        self.state
    }

    pub(super) const fn era(&self) -> u32 {
        self.era
    }

    /// When the last failure that counted was.
    pub(super) const fn failed_at(&self) -> Time {
        self.failed_at
    }

    pub(super) const fn is_closed(&self) -> bool {
        matches!(self.state, CircuitState::Closed { .. })
    }

    /// Whether a request may be sent now.
    pub(super) fn passes(&self, now: Time) -> bool {
        match self.state {
            CircuitState::Closed { .. } => true,
            CircuitState::Open { until: due } | CircuitState::HalfOpen { lost_at: due, .. } => now >= due,
        }
    }

    /// A request was sent; whether it is a probe.
    pub(super) fn sent(&mut self, request: RequestId, config: &HealthConfig, now: Time) -> bool {
        match self.state {
            CircuitState::Closed { .. } => return false,
            CircuitState::HalfOpen { lost_at, .. } if now < lost_at => return false,
            CircuitState::Open { .. } | CircuitState::HalfOpen { .. } => {}
        }
        self.state = CircuitState::HalfOpen { probe: request, lost_at: now + config.probe_lost };
        true
    }

    /// A request of this era was answered. It closes the breaker also where it is a probe that was taken for lost: with
    /// answers slower than that, no probe would ever be in time.
    pub(super) const fn answered(&mut self) {
        self.state = CircuitState::Closed { failures: 0 };
    }

    /// A request of this era failed. `room`: one more may be out.
    pub(super) fn failed(&mut self, room: bool, config: &HealthConfig, now: Time) -> Effect {
        self.failed_at = now;
        let CircuitState::Closed { failures } = self.state else {
            self.open((self.open_for * 2).min(config.open_most), now);
            return Effect::Prolonged;
        };
        let failures = failures.saturating_add(1);
        self.state = CircuitState::Closed { failures };
        if failures < config.failures {
            return Effect::Counted;
        }
        if !room {
            return Effect::Refused;
        }
        self.open(config.open, now);
        Effect::Opened
    }

    fn open(&mut self, span: Span, now: Time) {
        self.open_for = span;
        self.state = CircuitState::Open { until: now + span };
        self.era += 1;
    }

    /// A request of this era ended and says nothing. Were it the probe, the next request is another one.
    pub(super) fn ended_neutrally(&mut self, request: RequestId, now: Time) {
        if matches!(self.state, CircuitState::HalfOpen { probe, .. } if probe == request) {
            self.state = CircuitState::Open { until: now };
        }
    }

    /// It must be let in, for want of others. The next failure opens it again if there is room then.
    pub(super) const fn pardon(&mut self, config: &HealthConfig) {
        self.state = CircuitState::Closed { failures: config.failures };
    }

    /// Another process takes the worker's place: nothing is known of it.
    pub(super) const fn replace(&mut self) {
        let era = self.era + 1;
        *self = Self { era, ..Self::new() };
    }
}
