//! What a reply tells beside what OpenAI's API has room for: which tier held its prompt, and where its time to first token went.
//!
//! Told as `usage.podlab`, by the names of `requests.jsonl`, so that a client can explain what it measured.

use kvcache::Tokens;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Where a time to first token went, in the wall clock's time. The parts add up to the time from when the request was taken in
/// to when its first token should have come out, which a machine that is late makes longer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parts {
    /// Modelled latency before the router.
    pub api: Duration,
    /// Kept from the engine that serves it.
    pub line: Duration,
    /// Waiting for KV room.
    pub kv_wait: Duration,
    /// Waiting for its turn.
    pub budget_wait: Duration,
    /// Waiting for the lower tiers.
    pub tiers: Duration,
    /// Being computed.
    pub compute: Duration,
}

/// On the wire. What a server does not tell is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Detail {
    /// Prompt tokens found on the device.
    pub cached_l0_tokens: Option<u64>,
    /// ... in the host's memory.
    pub cached_l1_tokens: Option<u64>,
    /// ... in the pool.
    pub cached_l2_tokens: Option<u64>,
    /// Modelled latency before the router, ms.
    pub ttft_api_ms: Option<f64>,
    /// Kept from the engine that serves it, ms.
    pub ttft_line_ms: Option<f64>,
    /// Waiting for KV room, ms.
    pub ttft_kv_wait_ms: Option<f64>,
    /// Waiting for its turn, ms.
    pub ttft_budget_wait_ms: Option<f64>,
    /// Waiting for the lower tiers, ms.
    pub ttft_tiers_ms: Option<f64>,
    /// Being computed, ms.
    pub ttft_compute_ms: Option<f64>,
}

impl Detail {
    /// Of a request that found so much in each tier that there is, and whose time went there.
    #[must_use]
    pub fn new(found: [Option<Tokens>; 3], parts: Parts) -> Self {
        let [l0, l1, l2] = found.map(|tokens| tokens.map(|tokens| u64::from(tokens.0)));
        let ms = |span: Duration| Some(span.as_nanos() as f64 / 1e6);
        Self {
            cached_l0_tokens: l0,
            cached_l1_tokens: l1,
            cached_l2_tokens: l2,
            ttft_api_ms: ms(parts.api),
            ttft_line_ms: ms(parts.line),
            ttft_kv_wait_ms: ms(parts.kv_wait),
            ttft_budget_wait_ms: ms(parts.budget_wait),
            ttft_tiers_ms: ms(parts.tiers),
            ttft_compute_ms: ms(parts.compute),
        }
    }

    /// All that the server spent on the first token but for the way, ms; `None`: it does not tell all of it.
    #[must_use]
    pub fn served_ms(&self) -> Option<f64> {
        let queue = self.ttft_line_ms? + self.ttft_kv_wait_ms? + self.ttft_budget_wait_ms?;
        Some(queue + self.ttft_tiers_ms? + self.ttft_compute_ms?)
    }
}
