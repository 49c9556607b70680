//! What a run said of itself (`summary.json`), read again, so that it can be reported like one that was just made.

use crate::experiment::{Case, Load, Outcome, Tiers};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use sim::ledger::{Breakdown, Distribution, Summary, Throughput};
use std::collections::{BTreeMap, BTreeSet};

/// Names of rules and causes: few, and known to the program that wrote them.
#[derive(Debug, Default)]
pub(crate) struct Names(BTreeSet<&'static str>);

impl Names {
    /// The name, kept for good once.
    fn keep(&mut self, name: String) -> &'static str {
        if let Some(known) = self.0.get(name.as_str()) {
            return known;
        }
        let name: &'static str = Box::leak(name.into_boxed_str());
        self.0.insert(name);
        name
    }
}

/// The run that `value` tells of, as `hardware` was simulated. What is not told of a run that is over (its requests, what it
/// was resolved to) is empty.
///
/// # Errors
/// The first key that is missing or is not what it should be.
pub(crate) fn outcome(value: Value, hardware: String, names: &mut Names) -> Result<Outcome, String> {
    let Value::Object(mut run) = value else { return Err("it is no object".to_owned()) };
    let (case, workload) = case(&mut run)?;
    let kept = if run.contains_key("slo") { Some(take(&mut run, "slo")?) } else { None };
    let summary = summary(&mut run, names)?;
    // What is not read would not be reported.
    match run.keys().next() {
        Some(key) => Err(format!("{key}: this podlab does not know it")),
        None => Ok(Outcome {
            case,
            workload,
            endpoint: String::new(),
            hardware,
            resolved: Value::Null,
            summary,
            records: Vec::new(),
            explanations: Vec::new(),
            growth: None,
            overload: None,
            warnings: Vec::new(),
            missed: Vec::new(),
            kept,
            computed: None,
        }),
    }
}

fn take<T: DeserializeOwned>(run: &mut Map<String, Value>, key: &str) -> Result<T, String> {
    let value = run.shift_remove(key).ok_or_else(|| format!("{key} is missing"))?;
    serde_json::from_value(value).map_err(|error| format!("{key}: {error}"))
}

fn case(run: &mut Map<String, Value>) -> Result<(Case, String), String> {
    let strategy: String = take(run, "strategy")?;
    let cache: String = take(run, "cache")?;
    let loads = (take(run, "rate")?, take(run, "concurrency")?, take(run, "users")?, take(run, "speedup")?);
    let load = match loads {
        (Some(rate), None, None, None) => Load::Rate(rate),
        (None, Some(concurrency), None, None) => Load::Concurrency(concurrency),
        (None, None, Some(users), None) => Load::Users(users),
        (None, None, None, Some(speedup)) => Load::Trace { speedup },
        _ => return Err("rate, concurrency, users, speedup: one of them is told of a run".to_owned()),
    };
    let case = Case {
        strategy: strategy.parse().map_err(|_| format!("strategy: there is no {strategy}"))?,
        cache: Tiers::ALL
            .into_iter()
            .find(|tiers| tiers.as_str() == cache)
            .ok_or_else(|| format!("cache: there is no {cache}"))?,
        replicas: take(run, "replicas")?,
        load,
        seed: take(run, "seed")?,
        settings: take(run, "settings")?,
    };
    Ok((case, take(run, "workload")?))
}

/// No `..`: a figure that is not read does not compile.
fn summary(run: &mut Map<String, Value>, names: &mut Names) -> Result<Summary, String> {
    let mut counted = |run: &mut Map<String, Value>, key: &str| -> Result<BTreeMap<&'static str, u64>, String> {
        let counts: BTreeMap<String, u64> = take(run, key)?;
        Ok(counts.into_iter().map(|(name, count)| (names.keep(name), count)).collect())
    };
    Ok(Summary {
        left_out: take(run, "warmup_requests")?,
        requests: take(run, "requests")?,
        completed: take(run, "completed")?,
        failed: take(run, "failed")?,
        refused: take(run, "refused")?,
        errored: take(run, "errored")?,
        unfinished: take(run, "unfinished")?,
        ttft: distribution(run, "ttft")?,
        tpot: distribution(run, "tpot")?,
        itl: distribution(run, "itl")?,
        e2el: distribution(run, "e2el")?,
        throughput: Throughput {
            requests: take(run, "request_throughput")?,
            output: take(run, "output_throughput")?,
            total: take(run, "total_token_throughput")?,
        },
        cost: take(run, "cost_per_1k_tokens")?,
        hit_rate: take(run, "hit_rate")?,
        imbalance: take(run, "imbalance")?,
        overlap_regret: take(run, "overlap_regret")?,
        routing: counted(run, "routing")?,
        fallbacks: counted(run, "fallbacks")?,
        makespan_s: take(run, "makespan_s")?,
        prompt_tokens: take(run, "prompt_tokens")?,
        output_tokens: take(run, "output_tokens")?,
        cached_tokens: take(run, "cached_tokens")?,
        tokens: take(run, "tokens")?,
        bytes_moved: take(run, "bytes_moved")?,
        stall: take(run, "stall_s")?,
        tier_events: take(run, "tier_events")?,
        fleet: take(run, "fleet")?,
        passes: take(run, "passes")?,
        passes_beyond: counted(run, "passes_beyond")?,
        preemptions: take(run, "preemptions")?,
        breakdown: Breakdown {
            parts: take(run, "ttft_parts")?,
            classes: take(run, "ttft_by_class")?,
            slowest: take(run, "slowest_tenth")?,
        },
        kv_in_flight: take(run, "kv_in_flight")?,
    })
}

fn distribution(run: &mut Map<String, Value>, name: &str) -> Result<Distribution, String> {
    let mut at = |part: &str| take(run, &format!("{part}_{name}_ms"));
    Ok(Distribution { mean: at("mean")?, p50: at("p50")?, p90: at("p90")?, p95: at("p95")?, p99: at("p99")? })
}
