//! From an endpoint file and a lab to what lies below the device.

use super::{Case, Tiers};
use crate::endpoint::{CachePolicy, Endpoint, L2Backend};
use crate::lab::{Lab, Preference, Scope};
use kvcache::{Backend, Choice, Eviction, HostConfig, LoadMode, PoolConfig, TierConfig, Tokens};
use sim::cost::CostModel;
use sim::cost::deployment::Deployment;
use sim::cost::loading;
use sim::transport::{PoolAccess, TransportConfig};

/// `chunk_size` of LMCache (0.3.7 to 0.5.6, `v1/config.py`).
const CHUNK: u32 = 256;
/// `max_local_cpu_size` of LMCache: 5.0, in GiB.
const L1_BYTES: u64 = 5 << 30;
/// `InstanceMemoryAllocationPercentage` of a cluster's `TieredStorageConfig` as the SageMaker console presets it.
const L2_PERCENT: u64 = 20;
/// `maxmemory 75gb` of the Redis in AWS's sample notebook; Redis takes `gb` for 2^30.
const REDIS_BYTES: u64 = 75 << 30;
/// What the daemon of one node delivers: an assumption, since nothing is published. LMCache's client copies one object at
/// a time out of shared memory, on one thread: about what one core copies.
const DAEMON_BYTES_PER_S: f64 = 10e9;
/// The network of the `ml.m5.24xlarge` that AWS's sample runs Redis on: 25 Gbit/s.
const REDIS_BYTES_PER_S: f64 = 25e9 / 8.0;

/// What lies below the device, and what is odd about it.
pub(super) struct Lower {
    pub(super) tiers: TierConfig,
    pub(super) transport: TransportConfig,
    pub(super) warnings: Vec<String>,
}

/// The lower tiers of a case, if it has any; `gpu` prices the GPU's work alone.
pub(super) fn lower(
    endpoint: &Endpoint,
    lab: &Lab,
    deployment: &Deployment,
    gpu: &dyn CostModel,
    case: &Case,
) -> Result<Option<Lower>, String> {
    if !case.cache.l1() && !case.cache.l2() {
        return Ok(None);
    }
    let given = &endpoint.lmcache;
    let chunk = lab.tiers.chunk.unwrap_or(Tokens(given.chunk_size.unwrap_or(CHUNK)));
    let token_bytes = token_bytes(deployment);
    let host = case.cache.l1().then(|| host(endpoint, lab, deployment, (chunk, token_bytes), case.seed));
    let pool = if case.cache.l2() { Some(pool(endpoint, lab, deployment, (chunk, token_bytes), case)?) } else { None };
    let per_gpu = lab.l1.bandwidth.unwrap_or_else(|| loading::host_bytes_per_s(&deployment.instance.gpu));
    let transport = TransportConfig {
        token_bytes,
        host_bytes_per_s: per_gpu * f64::from(deployment.tp),
        nic_bytes_per_s: lab.l2.nic.unwrap_or(deployment.instance.network_gbps * 1e9 / 8.0),
        workers_per_node: u16::try_from(deployment.workers_per_instance).unwrap_or(u16::MAX),
        pool,
    };
    let tiers = TierConfig {
        chunk,
        host,
        pool: pool.is_some(),
        load: lab.tiers.load.unwrap_or(load_of(endpoint)),
        store: lab.tiers.store,
        choice: match lab.tiers.choice {
            Preference::Always => Choice::Always,
            Preference::Never => Choice::Never,
            Preference::Cost => Choice::ByCost(loading::costs(gpu, &transport)),
        },
        save_unfull_chunk: lab.tiers.save_unfull_chunk.or(given.save_unfull_chunk).unwrap_or(false),
        save_decode_cache: lab.tiers.save_decode_cache.or(given.save_decode_cache).unwrap_or(false),
        min_retrieve: lab.tiers.min_retrieve.or(given.min_retrieve_tokens.map(Tokens)).unwrap_or(Tokens::ZERO),
        deadline: lab.tiers.deadline,
        breaker: lab.l2.breaker,
    };
    let warnings = [too_much(deployment, &tiers, &transport, case), too_small(&tiers, &transport)];
    Ok(Some(Lower { tiers, transport, warnings: warnings.into_iter().flatten().collect() }))
}

/// The tiers that an endpoint file turns on. Without prefix caching in the engine nothing has a name to be found by.
#[must_use]
pub fn tiers_of(endpoint: &Endpoint) -> Tiers {
    if endpoint.engine.enable_prefix_caching == Some(false) {
        return Tiers::None;
    }
    Tiers::with(endpoint.l1 && endpoint.lmcache.local_cpu != Some(false), endpoint.l2.is_some())
}

/// Bytes of KV of a token, all ranks together. LMCache stores what each rank has, copies of heads included.
fn token_bytes(deployment: &Deployment) -> u64 {
    let tp = u64::from(deployment.tp);
    deployment.model.shard(tp).kv_bytes_per_token(deployment.dtype, deployment.kv_dtype) * tp
}

fn host(
    endpoint: &Endpoint,
    lab: &Lab,
    deployment: &Deployment,
    (chunk, token_bytes): (Tokens, u64),
    seed: u64,
) -> HostConfig {
    let bytes = lab.l1.bytes.or(endpoint.lmcache.max_local_cpu_bytes).unwrap_or(L1_BYTES);
    let of_file = match endpoint.lmcache.cache_policy {
        None | Some(CachePolicy::Lru) => Eviction::Lru,
        Some(CachePolicy::Lfu) => Eviction::Lfu,
        Some(CachePolicy::Fifo) => Eviction::Fifo,
    };
    HostConfig {
        capacity: match lab.l1.scope {
            Scope::Rank => bytes * u64::from(deployment.tp),
            Scope::Worker => bytes,
        },
        token_bytes,
        chunk,
        eviction: lab.l1.eviction.unwrap_or(of_file),
        watermark: lab.l1.watermark,
        evict: lab.l1.evict,
        seed,
    }
}

fn pool(
    endpoint: &Endpoint,
    lab: &Lab,
    deployment: &Deployment,
    (chunk, token_bytes): (Tokens, u64),
    case: &Case,
) -> Result<PoolAccess, String> {
    let lab = &lab.l2;
    let backend = lab.backend.or(endpoint.l2).unwrap_or(L2Backend::TieredStorage);
    let (mut pool, bytes_per_s) = match backend {
        L2Backend::TieredStorage => {
            let share = (deployment.instance.memory_gib << 30) * L2_PERCENT / 100;
            let nodes = deployment.instances_for(u32::from(case.replicas));
            // At most 4,096 workers have as many nodes.
            let nodes = u16::try_from(nodes).unwrap_or(u16::MAX);
            (PoolConfig::tiered_storage(token_bytes, nodes, lab.bytes.unwrap_or(share)), DAEMON_BYTES_PER_S)
        }
        L2Backend::Redis => (PoolConfig::redis(token_bytes, lab.bytes.unwrap_or(REDIS_BYTES)), REDIS_BYTES_PER_S),
    };
    if let Backend::TieredStorage { watermark, evict } = &mut pool.backend {
        (*watermark, *evict) = (lab.watermark, lab.evict);
    }
    pool.chunk = chunk;
    pool.eviction = lab.eviction.unwrap_or(pool.eviction);
    (pool.lease_ttl, pool.put_ttl) = (lab.lease_ttl, lab.put_ttl);
    pool.ttl = lab.ttl;
    pool.seed = case.seed;
    if pool.ttl.is_some() && !matches!(pool.eviction, Eviction::Lru | Eviction::Fifo) {
        return Err("l2.ttl needs an eviction that orders by time; use l2.eviction lru or fifo".to_owned());
    }
    Ok(PoolAccess {
        pool,
        bytes_per_s: lab.bandwidth.unwrap_or(bytes_per_s),
        round_trip: lab.latency,
        miss_wait: lab.miss_wait,
        probe: lab.probe,
        in_flight: lab.in_flight,
    })
}

/// With both set, LMCache's layerwise path is what loads.
fn load_of(endpoint: &Endpoint) -> LoadMode {
    match (endpoint.lmcache.use_layerwise, endpoint.lmcache.enable_async_loading) {
        (Some(true), _) => LoadMode::Layerwise,
        (_, Some(true)) => LoadMode::Overlapped,
        _ => LoadMode::Blocking,
    }
}

/// A warning where the tiers of an instance take more memory than it has.
fn too_much(deployment: &Deployment, tiers: &TierConfig, transport: &TransportConfig, case: &Case) -> Option<String> {
    let memory = deployment.instance.memory_gib << 30;
    let workers = deployment.workers_per_instance.min(u32::from(case.replicas));
    let l1 = tiers.host.map_or(0, |host| host.capacity.saturating_mul(u64::from(workers)));
    let shared = transport.pool.filter(|access| matches!(access.pool.backend, Backend::TieredStorage { .. }));
    let l2 = shared.map_or(0, |access| access.pool.shard_bytes);
    (l1.saturating_add(l2) > memory).then(|| {
        format!(
            "L1 takes {} GiB of an instance ({workers} x {}) and L2 {} GiB, more than the {} GiB of {}; lower l1.bytes or l2.bytes",
            gib(l1),
            gib(tiers.host.map_or(0, |host| host.capacity)),
            gib(l2),
            deployment.instance.memory_gib,
            deployment.instance.sagemaker_name(),
        )
    })
}

/// A warning where a tier cannot hold one object.
fn too_small(tiers: &TierConfig, transport: &TransportConfig) -> Option<String> {
    let object = u64::from(tiers.chunk.0) * transport.token_bytes;
    let sizes = [
        ("L1", "l1.bytes", tiers.host.map(|host| host.capacity)),
        ("L2", "l2.bytes", transport.pool.map(|access| access.pool.shard_bytes)),
    ];
    let (tier, key, bytes) = sizes
        .into_iter()
        .find_map(|(tier, key, bytes)| Some((tier, key, bytes?)).filter(|(.., bytes)| *bytes < object))?;
    Some(format!("{tier} has {bytes} bytes and an object {object}: nothing is ever stored; raise {key}"))
}

/// GiB to a tenth.
fn gib(bytes: u64) -> f64 {
    (bytes as f64 / f64::from(1 << 30) * 10.0).round() / 10.0
}
