//! An assembled case as a value: every setting as it was resolved, for the record.

use super::Assembled;
use crate::lab::duplicates_name;
use kvcache::CacheConfig;
use router::{Api, RouterConfig};
use serde_json::{Value, json};
use sim::cost::deployment::{Deployment, Memory};
use sim::cost::geometry::{Dtype, KvDtype, Quantization};
use sim::ledger::Price;
use sim::replica::EngineConfig;
use sim::simulate::Path;

impl Assembled {
    /// Lab, deployment, engine, router, path and price, whole.
    pub(super) fn describe(&self) -> Value {
        json!({
            "lab": self.lab.describe(),
            "deployment": deployment(&self.deployment),
            "engine": engine(&self.engine),
            "router": router(&self.router),
            "path": path(self.path),
            "price": self.describe_price(),
        })
    }

    /// Model, GPUs and engine of a worker, and what an instance costs.
    pub(super) fn hardware(&self) -> String {
        let (deployment, engine) = (&self.deployment, &self.engine);
        format!(
            "{}, workers of {} x {} on {} at ${:.2}/h; each {} KV tokens, {} sequences, {} tokens a pass",
            deployment.model.name,
            deployment.tp,
            deployment.instance.gpu.name,
            deployment.instance.sagemaker_name(),
            self.price.usd_per_hour,
            u64::from(engine.cache.capacity.0) * u64::from(engine.cache.block.0),
            engine.max_num_seqs,
            engine.max_num_batched_tokens.0,
        )
    }

    fn describe_price(&self) -> Value {
        let Price { usd_per_hour, instances } = self.price;
        let list = &self.deployment.instance.price;
        let given = self.lab.usd_per_hour.is_some();
        json!({
            "usd_per_hour": usd_per_hour,
            "instances": instances,
            "source": if given { "price.usd_per_hour" } else { list.source },
            "date": (!given).then_some(list.date),
            "derived": !given && list.derived,
        })
    }
}

fn deployment(deployment: &Deployment) -> Value {
    let Memory { limit, weights, reserve, block } = deployment.memory;
    json!({
        "model": deployment.model.name,
        "instance": deployment.instance.sagemaker_name(),
        "tensor_parallel_size": deployment.tp,
        "dtype": match deployment.dtype {
            Dtype::Bf16 => "bfloat16",
            Dtype::Fp16 => "float16",
            Dtype::Fp32 => "float32",
        },
        "quantization": match deployment.quantization {
            Quantization::None => "none",
            Quantization::Fp8 => "fp8",
            Quantization::Int8 => "int8",
            Quantization::Awq => "awq",
            Quantization::Gptq => "gptq",
        },
        "kv_cache_dtype": match deployment.kv_dtype {
            KvDtype::Auto => "auto",
            KvDtype::Fp8 => "fp8",
            KvDtype::Bf16 => "bfloat16",
        },
        "kv_bytes_per_token": deployment.kv_bytes_per_token,
        "gpu_bytes": { "limit": limit, "weights": weights, "reserve": reserve, "kv_block": block },
        "gpus_per_worker": deployment.gpus_per_worker,
        "workers_per_instance": deployment.workers_per_instance,
    })
}

/// Here and below no `..`: what is not described does not compile.
fn engine(engine: &EngineConfig) -> Value {
    let EngineConfig {
        max_num_seqs,
        max_num_batched_tokens,
        max_model_len,
        chunked_prefill,
        long_prefill_token_threshold,
        max_num_partial_prefills,
        reserve_full_isl,
        async_scheduling,
        max_repeats,
        record_work,
        cache,
    } = *engine;
    let CacheConfig { capacity, block, prefix_caching, duplicates, events } = cache;
    json!({
        "max_num_seqs": max_num_seqs,
        "max_num_batched_tokens": max_num_batched_tokens.0,
        "max_model_len": max_model_len.0,
        "chunked_prefill": chunked_prefill,
        "long_prefill_token_threshold": long_prefill_token_threshold.map(|tokens| tokens.0),
        "max_num_partial_prefills": max_num_partial_prefills,
        "reserve_full_isl": reserve_full_isl,
        "async_scheduling": async_scheduling,
        "max_repeats": max_repeats,
        "record_work": record_work,
        "kv_blocks": capacity.0,
        "block_size": block.0,
        "prefix_caching": prefix_caching,
        "duplicates": duplicates_name(duplicates),
        "cache_events": events,
    })
}

fn router(config: &RouterConfig) -> Value {
    let RouterConfig { strategy, workers, seed, block, chunk, kv_aware_threshold, qps_window } = *config;
    json!({
        "strategy": strategy.as_str(),
        "workers": workers,
        "seed": seed,
        "block_tokens": block.0,
        "chunk_tokens": chunk.0,
        "kv_aware_threshold": kv_aware_threshold.0,
        "qps_window_ms": qps_window.as_millis_f64(),
    })
}

fn path(path: Path) -> Value {
    let Path { latency, api, names_session } = path;
    json!({
        "latency_ms": latency.as_millis_f64(),
        "api": match api {
            Api::Completions => "completions",
            Api::Chat => "chat",
        },
        "names_session": names_session,
    })
}
