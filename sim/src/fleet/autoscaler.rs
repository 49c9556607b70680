//! How many workers there should be: Kubernetes' Horizontal Pod Autoscaler, fed by KEDA, as the CRD's `autoScalingSpec` sets
//! them up.
//!
//! Every [`SYNC`] each trigger asks for a number of workers, and the largest counts: a total is divided by its target; a mean
//! is compared with its target, and the workers grow by the ratio. Within [`TOLERANCE`] of the target nothing changes. Upwards
//! the fleet at most doubles, or grows by four, in a step; downwards it may go at once, but only to the most that was asked
//! for within the window of stabilization, and upwards only to the least. Down to nobody, and up from there, it goes by
//! KEDA's rules: a trigger is active above its activation value; the last worker goes after a cooldown without one, and not
//! before the initial cooldown; the first comes when one is, looked at every polling interval.
//!
//! Source: Kubernetes' documentation of the Horizontal Pod Autoscaler (algorithm, tolerance, default behaviour), KEDA's of
//! `ScaledObject`.

use super::metric::{Counts, Metric};
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use kvcache::{Span, Time};

/// How often the autoscaler looks (`--horizontal-pod-autoscaler-sync-period`).
pub const SYNC: Span = Span::from_secs(15);

/// By how much a metric may miss its target (`--horizontal-pod-autoscaler-tolerance`).
pub const TOLERANCE: f64 = 0.1;

/// By how many workers a fleet may grow in a step, however small it is.
const LEAST_STEP: u16 = 4;

/// What a metric should be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trigger {
    /// Which metric.
    pub metric: Metric,
    /// What it should be: of each worker, where it is a total (KEDA's `AverageValue`), else of the metric itself (`Value`).
    pub target: f64,
    /// Whether it is a total that the workers share.
    pub per_worker: bool,
    /// Whether what is looked at is the mean over the workers that are there, and not their total.
    pub mean: bool,
    /// Above this, there must be a worker.
    pub activation: f64,
}

/// How the autoscaler is set up: fields of `autoScalingSpec`.
#[derive(Clone, Debug, PartialEq)]
pub struct AutoscalerConfig {
    /// The fewest workers (`minReplicaCount`).
    pub min: u16,
    /// The most (`maxReplicaCount`).
    pub max: u16,
    /// How often an idle fleet is looked at (`pollingInterval`).
    pub polling: Span,
    /// How long nothing must have been active before the last worker goes (`cooldownPeriod`).
    pub cooldown: Span,
    /// How long after the start it stays in any case (`initialCooldownPeriod`).
    pub initial_cooldown: Span,
    /// `scaleUpStabilizationTime`.
    pub up_stabilization: Span,
    /// `scaleDownStabilizationTime`.
    pub down_stabilization: Span,
    /// What it goes by, at least one.
    pub triggers: Vec<Trigger>,
}

/// The machine.
#[derive(Debug)]
pub struct Autoscaler {
    config: AutoscalerConfig,
    next: Time,
    /// Requests that had arrived when it looked, as far back as a trigger looks.
    arrivals: VecDeque<(Time, u64)>,
    /// What was asked for, as far back as a window reaches.
    asked: VecDeque<(Time, u16)>,
    active: Time,
}

impl Autoscaler {
    /// One that has seen nothing. `replicas` is what there is.
    #[must_use]
    pub fn new(config: AutoscalerConfig, replicas: u16) -> Self {
        let next = Time::ZERO + if replicas == 0 { config.polling } else { SYNC };
        Self { config, next, arrivals: VecDeque::from([(Time::ZERO, 0)]), asked: VecDeque::new(), active: Time::ZERO }
    }

    /// When it looks next.
    #[must_use]
    pub const fn deadline(&self) -> Time {
        self.next
    }

    /// How many workers there should be, where `current` should be there now. O(triggers + what the windows hold).
    pub fn decide(&mut self, current: u16, counts: &Counts, now: Time) -> u16 {
        self.arrivals.push_back((now, counts.arrivals));
        let active = self.config.triggers.iter().any(|trigger| self.value(trigger, counts, now) > trigger.activation);
        if active {
            self.active = now;
        }
        let wanted = match current {
            0 => u16::from(active).max(self.config.min),
            _ => self.scaled(current, counts, now),
        };
        let idle = now.since(self.active) >= self.config.cooldown && now.0 >= self.config.initial_cooldown.0;
        let wanted = if self.config.min == 0 && !active && idle { 0 } else { wanted };
        self.next = now + if wanted == 0 { self.config.polling.max(Span::from_secs(1)) } else { SYNC };
        self.forget(now);
        wanted
    }

    fn scaled(&mut self, current: u16, counts: &Counts, now: Time) -> u16 {
        let (least, most) = (self.config.min.max(1), self.config.max.max(1));
        if current < least || current > most {
            return current.clamp(least, most);
        }
        if self.asked.is_empty() {
            // What there is at first counts as asked for: no fleet shrinks before it was looked at for a whole window.
            self.asked.push_back((now, current));
        }
        let asks = |trigger: &Trigger| {
            let value = self.value(trigger, counts, now);
            let ordered = f64::from(current);
            let (ratio, workers) = if trigger.per_worker {
                (value / (trigger.target * ordered), ordered)
            } else {
                // Those who start are not counted, or each look would ask for more until they are there.
                (value / trigger.target, f64::from(counts.there))
            };
            if (ratio - 1.0).abs() <= TOLERANCE { current } else { libm::ceil(ratio * workers).min(65_535.0) as u16 }
        };
        let asked = self.config.triggers.iter().map(asks).max().unwrap_or(current);
        // Down to nobody is not the autoscaler's to decide.
        let asked = asked.clamp(least, most);
        self.asked.push_back((now, asked));
        let within =
            |window: Span| self.asked.iter().filter(move |(at, _)| now.since(*at) < window).map(|(_, asked)| *asked);
        let up = within(self.config.up_stabilization).min().map_or(asked, |least| least.min(asked));
        let down = within(self.config.down_stabilization).max().map_or(asked, |most| most.max(asked));
        if up > current {
            up.min(current.saturating_mul(2).max(current.saturating_add(LEAST_STEP)))
        } else {
            down.min(current)
        }
    }

    fn value(&self, trigger: &Trigger, counts: &Counts, now: Time) -> f64 {
        let since = |period: Span| {
            let before = self.arrivals.iter().rev().find(|(at, _)| now.since(*at) >= period);
            let (at, arrivals) = before.or(self.arrivals.front()).copied().unwrap_or_default();
            ((counts.arrivals - arrivals) as f64, now.since(at).as_secs_f64())
        };
        let total = match trigger.metric {
            Metric::Invocations { period } => since(period).0,
            Metric::Rate { period } => match since(period) {
                (_, 0.0) => 0.0,
                (arrivals, seconds) => arrivals / seconds,
            },
            metric => counts.value(metric).unwrap_or_default(),
        };
        if trigger.mean { total / f64::from(counts.there.max(1)) } else { total }
    }

    /// What no window reaches any more. One count beyond each period is kept, to begin it.
    fn forget(&mut self, now: Time) {
        let period = |trigger: &Trigger| match trigger.metric {
            Metric::Invocations { period } | Metric::Rate { period } => period,
            _ => Span::ZERO,
        };
        let longest = self.config.triggers.iter().map(period).max().unwrap_or_default();
        while self.arrivals.get(1).is_some_and(|(at, _)| now.since(*at) >= longest) {
            self.arrivals.pop_front();
        }
        let window = self.config.up_stabilization.max(self.config.down_stabilization);
        while self.asked.front().is_some_and(|(at, _)| now.since(*at) > window) {
            self.asked.pop_front();
        }
    }
}
