//! `autoScalingSpec`: between how many workers, and by which metrics.

use super::problem::Findings;
use crate::yaml::Node;

/// How the operator scales: fields of `autoScalingSpec`, with the operator's defaults.
#[derive(Clone, Debug, PartialEq)]
pub struct Autoscaling {
    /// `minReplicaCount`, 1 unless set.
    pub min: u32,
    /// `maxReplicaCount`, 5 unless set.
    pub max: u32,
    /// `pollingInterval`, 30 s unless set.
    pub polling_s: u32,
    /// `cooldownPeriod`, 300 s unless set.
    pub cooldown_s: u32,
    /// `initialCooldownPeriod`, 300 s unless set.
    pub initial_cooldown_s: u32,
    /// `scaleUpStabilizationTime`, 0 unless set.
    pub up_stabilization_s: u32,
    /// `scaleDownStabilizationTime`, 300 s unless set.
    pub down_stabilization_s: u32,
    /// Its triggers, in the order of the fields.
    pub triggers: Vec<ScalingTrigger>,
    /// Where it stands.
    pub line: u32,
}

/// Where a trigger's metric comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TriggerSource {
    /// CloudWatch: the metric's name.
    CloudWatch(String),
    /// Prometheus: the query.
    Prometheus(String),
}

/// A metric and what it should be.
#[derive(Clone, Debug, PartialEq)]
pub struct ScalingTrigger {
    /// Its metric.
    pub source: TriggerSource,
    /// `targetValue`.
    pub target: Option<f64>,
    /// `activationTargetValue`, 0 unless set.
    pub activation: f64,
    /// `metricCollectionPeriod`, of CloudWatch, s.
    pub period_s: Option<u32>,
    /// `metricType: Value`: the target is the metric's own, not each worker's.
    pub is_value: bool,
    /// Where it stands.
    pub line: u32,
}

/// Reads the section of a `spec`.
pub(super) fn autoscaling(spec: &Node, findings: &mut Findings) -> Option<Autoscaling> {
    let scaling = spec.get("autoScalingSpec")?;
    let count = |key: &str, default| scaling.get(key).and_then(Node::whole).unwrap_or(default);
    let (min, max) = (count("minReplicaCount", 1), count("maxReplicaCount", 5));
    if min > max {
        let message = format!("{min} is above maxReplicaCount, which is {max}; allowed: 0 to {max}");
        findings.problem(
            scaling.get("minReplicaCount").unwrap_or(scaling).at,
            "spec.autoScalingSpec.minReplicaCount",
            message,
        );
    }
    let single = ["cloudWatchTrigger", "prometheusTrigger"].into_iter().filter_map(|key| scaling.get(key));
    let lists = ["cloudWatchTriggerList", "prometheusTriggerList"].into_iter().filter_map(|key| scaling.get(key));
    Some(Autoscaling {
        min,
        max,
        polling_s: count("pollingInterval", 30),
        cooldown_s: count("cooldownPeriod", 300),
        initial_cooldown_s: count("initialCooldownPeriod", 300),
        up_stabilization_s: count("scaleUpStabilizationTime", 0),
        down_stabilization_s: count("scaleDownStabilizationTime", 300),
        triggers: single.chain(lists.flat_map(Node::items)).filter_map(trigger).collect(),
        line: scaling.at.line,
    })
}

/// CloudWatch's has a metric, Prometheus' a query; what has neither is none.
fn trigger(node: &Node) -> Option<ScalingTrigger> {
    let text = |key: &str| node.get(key).and_then(Node::text).map(str::to_owned);
    let number = |key: &str| node.get(key).and_then(|value| value.raw().parse::<f64>().ok()).filter(|n| n.is_finite());
    let source =
        text("query").map(TriggerSource::Prometheus).or_else(|| text("metricName").map(TriggerSource::CloudWatch))?;
    Some(ScalingTrigger {
        source,
        target: number("targetValue").filter(|target| *target > 0.0),
        activation: number("activationTargetValue").unwrap_or(0.0),
        period_s: node.get("metricCollectionPeriod").and_then(Node::whole).filter(|seconds| *seconds > 0),
        is_value: text("metricType").is_some_and(|kind| kind.eq_ignore_ascii_case("value")),
        line: node.at.line,
    })
}
