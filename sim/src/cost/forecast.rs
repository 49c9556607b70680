//! What a router is told of a worker: coefficients, derived from the cost model.
//!
//! ```text
//! per_new_token    = (duration(16,384 tokens) - duration(8,192 tokens)) / 8,192
//! fixed            = duration(8,192 tokens) - 8,192 * per_new_token
//! least            = duration(one decoder)
//! per_1024_pairs   = (duration(8,192 tokens, 2^31 pairs) - duration(8,192 tokens, 2^30 pairs)) / 2^20
//! per_context_token = the slope of the line on which decode passes lie
//! ```

use super::{CostModel, Shape};
use crate::replica::EngineConfig;
use crate::transport::TransportConfig;
use kvcache::{Choice, Span, TierCost, Time};
use router::{Forecast, Loading};

const LARGE: u64 = 8192;
const PAIRS: u64 = 1 << 30;

/// The coefficients of a worker whose passes `model` prices, host time included. `ways` is how it reaches its lower tiers.
#[must_use]
pub fn forecast(model: &dyn CostModel, engine: &EngineConfig, ways: Option<&TransportConfig>) -> Forecast {
    let lasts = |tokens: u64, pairs: u64| {
        model.segment(&Shape { tokens, pairs, squares: tokens * tokens, ..Shape::default() }).base.0
    };
    let per_new_token = lasts(2 * LARGE, 0).saturating_sub(lasts(LARGE, 0)) / LARGE;
    let decode = Shape { tokens: 1, samples: 1, decoders: 1, context: 1, ..Shape::default() };
    // Far on, where the host is no slower than the device.
    let far = model.segment(&Shape { context: 1 << 24, ..decode });
    let costs = ways.map(|ways| super::loading::costs(model, ways));
    let tier = |of: fn(&kvcache::Costs) -> TierCost| costs.as_ref().map(of).unwrap_or_default();
    let loading = match engine.tiers.map(|tiers| tiers.choice) {
        None | Some(Choice::Never) => Loading::Never,
        Some(Choice::Always) => Loading::Always,
        Some(Choice::ByCost(_)) => Loading::WhereFaster,
    };
    Forecast {
        fixed: Span(lasts(LARGE, 0).saturating_sub(LARGE * per_new_token)),
        least: model.segment(&decode).base,
        per_new_token: Span(per_new_token),
        per_1024_pairs: Span(lasts(LARGE, 2 * PAIRS).saturating_sub(lasts(LARGE, PAIRS)) / (PAIRS / 1024)),
        per_context_token: far.slope,
        pass: engine.max_num_batched_tokens,
        l1: tier(|costs| costs.host),
        l2: tier(|costs| costs.pool),
        loading,
        capacity: u64::from(engine.cache.capacity.0) * u64::from(engine.cache.block.0),
        as_of: Time::ZERO,
    }
}
