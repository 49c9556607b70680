//! The values an endpoint has.

use super::crd;

/// The schema a file is written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApiVersion {
    /// The first schema, without caching and routing.
    V1Alpha1,
    /// The schema of today.
    V1,
}

impl ApiVersion {
    /// The last part of `apiVersion`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V1Alpha1 => "v1alpha1",
            Self::V1 => "v1",
        }
    }

    /// The version that an `apiVersion` names, which must be one of the two in full.
    pub(super) fn named(text: &str) -> Option<Self> {
        match crd::API_VERSIONS.iter().position(|version| *version == text)? {
            0 => Some(Self::V1),
            _ => Some(Self::V1Alpha1),
        }
    }
}

/// How the router picks a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RoutingStrategy {
    /// By a tree of the prefixes it has sent where. The default.
    PrefixAware,
    /// By what each worker's cache holds.
    KvAware,
    /// By the session of the request.
    Session,
    /// In turns.
    RoundRobin,
}

impl RoutingStrategy {
    /// The name in the file.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PrefixAware => "prefixaware",
            Self::KvAware => "kvaware",
            Self::Session => "session",
            Self::RoundRobin => "roundrobin",
        }
    }

    /// The strategy of that name.
    pub(super) fn named(text: &str) -> Option<Self> {
        [Self::PrefixAware, Self::KvAware, Self::Session, Self::RoundRobin]
            .into_iter()
            .find(|strategy| strategy.as_str() == text)
    }
}

/// What holds L2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum L2Backend {
    /// HyperPod's own memory pool over the nodes of the cluster.
    TieredStorage,
    /// A Redis that the owner runs.
    Redis,
}

impl L2Backend {
    /// The name in the file.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TieredStorage => "tieredstorage",
            Self::Redis => "redis",
        }
    }

    /// The backend of that name, in any case.
    pub(super) fn named(text: &str) -> Option<Self> {
        [Self::TieredStorage, Self::Redis].into_iter().find(|backend| backend.as_str().eq_ignore_ascii_case(text))
    }
}

/// How LMCache makes room in L1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CachePolicy {
    /// The least recently used.
    Lru,
    /// The least frequently used.
    Lfu,
    /// The oldest.
    Fifo,
}

/// What the `LMCACHE_...` variables set; `None`: not given, so LMCache's default holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LmCache {
    /// `chunk_size`, tokens.
    pub chunk_size: Option<u32>,
    /// `local_cpu`: whether there is an L1.
    pub local_cpu: Option<bool>,
    /// `max_local_cpu_size`, given in GiB, of each tensor-parallel rank.
    pub max_local_cpu_bytes: Option<u64>,
    /// `cache_policy`.
    pub cache_policy: Option<CachePolicy>,
    /// `enable_async_loading`.
    pub enable_async_loading: Option<bool>,
    /// `use_layerwise`.
    pub use_layerwise: Option<bool>,
    /// `save_unfull_chunk`.
    pub save_unfull_chunk: Option<bool>,
    /// `save_decode_cache`.
    pub save_decode_cache: Option<bool>,
    /// `min_retrieve_tokens`.
    pub min_retrieve_tokens: Option<u32>,
    /// Whether `LMCACHE_CONFIG_FILE` names a file, which only the cluster has.
    pub config_file: bool,
}

/// What the proxy in front of a worker lets through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestLimits {
    /// Requests at work in a pod at a time; `None`: any number.
    pub max_concurrent_requests: Option<u32>,
    /// Requests that wait behind them; `None`: not limited.
    pub max_queue_size: Option<u32>,
    /// The HTTP status of a refusal, 429 unless set.
    pub overflow_status_code: u16,
}

/// One `podlab.dev/...` annotation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Annotation {
    /// The key without `podlab.dev/`.
    pub key: String,
    /// The value.
    pub value: String,
    /// The line in the file.
    pub line: u32,
}

/// Lines of fields, counted from 1; of what should contain a field that is not there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lines {
    /// `spec.kvCacheSpec`.
    pub cache: u32,
    /// `spec.instanceType`, or `spec.instanceTypes`.
    pub instance_type: u32,
    /// `spec.replicas`.
    pub replicas: u32,
    /// `spec.modelName`.
    pub model_name: u32,
    /// `spec.worker.args`.
    pub args: u32,
    /// `spec.worker.resources`.
    pub resources: u32,
}
