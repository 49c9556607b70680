//! The part of the lab that is about the tiers below the device. `None`: the endpoint file or the hardware decides.

use crate::endpoint::L2Backend;
use kvcache::{BreakerConfig, Deadline, Eviction, LoadMode, Span, StoreMode, Tokens};
use sim::transport::ProbeMode;

/// How workers use L1 and L2: `tiers.*`.
#[derive(Clone, Debug, PartialEq)]
pub struct TiersLab {
    /// Tokens in an object.
    pub chunk: Option<Tokens>,
    /// What the engine does while a load is under way.
    pub load: Option<LoadMode>,
    /// What the engine does while a store copies off the device.
    pub store: StoreMode,
    /// Load, or compute again?
    pub choice: Preference,
    /// Whether the last, partial chunk of a prompt is an object, too.
    pub save_unfull_chunk: Option<bool>,
    /// Whether replies are stored like prompts.
    pub save_decode_cache: Option<bool>,
    /// Fewer tokens than this are not worth a load.
    pub min_retrieve: Option<Tokens>,
    /// How long a load may take.
    pub deadline: Deadline,
}

/// When what a tier has is loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Preference {
    /// Whatever it takes.
    #[default]
    Always,
    /// Never.
    Never,
    /// Where that is expected to take less time than computing.
    Cost,
}

/// L1, the host memory of a worker: `l1.*`.
#[derive(Clone, Debug, PartialEq)]
pub struct L1Lab {
    /// Its size, of each `scope`.
    pub bytes: Option<u64>,
    /// What `bytes` is the size of.
    pub scope: Scope,
    /// In which order objects go.
    pub eviction: Option<Eviction>,
    /// Above so many thousandths of its capacity, room is made ahead of need.
    pub watermark: u16,
    /// How much goes then, in thousandths of what is used.
    pub evict: u16,
    /// Bytes per second between one GPU and the host, one way.
    pub bandwidth: Option<f64>,
}

/// What the size of L1 is the size of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// Each tensor-parallel rank's share. LMCache inside the engine allocates `max_local_cpu_size` in the process of each
    /// rank (0.3.7 to 0.5.6: `v1/storage_backend/local_cpu_backend.py`, `initialize_allocator`).
    #[default]
    Rank,
    /// The whole worker's, as LMCache beside the engine has it (0.5.6, `--l1-size-gb`).
    Worker,
}

/// L2, the pool that all workers share: `l2.*`.
#[derive(Clone, Debug, PartialEq)]
pub struct L2Lab {
    /// What holds it.
    pub backend: Option<L2Backend>,
    /// Its size: of each node with `tieredstorage`, in all with `redis`.
    pub bytes: Option<u64>,
    /// In which order objects go.
    pub eviction: Option<Eviction>,
    /// Bytes per second that the daemon of one node, or the one Redis, delivers.
    pub bandwidth: Option<f64>,
    /// Bytes per second of a node's network.
    pub nic: Option<f64>,
    /// One round trip to it.
    pub latency: Span,
    /// What a miss costs besides.
    pub miss_wait: Span,
    /// How workers learn what it has.
    pub probe: ProbeMode,
    /// Requests that one worker has there at a time.
    pub in_flight: u32,
    /// How long a lease pins what it covers.
    pub lease_ttl: Span,
    /// After how long a put that nobody ends is discarded.
    pub put_ttl: Span,
    /// When a worker leaves it alone.
    pub breaker: BreakerConfig,
    /// Above so many thousandths of a node's share, room is made ahead of need (`tieredstorage`).
    pub watermark: u16,
    /// How much goes then, in thousandths of a node's share.
    pub evict: u16,
    /// After how long without use an object is gone; `None`: objects go for want of room alone.
    pub ttl: Option<Span>,
}

impl Default for TiersLab {
    fn default() -> Self {
        Self {
            chunk: None,
            load: None,
            store: StoreMode::Blocking,
            choice: Preference::Always,
            save_unfull_chunk: None,
            save_decode_cache: None,
            min_retrieve: None,
            deadline: Deadline::default(),
        }
    }
}

impl Default for L1Lab {
    /// Watermark and share are those of LMCache beside the engine (0.5.6, `eviction_controller.py`).
    fn default() -> Self {
        Self { bytes: None, scope: Scope::Rank, eviction: None, watermark: 800, evict: 200, bandwidth: None }
    }
}

impl Default for L2Lab {
    /// The lease is what LMCache's connector asks for, 4 the workers of its executor (0.3.9 to 0.5.6,
    /// `sagemaker_hyperpod_connector.py`); watermark and share are those of Mooncake's store. The latency is assumed.
    fn default() -> Self {
        Self {
            backend: None,
            bytes: None,
            eviction: None,
            bandwidth: None,
            nic: None,
            latency: Span::from_micros(500),
            miss_wait: Span::ZERO,
            probe: ProbeMode::Sequential,
            in_flight: 4,
            lease_ttl: Span::from_secs(30),
            put_ttl: Span::from_secs(30),
            breaker: BreakerConfig::default(),
            watermark: 900,
            evict: 50,
            ttl: None,
        }
    }
}
