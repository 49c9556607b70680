//! The part of the lab that is about workers coming and going. `None`: the endpoint file decides.

use super::describe::span;
use super::settings::{Setting, above_zero, choice, setting};
use super::{Lab, schedule, units};
use kvcache::Span;
use serde_json::{Value, json};
use sim::fleet::Planned;

/// What befalls the fleet: `fleet.*`.
#[derive(Clone, Debug, PartialEq)]
pub struct FleetLab {
    /// What is planned, in order of time.
    pub events: Vec<Planned>,
    /// From the order of a worker until it takes requests.
    pub startup: Span,
    /// How long a worker that is to go may work on what it has.
    pub grace: Span,
    /// How long nobody notices that a worker's process has died.
    pub detect: Span,
    /// How often a request that was lost before its first token is sent again.
    pub retries: u32,
    /// Most requests at a worker's engine at a time; zero: no limit.
    pub max_concurrent: Option<u32>,
    /// Most requests in line before it.
    pub max_queue: Option<u32>,
}

impl Default for FleetLab {
    fn default() -> Self {
        Self {
            events: Vec::new(),
            startup: Span::from_secs(180),
            grace: Span::from_secs(30),
            detect: Span::ZERO,
            retries: 1,
            max_concurrent: None,
            max_queue: None,
        }
    }
}

/// A figure that an autoscaler goes by, by the name of its setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScalingMetric {
    /// Requests within a period.
    Invocations,
    /// Requests per second.
    Rate,
    /// Requests at the workers.
    InFlight,
    /// Those that wait there.
    Waiting,
    /// Those that run.
    Running,
    /// KV blocks in use, in percent.
    KvUsage,
}

const METRICS: [(&str, ScalingMetric); 6] = [
    ("invocations", ScalingMetric::Invocations),
    ("rate", ScalingMetric::Rate),
    ("in_flight", ScalingMetric::InFlight),
    ("waiting", ScalingMetric::Waiting),
    ("running", ScalingMetric::Running),
    ("kv_usage", ScalingMetric::KvUsage),
];

/// How many workers there should be: `autoscaling.*`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ScalingLab {
    /// Whether the number of workers follows a metric.
    pub enabled: Option<bool>,
    /// The fewest workers.
    pub min: Option<u32>,
    /// The most.
    pub max: Option<u32>,
    /// Which metric, instead of the endpoint file's.
    pub metric: Option<ScalingMetric>,
    /// What it should be.
    pub target: Option<f64>,
    /// Over how long it is counted.
    pub period: Option<Span>,
    /// How often an idle fleet is looked at.
    pub polling: Option<Span>,
    /// How long an idle fleet keeps its last worker.
    pub cooldown: Option<Span>,
    /// ... at least, from the start.
    pub initial_cooldown: Option<Span>,
    /// The least asked for within this counts, upwards.
    pub up_stabilization: Option<Span>,
    /// The most asked for within this counts, downwards.
    pub down_stabilization: Option<Span>,
}

fn workers(text: &str, least: u32) -> Result<u32, String> {
    let count = units::count(text, least)?;
    if count > 4096 { Err(format!("{text} lies outside {least} to 4096")) } else { Ok(count) }
}

/// The settings of both.
pub(super) const SETTINGS: &[Setting] = &[
    setting!(
        "fleet.events",
        "schedule",
        "none",
        "what befalls workers and L2: 60s crash 2 for 90s; 5min replicas 4; 10min slow 3 by 2.5 for 5min; 12min l2 refused|silent|loses 0 for 30s",
        |lab, text| { lab.fleet.events = schedule::parse(text)? }
    ),
    setting!(
        "fleet.startup",
        "time",
        "180s",
        "from the order of a new worker, or the crash of one, until it takes requests",
        |lab, text| { lab.fleet.startup = units::span(text)? }
    ),
    setting!(
        "fleet.grace",
        "time",
        "30s",
        "how long a worker that is to go may work on what it has (terminationGracePeriodSeconds)",
        |lab, text| { lab.fleet.grace = units::span(text)? }
    ),
    setting!(
        "fleet.detect",
        "time",
        "0",
        "how long requests are still sent to a worker that has crashed; none of them, and none it had, is missed before",
        |lab, text| { lab.fleet.detect = units::span(text)? }
    ),
    setting!(
        "fleet.retries",
        "count",
        "1",
        "how often a request whose worker dies before its first token is sent again; after it, a request ends with an error",
        |lab, text| { lab.fleet.retries = units::count(text, 0)? }
    ),
    setting!(
        "fleet.max_concurrent_requests",
        "count",
        "requestLimits of the endpoint file, else 0",
        "most requests at a worker's engine; others wait in line before it or get 429; 0: no limit",
        |lab, text| { lab.fleet.max_concurrent = Some(units::count(text, 0)?) }
    ),
    setting!(
        "fleet.max_queue_size",
        "count",
        "requestLimits of the endpoint file, else no limit",
        "most requests in line before a worker; further ones get 429",
        |lab, text| { lab.fleet.max_queue = Some(units::count(text, 0)?) }
    ),
    setting!(
        "autoscaling.enabled",
        "switch",
        "true where the endpoint file has an autoScalingSpec, or autoscaling.metric is set",
        "whether the number of workers follows a metric (Kubernetes' autoscaler, every 15 s)",
        |lab, text| { lab.autoscaling.enabled = Some(units::switch(text)?) }
    ),
    setting!("autoscaling.min", "count", "minReplicaCount, else 1", "the fewest workers", |lab, text| {
        lab.autoscaling.min = Some(workers(text, 0)?)
    }),
    setting!("autoscaling.max", "count", "maxReplicaCount, else 5", "the most workers", |lab, text| {
        lab.autoscaling.max = Some(workers(text, 1)?)
    }),
    setting!(
        "autoscaling.metric",
        "invocations | rate | in_flight | waiting | running | kv_usage",
        "the triggers of the endpoint file",
        "invocations (within the period), rate (per second), in_flight, waiting, running: a worker's share; kv_usage: percent",
        |lab, text| { lab.autoscaling.metric = Some(choice(text, &METRICS)?) }
    ),
    setting!(
        "autoscaling.target",
        "number",
        "targetValue of the endpoint file",
        "what that should be, for each worker",
        |lab, text| { lab.autoscaling.target = Some(units::number(text, (1e-6, 1e9))?) }
    ),
    setting!(
        "autoscaling.period",
        "time",
        "metricCollectionPeriod, else 60s",
        "over how long invocations and rate are counted",
        |lab, text| { lab.autoscaling.period = Some(above_zero(units::span(text)?)?) }
    ),
    setting!(
        "autoscaling.polling",
        "time",
        "pollingInterval, else 30s",
        "how often a fleet without workers is looked at",
        |lab, text| { lab.autoscaling.polling = Some(above_zero(units::span(text)?)?) }
    ),
    setting!(
        "autoscaling.cooldown",
        "time",
        "cooldownPeriod, else 300s",
        "how long the last worker stays idle before it goes, where autoscaling.min is 0",
        |lab, text| { lab.autoscaling.cooldown = Some(units::span(text)?) }
    ),
    setting!(
        "autoscaling.initial_cooldown",
        "time",
        "initialCooldownPeriod, else 300s",
        "... and how long after the start it stays in any case",
        |lab, text| { lab.autoscaling.initial_cooldown = Some(units::span(text)?) }
    ),
    setting!(
        "autoscaling.scale_up_stabilization",
        "time",
        "scaleUpStabilizationTime, else 0",
        "upwards the fewest workers asked for within so long count",
        |lab, text| { lab.autoscaling.up_stabilization = Some(units::span(text)?) }
    ),
    setting!(
        "autoscaling.scale_down_stabilization",
        "time",
        "scaleDownStabilizationTime, else 300s",
        "downwards the most workers asked for within so long count",
        |lab, text| { lab.autoscaling.down_stabilization = Some(units::span(text)?) }
    ),
];

/// Both as a lab file says them. No `..`: a setting that is not described does not compile.
pub(super) fn describe(lab: &Lab) -> Vec<Value> {
    let FleetLab { events, startup, grace, detect, retries, max_concurrent, max_queue } = &lab.fleet;
    let fleet = json!({
        "fleet.events": schedule::write(events),
        "fleet.startup": span(*startup),
        "fleet.grace": span(*grace),
        "fleet.detect": span(*detect),
        "fleet.retries": retries,
        "fleet.max_concurrent_requests": max_concurrent,
        "fleet.max_queue_size": max_queue,
    });
    let ScalingLab {
        enabled,
        min,
        max,
        metric,
        target,
        period,
        polling,
        cooldown,
        initial_cooldown,
        up_stabilization,
        down_stabilization,
    } = &lab.autoscaling;
    let name = |metric: ScalingMetric| METRICS.iter().find(|(_, known)| *known == metric).map(|(name, _)| *name);
    let autoscaling = json!({
        "autoscaling.enabled": enabled,
        "autoscaling.min": min,
        "autoscaling.max": max,
        "autoscaling.metric": metric.and_then(name),
        "autoscaling.target": target,
        "autoscaling.period": period.map(span),
        "autoscaling.polling": polling.map(span),
        "autoscaling.cooldown": cooldown.map(span),
        "autoscaling.initial_cooldown": initial_cooldown.map(span),
        "autoscaling.scale_up_stabilization": up_stabilization.map(span),
        "autoscaling.scale_down_stabilization": down_stabilization.map(span),
    });
    vec![fleet, autoscaling]
}
