//! Which strategy, with which numbers.

use crate::index::IndexConfig;
use crate::knowledge::{Kept, LowerTiers};
use crate::score::CostUnit;
use alloc::borrow::ToOwned;
use alloc::string::String;
use core::fmt;
use core::str::FromStr;
use kvcache::{Span, Tokens};

/// How a worker is chosen. The first four are the values of `intelligentRoutingSpec.routingStrategy`, and behave as vLLM
/// production-stack's routers of the same names do; the others are podlab's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Strategy {
    /// Each available worker in turn.
    RoundRobin,
    /// A worker that was *sent* the longest prefix of the prompt's text before. It never forgets and reads no load, so
    /// a first chunk that all requests share sends all of them to one worker.
    PrefixAware,
    /// The worker that LMCache's controller names first for the prompt's tokens, if it is said to have enough of them.
    KvAware,
    /// The worker of the request's session.
    Session,
    /// Any worker.
    Random,
    /// The worker with the fewest requests in flight.
    LeastLoaded,
    /// The less loaded of two drawn ones (power of two choices).
    TwoChoices,
    /// The worker of the request's session, unless it has far more than its share: consistent hashing with bounded loads.
    SessionPlus,
    /// The longest prefix sent, among workers that are not overloaded; what many ask for is spread; within bounded memory.
    PrefixAwarePlus,
    /// The fewest tokens to compute, queued ones included, where what a tier has counts for as much as it saves.
    KvAwarePlus,
    /// The least expected time to first token, and what it costs others.
    PredictedTtft,
}

impl Strategy {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::RoundRobin,
        Self::PrefixAware,
        Self::KvAware,
        Self::Session,
        Self::Random,
        Self::LeastLoaded,
        Self::TwoChoices,
        Self::SessionPlus,
        Self::PrefixAwarePlus,
        Self::KvAwarePlus,
        Self::PredictedTtft,
    ];

    /// HyperPod's.
    pub const COMPATIBLE: [Self; 4] = [Self::RoundRobin, Self::PrefixAware, Self::KvAware, Self::Session];

    /// Its name; of HyperPod's, that in an endpoint file.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RoundRobin => "roundrobin",
            Self::PrefixAware => "prefixaware",
            Self::KvAware => "kvaware",
            Self::Session => "session",
            Self::Random => "random",
            Self::LeastLoaded => "least-loaded",
            Self::TwoChoices => "p2c",
            Self::SessionPlus => "session+",
            Self::PrefixAwarePlus => "prefixaware+",
            Self::KvAwarePlus => "kvaware+",
            Self::PredictedTtft => "predicted-ttft",
        }
    }

    /// In which unit it counts what it makes smallest; `None`: it goes by no cost.
    #[must_use]
    pub const fn cost(self) -> Option<CostUnit> {
        match self {
            Self::LeastLoaded | Self::TwoChoices | Self::SessionPlus | Self::PrefixAwarePlus => {
                Some(CostUnit::Requests)
            }
            Self::KvAwarePlus => Some(CostUnit::Tokens),
            Self::PredictedTtft => Some(CostUnit::Time),
            Self::RoundRobin | Self::PrefixAware | Self::KvAware | Self::Session | Self::Random => None,
        }
    }

    /// Whether it follows the session that a request names.
    #[must_use]
    pub const fn follows_sessions(self) -> bool {
        matches!(self, Self::Session | Self::SessionPlus)
    }
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A name that no strategy has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownStrategy(pub String);

impl fmt::Display for UnknownStrategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "find routing strategy \"{}\": there are", self.0)?;
        for (index, strategy) in Strategy::ALL.iter().enumerate() {
            write!(f, "{}{strategy}", if index == 0 { " " } else { ", " })?;
        }
        Ok(())
    }
}

impl core::error::Error for UnknownStrategy {}

impl FromStr for Strategy {
    type Err = UnknownStrategy;

    fn from_str(name: &str) -> Result<Self, UnknownStrategy> {
        Self::ALL.into_iter().find(|strategy| strategy.as_str() == name).ok_or_else(|| UnknownStrategy(name.to_owned()))
    }
}

/// What a token in each tier counts for, in thousandths of a token that need not be computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TierCredits {
    /// On the device.
    pub l0: u16,
    /// In the host's memory.
    pub l1: u16,
    /// In the pool.
    pub l2: u16,
}

impl Default for TierCredits {
    /// Those of Dynamo's router (1.6.1): 1.0, 0.75 and, for a cache that all share, 0.5.
    fn default() -> Self {
        Self { l0: 1000, l1: 750, l2: 500 }
    }
}

/// A router's set-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouterConfig {
    /// How a worker is chosen.
    pub strategy: Strategy,
    /// How many workers there are, numbered from 0; at least one.
    pub workers: u16,
    /// Where randomness starts.
    pub seed: u64,
    /// Tokens in a block of the workers' caches; at least one.
    pub block: Tokens,
    /// Tokens in a chunk of `prefixaware` and `prefixaware+`, at least one: 128 characters over the characters per token.
    pub chunk: Tokens,
    /// `prefixaware` goes by rate where the match is shorter (`--prefix-min-match-length`).
    pub prefix_min_match: Tokens,
    /// `kvaware` follows the controller where at most this much of the prompt is not matched (`--kv-aware-threshold`).
    pub kv_aware_threshold: Tokens,
    /// Tokens in a chunk of LMCache's controller (`chunk_size`); rounded up to whole blocks.
    pub lmcache_chunk: Tokens,
    /// How long a request counts for its worker's rate (`--request-stats-window`).
    pub qps_window: Span,
    /// Bytes that indexes may take together; those of HyperPod's strategies have no limit, as upstream.
    pub index_limit: u64,
    /// `prefixaware+` keeps to the longest prefix while its worker has at most so many requests more than the least loaded.
    pub load_slack: u32,
    /// `session+` keeps to a session's worker while that has at most so many thousandths of the mean.
    pub load_bound: u32,
    /// What tiers count for in `kvaware+`.
    pub credits: TierCredits,
    /// What a token of context that a worker holds for requests in flight counts for in `kvaware+`, in thousandths of a
    /// token to compute.
    pub context_weight: u16,
    /// `predicted-ttft`: a request's own work counts once more for each that waits at an average worker, times so many
    /// thousandths.
    pub externality: u16,
    /// `predicted-ttft`: so many thousandths of what is displaced are taken to be asked for again.
    pub lost_again: u16,
    /// For how long a request that was sent counts as computed, until the worker's own account has come.
    pub speculative: Span,
    /// Workers do not tell: this much is taken to be kept of what they were sent.
    pub guessed: Option<Kept>,
    /// A worker of which nothing was heard for so long holds nothing any more; `None`: it may be silent.
    pub silence: Option<Span>,
    /// What lies below the device.
    pub lower: Option<LowerTiers>,
    /// Workers number what they hold, as podlab's own do ([`kvcache::Strand`]): an index without a limit then finds what
    /// they tell of by those numbers, and costs runs instead of pieces. It says the same.
    pub strands: bool,
}

impl RouterConfig {
    /// HyperPod's by the defaults of upstream: chunks of 128 characters at 4 characters per token, blocks of 16 tokens, a
    /// threshold of 2000 tokens, LMCache's chunks of 256, a window of 60 s. The others: 256 MiB of index, a slack of 64
    /// requests (what SGLang's router allows), 1.25 times the mean, entries of 2 s, no lower tiers; seed 0.
    #[must_use]
    pub const fn new(strategy: Strategy, workers: u16) -> Self {
        Self {
            strategy,
            workers,
            seed: 0,
            block: Tokens(16),
            chunk: Tokens(32),
            prefix_min_match: Tokens(0),
            kv_aware_threshold: Tokens(2000),
            lmcache_chunk: Tokens(256),
            qps_window: Span::from_secs(60),
            index_limit: IndexConfig::DEFAULT,
            load_slack: 64,
            load_bound: 1250,
            credits: TierCredits { l0: 1000, l1: 750, l2: 500 },
            context_weight: 100,
            externality: 1000,
            lost_again: 0,
            speculative: Span::from_secs(2),
            guessed: None,
            silence: None,
            lower: None,
            strands: false,
        }
    }

    /// In which tiers the strategy knows what workers have: their devices, their hosts' memory, the pool. What
    /// `prefixaware` matches was sent to a worker; in which tier it is, if in any, it does not know.
    #[must_use]
    pub fn tiers_known(&self) -> [bool; 3] {
        let lower = |has: fn(&LowerTiers) -> Option<u64>| self.lower.as_ref().and_then(has).is_some();
        match self.strategy {
            Strategy::KvAware => [true, false, false],
            Strategy::KvAwarePlus | Strategy::PredictedTtft => [true, lower(|tiers| tiers.l1), lower(|tiers| tiers.l2)],
            _ => [false; 3],
        }
    }

    /// What a worker is taken to keep where none tells: 31,250 blocks (as llm-d's router), for 120 s (as Dynamo's).
    #[must_use]
    pub const fn guess(block: Tokens) -> Kept {
        Kept { tokens: 31_250 * block.0 as u64, ttl: Some(Span::from_secs(120)) }
    }
}
