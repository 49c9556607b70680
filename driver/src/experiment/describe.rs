//! An assembled case as a value: every setting as it was resolved, for the record.

use super::Assembled;
use crate::hardware::grid::quantization_name;
use crate::lab::{duplicates_name, eviction_name, fraction, load_name, probe_name, store_name};
use kvcache::{
    Backend, BreakerConfig, CacheConfig, Choice, Costs, Deadline, HostConfig, PoolConfig, TierConfig, TierCost,
};
use router::{Api, Kept, LowerTiers, RouterConfig, TierCredits};
use serde_json::{Value, json};
use sim::cost::deployment::{Deployment, Memory};
use sim::cost::geometry::{Dtype, KvDtype};
use sim::ledger::Price;
use sim::replica::EngineConfig;
use sim::simulate::Path;
use sim::transport::{PoolAccess, TransportConfig};

impl Assembled {
    /// Lab, deployment, engine, ways between the tiers, router, path and price, whole.
    pub(crate) fn describe(&self) -> Value {
        let mut described = json!({
            "lab": self.lab.describe(),
            "deployment": deployment(&self.deployment),
            "engine": engine(&self.engine),
            "host_overhead_ms": self.host.as_millis_f64(),
            "transport": self.transport.as_ref().map(transport),
            "router": router(&self.router),
            "path": path(self.path),
            "price": self.describe_price(),
        });
        // Whole: the file may be another one tomorrow.
        if let Some(profile) = &self.hardware {
            described["hardware"] = json!(profile);
        }
        if let Some(kernels) = &self.kernels {
            described["hardware"] = kernels.source().clone();
        }
        described
    }

    /// Model, GPUs and engine of a worker, and what an instance costs; a line for each tier below.
    pub(super) fn hardware(&self) -> String {
        let (deployment, engine) = (&self.deployment, &self.engine);
        let worker = format!(
            "{}, workers of {} x {} on {} at ${:.2}/h; each {} KV tokens, {} sequences, {} tokens a pass",
            deployment.model.name,
            deployment.tp,
            deployment.instance.gpu.name,
            deployment.instance.sagemaker_name(),
            self.price.usd_per_hour,
            u64::from(engine.cache.capacity.0) * u64::from(engine.cache.block.0),
            engine.max_num_seqs,
            engine.max_num_batched_tokens.0,
        );
        let host = engine.tiers.and_then(|tiers| tiers.host).map(|host| {
            let tokens = host.capacity / host.token_bytes;
            format!("L1: {tokens} tokens of each worker, {}", eviction_name(host.eviction))
        });
        let pool = self.transport.and_then(|transport| transport.pool).map(|access| {
            let pool = access.pool;
            let (tokens, eviction) = (pool.shard_tokens() * u64::from(pool.shards), eviction_name(pool.eviction));
            match pool.backend {
                Backend::TieredStorage { .. } => {
                    let on =
                        if pool.shards == 1 { "1 instance".to_owned() } else { format!("{} instances", pool.shards) };
                    format!("L2: {tokens} tokens in tieredstorage on {on}, {eviction}")
                }
                Backend::Redis => format!("L2: {tokens} tokens in redis, {eviction}"),
            }
        });
        [Some(worker), host, pool].into_iter().flatten().collect::<Vec<_>>().join("\n")
    }

    fn describe_price(&self) -> Value {
        let Price { usd_per_hour, workers_per_instance } = self.price;
        let instances = u32::from(self.fleet.replicas).div_ceil(workers_per_instance);
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
        "quantization": quantization_name(deployment.quantization),
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
        tiers,
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
        "tiers": tiers.as_ref().map(describe_tiers),
    })
}

fn describe_tiers(tiers: &TierConfig) -> Value {
    let TierConfig {
        chunk,
        host,
        pool,
        load,
        store,
        choice,
        save_unfull_chunk,
        save_decode_cache,
        min_retrieve,
        deadline: Deadline { base, per_1k },
        breaker: BreakerConfig { failures, probe_every, silence },
    } = *tiers;
    json!({
        "chunk_tokens": chunk.0,
        "l1": host.as_ref().map(describe_host),
        "l2": pool,
        "load": load_name(load),
        "store": store_name(store),
        "choice": describe_choice(choice),
        "save_unfull_chunk": save_unfull_chunk,
        "save_decode_cache": save_decode_cache,
        "min_retrieve_tokens": min_retrieve.0,
        "deadline_ms": { "base": base.as_millis_f64(), "per_1k": per_1k.as_millis_f64() },
        "breaker": {
            "failures": failures,
            "probe_every_ms": probe_every.as_millis_f64(),
            "silence_ms": silence.as_millis_f64(),
        },
    })
}

fn describe_host(host: &HostConfig) -> Value {
    let HostConfig { capacity, token_bytes, chunk, eviction, watermark, evict, seed } = *host;
    json!({
        "bytes": capacity,
        "token_bytes": token_bytes,
        "chunk_tokens": chunk.0,
        "tokens": capacity / token_bytes,
        "eviction": eviction_name(eviction),
        "watermark": fraction(watermark),
        "evict": fraction(evict),
        "seed": seed,
    })
}

fn describe_choice(choice: Choice) -> Value {
    let Costs { new_token, pairs_1024, host, pool } = match choice {
        Choice::Always => return "always".into(),
        Choice::Never => return "never".into(),
        Choice::ByCost(costs) => costs,
    };
    let tier = |cost: TierCost| {
        let TierCost { fixed, per_token } = cost;
        json!({ "fixed_ms": fixed.as_millis_f64(), "token_ms": per_token.as_millis_f64() })
    };
    json!({
        "new_token_ms": new_token.as_millis_f64(),
        "pairs_1024_ms": pairs_1024.as_millis_f64(),
        "l1": tier(host),
        "l2": tier(pool),
    })
}

fn transport(transport: &TransportConfig) -> Value {
    let TransportConfig { token_bytes, host_bytes_per_s, nic_bytes_per_s, workers_per_node, pool } = transport;
    json!({
        "token_bytes": token_bytes,
        "host_bytes_per_s": host_bytes_per_s,
        "nic_bytes_per_s": nic_bytes_per_s,
        "workers_per_node": workers_per_node,
        "l2": pool.as_ref().map(describe_pool),
    })
}

fn describe_pool(access: &PoolAccess) -> Value {
    let PoolAccess { pool, bytes_per_s, round_trip, miss_wait, probe, in_flight } = *access;
    let PoolConfig { chunk, token_bytes, shards, shard_bytes, backend, eviction, lease_ttl, put_ttl, ttl, seed } = pool;
    let (name, watermark, evict) = match backend {
        Backend::TieredStorage { watermark, evict } => ("tieredstorage", Some(watermark), Some(evict)),
        Backend::Redis => ("redis", None, None),
    };
    json!({
        "backend": name,
        "watermark": watermark.map(fraction),
        "evict": evict.map(fraction),
        "chunk_tokens": chunk.0,
        "token_bytes": token_bytes,
        "shards": shards,
        "shard_bytes": shard_bytes,
        "tokens": pool.shard_tokens() * u64::from(shards),
        "eviction": eviction_name(eviction),
        "lease_ttl_ms": lease_ttl.as_millis_f64(),
        "put_ttl_ms": put_ttl.as_millis_f64(),
        "ttl_ms": ttl.map(kvcache::Span::as_millis_f64),
        "seed": seed,
        "bytes_per_s": bytes_per_s,
        "round_trip_ms": round_trip.as_millis_f64(),
        "miss_wait_ms": miss_wait.as_millis_f64(),
        "probe": probe_name(probe),
        "in_flight": in_flight,
    })
}

fn router(config: &RouterConfig) -> Value {
    let RouterConfig {
        strategy,
        workers,
        seed,
        block,
        chunk,
        prefix_min_match,
        kv_aware_threshold,
        lmcache_chunk,
        qps_window,
        index_limit,
        load_slack,
        load_bound,
        credits: TierCredits { l0, l1, l2 },
        context_weight,
        externality,
        lost_again,
        speculative,
        guessed,
        silence,
        lower,
        strands: _, // changes what it costs, and nothing else
    } = *config;
    json!({
        "strategy": strategy.as_str(),
        "workers": workers,
        "seed": seed,
        "block_tokens": block.0,
        "chunk_tokens": chunk.0,
        "prefix_min_match_tokens": prefix_min_match.0,
        "kv_aware_threshold": kv_aware_threshold.0,
        "lmcache_chunk_tokens": lmcache_chunk.0,
        "qps_window_ms": qps_window.as_millis_f64(),
        "index_bytes": index_limit,
        "load_slack": load_slack,
        "load_bound": f64::from(load_bound) / 1000.0,
        "credits": { "l0": fraction(l0), "l1": fraction(l1), "l2": fraction(l2) },
        "context_weight": fraction(context_weight),
        "externality": f64::from(externality) / 1000.0,
        "lost_again": fraction(lost_again),
        "speculative_ms": speculative.as_millis_f64(),
        "guessed": guessed.map(|kept| {
            let Kept { tokens, ttl } = kept;
            json!({ "tokens": tokens, "ttl_ms": ttl.map(kvcache::Span::as_millis_f64) })
        }),
        "silence_ms": silence.map(kvcache::Span::as_millis_f64),
        "lower": lower.map(|lower| {
            let LowerTiers { chunk, l1, l2 } = lower;
            json!({ "chunk_tokens": chunk.0, "l1_tokens": l1, "l2_tokens": l2 })
        }),
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
