//! How the workers of a case come and go.

use super::Case;
use crate::endpoint::{Autoscaling, Endpoint, ScalingTrigger, TriggerSource};
use crate::lab::{Lab, ScalingLab, ScalingMetric, write_event};
use kvcache::{Span, WorkerId};
use sim::cluster::RequestLimits;
use sim::fleet::{AutoscalerConfig, Fleet, FleetConfig, Metric, Missed, Planned, Trigger, What};
use sim::transport::TransportConfig;

/// The most workers that a cluster can have.
const MOST_WORKERS: u32 = 4096;

/// Over how long requests are counted, where nobody says.
const PERIOD: Span = Span::from_secs(60);

/// The fleet of a case, and what is odd about it.
pub(super) struct Crew {
    pub(super) fleet: FleetConfig,
    pub(super) limits: Option<RequestLimits>,
    pub(super) warnings: Vec<String>,
}

/// Of an endpoint file and a lab.
///
/// # Errors
/// What is wrong, with the remedy: about the endpoint file with its line.
pub(super) fn crew(endpoint: &Endpoint, lab: &Lab, case: &Case) -> Result<Crew, (Option<u32>, String)> {
    let mut warnings = Vec::new();
    let of_lab = |problem| (None, problem);
    let autoscaler = autoscaler(endpoint, lab, &mut warnings)?;
    let fleet = FleetConfig {
        replicas: case.replicas,
        startup: lab.fleet.startup,
        grace: lab.fleet.grace,
        detect: lab.fleet.detect,
        retries: lab.fleet.retries,
        schedule: lab.fleet.events.clone(),
        autoscaler,
    };
    check_workers(&fleet).map_err(of_lab)?;
    if fleet.autoscaler.is_some() && fleet.schedule.iter().any(|planned| matches!(planned.what, What::Replicas(_))) {
        warnings.push(
            "fleet.events set a number of workers that the autoscaler changes again within 15 s; use autoscaling.enabled=false for one of them only"
                .to_owned(),
        );
    }
    let limits = limits(endpoint, lab, &mut warnings);
    Ok(Crew { limits, fleet, warnings })
}

fn limits(endpoint: &Endpoint, lab: &Lab, warnings: &mut Vec<String>) -> Option<RequestLimits> {
    let of_file = endpoint.request_limits;
    let concurrent = lab.fleet.max_concurrent.or(of_file.and_then(|limits| limits.max_concurrent_requests));
    let queue = lab.fleet.max_queue.or(of_file.and_then(|limits| limits.max_queue_size));
    if queue.is_some() && concurrent.is_none() {
        warnings.push(
            "fleet.max_queue_size (maxQueueSize) does nothing: nobody waits in line without fleet.max_concurrent_requests (maxConcurrentRequests)"
                .to_owned(),
        );
    }
    let status = of_file.map_or(429, |limits| limits.overflow_status_code);
    concurrent.filter(|most| *most > 0).map(|concurrent| RequestLimits { concurrent, queue, status })
}

/// So many events that did not happen are told one by one.
const TOLD: usize = 5;

/// What of a schedule did not happen, in words.
pub(super) fn missed(fleet: &Fleet) -> Vec<String> {
    let all: Vec<_> = fleet.missed().collect();
    let tell = |(planned, missed): &(&Planned, Missed)| {
        let why = match missed {
            Missed::Nobody => "nothing happened: that worker was not there then",
            Missed::TooLate => "did not happen: all requests had ended before",
        };
        format!("fleet.events: {:?} {why}", write_event(planned))
    };
    let more = all.len().checked_sub(TOLD).filter(|more| *more > 0);
    let more = more.map(|more| format!("fleet.events: {more} more did not happen"));
    all.iter().take(TOLD).map(tell).chain(more).collect()
}

/// Every worker that something is to befall must be there, or come.
fn check_workers(fleet: &FleetConfig) -> Result<(), String> {
    let capacity = fleet.capacity();
    let of = |planned: &Planned| match planned.what {
        What::Crash { worker, .. } | What::Slow { worker, .. } => Some(worker),
        _ => None,
    };
    match fleet.schedule.iter().filter_map(of).find(|worker| worker.0 >= capacity) {
        None => Ok(()),
        Some(WorkerId(worker)) => Err(format!(
            "fleet.events: there is no worker {worker}: a run has {capacity}, numbered from 0 to {}",
            capacity - 1
        )),
    }
}

/// What is planned for L2 needs one.
pub(super) fn check_pool(fleet: &FleetConfig, transport: Option<&TransportConfig>) -> Result<Option<String>, String> {
    let pool = transport.and_then(|ways| ways.pool).map(|access| access.pool);
    let concerns_pool = |planned: &Planned| matches!(planned.what, What::PoolOut { .. } | What::ShardLost { .. });
    let Some(pool) = pool else {
        let any = fleet.schedule.iter().any(concerns_pool);
        return Ok(any.then(|| "fleet.events about l2 do nothing in a run without L2".to_owned()));
    };
    for planned in &fleet.schedule {
        if let What::ShardLost { shard, .. } = planned.what
            && shard >= pool.shards
        {
            return Err(format!(
                "fleet.events: L2 has no shard {shard}: it has {}, numbered from 0 to {}",
                pool.shards,
                pool.shards - 1
            ));
        }
    }
    Ok(None)
}

fn autoscaler(
    endpoint: &Endpoint,
    lab: &Lab,
    warnings: &mut Vec<String>,
) -> Result<Option<AutoscalerConfig>, (Option<u32>, String)> {
    let of_lab = &lab.autoscaling;
    let of_file = endpoint.autoscaling.as_ref();
    let (min, max) = (
        of_lab.min.or(of_file.map(|scaling| scaling.min)).unwrap_or(1).min(MOST_WORKERS),
        of_lab.max.or(of_file.map(|scaling| scaling.max)).unwrap_or(5).min(MOST_WORKERS),
    );
    // A contradiction is one whether anybody asks or not.
    if min > max {
        return Err((None, format!("autoscaling.min {min} is above autoscaling.max {max}")));
    }
    if !of_lab.enabled.unwrap_or(of_file.is_some() || of_lab.metric.is_some()) {
        if of_lab.enabled.is_none() && *of_lab != ScalingLab::default() {
            warnings.push(
                "autoscaling.* does nothing: nothing scales without autoscaling.metric and autoscaling.target, or an autoScalingSpec in the endpoint file"
                    .to_owned(),
            );
        }
        return Ok(None);
    }
    let triggers = match of_lab.metric {
        Some(metric) => {
            let trigger = lab_trigger(metric, lab).map_err(|problem| (None, problem))?;
            if metric == ScalingMetric::KvUsage && trigger.target <= 1.0 {
                warnings.push(format!(
                    "autoscaling.target {0} of kv_usage is {0} percent of the KV blocks; for that share of all of them write {1}",
                    trigger.target,
                    trigger.target * 100.0
                ));
            }
            vec![trigger]
        }
        None => of_file.map(|scaling| file_triggers(scaling, lab, warnings)).unwrap_or_default(),
    };
    if triggers.is_empty() {
        let line = of_file.map(|scaling| scaling.line);
        if of_lab.enabled.is_some() {
            return Err((line, "autoscaling needs a metric that is simulated: set autoscaling.metric and autoscaling.target, or autoscaling.enabled=false".to_owned()));
        }
        warnings.push(
            "not simulated: spec.autoScalingSpec, since none of its triggers has a metric that is; the workers stay as they are; set autoscaling.metric and autoscaling.target"
                .to_owned(),
        );
        return Ok(None);
    }
    let seconds = |of_lab: Option<Span>, of_file: Option<u32>, default: u32| {
        of_lab.unwrap_or_else(|| Span::from_secs(u64::from(of_file.unwrap_or(default))))
    };
    let file = |field: fn(&Autoscaling) -> u32| of_file.map(field);
    Ok(Some(AutoscalerConfig {
        min: min as u16,
        max: max as u16,
        polling: seconds(of_lab.polling, file(|scaling| scaling.polling_s), 30),
        cooldown: seconds(of_lab.cooldown, file(|scaling| scaling.cooldown_s), 300),
        initial_cooldown: seconds(of_lab.initial_cooldown, file(|scaling| scaling.initial_cooldown_s), 300),
        up_stabilization: seconds(of_lab.up_stabilization, file(|scaling| scaling.up_stabilization_s), 0),
        down_stabilization: seconds(of_lab.down_stabilization, file(|scaling| scaling.down_stabilization_s), 300),
        triggers,
    }))
}

fn lab_trigger(metric: ScalingMetric, lab: &Lab) -> Result<Trigger, String> {
    let Some(target) = lab.autoscaling.target else {
        return Err("autoscaling.metric needs autoscaling.target, what it should be for each worker".to_owned());
    };
    let period = lab.autoscaling.period.unwrap_or(PERIOD);
    let metric = match metric {
        ScalingMetric::Invocations => Metric::Invocations { period },
        ScalingMetric::Rate => Metric::Rate { period },
        ScalingMetric::InFlight => Metric::InFlight,
        ScalingMetric::Waiting => Metric::Waiting,
        ScalingMetric::Running => Metric::Running,
        ScalingMetric::KvUsage => Metric::KvUsage,
    };
    Ok(Trigger { metric, target, per_worker: metric != Metric::KvUsage, mean: false, activation: 0.0 })
}

fn file_triggers(scaling: &Autoscaling, lab: &Lab, warnings: &mut Vec<String>) -> Vec<Trigger> {
    let mut triggers = Vec::new();
    for trigger in &scaling.triggers {
        match file_trigger(trigger, lab) {
            Ok(trigger) => triggers.push(trigger),
            Err(problem) => warnings.push(format!("spec.autoScalingSpec, line {}: {problem}", trigger.line)),
        }
    }
    triggers
}

/// Names of Prometheus' metrics, in vLLM and in HyperPod's proxy, and what they are here.
const IN_QUERIES: [(&str, ScalingMetric); 6] = [
    ("num_requests_waiting", ScalingMetric::Waiting),
    ("num_requests_running", ScalingMetric::Running),
    ("model_concurrent_requests", ScalingMetric::InFlight),
    ("kv_cache_usage_perc", ScalingMetric::KvUsage),
    ("gpu_cache_usage_perc", ScalingMetric::KvUsage),
    ("model_invocations_total", ScalingMetric::Rate),
];

fn file_trigger(trigger: &ScalingTrigger, lab: &Lab) -> Result<Trigger, String> {
    let period = lab.autoscaling.period.or(trigger.period_s.map(|seconds| Span::from_secs(u64::from(seconds))));
    let period = period.unwrap_or(PERIOD);
    let Some(target) = lab.autoscaling.target.or(trigger.target) else {
        return Err("not simulated: a trigger without a targetValue above 0".to_owned());
    };
    let (metric, is_mean) = match &trigger.source {
        TriggerSource::CloudWatch(name) => match name.as_str() {
            "Invocations" => (Metric::Invocations { period }, false),
            "ConcurrentRequestsPerModel" => (Metric::InFlight, false),
            "InvocationsPerInstance" => (Metric::Invocations { period }, true),
            _ => return Err(format!("not simulated: the CloudWatch metric {name}")),
        },
        TriggerSource::Prometheus(query) => {
            let Some((name, metric)) = IN_QUERIES.iter().find(|(name, _)| query.contains(name)) else {
                return Err(format!("not simulated: the Prometheus query {query:?}"));
            };
            let is_mean = query.trim_start().starts_with("avg");
            match metric {
                ScalingMetric::Waiting => (Metric::Waiting, is_mean),
                ScalingMetric::Running => (Metric::Running, is_mean),
                ScalingMetric::InFlight => (Metric::InFlight, is_mean),
                ScalingMetric::KvUsage => (Metric::KvUsage, true),
                _ if query.contains("rate(") => (Metric::Rate { period: range_of(query).unwrap_or(period) }, is_mean),
                _ => return Err(format!("not simulated: {name} without rate()")),
            }
        }
    };
    // vLLM tells the share of KV in use from 0 to 1.
    let percent = if metric == Metric::KvUsage { 100.0 } else { 1.0 };
    // KV in use is a mean by itself. A mean under `AverageValue`, KEDA's default, is divided by the workers once more.
    let mean = is_mean && metric != Metric::KvUsage;
    let activation = trigger.activation * percent;
    Ok(Trigger { metric, target: target * percent, per_worker: !trigger.is_value, mean, activation })
}

/// The range of a query's `rate(...[5m])`.
fn range_of(query: &str) -> Option<Span> {
    let (_, rest) = query.split_once('[')?;
    let (range, _) = rest.split_once(']')?;
    let digits = range.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let seconds = match &range[digits.len()..] {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return None,
    };
    digits
        .parse::<u64>()
        .ok()
        .filter(|count| (1..=1_000_000).contains(count))
        .map(|count| Span::from_secs(count * seconds))
}
