//! A resolved lab as a value: what a lab file would have to say to give it again.

use super::settings::{BACKENDS, CHOICES, EVICTIONS, LOADS, PROBES, SCOPES, STORES};
use super::{L1Lab, L2Lab, Lab, RouterLab, TiersLab, arrivals, fleet, generators, workloads};
use kvcache::{BreakerConfig, Deadline, Duplicates, Eviction, LoadMode, Span, StoreMode, Tokens};
use router::TierCredits;
use serde_json::{Map, Value, json};
use sim::transport::ProbeMode;

impl Lab {
    /// Every setting under its name, as a lab file takes it; `null` where the endpoint file or the hardware decides.
    #[must_use]
    pub fn describe(&self) -> Value {
        // No `..`: a setting that is not described does not compile.
        let Self {
            api_latency,
            hardware,
            model,
            host_overhead,
            max_num_seqs,
            max_num_batched_tokens,
            max_model_len,
            num_gpu_blocks,
            block_size,
            gpu_memory_utilization,
            chunked_prefill,
            long_prefill_token_threshold,
            max_num_partial_prefills,
            reserve_full_isl,
            async_scheduling,
            duplicates,
            tiers,
            l1,
            l2,
            router,
            fleet: _,
            autoscaling: _,
            arrivals: _,
            docqa: _,
            chat: _,
            shared_system: _,
            mixed: _,
            run,
            unrelated: _,
            code_review: _,
            multi_round_qa: _,
            usd_per_hour,
        } = self;
        let tokens = |tokens: &Option<Tokens>| tokens.map(|tokens| tokens.0);
        let device = json!({
            "api.latency": api_latency.map(span),
            "hardware.profile": hardware,
            "model.name": model,
            "engine.host_overhead": host_overhead.map(span),
            "engine.max_num_seqs": max_num_seqs,
            "engine.max_num_batched_tokens": tokens(max_num_batched_tokens),
            "engine.max_model_len": tokens(max_model_len),
            "engine.num_gpu_blocks": num_gpu_blocks,
            "engine.block_size": tokens(block_size),
            "engine.gpu_memory_utilization": gpu_memory_utilization,
            "engine.chunked_prefill": chunked_prefill,
            "engine.long_prefill_token_threshold": tokens(long_prefill_token_threshold),
            "engine.max_num_partial_prefills": max_num_partial_prefills,
            "engine.reserve_full_isl": reserve_full_isl,
            "engine.async_scheduling": async_scheduling,
            "engine.duplicates": duplicates_name(*duplicates),
        });
        let mut parts = vec![device, describe_tiers(tiers), describe_l1(l1), describe_l2(l2), describe_router(router)];
        parts.extend(fleet::describe(self));
        parts.push(arrivals::describe(self));
        parts.extend(workloads::describe(self));
        parts.extend(generators::describe(self));
        parts.push(super::run::describe(run));
        parts.push(json!({ "price.usd_per_hour": usd_per_hour }));
        Value::Object(parts.into_iter().flat_map(section).collect())
    }
}

fn describe_router(router: &RouterLab) -> Value {
    let RouterLab {
        chars_per_token,
        prefix_min_match_chars,
        kv_aware_threshold,
        lmcache_chunk,
        qps_window,
        signal_lag,
        cache_events,
        speculative,
        index_limit,
        load_slack,
        load_bound,
        credits: TierCredits { l0, l1, l2 },
        context_weight,
        externality,
        lost_again,
        audit,
    } = router;
    json!({
        "router.chars_per_token": chars_per_token,
        "router.prefix_min_match_length": prefix_min_match_chars,
        "router.kv_aware_threshold": kv_aware_threshold.0,
        "router.lmcache_chunk": lmcache_chunk.0,
        "router.qps_window": span(*qps_window),
        "router.signal_lag": span(*signal_lag),
        "router.cache_events": cache_events,
        "router.speculative": span(*speculative),
        "router.index_bytes": size(*index_limit),
        "router.load_slack": load_slack,
        "router.load_bound": f64::from(*load_bound) / 1000.0,
        "router.credit_l0": fraction(*l0),
        "router.credit_l1": fraction(*l1),
        "router.credit_l2": fraction(*l2),
        "router.context_weight": fraction(*context_weight),
        "router.externality": f64::from(*externality) / 1000.0,
        "router.lost_again": fraction(*lost_again),
        "router.audit": audit,
    })
}

fn section(part: Value) -> Map<String, Value> {
    if let Value::Object(map) = part { map } else { unreachable!("a section is an object") }
}

fn describe_tiers(tiers: &TiersLab) -> Value {
    let TiersLab { chunk, load, store, choice, save_unfull_chunk, save_decode_cache, min_retrieve, deadline } = tiers;
    let Deadline { base, per_1k } = deadline;
    json!({
        "tiers.chunk_tokens": chunk.map(|tokens| tokens.0),
        "tiers.load": load.map(|load| name(load, &LOADS)),
        "tiers.store": name(*store, &STORES),
        "tiers.choice": name(*choice, &CHOICES),
        "tiers.save_unfull_chunk": save_unfull_chunk,
        "tiers.save_decode_cache": save_decode_cache,
        "tiers.min_retrieve_tokens": min_retrieve.map(|tokens| tokens.0),
        "tiers.deadline": span(*base),
        "tiers.deadline_per_1k": span(*per_1k),
    })
}

fn describe_l1(l1: &L1Lab) -> Value {
    let L1Lab { bytes, scope, eviction, watermark, evict, bandwidth } = l1;
    json!({
        "l1.bytes": bytes.map(size),
        "l1.scope": name(*scope, &SCOPES),
        "l1.eviction": eviction.map(eviction_name),
        "l1.watermark": fraction(*watermark),
        "l1.evict": fraction(*evict),
        "l1.bandwidth": bandwidth.map(rate),
    })
}

fn describe_l2(l2: &L2Lab) -> Value {
    let L2Lab {
        backend,
        bytes,
        eviction,
        bandwidth,
        nic,
        latency,
        miss_wait,
        probe,
        in_flight,
        lease_ttl,
        put_ttl,
        breaker: BreakerConfig { failures, probe_every, silence },
        watermark,
        evict,
        ttl,
    } = l2;
    json!({
        "l2.backend": backend.map(|backend| name(backend, &BACKENDS)),
        "l2.bytes": bytes.map(size),
        "l2.eviction": eviction.map(eviction_name),
        "l2.bandwidth": bandwidth.map(rate),
        "l2.nic": nic.map(rate),
        "l2.latency": span(*latency),
        "l2.miss_wait": span(*miss_wait),
        "l2.probe": probe_name(*probe),
        "l2.in_flight": in_flight,
        "l2.lease_ttl": span(*lease_ttl),
        "l2.put_ttl": span(*put_ttl),
        "l2.silence": span(*silence),
        "l2.breaker_failures": failures,
        "l2.breaker_probe": span(*probe_every),
        "l2.watermark": fraction(*watermark),
        "l2.evict": fraction(*evict),
        "l2.ttl": ttl.map(span),
    })
}

/// The name of a choice's value.
fn name<T: Copy + PartialEq>(value: T, choices: &[(&'static str, T)]) -> &'static str {
    choices.iter().find(|(_, known)| *known == value).map(|(name, _)| *name).expect("each value has a name")
}

/// As `tiers.load` names it.
pub(crate) fn load_name(load: LoadMode) -> &'static str {
    name(load, &LOADS)
}

/// As `tiers.store` names it.
pub(crate) fn store_name(store: StoreMode) -> &'static str {
    name(store, &STORES)
}

/// As `l1.eviction` and `l2.eviction` name it.
pub(crate) fn eviction_name(eviction: Eviction) -> &'static str {
    name(eviction, &EVICTIONS)
}

/// As `l2.probe` names it.
pub(crate) fn probe_name(probe: ProbeMode) -> &'static str {
    name(probe, &PROBES)
}

/// As `engine.duplicates` names it.
pub(crate) const fn duplicates_name(duplicates: Duplicates) -> &'static str {
    match duplicates {
        Duplicates::Keep => "keep",
        Duplicates::Merge => "merge",
    }
}

/// In the largest unit in which three decimals say it exactly.
fn size(bytes: u64) -> String {
    const UNITS: [(&str, u64); 8] = [
        ("TiB", 1 << 40),
        ("TB", 1_000_000_000_000),
        ("GiB", 1 << 30),
        ("GB", 1_000_000_000),
        ("MiB", 1 << 20),
        ("MB", 1_000_000),
        ("KiB", 1 << 10),
        ("kB", 1000),
    ];
    let exact = |factor: u64| bytes >= factor && (u128::from(bytes) * 1000).is_multiple_of(u128::from(factor));
    match UNITS.iter().find(|(_, factor)| exact(*factor)) {
        // A quotient of thousandths has at most three decimals.
        Some((unit, factor)) => format!("{}{unit}", bytes as f64 / *factor as f64),
        None => format!("{bytes}B"),
    }
}

fn rate(bytes_per_s: f64) -> String {
    if bytes_per_s.fract() == 0.0 && bytes_per_s < 1e15 {
        return format!("{}/s", size(bytes_per_s as u64));
    }
    format!("{bytes_per_s}B/s")
}

/// Thousandths as `0.9`.
pub(crate) fn fraction(permille: u16) -> f64 {
    f64::from(permille) / 1000.0
}

pub(super) fn span(span: Span) -> String {
    let seconds = span.as_secs_f64();
    if seconds >= 1.0 && seconds.fract() == 0.0 {
        return format!("{seconds}s");
    }
    format!("{}ms", span.as_millis_f64())
}
