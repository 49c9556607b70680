//! What servers tell of themselves under `/metrics`, before and after a phase.

use serde::Serialize;
use std::collections::BTreeMap;

/// Counters of prompt tokens and of those found, as servers call them: queries, hits, and where the cache is.
///
/// vLLM's of now and of before 0.9, its connector's, LMCache's of its lookups and of what it then delivered, podlab's.
const COUNTERS: [(&str, &str, &str); 6] = [
    ("vllm:prefix_cache_queries", "vllm:prefix_cache_hits", "device"),
    ("vllm:gpu_prefix_cache_queries", "vllm:gpu_prefix_cache_hits", "device"),
    ("vllm:external_prefix_cache_queries", "vllm:external_prefix_cache_hits", "external"),
    ("lmcache:num_lookup_tokens", "lmcache:num_lookup_hits", "lmcache_lookup"),
    ("lmcache:num_requested_tokens", "lmcache:num_hit_tokens", "lmcache"),
    ("podlab:prompt_tokens", "podlab:cached_tokens", "podlab"),
];

/// Histograms of where requests spent their time, as vLLM calls them (facts: `vllm/v1/metrics/loggers.py`): waiting to be
/// scheduled, from there to the first token, from there to the last.
const TIMES: [&str; 3] =
    ["vllm:request_queue_time_seconds", "vllm:request_prefill_time_seconds", "vllm:request_decode_time_seconds"];

/// The sums of a server's counters over their labels.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Counters(BTreeMap<String, f64>);

impl Counters {
    /// Reads the text format of Prometheus. What is no counter's line is skipped; `_total` at the end of a name is left away.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut sums = BTreeMap::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let name = line.split(['{', ' ']).next().unwrap_or_default();
            // Labels may hold spaces; behind them are the value and perhaps a moment.
            let behind = line.rsplit_once('}').map_or_else(|| &line[name.len()..], |(_, behind)| behind);
            let value = behind.split_whitespace().next().and_then(|value| value.parse::<f64>().ok());
            if let Some(value) = value.filter(|value| value.is_finite()) {
                let name = name.strip_suffix("_total").unwrap_or(name);
                *sums.entry(name.to_owned()).or_insert(0.0) += value;
            }
        }
        Self(sums)
    }

    /// All of several servers together.
    #[must_use]
    pub fn sum(all: impl Iterator<Item = Self>) -> Self {
        let mut sums: BTreeMap<String, f64> = BTreeMap::new();
        for (name, value) in all.flat_map(|counters| counters.0) {
            *sums.entry(name).or_insert(0.0) += value;
        }
        Self(sums)
    }
}

/// What a cache did during a phase, as its server counted.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Delta {
    /// Which cache.
    pub cache: &'static str,
    /// The counter of hits.
    pub source: &'static str,
    /// Tokens looked for.
    pub queries: f64,
    /// Tokens found.
    pub hits: f64,
    /// Hits over queries; `None`: nothing was looked for.
    pub hit_rate: Option<f64>,
}

/// What happened between two looks; empty where nothing known is told, or a server began again in between.
#[must_use]
pub fn deltas(before: &Counters, after: &Counters) -> Vec<Delta> {
    let mut found = Vec::new();
    for (queries, hits, cache) in COUNTERS {
        let grown = |name: &str| Some(after.0.get(name)? - before.0.get(name).copied().unwrap_or_default());
        let (Some(asked), Some(hit)) = (grown(queries), grown(hits)) else { continue };
        if asked >= 0.0 && hit >= 0.0 {
            let hit_rate = (asked > 0.0).then(|| hit / asked);
            found.push(Delta { cache, source: hits, queries: asked, hits: hit, hit_rate });
        }
    }
    found
}

/// Where the requests that ended in a run spent their time, as their server measured; means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct ServerTimes {
    /// Requests that it counted.
    pub requests: f64,
    /// Waiting to be scheduled, ms.
    pub queue_ms: f64,
    /// From then to the first token, ms.
    pub prefill_ms: f64,
    /// From then to the last, ms; `None`: it does not tell.
    pub decode_ms: Option<f64>,
}

/// Between two looks. `None`: the server does not measure that, or nothing ended.
#[must_use]
pub fn server_times(before: &Counters, after: &Counters) -> Option<ServerTimes> {
    let grown = |name: String| {
        let grown = after.0.get(&name)? - before.0.get(&name).copied().unwrap_or_default();
        Some(grown).filter(|grown| *grown >= 0.0)
    };
    let of = |name: &str| Some((grown(format!("{name}_sum"))?, grown(format!("{name}_count"))?));
    let mean = |(sum, count): (f64, f64)| (count > 0.0).then(|| sum / count * 1e3);
    let [queue, prefill, decode] = TIMES.map(of);
    Some(ServerTimes {
        requests: queue?.1,
        queue_ms: mean(queue?)?,
        prefill_ms: mean(prefill?)?,
        decode_ms: decode.and_then(mean),
    })
}
