//! The figures of a run, by the definitions of the field. Unknown is `None`, never 0.

use super::totals::Totals;
use super::window::Tally;
use super::{Breakdown, Distribution, FleetCounts, KvInFlight, Ledger, TierEvents, Workers};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use kvcache::{Span, Time};
use serde::ser::{Serialize, SerializeMap, Serializer};

/// What the endpoint's instances cost.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Price {
    /// US dollars per hour of one instance.
    pub usd_per_hour: f64,
    /// Workers that fit one instance, at least 1: a worker is paid for whether it is used or not, and so is the room beside it.
    pub workers_per_instance: u32,
}

/// What became of the fleet, from the first measured request to the last end of one.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct FleetSummary {
    /// Workers that took requests, over time.
    pub mean_workers: f64,
    /// Workers that were paid for, over time.
    pub mean_provisioned: f64,
    /// The fewest that took requests at a time.
    pub least_workers: u16,
    /// The most.
    pub most_workers: u16,
    /// What happened.
    #[serde(flatten)]
    pub counts: FleetCounts,
    /// From when (ms) so many took requests, and so many were paid for.
    pub timeline: Vec<(f64, u16, u16)>,
}

/// Tokens and requests per second of makespan.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Throughput {
    /// Requests completed per second.
    pub requests: Option<f64>,
    /// Output tokens per second.
    pub output: Option<f64>,
    /// Prompt and output tokens per second.
    pub total: Option<f64>,
}

/// US dollars per 1,000 tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct CostPer1k {
    /// All dollars over prompt and output tokens.
    pub total: Option<f64>,
    /// All dollars over output tokens.
    pub output_only: Option<f64>,
    /// The dollars of prefill over prompt tokens: engine time that prompts add to a pass, idle time pro rata.
    pub input: Option<f64>,
    /// The dollars of decode over output tokens, likewise.
    pub output: Option<f64>,
}

/// Cached prompt tokens over prompt tokens, by the tier they came from.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct HitRate {
    /// Device memory of the worker.
    pub l0: Option<f64>,
    /// Host memory of the worker. `None`: there is no such tier.
    pub l1: Option<f64>,
    /// The pool shared by all workers. `None`: there is no such tier.
    pub l2: Option<f64>,
    /// All tiers together.
    pub total: Option<f64>,
}

/// Prompt tokens of all admitted requests, by where their KV came from at first. They sum to the prompts exactly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct TokensByTier {
    /// Found on the device.
    pub l0: u64,
    /// Loaded from the worker's host memory.
    pub l1: u64,
    /// Loaded from the shared pool.
    pub l2: u64,
    /// Computed: as the engine counted it, or, of requests that were admitted more than once, what the tiers lacked.
    pub computed: u64,
}

/// Bytes that the ways between the tiers had carried when the last request ended; of what was cut short, what had come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct BytesMoved {
    /// From hosts to GPUs: loads.
    pub host_to_device: u64,
    /// From GPUs to hosts: stores.
    pub device_to_host: u64,
    /// Over nodes' networks, both ways.
    pub nic: u64,
    /// In and out of the pool.
    pub l2: u64,
}

/// Seconds that engines with work stood still, all engines together.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct StallTimes {
    /// The pool had not answered yet.
    pub lookup: f64,
    /// What was to be computed waited for L1 alone.
    pub load_l1: f64,
    /// What was to be computed waited for L2, and perhaps for L1 too.
    pub load_l2: f64,
    /// A copy off the device had to end.
    pub store: f64,
}

/// The figures of one run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Summary {
    /// Requests sent before the cut: they are in no figure.
    pub left_out: u64,
    /// Requests sent, here and below from the cut on.
    pub requests: u64,
    /// Requests whose last token came out.
    pub completed: u64,
    /// Refused, errored or unfinished requests.
    pub failed: u64,
    /// Of those, refused.
    pub refused: u64,
    /// Of those, ended by the death of their worker.
    pub errored: u64,
    /// Of those, unfinished or given up by their client.
    pub unfinished: u64,
    /// Time to first token, ms.
    pub ttft: Distribution,
    /// Time per output token after the first, ms, one sample per request of two tokens or more.
    pub tpot: Distribution,
    /// Gaps between consecutive tokens, ms, of all requests together.
    pub itl: Distribution,
    /// End-to-end latency, ms.
    pub e2el: Distribution,
    /// Per second of makespan.
    pub throughput: Throughput,
    /// Per 1,000 tokens. `None` throughout where no price is known.
    pub cost: CostPer1k,
    /// Of completed and unfinished requests that were admitted.
    pub hit_rate: HitRate,
    /// Largest over mean busy time of the workers; 1 is perfect.
    pub imbalance: Option<f64>,
    /// Of prompt tokens, those that lay on another worker's device and not on that of the one chosen, at the moment of
    /// the decision. `None`: nobody looked.
    pub overlap_regret: Option<f64>,
    /// How many requests each rule of the router sent, by [`router::Reason::as_str`].
    pub routing: BTreeMap<&'static str, u64>,
    /// How many the strategy did not send by what it is named for, by cause ([`router::Reason::fallback`]).
    pub fallbacks: BTreeMap<&'static str, u64>,
    /// From the first request's first byte to the last token, seconds.
    pub makespan_s: Option<f64>,
    /// Prompt tokens of completed requests.
    pub prompt_tokens: u64,
    /// Output tokens of completed requests.
    pub output_tokens: u64,
    /// Prompt tokens that were found in a cache.
    pub cached_tokens: u64,
    /// Prompt tokens of admitted requests, by tier.
    pub tokens: TokensByTier,
    /// What moved between tiers; `None`: there is but one.
    pub bytes_moved: Option<BytesMoved>,
    /// What engines waited for; `None`: there is but one tier.
    pub stall: Option<StallTimes>,
    /// What went wrong in the lower tiers; `None`: there are none.
    pub tier_events: Option<TierEvents>,
    /// What became of the fleet; `None`: always the same workers were there.
    pub fleet: Option<FleetSummary>,
    /// Passes of all engines.
    pub passes: u64,
    /// Of these, passes that the cost model was not made for, by what they have more of.
    pub passes_beyond: BTreeMap<&'static str, u64>,
    /// Preemptions on all workers.
    pub preemptions: u64,
    /// Where TTFT goes.
    pub breakdown: Breakdown,
    /// KV tokens in flight, against the pool.
    pub kv_in_flight: KvInFlight,
}

impl Ledger {
    /// The figures. O(n log n).
    #[must_use]
    pub fn summary(&self, price: Option<Price>) -> Summary {
        let requests = self.measured().len() as u64;
        let totals = Totals::of(self.measured());
        let Totals { completed, refused, errored, prompt_tokens, output_tokens, tokens, .. } = totals;
        let cached_tokens = tokens.l0 + tokens.l1 + tokens.l2;
        let lower = self.tiers.l1 || self.tiers.l2;
        let time = totals.measured_time();
        let makespan = time.map(|(first, last)| last.since(first));
        Summary {
            left_out: self.left_out() as u64,
            requests,
            completed,
            failed: requests - completed,
            refused,
            errored,
            unfinished: requests - completed - refused - errored,
            overlap_regret: totals.overlap_regret(),
            ttft: Distribution::of(totals.ttft),
            tpot: Distribution::of(totals.tpot),
            itl: Distribution::of_histogram(self.gaps()),
            e2el: Distribution::of(totals.e2el),
            throughput: throughput(completed, prompt_tokens, output_tokens, makespan),
            cost: self.cost(price.zip(time), prompt_tokens, output_tokens),
            hit_rate: self.hit_rate(&tokens),
            imbalance: self.imbalance(),
            routing: totals.routing,
            fallbacks: totals.fallbacks,
            makespan_s: makespan.map(Span::as_secs_f64),
            prompt_tokens,
            output_tokens,
            cached_tokens,
            tokens,
            bytes_moved: lower.then(|| self.bytes_moved()),
            stall: lower.then(|| self.stall()),
            tier_events: lower.then_some(self.events),
            fleet: self.fleet_summary(),
            passes: self.passes(),
            passes_beyond: self.passes_beyond().map(|(axis, passes)| (axis.as_str(), passes)).collect(),
            preemptions: self.preemptions(),
            breakdown: Breakdown::of(&totals.told),
            kv_in_flight: self.kv_in_flight(),
        }
    }

    fn hit_rate(&self, tokens: &TokensByTier) -> HitRate {
        let TokensByTier { l0, l1, l2, computed } = *tokens;
        let asked = l0 + l1 + l2 + computed;
        let rate = |part: u64| (asked > 0).then(|| part as f64 / asked as f64);
        HitRate {
            l0: rate(l0),
            l1: rate(l1).filter(|_| self.tiers.l1),
            l2: rate(l2).filter(|_| self.tiers.l2),
            total: rate(l0 + l1 + l2),
        }
    }

    fn bytes_moved(&self) -> BytesMoved {
        let bytes = |moved: u128| u64::try_from(moved).unwrap_or(u64::MAX);
        BytesMoved {
            host_to_device: bytes(self.moved.host_to_device),
            device_to_host: bytes(self.moved.device_to_host),
            nic: bytes(self.moved.nic),
            l2: bytes(self.moved.pool),
        }
    }

    fn stall(&self) -> StallTimes {
        let [lookup, load_l1, load_l2, store] = self.tally.stalls.map(|span| span as f64 / 1e12);
        StallTimes { lookup, load_l1, load_l2, store }
    }

    fn imbalance(&self) -> Option<f64> {
        let busy = &self.tally.busy;
        let most = busy.iter().max()?.0 as f64;
        let all: u128 = busy.iter().map(|span| u128::from(span.0)).sum();
        // Who was never there is not idle.
        let workers = self.fleet.ever.iter().filter(|ever| **ever).count();
        (all > 0).then(|| most * workers as f64 / all as f64)
    }

    fn fleet_summary(&self) -> Option<FleetSummary> {
        // Up to the last end of any request, be it an error: what befell the fleet may have left no token behind it.
        let (first, last) = (self.measured().first()?.sent, self.ended);
        let timeline = &self.fleet.timeline;
        if timeline.len() == 1 && self.fleet.counts == FleetCounts::default() {
            return None;
        }
        let span = last.since(first).0.max(1) as f64;
        let mean = |of: fn(&Workers) -> u64| self.fleet.integral(first, last, of) as f64 / span;
        let until = timeline.iter().skip(1).map(|next| next.at).chain([Time(u64::MAX)]);
        let seen: Vec<&Workers> = timeline
            .iter()
            .zip(until)
            .filter(|(workers, until)| workers.at <= last && *until > first)
            .map(|(workers, _)| workers)
            .collect();
        Some(FleetSummary {
            mean_workers: mean(|workers| u64::from(workers.up)),
            mean_provisioned: mean(|workers| u64::from(workers.provisioned)),
            least_workers: seen.iter().map(|workers| workers.up).min().unwrap_or_default(),
            most_workers: seen.iter().map(|workers| workers.up).max().unwrap_or_default(),
            counts: self.fleet.counts,
            timeline: seen
                .iter()
                .map(|workers| (Span(workers.at.0).as_millis_f64(), workers.up, workers.provisioned))
                .collect(),
        })
    }

    fn cost(&self, paid: Option<(Price, (Time, Time))>, prompts: u64, outputs: u64) -> CostPer1k {
        let Some((price, (first, last))) = paid else { return CostPer1k::default() };
        let instances =
            |workers: &Workers| u64::from(u32::from(workers.provisioned).div_ceil(price.workers_per_instance));
        let instance_hours = self.fleet.integral(first, last, instances) as f64 / 1e12 / 3600.0;
        let dollars = instance_hours * price.usd_per_hour;
        let per_1k = |dollars: f64, tokens: u64| (tokens > 0).then(|| dollars / tokens as f64 * 1000.0);
        let Tally { prefill, decode, .. } = self.tally;
        let busy = (prefill + decode) as f64;
        let share = |part: u128| if busy > 0.0 { part as f64 / busy } else { 0.0 };
        CostPer1k {
            total: per_1k(dollars, prompts + outputs),
            output_only: per_1k(dollars, outputs),
            input: per_1k(dollars * share(prefill), prompts),
            output: per_1k(dollars * share(decode), outputs),
        }
    }
}

fn throughput(completed: u64, prompts: u64, outputs: u64, makespan: Option<Span>) -> Throughput {
    let seconds = makespan.map(Span::as_secs_f64).filter(|seconds| *seconds > 0.0);
    let per_second = |count: u64| seconds.map(|seconds| count as f64 / seconds);
    Throughput { requests: per_second(completed), output: per_second(outputs), total: per_second(prompts + outputs) }
}

/// Keys as vLLM's benchmark names them.
const NAMES: [[&str; 5]; 4] = [
    ["mean_ttft_ms", "p50_ttft_ms", "p90_ttft_ms", "p95_ttft_ms", "p99_ttft_ms"],
    ["mean_tpot_ms", "p50_tpot_ms", "p90_tpot_ms", "p95_tpot_ms", "p99_tpot_ms"],
    ["mean_itl_ms", "p50_itl_ms", "p90_itl_ms", "p95_itl_ms", "p99_itl_ms"],
    ["mean_e2el_ms", "p50_e2el_ms", "p90_e2el_ms", "p95_e2el_ms", "p99_e2el_ms"],
];

impl Serialize for Summary {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("warmup_requests", &self.left_out)?;
        map.serialize_entry("requests", &self.requests)?;
        map.serialize_entry("completed", &self.completed)?;
        map.serialize_entry("failed", &self.failed)?;
        map.serialize_entry("refused", &self.refused)?;
        map.serialize_entry("errored", &self.errored)?;
        map.serialize_entry("unfinished", &self.unfinished)?;
        for (names, of) in NAMES.iter().zip([&self.ttft, &self.tpot, &self.itl, &self.e2el]) {
            for (name, value) in names.iter().zip([of.mean, of.p50, of.p90, of.p95, of.p99]) {
                map.serialize_entry(name, &value)?;
            }
        }
        map.serialize_entry("request_throughput", &self.throughput.requests)?;
        map.serialize_entry("output_throughput", &self.throughput.output)?;
        map.serialize_entry("total_token_throughput", &self.throughput.total)?;
        map.serialize_entry("cost_per_1k_tokens", &self.cost)?;
        map.serialize_entry("hit_rate", &self.hit_rate)?;
        map.serialize_entry("imbalance", &self.imbalance)?;
        map.serialize_entry("overlap_regret", &self.overlap_regret)?;
        map.serialize_entry("routing", &self.routing)?;
        map.serialize_entry("fallbacks", &self.fallbacks)?;
        map.serialize_entry("makespan_s", &self.makespan_s)?;
        map.serialize_entry("prompt_tokens", &self.prompt_tokens)?;
        map.serialize_entry("output_tokens", &self.output_tokens)?;
        map.serialize_entry("cached_tokens", &self.cached_tokens)?;
        map.serialize_entry("tokens", &self.tokens)?;
        map.serialize_entry("bytes_moved", &self.bytes_moved)?;
        map.serialize_entry("stall_s", &self.stall)?;
        map.serialize_entry("tier_events", &self.tier_events)?;
        map.serialize_entry("fleet", &self.fleet)?;
        map.serialize_entry("passes", &self.passes)?;
        map.serialize_entry("passes_beyond", &self.passes_beyond)?;
        map.serialize_entry("preemptions", &self.preemptions)?;
        map.serialize_entry("ttft_parts", &self.breakdown.parts)?;
        map.serialize_entry("ttft_by_class", &self.breakdown.classes)?;
        map.serialize_entry("slowest_tenth", &self.breakdown.slowest)?;
        map.serialize_entry("kv_in_flight", &self.kv_in_flight)?;
        map.end()
    }
}
