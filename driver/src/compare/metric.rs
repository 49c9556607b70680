//! The figures that runs are compared by.

use crate::told::{Request, Told};
use serde::{Deserialize, Serialize};

/// Which way is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Better {
    /// Less.
    Lower,
    /// More.
    Higher,
}

/// What a figure is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unit {
    /// Milliseconds.
    #[serde(rename = "ms")]
    Millis,
    /// Per second.
    #[serde(rename = "1/s")]
    PerSecond,
    /// A part of one; told to people in per cent.
    #[serde(rename = "share")]
    Share,
    /// A number without a unit.
    #[serde(rename = "")]
    Number,
    /// US dollars per 1,000 tokens.
    #[serde(rename = "$/1K")]
    Dollars,
}

/// A latency of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sample {
    /// Time to first token.
    Ttft,
    /// Time per output token after the first.
    Tpot,
    /// End-to-end latency.
    E2el,
}

impl Sample {
    /// All.
    pub const ALL: [Self; 3] = [Self::Ttft, Self::Tpot, Self::E2el];

    /// Of a request, ms. `None`: it did not complete, or it is not told.
    #[must_use]
    pub fn of(self, request: &Request) -> Option<f64> {
        let value = match self {
            Self::Ttft => request.ttft_ms,
            Self::Tpot => request.tpot_ms,
            Self::E2el => request.e2el_ms,
        };
        value.filter(|_| request.completed())
    }

    /// Its name for people.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ttft => "TTFT",
            Self::Tpot => "TPOT",
            Self::E2el => "E2EL",
        }
    }
}

/// How a figure comes from requests, so that it can be worked out for others of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Estimate {
    /// A mean of a latency.
    Mean(Sample),
    /// A percentile of a latency, in thousandths.
    Quantile(Sample, u16),
    /// A sum over a sum.
    Ratio(Ratio),
    /// It does not.
    None,
}

/// What is summed up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ratio {
    /// Requests that did not complete, over all.
    Failed,
    /// Cached over prompt tokens: of any tier, or of one.
    Hits(Option<u8>),
}

impl Ratio {
    /// What a request adds to both sums. `None`: nothing.
    #[must_use]
    pub fn of(self, request: &Request) -> Option<(f64, f64)> {
        match self {
            Self::Failed => Some((f64::from(u8::from(!request.completed())), 1.0)),
            Self::Hits(tier) => {
                let cached = match tier {
                    None => request.cached_tokens,
                    Some(0) => request.cached_l0_tokens,
                    Some(1) => request.cached_l1_tokens,
                    Some(_) => request.cached_l2_tokens,
                };
                Some((cached? as f64, request.prompt_tokens? as f64))
            }
        }
    }
}

/// A figure.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// Its name in `summary.json`; nested ones are dotted.
    pub key: &'static str,
    /// Its name for people.
    pub name: &'static str,
    /// What `--tolerance` calls it and its like.
    pub family: &'static str,
    /// What it is in.
    pub unit: Unit,
    /// Which way is better; `None`: it tells where something comes from, and neither way is.
    pub better: Option<Better>,
    /// How it comes from requests.
    pub estimate: Estimate,
}

const fn latency(key: &'static str, name: &'static str, family: &'static str, estimate: Estimate) -> Metric {
    Metric { key, name, family, unit: Unit::Millis, better: Some(Better::Lower), estimate }
}

const fn rate(key: &'static str, name: &'static str, family: &'static str) -> Metric {
    let better = Some(Better::Higher);
    Metric { key, name, family, unit: Unit::PerSecond, better, estimate: Estimate::None }
}

const fn hits(key: &'static str, name: &'static str, tier: Option<u8>) -> Metric {
    // Less from one tier may be more from another.
    let better = if tier.is_none() { Some(Better::Higher) } else { None };
    let estimate = Estimate::Ratio(Ratio::Hits(tier));
    Metric { key, name, family: "hit_rate", unit: Unit::Share, better, estimate }
}

const fn cost(key: &'static str, name: &'static str) -> Metric {
    let better = Some(Better::Lower);
    Metric { key, name, family: "cost", unit: Unit::Dollars, better, estimate: Estimate::None }
}

use Estimate::{Mean, Quantile};
use Sample::{E2el, Tpot, Ttft};

/// All figures, in the order in which they are told.
pub const METRICS: [Metric; 33] = [
    latency("mean_ttft_ms", "TTFT mean", "ttft", Mean(Ttft)),
    latency("p50_ttft_ms", "TTFT P50", "ttft", Quantile(Ttft, 500)),
    latency("p90_ttft_ms", "TTFT P90", "ttft", Quantile(Ttft, 900)),
    latency("p95_ttft_ms", "TTFT P95", "ttft", Quantile(Ttft, 950)),
    latency("p99_ttft_ms", "TTFT P99", "ttft", Quantile(Ttft, 990)),
    latency("mean_tpot_ms", "TPOT mean", "tpot", Mean(Tpot)),
    latency("p50_tpot_ms", "TPOT P50", "tpot", Quantile(Tpot, 500)),
    latency("p90_tpot_ms", "TPOT P90", "tpot", Quantile(Tpot, 900)),
    latency("p95_tpot_ms", "TPOT P95", "tpot", Quantile(Tpot, 950)),
    latency("p99_tpot_ms", "TPOT P99", "tpot", Quantile(Tpot, 990)),
    latency("mean_itl_ms", "ITL mean", "itl", Estimate::None),
    latency("p50_itl_ms", "ITL P50", "itl", Estimate::None),
    latency("p90_itl_ms", "ITL P90", "itl", Estimate::None),
    latency("p95_itl_ms", "ITL P95", "itl", Estimate::None),
    latency("p99_itl_ms", "ITL P99", "itl", Estimate::None),
    latency("mean_e2el_ms", "E2EL mean", "e2el", Mean(E2el)),
    latency("p50_e2el_ms", "E2EL P50", "e2el", Quantile(E2el, 500)),
    latency("p90_e2el_ms", "E2EL P90", "e2el", Quantile(E2el, 900)),
    latency("p95_e2el_ms", "E2EL P95", "e2el", Quantile(E2el, 950)),
    latency("p99_e2el_ms", "E2EL P99", "e2el", Quantile(E2el, 990)),
    rate("request_throughput", "requests", "throughput"),
    rate("output_throughput", "output tokens", "throughput"),
    rate("total_token_throughput", "all tokens", "throughput"),
    hits("hit_rate.total", "hit rate", None),
    hits("hit_rate.l0", "of L0", Some(0)),
    hits("hit_rate.l1", "of L1", Some(1)),
    hits("hit_rate.l2", "of L2", Some(2)),
    Metric {
        key: "failed_share",
        name: "failed",
        family: "failed",
        unit: Unit::Share,
        better: Some(Better::Lower),
        estimate: Estimate::Ratio(Ratio::Failed),
    },
    Metric {
        key: "slo.good_share",
        name: "within the SLO",
        family: "goodput",
        unit: Unit::Share,
        better: Some(Better::Higher),
        estimate: Estimate::None,
    },
    rate("slo.goodput", "goodput", "goodput"),
    cost("cost_per_1k_tokens.total", "cost, all tokens"),
    cost("cost_per_1k_tokens.output_only", "cost, output"),
    Metric {
        key: "imbalance",
        name: "imbalance",
        family: "imbalance",
        unit: Unit::Number,
        better: None,
        estimate: Estimate::None,
    },
];

impl Metric {
    /// Of a run, as it told itself. `None`: unknown.
    #[must_use]
    pub fn of(&self, run: &Told) -> Option<f64> {
        match self.key {
            "failed_share" => {
                let failed = run.figure("failed")?;
                let all = run.figure("requests").or_else(|| Some(failed + run.figure("completed")?))?;
                (all > 0.0).then(|| failed / all)
            }
            "hit_rate.total" => run.figure(self.key).or_else(|| run.figure("hit_rate")),
            key => run.figure(key),
        }
    }
}
