//! Which strategy, with which numbers.

use alloc::borrow::ToOwned;
use alloc::string::String;
use core::fmt;
use core::str::FromStr;
use kvcache::{Span, Tokens};

/// How a worker is chosen. The names are the values of `intelligentRoutingSpec.routingStrategy`; the behaviour is
/// that of vLLM production-stack's routers of the same names (commit a6c01db, August 2026).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Strategy {
    /// Each available worker in turn.
    RoundRobin,
    /// A worker that was *sent* the longest prefix of the prompt's text before. It never forgets and reads no load, so
    /// a first chunk that all requests share sends all of them to one worker.
    PrefixAware,
    /// A worker that *holds* the longest prefix of the prompt's tokens now, if that is enough of it.
    KvAware,
    /// The worker of the request's session.
    Session,
}

impl Strategy {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::RoundRobin, Self::PrefixAware, Self::KvAware, Self::Session];

    /// Its name in an endpoint file.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RoundRobin => "roundrobin",
            Self::PrefixAware => "prefixaware",
            Self::KvAware => "kvaware",
            Self::Session => "session",
        }
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

/// A router's set-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouterConfig {
    /// How a worker is chosen.
    pub strategy: Strategy,
    /// How many workers there are, numbered from 0; at least one.
    pub workers: u16,
    /// Where the randomness of `prefixaware` starts.
    pub seed: u64,
    /// Tokens in a block of the workers' caches, which `kvaware` counts in; at least one. Upstream asks LMCache, which
    /// knows 256-token chunks only.
    pub block: Tokens,
    /// Tokens in a chunk of `prefixaware`, at least one: 128 characters over the characters per token.
    pub chunk: Tokens,
    /// `kvaware` follows the index where at most this much of the prompt is not held (`--kv-aware-threshold`).
    pub kv_aware_threshold: Tokens,
    /// How long a request counts for its worker's rate (`--request-stats-window`).
    pub qps_window: Span,
}

impl RouterConfig {
    /// The defaults of upstream: chunks of 128 characters at 4 characters per token, blocks of 16 tokens, a threshold
    /// of 2000 tokens, a window of 60 s; seed 0.
    #[must_use]
    pub const fn new(strategy: Strategy, workers: u16) -> Self {
        Self {
            strategy,
            workers,
            seed: 0,
            block: Tokens(16),
            chunk: Tokens(32),
            kv_aware_threshold: Tokens(2000),
            qps_window: Span::from_secs(60),
        }
    }
}
