//! Loading against computing: what [`Choice::ByCost`](kvcache::Choice::ByCost) decides by.
//!
//! Computing a token takes what it adds to a large prefill, where weights are read for thousands at once:
//!
//! ```text
//! new_token  = (duration(16,384 tokens) - duration(8,192 tokens)) / 8,192
//! pairs_1024 = (duration(8,192 tokens, 2^31 pairs) - duration(8,192 tokens, 2^30 pairs)) / 2^20
//! ```
//!
//! Loading a token takes its bytes over the slowest of its ways, as [`transport`](crate::transport) moves them: from L1 over
//! the host link; from L2 over the node's network as far as it lies elsewhere, through the daemon, and over the host link,
//! after a lease and its release for each object, so many of them at a time, where the last ones may be few. Nobody else is
//! on the ways; [`kvcache`] counts those in.

use super::catalogue::Gpu;
use super::{CostModel, Shape};
use crate::transport::{PoolAccess, TransportConfig};
use kvcache::{Backend, Costs, Span, TierCost};

/// Share of peak PCI Express bandwidth that large copies between pinned host memory and a GPU reach.
///
/// 54 of 63 GB/s (0.86) were measured on an H20 (Gen5); 25 to 26 of 31.5 (0.80 to 0.83) are usual on Gen4. LMCache copies
/// chunk by chunk and is reported at 13 to 22 GB/s on a card of either kind: then this is up to twice too fast.
pub const HOST_COPY: f64 = 0.80;

/// Bytes per second between one GPU and the host, one way.
#[must_use]
pub const fn host_bytes_per_s(gpu: &Gpu) -> f64 {
    gpu.host_link.gb_per_s() * 1e9 * HOST_COPY
}

/// Tokens of a large prefill: far above where weights are what limits a pass.
const LARGE: u64 = 8192;
/// So many pairs that attention is limited by operations.
const PAIRS: u64 = 1 << 30;

/// What computing takes by `model` and loading over `ways`. `model` prices the GPU's work alone: host time does not grow
/// with tokens, and where it is overlapped it hides what does.
#[must_use]
pub fn costs(model: &dyn CostModel, ways: &TransportConfig) -> Costs {
    let lasts = |tokens: u64, pairs: u64| {
        model.segment(&Shape { tokens, pairs, squares: tokens * tokens, ..Shape::default() }).base.0
    };
    let added = |more: u64, less: u64, per: u64| Span(more.saturating_sub(less) / per);
    Costs {
        new_token: added(lasts(2 * LARGE, 0), lasts(LARGE, 0), LARGE),
        pairs_1024: added(lasts(LARGE, 2 * PAIRS), lasts(LARGE, PAIRS), PAIRS / 1024),
        host: TierCost { fixed: Span::ZERO, per_token: per_token(ways, 1.0 / ways.host_bytes_per_s) },
        pool: ways.pool.as_ref().map_or_else(TierCost::default, |access| of_pool(access, ways)),
    }
}

fn of_pool(access: &PoolAccess, ways: &TransportConfig) -> TierCost {
    let shards = f64::from(access.pool.shards.max(1));
    let elsewhere = match access.pool.backend {
        // Objects are spread evenly, and one shard is the worker's own.
        Backend::TieredStorage { .. } => (shards - 1.0) / shards,
        Backend::Redis => 1.0,
    };
    let moving = (elsewhere / ways.nic_bytes_per_s).max(1.0 / access.bytes_per_s).max(1.0 / ways.host_bytes_per_s);
    // A lease and its release are two round trips of an object, so many of them at a time.
    let at_a_time = u64::from(access.in_flight.max(1)) * u64::from(access.pool.chunk.0.max(1));
    let asking = Span(2 * access.round_trip.0 / at_a_time);
    TierCost { fixed: access.round_trip * 2, per_token: per_token(ways, moving) + asking }
}

fn per_token(ways: &TransportConfig, seconds_per_byte: f64) -> Span {
    Span::from_secs_f64(ways.token_bytes as f64 * seconds_per_byte)
}
