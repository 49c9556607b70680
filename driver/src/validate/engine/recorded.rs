//! A run of a real vLLM, as LLMServingSim's bench records it: `requests.jsonl`, `timeseries.csv`, `meta.json`.

use crate::bounded;
use crate::profile::csv::Table;
use kvcache::{Blocks, CacheConfig, Duplicates, Tokens};
use serde::Deserialize;
use sim::replica::EngineConfig;
use std::path::Path;

const MOST_BYTES: u64 = 256 << 20;

/// A run.
#[derive(Clone, Debug)]
pub(super) struct Recorded {
    /// In order of arrival.
    pub(super) requests: Vec<Request>,
    /// A row per second or so.
    pub(super) series: Vec<Sample>,
    /// By how many seconds the first request came after the clock of `series` began.
    pub(super) series_lead: f64,
    pub(super) engine: EngineConfig,
    /// Tokens that graphs were captured for; empty where passes were eager.
    pub(super) captured: Vec<u64>,
    pub(super) full_decode_graphs: bool,
    pub(super) vllm_version: String,
    pub(super) model: String,
    pub(super) device: String,
}

/// One request. Times are seconds: `arrival` of the client's clock, all others of the engine's.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Request {
    pub(super) request_id: String,
    pub(super) input_toks: u32,
    pub(super) output_toks: u32,
    #[serde(rename = "arrival_time")]
    pub(super) arrival: f64,
    #[serde(rename = "queued_ts")]
    pub(super) queued: f64,
    #[serde(rename = "scheduled_ts")]
    pub(super) scheduled: f64,
    #[serde(rename = "first_token_ts")]
    pub(super) first_token: f64,
    #[serde(rename = "last_token_ts")]
    pub(super) last_token: f64,
}

/// What the engine said of itself at a time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Sample {
    /// Seconds.
    pub(super) at: f64,
    pub(super) running: f64,
    pub(super) waiting: f64,
    /// Of all blocks, percent.
    pub(super) kv_use: f64,
}

#[derive(Deserialize)]
struct Meta {
    model: String,
    vllm_version: String,
    started_at: Option<String>,
    kv_cache: KvCache,
    hardware: Hardware,
    resolved_config: Resolved,
}

#[derive(Deserialize)]
struct KvCache {
    num_gpu_blocks: u32,
    block_size: u32,
    enable_prefix_caching: bool,
}

#[derive(Deserialize)]
struct Hardware {
    device_name: String,
}

#[derive(Deserialize)]
struct Resolved {
    scheduler_config: Scheduler,
    model_config: ModelConfig,
    compilation_config: Compilation,
    parallel_config: Parallel,
}

#[derive(Deserialize)]
struct Scheduler {
    max_num_seqs: u32,
    max_num_batched_tokens: u32,
    async_scheduling: Option<bool>,
    enable_chunked_prefill: Option<bool>,
    long_prefill_token_threshold: Option<u32>,
    max_num_partial_prefills: Option<u32>,
    scheduler_reserve_full_isl: Option<bool>,
}

#[derive(Deserialize)]
struct ModelConfig {
    max_model_len: u32,
    #[serde(default)]
    enforce_eager: bool,
}

#[derive(Deserialize)]
struct Compilation {
    #[serde(default)]
    cudagraph_capture_sizes: Vec<u64>,
    #[serde(default)]
    cudagraph_mode: serde_json::Value,
}

#[derive(Deserialize)]
struct Parallel {
    tensor_parallel_size: u32,
}

impl Recorded {
    /// Whether there is one at `path`.
    pub(super) fn is_at(path: &Path) -> bool {
        path.join("requests.jsonl").is_file()
    }

    pub(super) fn read(path: &Path) -> Result<Self, String> {
        let file = path.join("meta.json");
        let said = |problem: String| format!("{}: {problem}", file.display());
        let meta: Meta = serde_json::from_str(&bounded::read_text(&file, MOST_BYTES)?)
            .map_err(|problem| said(problem.to_string()))?;
        if meta.resolved_config.parallel_config.tensor_parallel_size != 1 {
            return Err(said("tensor_parallel_size: only runs on one GPU are predicted from a profile".to_owned()));
        }
        let mut requests = requests(&path.join("requests.jsonl"))?;
        requests.sort_by(|one, other| one.arrival.total_cmp(&other.arrival));
        let began = meta.started_at.and_then(|at| at.parse::<jiff::Timestamp>().ok()).map(seconds);
        let series_lead = began.map_or(0.0, |began| requests[0].arrival - began);
        let Compilation { mut cudagraph_capture_sizes, cudagraph_mode } = meta.resolved_config.compilation_config;
        cudagraph_capture_sizes.sort_unstable();
        let (any, full) = graphs(&cudagraph_mode);
        let any = any && !meta.resolved_config.model_config.enforce_eager;
        Ok(Self {
            engine: engine(&meta.kv_cache, &meta.resolved_config.scheduler_config, &meta.resolved_config.model_config),
            requests,
            series: series(&path.join("timeseries.csv"))?,
            series_lead,
            captured: if any { cudagraph_capture_sizes } else { Vec::new() },
            full_decode_graphs: full,
            vllm_version: meta.vllm_version,
            model: meta.model,
            device: meta.hardware.device_name,
        })
    }
}

fn seconds(at: jiff::Timestamp) -> f64 {
    at.as_second() as f64 + f64::from(at.subsec_nanosecond()) / 1e9
}

fn engine(kv: &KvCache, scheduler: &Scheduler, model: &ModelConfig) -> EngineConfig {
    EngineConfig {
        max_num_seqs: scheduler.max_num_seqs,
        max_num_batched_tokens: Tokens(scheduler.max_num_batched_tokens),
        max_model_len: Tokens(model.max_model_len),
        chunked_prefill: scheduler.enable_chunked_prefill.unwrap_or(true),
        long_prefill_token_threshold: scheduler.long_prefill_token_threshold.filter(|tokens| *tokens > 0).map(Tokens),
        max_num_partial_prefills: scheduler.max_num_partial_prefills.unwrap_or(1),
        reserve_full_isl: scheduler.scheduler_reserve_full_isl.unwrap_or(false),
        async_scheduling: scheduler.async_scheduling.unwrap_or(false),
        // Passes are looked at one by one.
        max_repeats: 1,
        record_work: true,
        cache: CacheConfig {
            // One is the null block, which no request gets.
            capacity: Blocks(kv.num_gpu_blocks.saturating_sub(1)),
            block: Tokens(kv.block_size),
            prefix_caching: kv.enable_prefix_caching,
            duplicates: Duplicates::Keep,
            events: false,
        },
        tiers: None,
    }
}

/// Whether there are CUDA graphs, and whether a pass that only decodes is one. vLLM's `CUDAGraphMode` is a name, its number, or
/// the numbers for such passes and for the others: 0 none, 1 piecewise, 2 full.
fn graphs(mode: &serde_json::Value) -> (bool, bool) {
    if let Some(name) = mode.as_str() {
        let name = name.to_ascii_uppercase();
        return (!name.ends_with("NONE"), name.contains("FULL"));
    }
    let numbers: Vec<u64> = match mode.as_array() {
        Some(list) => list.iter().filter_map(serde_json::Value::as_u64).collect(),
        None => mode.as_u64().into_iter().collect(),
    };
    (numbers.iter().any(|number| *number > 0), numbers.first() == Some(&2))
}

fn requests(file: &Path) -> Result<Vec<Request>, String> {
    let text = bounded::read_text(file, MOST_BYTES)?;
    let mut requests = Vec::new();
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let said = |problem: String| format!("{}:{}: {problem}", file.display(), index + 1);
        let request: Request = serde_json::from_str(line).map_err(|problem| said(problem.to_string()))?;
        let times = [request.queued, request.scheduled, request.first_token, request.last_token];
        if !times.is_sorted() {
            return Err(said(
                "queued_ts, scheduled_ts, first_token_ts and last_token_ts do not follow each other".to_owned(),
            ));
        }
        requests.push(request);
    }
    if requests.is_empty() { Err(format!("{}: the file is empty", file.display())) } else { Ok(requests) }
}

fn series(file: &Path) -> Result<Vec<Sample>, String> {
    let text = bounded::read_text(file, MOST_BYTES)?;
    let table = Table::parse(file, &text)?;
    let [at, running, waiting, kv_use] =
        [table.column("t")?, table.column("running")?, table.column("waiting")?, table.column("kv_cache_pct")?];
    let sample = |row: crate::profile::csv::Row<'_>| {
        Ok(Sample {
            at: row.real(at)?,
            running: row.real(running)?,
            waiting: row.real(waiting)?,
            kv_use: row.real(kv_use)?,
        })
    };
    table.rows().map(sample).collect()
}
