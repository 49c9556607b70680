//! How workers are chosen, and what the router gets to know of them.

use kvcache::{Span, Tokens};
use router::{RouterConfig, Strategy, TierCredits};

/// The router's settings. [`RouterConfig`] says what each means.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RouterLab {
    /// How long a token is for `prefixaware` and `prefixaware+`, in characters.
    pub chars_per_token: f64,
    /// `--prefix-min-match-length`, in characters.
    pub prefix_min_match_chars: u32,
    /// How much may be missing for `kvaware` to follow its controller.
    pub kv_aware_threshold: Tokens,
    /// Tokens in a chunk of that controller.
    pub lmcache_chunk: Tokens,
    /// How long a request counts for its worker's rate.
    pub qps_window: Span,
    /// How long what a worker tells is under way.
    pub signal_lag: Span,
    /// Whether workers tell what they hold.
    pub cache_events: bool,
    /// How long a request that was sent counts as computed.
    pub speculative: Span,
    /// Bytes that indexes may take.
    pub index_limit: u64,
    /// How many more requests than the least loaded worker `prefixaware+` puts up with.
    pub load_slack: u32,
    /// How many thousandths of the mean `session+` puts up with.
    pub load_bound: u32,
    /// What tiers count for in `kvaware+`.
    pub credits: TierCredits,
    /// What contexts in flight count for in `kvaware+`, in thousandths.
    pub context_weight: u16,
    /// How much a request's own work counts for others in `predicted-ttft`, in thousandths.
    pub externality: u16,
    /// How much of what is displaced is asked for again, in thousandths.
    pub lost_again: u16,
    /// Whether each decision is compared with what workers really have; `None`: with few workers.
    pub audit: Option<bool>,
}

impl Default for RouterLab {
    fn default() -> Self {
        let config = RouterConfig::new(Strategy::RoundRobin, 1);
        Self {
            chars_per_token: 4.0,
            prefix_min_match_chars: 0,
            kv_aware_threshold: config.kv_aware_threshold,
            lmcache_chunk: config.lmcache_chunk,
            qps_window: config.qps_window,
            signal_lag: Span::ZERO,
            cache_events: true,
            speculative: config.speculative,
            index_limit: config.index_limit,
            load_slack: config.load_slack,
            load_bound: config.load_bound,
            credits: config.credits,
            context_weight: config.context_weight,
            externality: config.externality,
            lost_again: config.lost_again,
            audit: None,
        }
    }
}

impl RouterLab {
    /// The router's set-up, for workers with blocks of `block` tokens.
    #[must_use]
    pub fn config(&self, strategy: Strategy, workers: u16, block: Tokens) -> RouterConfig {
        let minimum = (f64::from(self.prefix_min_match_chars) / self.chars_per_token).ceil();
        RouterConfig {
            prefix_min_match: Tokens(minimum as u32),
            kv_aware_threshold: self.kv_aware_threshold,
            lmcache_chunk: self.lmcache_chunk,
            qps_window: self.qps_window,
            speculative: self.speculative,
            guessed: (!self.cache_events).then(|| RouterConfig::guess(block)),
            index_limit: self.index_limit,
            load_slack: self.load_slack,
            load_bound: self.load_bound,
            credits: self.credits,
            context_weight: self.context_weight,
            externality: self.externality,
            lost_again: self.lost_again,
            ..RouterConfig::new(strategy, workers)
        }
    }
}
