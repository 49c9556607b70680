//! What was really done.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Counts, and the lateness of first tokens.
#[derive(Debug, Default)]
pub(crate) struct Truth {
    pub(crate) requests: AtomicU64,
    in_flight: AtomicU64,
    most: AtomicU64,
    connections: AtomicU64,
    /// Prompt tokens, and those found in a cache, as vLLM counts them.
    prompts: AtomicU64,
    cached: AtomicU64,
    /// From the request's last byte to the first token's first, microseconds.
    first: Mutex<Vec<u64>>,
    /// From the first token to the last, microseconds.
    spans: Mutex<Vec<u64>>,
}

impl Truth {
    pub(crate) fn connected(&self) {
        self.connections.fetch_add(1, Ordering::Relaxed);
    }

    /// A request begins: its number, from 1.
    pub(crate) fn begins(&self) -> u64 {
        let now = self.in_flight.fetch_add(1, Ordering::Relaxed) + 1;
        self.most.fetch_max(now, Ordering::Relaxed);
        self.requests.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(crate) fn prompt(&self, tokens: u64, cached: u64) {
        self.prompts.fetch_add(tokens, Ordering::Relaxed);
        self.cached.fetch_add(cached, Ordering::Relaxed);
    }

    /// In the text format of Prometheus, by vLLM's names.
    pub(crate) fn metrics(&self) -> String {
        let [prompts, cached] = [&self.prompts, &self.cached].map(|count| count.load(Ordering::Relaxed));
        // Of each time to first token two fifths are said to be waiting.
        let (count, sum) = {
            let first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
            (first.len(), first.iter().sum::<u64>() as f64 / 1e6)
        };
        let (queue, prefill) = (sum * 0.4, sum * 0.6);
        format!(
            "vllm:request_queue_time_seconds_sum{{engine=\"0\"}} {queue}\n\
             vllm:request_queue_time_seconds_count{{engine=\"0\"}} {count}\n\
             vllm:request_prefill_time_seconds_sum{{engine=\"0\"}} {prefill}\n\
             vllm:request_prefill_time_seconds_count{{engine=\"0\"}} {count}\n\
             # HELP vllm:prefix_cache_queries_total tokens\n# TYPE vllm:prefix_cache_queries_total counter\n\
             vllm:prefix_cache_queries_total{{engine=\"0\",model_name=\"a {{b}} c\"}} {prompts}.0\n\
             vllm:prefix_cache_hits_total{{engine=\"0\",model_name=\"a {{b}} c\"}} {cached}.0\n"
        )
    }

    pub(crate) fn ends(&self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn first_token(&self, after: Duration) {
        push(&self.first, after);
    }

    pub(crate) fn span(&self, span: Duration) {
        push(&self.spans, span);
    }

    /// As a JSON object; milliseconds.
    pub(crate) fn json(&self) -> String {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let [p50, p99] = percentiles(&self.first);
        let [span_p50, span_p99] = percentiles(&self.spans);
        format!(
            "{{\"requests\":{},\"max_in_flight\":{},\"connections\":{},\"ttft_p50_ms\":{p50},\"ttft_p99_ms\":{p99},\"span_p50_ms\":{span_p50},\"span_p99_ms\":{span_p99}}}",
            load(&self.requests),
            load(&self.most),
            load(&self.connections)
        )
    }

    /// Begins again, but for the count of connections.
    pub(crate) fn reset(&self) {
        self.requests.store(0, Ordering::Relaxed);
        self.most.store(0, Ordering::Relaxed);
        self.first.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.spans.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

fn push(into: &Mutex<Vec<u64>>, span: Duration) {
    let micros = u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
    into.lock().unwrap_or_else(PoisonError::into_inner).push(micros);
}

fn percentiles(of: &Mutex<Vec<u64>>) -> [f64; 2] {
    let mut sorted = of.lock().unwrap_or_else(PoisonError::into_inner).clone();
    sorted.sort_unstable();
    [0.5, 0.99].map(|q| {
        let rank = (q * sorted.len().saturating_sub(1) as f64).round() as usize;
        sorted.get(rank).map_or(0.0, |micros| *micros as f64 / 1000.0)
    })
}
