//! How an engine is set up, and what it refuses.

use core::fmt;
use kvcache::{Blocks, CacheConfig, TierConfig, Tokens};

/// How a worker's engine is set up. Names are vLLM's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EngineConfig {
    /// Most sequences running at once.
    pub max_num_seqs: u32,
    /// Most new tokens in a pass.
    pub max_num_batched_tokens: Tokens,
    /// Most tokens of prompt and reply together.
    pub max_model_len: Tokens,
    /// Whether a prompt may be computed in parts.
    pub chunked_prefill: bool,
    /// Most tokens of one chunk; `None`: what the budget leaves.
    pub long_prefill_token_threshold: Option<Tokens>,
    /// Above 1 sets `long_prefill_token_threshold` where that is not given, and does nothing else.
    pub max_num_partial_prefills: u32,
    /// Admit only where the whole prompt fits.
    pub reserve_full_isl: bool,
    /// Plan a pass while the one before it runs.
    pub async_scheduling: bool,
    /// Most passes that may be run as one stretch: 1 where somebody waits for every token.
    pub max_repeats: u64,
    /// Whether a pass remembers who took part ([`Replica::work`](super::Replica::work)), and each token is told ([`Output::Tokens`](super::Output::Tokens)).
    pub record_work: bool,
    /// The device cache.
    pub cache: CacheConfig,
    /// What lies below the device.
    pub tiers: Option<TierConfig>,
}

/// An engine that could never serve what it promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidEngine {
    /// `max_num_batched_tokens` is below `max_num_seqs`: some decoder would starve.
    BudgetBelowSequences,
    /// Without chunked prefill, a prompt above `max_num_batched_tokens` would wait for ever.
    BudgetBelowModelLen,
    /// One sequence of `max_model_len` does not fit into the cache: it would preempt itself for ever.
    CacheBelowModelLen {
        /// Blocks that it takes.
        needed: Blocks,
        /// Blocks there are.
        capacity: Blocks,
    },
    /// A limit is zero.
    Zero(&'static str),
}

impl fmt::Display for InvalidEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BudgetBelowSequences => {
                f.write_str("max_num_batched_tokens is below max_num_seqs: raise the one or lower the other")
            }
            Self::BudgetBelowModelLen => f.write_str(
                "without chunked prefill, max_num_batched_tokens must be at least max_model_len: raise it, or allow chunks",
            ),
            Self::CacheBelowModelLen { needed, capacity } => write!(
                f,
                "one sequence of max_model_len takes {needed} of KV cache, there are {capacity}: lower max_model_len, or give the worker more memory"
            ),
            Self::Zero(name) => write!(f, "{name} must be at least 1"),
        }
    }
}

impl core::error::Error for InvalidEngine {}

/// A request that the engine will never serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Prompt and reply exceed `max_model_len`.
    TooLong {
        /// Tokens of prompt and reply.
        tokens: u64,
        /// The limit.
        max_model_len: Tokens,
    },
    /// There is no prompt, or nothing to emit.
    Empty,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { tokens, max_model_len } => {
                write!(f, "prompt and reply are {tokens} tokens, max_model_len is {}", max_model_len.0)
            }
            Self::Empty => f.write_str("a request needs a prompt and at least one token to emit"),
        }
    }
}

impl core::error::Error for Refused {}

impl EngineConfig {
    /// Whether a request can be served at all.
    ///
    /// # Errors
    /// Why it never will.
    pub fn would_serve(&self, prompt: Tokens, output: Tokens) -> Result<(), Refused> {
        let tokens = u64::from(prompt.0) + u64::from(output.0);
        if tokens > u64::from(self.max_model_len.0) {
            return Err(Refused::TooLong { tokens, max_model_len: self.max_model_len });
        }
        if prompt == Tokens::ZERO || output == Tokens::ZERO { Err(Refused::Empty) } else { Ok(()) }
    }

    /// Most tokens of one chunk.
    pub(super) fn chunk_cap(&self) -> Tokens {
        let derived = (self.max_num_partial_prefills > 1).then(|| Tokens((self.max_model_len.0 / 25).max(1)));
        self.long_prefill_token_threshold.or(derived).unwrap_or(Tokens(u32::MAX))
    }
}
