//! Figures from requests, where a tool's file does not tell them.

use super::Request;
use serde_json::{Map, Value};

/// The quantile `q` of sorted values, by the estimator of [`sim::ledger::quantile`].
#[must_use]
pub fn quantile(sorted: &[f64], q: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let rank = q * last as f64;
    let below = rank.floor() as usize;
    let (low, high) = (sorted[below], sorted[(below + 1).min(last)]);
    Some(low + (high - low) * (rank - below as f64))
}

const PARTS: [(&str, f64); 4] = [("p50", 0.5), ("p90", 0.9), ("p95", 0.95), ("p99", 0.99)];

/// Adds what is not there yet: latencies, counts, throughput, hit rate. `gaps` are those between tokens, ms, in any order;
/// `seconds` from the first byte sent to the last token.
pub(super) fn fill(figures: &mut Map<String, Value>, requests: &[Request], gaps: Vec<f64>, seconds: Option<f64>) {
    let measured: Vec<&Request> = requests.iter().filter(|request| request.measured).collect();
    let done: Vec<&Request> = measured.iter().copied().filter(|request| request.completed()).collect();
    let mut add = |key: &str, value: Option<f64>| {
        let value = value.and_then(serde_json::Number::from_f64).map_or(Value::Null, Value::Number);
        if figures.get(key).is_none_or(Value::is_null) {
            figures.insert(key.to_owned(), value);
        }
    };
    let of = |latency: fn(&Request) -> Option<f64>| done.iter().filter_map(|request| latency(request)).collect();
    let ttfts: Vec<f64> = of(|request| request.ttft_ms);
    for (name, mut values) in [
        ("ttft", ttfts),
        ("tpot", of(|request| request.tpot_ms)),
        ("itl", gaps),
        ("e2el", of(|request| request.e2el_ms)),
    ] {
        values.sort_by(f64::total_cmp);
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        add(&format!("mean_{name}_ms"), (!values.is_empty()).then_some(mean));
        for (part, q) in PARTS {
            add(&format!("{part}_{name}_ms"), quantile(&values, q));
        }
    }
    if measured.is_empty() {
        return;
    }
    let sum = |of: fn(&Request) -> Option<u64>| -> Option<f64> {
        done.iter().try_fold(0.0, |sum, request| Some(sum + of(request)? as f64))
    };
    let (prompts, outputs) = (sum(|request| request.prompt_tokens), sum(|request| request.output_tokens));
    let completed = done.len() as f64;
    add("requests", Some(measured.len() as f64));
    add("completed", Some(completed));
    add("failed", Some(measured.len() as f64 - completed));
    add("makespan_s", seconds);
    add("prompt_tokens", prompts);
    add("output_tokens", outputs);
    let per_second =
        |count: Option<f64>| count.zip(seconds.filter(|span| *span > 0.0)).map(|(count, span)| count / span);
    add("request_throughput", per_second(Some(completed)));
    add("output_throughput", per_second(outputs));
    add("total_token_throughput", per_second(prompts.zip(outputs).map(|(prompts, outputs)| prompts + outputs)));
    let hits = sum(|request| request.cached_tokens).zip(prompts.filter(|all| *all > 0.0));
    if let Some((cached, prompts)) = hits {
        figures.insert("hit_rate".to_owned(), serde_json::json!({ "total": cached / prompts }));
    }
}
