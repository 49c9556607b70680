//! What the ways between the tiers are like.

use kvcache::{PoolConfig, Span};

/// How a worker learns what the pool has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProbeMode {
    /// One object after the other until the first miss, a lease and its release each: LMCache's in-process connector.
    #[default]
    Sequential,
    /// As many at a time as a worker may have at the daemon, until one is not there.
    Batched,
}

/// The pool and how it is reached.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PoolAccess {
    /// What it is.
    pub pool: PoolConfig,
    /// Bytes per second that the daemon of one node delivers; with Redis, that the one server delivers.
    pub bytes_per_s: f64,
    /// One round trip to it: pure latency.
    pub round_trip: Span,
    /// What a miss costs besides its round trip: a daemon may hold a request for what it does not have.
    pub miss_wait: Span,
    /// How workers ask.
    pub probe: ProbeMode,
    /// Requests that one worker has at the daemon at a time.
    pub in_flight: u32,
}

/// What the ways between the tiers are like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TransportConfig {
    /// Bytes of KV of a token, all ranks together.
    pub token_bytes: u64,
    /// Bytes per second between a worker's GPUs and the host, one way, all its GPUs together.
    pub host_bytes_per_s: f64,
    /// Bytes per second of a node's network.
    pub nic_bytes_per_s: f64,
    /// Workers on a node.
    pub workers_per_node: u16,
    /// L2, where there is one.
    pub pool: Option<PoolAccess>,
}
