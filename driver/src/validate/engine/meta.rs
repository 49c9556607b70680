//! What a run's `meta.json` says, and what is taken where it does not.
//!
//! Older recordings lack whole sections. What stands for them is vLLM's default, or follows from the device's memory, and is
//! told with the checks.

use crate::profile::capture_sizes;
use kvcache::{Blocks, CacheConfig, Duplicates, Tokens};
use serde::Deserialize;
use serde_json::Value;
use sim::cost::catalogue::{Gpu, INSTANCES, Instance};
use sim::cost::deployment::{Deployment, EngineSpec};
use sim::cost::geometry;
use sim::replica::EngineConfig;

/// The file, as far as it is read. Every `null` is as good as absent.
#[derive(Deserialize)]
pub(super) struct Meta {
    pub(super) model: String,
    pub(super) vllm_version: Option<String>,
    pub(super) started_at: Option<String>,
    pub(super) tick_seconds: Option<f64>,
    kv_cache: Option<KvCache>,
    hardware: Option<Hardware>,
    engine_kwargs: Option<Scheduler>,
    resolved_config: Option<Resolved>,
}

#[derive(Clone, Copy, Default, Deserialize)]
struct KvCache {
    num_gpu_blocks: Option<u32>,
    num_kv_tokens: Option<u64>,
    block_size: Option<u32>,
    enable_prefix_caching: Option<bool>,
    gpu_memory_utilization: Option<f64>,
}

#[derive(Clone, Default, Deserialize)]
struct Hardware {
    device_name: Option<String>,
    device_total_memory_bytes: Option<u64>,
}

#[derive(Default, Deserialize)]
struct Resolved {
    scheduler_config: Option<Scheduler>,
    model_config: Option<ModelConfig>,
    cache_config: Option<CacheDtype>,
    compilation_config: Option<Compilation>,
    parallel_config: Option<Parallel>,
    speculative_config: Option<Value>,
}

#[derive(Clone, Default, Deserialize)]
struct Scheduler {
    max_num_seqs: Option<u32>,
    max_num_batched_tokens: Option<u32>,
    max_model_len: Option<u32>,
    max_num_scheduled_tokens: Option<u32>,
    async_scheduling: Option<bool>,
    enable_chunked_prefill: Option<bool>,
    long_prefill_token_threshold: Option<u32>,
    max_num_partial_prefills: Option<u32>,
    scheduler_reserve_full_isl: Option<bool>,
    policy: Option<String>,
}

#[derive(Default, Deserialize)]
struct ModelConfig {
    max_model_len: Option<u32>,
    enforce_eager: Option<bool>,
    quantization: Option<String>,
}

#[derive(Default, Deserialize)]
struct CacheDtype {
    cache_dtype: Option<String>,
}

#[derive(Default, Deserialize)]
struct Compilation {
    cudagraph_capture_sizes: Option<Value>,
    max_cudagraph_capture_size: Option<u64>,
    cudagraph_mode: Option<Value>,
}

#[derive(Default, Deserialize)]
struct Parallel {
    tensor_parallel_size: Option<u32>,
    pipeline_parallel_size: Option<u32>,
    data_parallel_size: Option<u32>,
}

/// An engine, and what was assumed of it.
pub(super) struct Engine {
    pub(super) config: EngineConfig,
    /// Tokens that graphs were captured for; none where passes were eager.
    pub(super) captured: Vec<u64>,
    pub(super) device: String,
    pub(super) assumed: Vec<String>,
}

/// Takes what is said, or the default, which is noted.
fn or<T: Copy + std::fmt::Display>(said: Option<T>, name: &str, default: T, assumed: &mut Vec<String>) -> T {
    said.unwrap_or_else(|| {
        assumed.push(format!("{name} {default}"));
        default
    })
}

impl Meta {
    /// The engine.
    ///
    /// # Errors
    /// What of it is not simulated, or cannot be known.
    pub(super) fn engine(&self) -> Result<Engine, String> {
        let nothing = Resolved::default();
        let resolved = self.resolved_config.as_ref().unwrap_or(&nothing);
        refuse(resolved)?;
        let kwargs = self.engine_kwargs.clone().unwrap_or_default();
        let scheduler = resolved.scheduler_config.clone().unwrap_or_default();
        let mut assumed = Vec::new();
        let max_num_seqs = or(scheduler.max_num_seqs.or(kwargs.max_num_seqs), "max_num_seqs", 256, &mut assumed);
        let batched = scheduler.max_num_batched_tokens.or(kwargs.max_num_batched_tokens);
        let max_model_len =
            resolved.model_config.as_ref().and_then(|model| model.max_model_len).or(kwargs.max_model_len);
        let kv = self.kv_cache.unwrap_or_default();
        let block = or(kv.block_size, "block_size", 16, &mut assumed);
        if block == 0 {
            return Err("kv_cache.block_size: must be at least 1".to_owned());
        }
        let max_model_len = match max_model_len {
            Some(tokens) => tokens,
            None => or(None, "max_model_len", self.model()?.max_positions.0, &mut assumed),
        };
        let blocks = self.blocks(kv, block, max_model_len, &mut assumed)?;
        let captured = captured(resolved, max_num_seqs, &mut assumed)?;
        let config = EngineConfig {
            max_num_seqs,
            max_num_batched_tokens: Tokens(or(batched, "max_num_batched_tokens", 2_048, &mut assumed)),
            max_model_len: Tokens(max_model_len),
            chunked_prefill: scheduler.enable_chunked_prefill.unwrap_or(true),
            long_prefill_token_threshold: scheduler
                .long_prefill_token_threshold
                .filter(|tokens| *tokens > 0)
                .map(Tokens),
            max_num_partial_prefills: scheduler.max_num_partial_prefills.unwrap_or(1),
            reserve_full_isl: or(
                scheduler.scheduler_reserve_full_isl,
                "scheduler_reserve_full_isl",
                true,
                &mut assumed,
            ),
            async_scheduling: or(scheduler.async_scheduling, "async_scheduling", true, &mut assumed),
            // Passes are looked at one by one.
            max_repeats: 1,
            record_work: true,
            cache: CacheConfig {
                // One is the null block, which no request gets.
                capacity: Blocks(blocks.saturating_sub(1)),
                block: Tokens(block),
                prefix_caching: or(kv.enable_prefix_caching, "enable_prefix_caching", true, &mut assumed),
                duplicates: Duplicates::Keep,
                events: false,
            },
            tiers: None,
        };
        let device = self.hardware.clone().and_then(|hardware| hardware.device_name);
        Ok(Engine { config, captured, device: device.unwrap_or_else(|| "a GPU".to_owned()), assumed })
    }

    fn model(&self) -> Result<geometry::Model, String> {
        geometry::find(&self.model).ok_or_else(|| {
            format!(
                "model: \"{}\" is not known; there is {}",
                self.model,
                geometry::names().collect::<Vec<_>>().join(", ")
            )
        })
    }

    /// Blocks of KV as the log has them; else what the device's memory leaves.
    fn blocks(&self, kv: KvCache, block: u32, max_model_len: u32, assumed: &mut Vec<String>) -> Result<u32, String> {
        let by_tokens = kv.num_kv_tokens.and_then(|tokens| u32::try_from(tokens / u64::from(block)).ok());
        if let Some(blocks) = kv.num_gpu_blocks.or(by_tokens) {
            return Ok(blocks);
        }
        let memory = self.hardware.as_ref().and_then(|hardware| hardware.device_total_memory_bytes);
        let Some(device_bytes) = memory else {
            return Err(
                "kv_cache.num_gpu_blocks: how much KV the engine held is not said; add what its log says".to_owned()
            );
        };
        let any = INSTANCES[0];
        let instance = Instance { gpu: Gpu { device_bytes, ..any.gpu }, gpus: 1, ..any };
        let spec = EngineSpec {
            max_model_len: Some(Tokens(max_model_len)),
            gpu_memory_utilization: kv.gpu_memory_utilization,
            ..EngineSpec::default()
        };
        let plan = Deployment::plan(&instance, &self.model()?, &spec).map_err(|error| format!("failed to {error}"))?;
        let tokens = u64::from(plan.blocks.0) * u64::from(plan.block_size.0);
        let blocks = u32::try_from(tokens / u64::from(block)).unwrap_or(u32::MAX);
        assumed.push(format!("{blocks} KV blocks, which the device's memory leaves"));
        Ok(blocks)
    }
}

/// What a profile of one GPU and 16-bit kernels cannot price, or the engine does not simulate.
fn refuse(resolved: &Resolved) -> Result<(), String> {
    let not = |name: &str, value: &dyn std::fmt::Display, why: &str| Err(format!("{name}: {value} {why}"));
    let parallel = resolved.parallel_config.as_ref();
    for (name, ranks) in [
        ("tensor_parallel_size", parallel.and_then(|parallel| parallel.tensor_parallel_size)),
        ("pipeline_parallel_size", parallel.and_then(|parallel| parallel.pipeline_parallel_size)),
        ("data_parallel_size", parallel.and_then(|parallel| parallel.data_parallel_size)),
    ] {
        if let Some(ranks) = ranks.filter(|ranks| *ranks > 1) {
            return not(name, &ranks, "is not predicted: only runs on one GPU are");
        }
    }
    let quantization = resolved.model_config.as_ref().and_then(|model| model.quantization.as_ref());
    if let Some(quantization) = quantization {
        return not("quantization", quantization, "is not predicted: the profile's kernels are of 16-bit weights");
    }
    let dtype = resolved.cache_config.as_ref().and_then(|cache| cache.cache_dtype.as_deref());
    if let Some(dtype) = dtype.filter(|dtype| !["auto", "bfloat16", "float16", "half"].contains(dtype)) {
        return not("cache_dtype", &dtype, "is not predicted: the profile's kernels read 16-bit keys and values");
    }
    if let Some(speculative) = &resolved.speculative_config {
        return not("speculative_config", speculative, "is not simulated");
    }
    let scheduler = resolved.scheduler_config.as_ref();
    if let Some(policy) = scheduler.and_then(|config| config.policy.as_ref()).filter(|policy| *policy != "fcfs") {
        return not("policy", policy, "is not simulated; fcfs is");
    }
    let most = scheduler.and_then(|config| Some((config.max_num_scheduled_tokens?, config.max_num_batched_tokens?)));
    if let Some((scheduled, _)) = most.filter(|(scheduled, batched)| scheduled != batched) {
        return not("max_num_scheduled_tokens", &scheduled, "is not simulated where it is not max_num_batched_tokens");
    }
    Ok(())
}

/// The sizes of graphs; none where passes are eager.
fn captured(resolved: &Resolved, max_num_seqs: u32, assumed: &mut Vec<String>) -> Result<Vec<u64>, String> {
    let nothing = Compilation::default();
    let compilation = resolved.compilation_config.as_ref().unwrap_or(&nothing);
    let eager = resolved.model_config.as_ref().and_then(|model| model.enforce_eager) == Some(true);
    let graphs = match &compilation.cudagraph_mode {
        None => {
            if !eager {
                assumed.push("CUDA graphs".to_owned());
            }
            true
        }
        Some(mode) => has_graphs(mode)?,
    };
    if eager || !graphs {
        return Ok(Vec::new());
    }
    let listed = compilation.cudagraph_capture_sizes.as_ref().and_then(Value::as_array);
    let listed: Option<Vec<u64>> = listed.map(|sizes| sizes.iter().filter_map(Value::as_u64).collect());
    Ok(match listed {
        Some(mut sizes) => {
            sizes.sort_unstable();
            sizes
        }
        None => {
            let most = compilation.max_cudagraph_capture_size.unwrap_or(512.min(2 * u64::from(max_num_seqs)));
            assumed.push(format!("graphs captured for up to {most} tokens"));
            capture_sizes(most)
        }
    })
}

/// Whether passes that only decode are graphs. vLLM's `CUDAGraphMode` is a name, its number, or the numbers for such passes and
/// for the others: 0 none, 1 piecewise, 2 full.
fn has_graphs(mode: &Value) -> Result<bool, String> {
    let of_name = |name: &str| {
        let known = ["NONE", "PIECEWISE", "FULL"].iter().find(|known| name.to_ascii_uppercase().contains(**known));
        known.map(|known| *known != "NONE")
    };
    let first = mode.as_array().map_or(Some(mode), |modes| modes.first());
    let answer = first.and_then(|mode| match mode {
        Value::Number(number) => number.as_u64().filter(|number| *number <= 2).map(|number| number > 0),
        Value::String(name) => of_name(name),
        _ => None,
    });
    answer.ok_or_else(|| {
        format!("cudagraph_mode: {mode} is not a mode that is known: NONE, PIECEWISE, FULL or two of 0, 1, 2")
    })
}
