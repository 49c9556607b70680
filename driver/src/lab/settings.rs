//! Every setting there is: its name, what it takes, what it means, and where its value goes.

use super::arrivals::SETTINGS as ARRIVALS;
use super::fleet::SETTINGS as FLEET;
use super::generators::SETTINGS as GENERATORS;
use super::joined::{count, joined};
use super::run::SETTINGS as RUN;
use super::workloads::SETTINGS as WORKLOADS;
use super::{Lab, Preference, Scope, units};
use crate::endpoint::L2Backend;
use crate::suggest;
use kvcache::{Deadline, Duplicates, Eviction, LoadMode, Span, StoreMode, Tokens};
use sim::transport::ProbeMode;

/// One setting of the lab.
#[derive(Clone, Copy)]
pub struct Setting {
    /// Its name, section first.
    pub key: &'static str,
    /// What a value looks like.
    pub takes: &'static str,
    /// What it is without being set.
    pub default: &'static str,
    /// What it means.
    pub means: &'static str,
    /// Reads a value into the lab.
    pub(super) set: fn(&mut Lab, &str) -> Result<(), String>,
}

macro_rules! setting {
    ($key:literal, $takes:literal, $default:literal, $means:literal, |$lab:ident, $text:ident| $set:expr) => {
        Setting {
            key: $key,
            takes: $takes,
            default: $default,
            means: $means,
            set: |$lab, $text| {
                $set;
                Ok(())
            },
        }
    };
}

pub(super) use setting;

pub(super) fn choice<T: Copy>(text: &str, choices: &[(&str, T)]) -> Result<T, String> {
    let found = choices.iter().find(|(name, _)| *name == text);
    found.map(|(_, value)| *value).ok_or_else(|| {
        let names: Vec<_> = choices.iter().map(|(name, _)| *name).collect();
        format!("{text:?} is not one of {}{}", names.join(", "), suggest::clause(text, names.iter().copied()))
    })
}

pub(super) const LOADS: [(&str, LoadMode); 3] =
    [("blocking", LoadMode::Blocking), ("overlapped", LoadMode::Overlapped), ("layerwise", LoadMode::Layerwise)];
pub(super) const STORES: [(&str, StoreMode); 2] =
    [("blocking", StoreMode::Blocking), ("overlapped", StoreMode::Overlapped)];
pub(super) const CHOICES: [(&str, Preference); 3] =
    [("always", Preference::Always), ("never", Preference::Never), ("cost", Preference::Cost)];
pub(super) const SCOPES: [(&str, Scope); 2] = [("rank", Scope::Rank), ("worker", Scope::Worker)];
pub(super) const BACKENDS: [(&str, L2Backend); 2] =
    [("tieredstorage", L2Backend::TieredStorage), ("redis", L2Backend::Redis)];
pub(super) const PROBES: [(&str, ProbeMode); 2] =
    [("sequential", ProbeMode::Sequential), ("batched", ProbeMode::Batched)];
pub(super) const EVICTIONS: [(&str, Eviction); 5] = [
    ("lru", Eviction::Lru),
    ("s3fifo", Eviction::S3Fifo),
    ("arc", Eviction::Arc),
    ("fifo", Eviction::Fifo),
    ("lfu", Eviction::Lfu),
];

/// What a link can be: from a slow network to more than any of today.
const LINK: (f64, f64) = (1e6, 1e12);

/// What LMCache's client may ask the daemon to hold a request for (0.5.6: `sagemaker_hyperpod_timeout_ms`, 5 s).
const LONGEST_WAIT: Span = Span::from_secs(5);

fn at_most(span: Span, most: Span) -> Result<Span, String> {
    if span > most { Err(format!("longer than {} s", most.as_secs_f64())) } else { Ok(span) }
}

pub(super) fn above_zero(span: Span) -> Result<Span, String> {
    if span == Span::ZERO { Err("it must be above 0".to_owned()) } else { Ok(span) }
}

/// An index must hold something, whatever the number of workers.
fn index_bytes(bytes: u64) -> Result<u64, String> {
    if bytes < LEAST_INDEX { Err(format!("below {} MiB", LEAST_INDEX >> 20)) } else { Ok(bytes) }
}

/// Room for the parts of an index before 4,096 workers.
const LEAST_INDEX: u64 = 16 << 20;

/// All settings, by section.
pub const SETTINGS: &[Setting] = &joined::<{ count(&PARTS) }>(&PARTS);

const PARTS: [&[Setting]; 7] = [PHYSICS, FLEET, ARRIVALS, WORKLOADS, GENERATORS, RUN, PRICE];

const PHYSICS: &[Setting] = &[
    setting!(
        "api.latency",
        "time",
        "5ms",
        "pure latency between client and router, both ways together",
        |lab, text| { lab.api_latency = Some(units::span(text)?) }
    ),
    setting!(
        "hardware.profile",
        "name",
        "none (published figures)",
        "factors that podlab calibrate wrote, a file, or measured kernels, a folder (--hardware)",
        |lab, text| { lab.hardware = Some(text.to_owned()).filter(|name| name != "none") }
    ),
    setting!("model.name", "name", "from the endpoint file", "the model whose geometry is simulated", |lab, text| {
        lab.model = Some(text.to_owned())
    }),
    setting!(
        "engine.host_overhead",
        "time",
        "1ms",
        "time per pass in which the host keeps the GPUs waiting",
        |lab, text| { lab.host_overhead = Some(units::span(text)?) }
    ),
    setting!("engine.max_num_seqs", "count", "from worker.args", "most sequences running at once", |lab, text| {
        lab.max_num_seqs = Some(units::count(text, 1)?)
    }),
    setting!(
        "engine.max_num_batched_tokens",
        "tokens",
        "from worker.args",
        "most new tokens in a pass",
        |lab, text| { lab.max_num_batched_tokens = Some(Tokens(units::count(text, 1)?)) }
    ),
    setting!("engine.max_model_len", "tokens", "from worker.args", "most tokens of prompt and reply", |lab, text| {
        lab.max_model_len = Some(Tokens(units::count(text, 1)?))
    }),
    setting!(
        "engine.num_gpu_blocks",
        "blocks",
        "from the GPU's memory",
        "KV blocks per worker, as the real engine logs them",
        |lab, text| { lab.num_gpu_blocks = Some(units::count(text, 1)?) }
    ),
    setting!("engine.block_size", "tokens", "16", "tokens in a KV block", |lab, text| {
        lab.block_size = Some(Tokens(units::count(text, 1)?))
    }),
    setting!(
        "engine.gpu_memory_utilization",
        "fraction",
        "0.9",
        "share of a GPU's memory that the engine takes",
        |lab, text| { lab.gpu_memory_utilization = Some(units::number(text, (0.0, 1.0))?) }
    ),
    setting!("engine.chunked_prefill", "switch", "true", "whether a prompt may be computed in parts", |lab, text| {
        lab.chunked_prefill = Some(units::switch(text)?)
    }),
    setting!("engine.long_prefill_token_threshold", "tokens", "0 (off)", "most tokens of one chunk", |lab, text| {
        lab.long_prefill_token_threshold = Some(Tokens(units::count(text, 0)?))
    }),
    setting!(
        "engine.max_num_partial_prefills",
        "count",
        "1",
        "above 1: caps chunks at 4 % of max_model_len",
        |lab, text| { lab.max_num_partial_prefills = Some(units::count(text, 1)?) }
    ),
    setting!(
        "engine.reserve_full_isl",
        "switch",
        "from worker.args, else by the image's vLLM (0.19: true)",
        "admit a prompt only where all of it fits",
        |lab, text| { lab.reserve_full_isl = Some(units::switch(text)?) }
    ),
    setting!(
        "engine.async_scheduling",
        "switch",
        "from worker.args, else by the image's vLLM (0.14: true)",
        "plan a pass while the one before it runs",
        |lab, text| { lab.async_scheduling = Some(units::switch(text)?) }
    ),
    setting!(
        "engine.duplicates",
        "keep | merge",
        "keep",
        "what becomes of a block computed twice at once",
        |lab, text| { lab.duplicates = choice(text, &[("keep", Duplicates::Keep), ("merge", Duplicates::Merge)])? }
    ),
    setting!(
        "tiers.chunk_tokens",
        "tokens",
        "LMCACHE_CHUNK_SIZE, else 256",
        "tokens in an object of L1 and L2",
        |lab, text| { lab.tiers.chunk = Some(Tokens(units::count(text, 1)?)) }
    ),
    setting!(
        "tiers.load",
        "blocking | overlapped | layerwise",
        "LMCACHE_USE_LAYERWISE, LMCACHE_ENABLE_ASYNC_LOADING, else blocking",
        "what the engine does while a request's KV is loaded: wait, run others, or start and wait per layer",
        |lab, text| { lab.tiers.load = Some(choice(text, &LOADS)?) }
    ),
    setting!(
        "tiers.store",
        "blocking | overlapped",
        "blocking",
        "whether the engine waits while KV is copied off the GPUs",
        |lab, text| { lab.tiers.store = choice(text, &STORES)? }
    ),
    setting!(
        "tiers.choice",
        "always | never | cost",
        "always",
        "whether what a tier has is loaded, computed again, or whichever is expected to be faster",
        |lab, text| { lab.tiers.choice = choice(text, &CHOICES)? }
    ),
    setting!(
        "tiers.save_unfull_chunk",
        "switch",
        "LMCACHE_SAVE_UNFULL_CHUNK, else false (LMCache up to 0.3.9: true)",
        "store the last, partial chunk of a prompt, too",
        |lab, text| { lab.tiers.save_unfull_chunk = Some(units::switch(text)?) }
    ),
    setting!(
        "tiers.save_decode_cache",
        "switch",
        "LMCACHE_SAVE_DECODE_CACHE, else false",
        "store replies like prompts",
        |lab, text| { lab.tiers.save_decode_cache = Some(units::switch(text)?) }
    ),
    setting!(
        "tiers.min_retrieve_tokens",
        "tokens",
        "LMCACHE_MIN_RETRIEVE_TOKENS, else 0",
        "load nothing below so many tokens",
        |lab, text| { lab.tiers.min_retrieve = Some(Tokens(units::count(text, 0)?)) }
    ),
    setting!("tiers.deadline", "time", "1s", "how long a load may take, then its tokens are computed", |lab, text| {
        lab.tiers.deadline = Deadline { base: above_zero(units::span(text)?)?, ..lab.tiers.deadline }
    }),
    setting!("tiers.deadline_per_1k", "time", "250ms", "... and longer for each 1,024 tokens of it", |lab, text| {
        lab.tiers.deadline = Deadline { per_1k: units::span(text)?, ..lab.tiers.deadline }
    }),
    setting!(
        "l1.bytes",
        "size",
        "LMCACHE_MAX_LOCAL_CPU_SIZE in GiB, else 5GiB",
        "size of L1, of each scope",
        |lab, text| { lab.l1.bytes = Some(units::bytes(text)?) }
    ),
    setting!(
        "l1.scope",
        "rank | worker",
        "rank",
        "whether that is for each tensor-parallel rank, as LMCache in the engine has it, or for the worker",
        |lab, text| { lab.l1.scope = choice(text, &SCOPES)? }
    ),
    setting!(
        "l1.eviction",
        "lru | s3fifo | arc | fifo | lfu",
        "LMCACHE_CACHE_POLICY, else lru",
        "in which order objects of L1 make room",
        |lab, text| { lab.l1.eviction = Some(choice(text, &EVICTIONS)?) }
    ),
    setting!(
        "l1.watermark",
        "fraction",
        "0.8",
        "fuller than this, L1 makes room ahead of need; 1: on demand only, as LMCache in the engine does",
        |lab, text| { lab.l1.watermark = units::permille(text, 1)? }
    ),
    setting!("l1.evict", "fraction", "0.2", "which share of what L1 holds goes then", |lab, text| {
        lab.l1.evict = units::permille(text, 1)?
    }),
    setting!(
        "l1.bandwidth",
        "bandwidth",
        "0.8 of the peak of the instance's PCI Express",
        "between one GPU and host memory, one way",
        |lab, text| { lab.l1.bandwidth = Some(units::bandwidth(text, LINK)?) }
    ),
    setting!(
        "l2.backend",
        "tieredstorage | redis",
        "from the endpoint file, else tieredstorage",
        "what holds L2",
        |lab, text| { lab.l2.backend = Some(choice(text, &BACKENDS)?) }
    ),
    setting!(
        "l2.bytes",
        "size",
        "tieredstorage: 20 % of the instance's memory (the console's default); redis: 75GiB (AWS's sample)",
        "size of L2: of each node with tieredstorage, in all with redis",
        |lab, text| { lab.l2.bytes = Some(units::bytes(text)?) }
    ),
    setting!(
        "l2.eviction",
        "lru | s3fifo | arc | fifo | lfu",
        "tieredstorage: lru; redis: lfu (AWS's sample)",
        "in which order objects of L2 make room",
        |lab, text| { lab.l2.eviction = Some(choice(text, &EVICTIONS)?) }
    ),
    setting!(
        "l2.bandwidth",
        "bandwidth",
        "tieredstorage: 10GB/s (assumed); redis: 25Gbit/s (the network of AWS's sample)",
        "what the daemon of one node, or the one Redis, delivers",
        |lab, text| { lab.l2.bandwidth = Some(units::bandwidth(text, LINK)?) }
    ),
    setting!("l2.nic", "bandwidth", "the instance's nominal network", "of one node's network", |lab, text| {
        lab.l2.nic = Some(units::bandwidth(text, LINK)?)
    }),
    setting!("l2.latency", "time", "0.5ms (assumed)", "one round trip to L2", |lab, text| {
        lab.l2.latency = units::span(text)?
    }),
    setting!(
        "l2.miss_wait",
        "time",
        "0",
        "what a miss in L2 costs besides, up to 5s: a daemon may hold a request for what it does not have",
        |lab, text| { lab.l2.miss_wait = at_most(units::span(text)?, LONGEST_WAIT)? }
    ),
    setting!(
        "l2.probe",
        "sequential | batched",
        "sequential",
        "ask L2 for one object after the other up to the first miss, as LMCache in the engine does, or for all at once",
        |lab, text| { lab.l2.probe = choice(text, &PROBES)? }
    ),
    setting!("l2.in_flight", "count", "4", "requests that one worker has at L2 at a time", |lab, text| {
        lab.l2.in_flight = units::count(text, 1)?
    }),
    setting!("l2.lease_ttl", "time", "30s", "how long a lease that nobody releases pins an object", |lab, text| {
        lab.l2.lease_ttl = above_zero(units::span(text)?)?
    }),
    setting!("l2.put_ttl", "time", "30s", "after how long a put that nobody ends is discarded", |lab, text| {
        lab.l2.put_ttl = above_zero(units::span(text)?)?
    }),
    setting!(
        "l2.silence",
        "time",
        "1s",
        "an operation on which nothing at all is heard of L2 for so long counts as a connection failure",
        |lab, text| { lab.l2.breaker.silence = above_zero(units::span(text)?)? }
    ),
    setting!(
        "l2.breaker_failures",
        "count",
        "3 (LMCache)",
        "after so many connection failures in a row a worker leaves L2 alone",
        |lab, text| { lab.l2.breaker.failures = units::count(text, 1)? }
    ),
    setting!("l2.breaker_probe", "time", "5s (LMCache)", "how often it tries whether L2 is back", |lab, text| {
        lab.l2.breaker.probe_every = above_zero(units::span(text)?)?
    }),
    setting!(
        "l2.watermark",
        "fraction",
        "0.9",
        "fuller than this, a node of tieredstorage makes room ahead of need; 1: on demand only",
        |lab, text| { lab.l2.watermark = units::permille(text, 1)? }
    ),
    setting!("l2.evict", "fraction", "0.05", "which share of a node's L2 goes then", |lab, text| {
        lab.l2.evict = units::permille(text, 1)?
    }),
    setting!("l2.ttl", "time", "none", "an object not used for so long is gone", |lab, text| {
        lab.l2.ttl = if text == "none" { None } else { Some(above_zero(units::span(text)?)?) }
    }),
    setting!(
        "router.chars_per_token",
        "number",
        "4",
        "how long a token is for the 128-character chunks of prefixaware and prefixaware+",
        |lab, text| { lab.router.chars_per_token = units::number(text, (0.1, 128.0))? }
    ),
    setting!(
        "router.prefix_min_match_length",
        "count",
        "0",
        "prefixaware goes to the lowest rate where fewer characters match",
        |lab, text| { lab.router.prefix_min_match_chars = units::count(text, 0)? }
    ),
    setting!(
        "router.kv_aware_threshold",
        "tokens",
        "2000",
        "kvaware follows its controller where at most this much is missing",
        |lab, text| { lab.router.kv_aware_threshold = Tokens(units::count(text, 0)?) }
    ),
    setting!(
        "router.lmcache_chunk",
        "tokens",
        "256",
        "in what pieces kvaware's controller knows prompts",
        |lab, text| { lab.router.lmcache_chunk = Tokens(units::count(text, 1)?) }
    ),
    setting!("router.qps_window", "time", "60s", "how long a request counts for its worker's rate", |lab, text| {
        lab.router.qps_window = units::span(text)?
    }),
    setting!(
        "router.signal_lag",
        "time",
        "0",
        "how long what a worker tells (cache events, first tokens, ends) is on its way to the router",
        |lab, text| { lab.router.signal_lag = units::span(text)? }
    ),
    setting!(
        "router.cache_events",
        "switch",
        "true",
        "whether workers tell what they hold; else kvaware+ and predicted-ttft guess: 31,250 blocks each, for 120 s",
        |lab, text| { lab.router.cache_events = units::switch(text)? }
    ),
    setting!(
        "router.speculative",
        "time",
        "2s",
        "how long a prompt that was sent somewhere counts as computed there (kvaware+, predicted-ttft)",
        |lab, text| { lab.router.speculative = units::span(text)? }
    ),
    setting!(
        "router.index_bytes",
        "size",
        "256MiB",
        "what the index may take (prefixaware+, kvaware+, predicted-ttft)",
        |lab, text| { lab.router.index_limit = index_bytes(units::bytes(text)?)? }
    ),
    setting!(
        "router.load_slack",
        "count",
        "64",
        "prefixaware+ keeps to the longest prefix up to so many requests more than the least loaded worker has",
        |lab, text| { lab.router.load_slack = units::count(text, 0)? }
    ),
    setting!(
        "router.load_bound",
        "number",
        "1.25",
        "session+ keeps to a session's worker up to so many times the mean of requests in flight",
        |lab, text| { lab.router.load_bound = (units::number(text, (1.0, 1000.0))? * 1000.0).round() as u32 }
    ),
    setting!("router.credit_l0", "fraction", "1", "what a token on the device saves in kvaware+", |lab, text| {
        lab.router.credits.l0 = units::permille(text, 0)?
    }),
    setting!("router.credit_l1", "fraction", "0.75", "... in the host's memory", |lab, text| {
        lab.router.credits.l1 = units::permille(text, 0)?
    }),
    setting!("router.credit_l2", "fraction", "0.5", "... in the pool", |lab, text| {
        lab.router.credits.l2 = units::permille(text, 0)?
    }),
    setting!(
        "router.context_weight",
        "fraction",
        "0.1",
        "what a token of context in flight counts for in kvaware+, against a token to compute",
        |lab, text| { lab.router.context_weight = units::permille(text, 0)? }
    ),
    setting!(
        "router.externality",
        "number",
        "1",
        "how much a request's own work counts in predicted-ttft for each that waits at an average worker",
        |lab, text| { lab.router.externality = (units::number(text, (0.0, 60.0))? * 1000.0).round() as u16 }
    ),
    setting!(
        "router.lost_again",
        "fraction",
        "0",
        "which part of what a prompt displaces counts as asked for again in predicted-ttft",
        |lab, text| { lab.router.lost_again = units::permille(text, 0)? }
    ),
    setting!(
        "router.audit",
        "switch",
        "true up to 16 workers",
        "whether each decision is compared with what all workers have (overlap_regret)",
        |lab, text| { lab.router.audit = Some(units::switch(text)?) }
    ),
];

const PRICE: &[Setting] = &[setting!(
    "price.usd_per_hour",
    "number",
    "dated list price of the instance type",
    "of one instance",
    |lab, text| { lab.usd_per_hour = Some(units::number(text, (0.0, 1e6))?) }
)];
