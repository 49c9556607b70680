//! How the lower tiers are used. Names follow LMCache, whose settings these are.

use super::Choice;
use crate::breaker::BreakerConfig;
use crate::host::HostConfig;
use crate::time::{Span, Time};
use crate::units::Tokens;

/// What the engine does while a load is under way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LoadMode {
    /// The pass that needs it does not begin before it has ended: LMCache's default. The whole batch waits.
    #[default]
    Blocking,
    /// The request waits with its blocks in hand, and others go on (`enable_async_loading`).
    Overlapped,
    /// The pass begins at once and needs each layer when it gets there (`use_layerwise`): it cannot end before the load.
    Layerwise,
}

/// What the engine does while a store copies off the device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StoreMode {
    /// It waits: LMCache synchronises with the copy at the end of each pass.
    #[default]
    Blocking,
    /// It goes on.
    Overlapped,
}

/// How long a load may take before its request is computed instead: SGLang HiCache's `timeout` policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadline {
    /// However short it is.
    pub base: Span,
    /// For each 1,024 tokens besides.
    pub per_1k: Span,
}

impl Default for Deadline {
    fn default() -> Self {
        Self { base: Span::from_secs(1), per_1k: Span::from_millis(250) }
    }
}

impl Deadline {
    /// When a load of `tokens` that begins at `now` must have ended.
    #[must_use]
    pub fn of(&self, tokens: Tokens, now: Time) -> Time {
        now + self.base + Span((u128::from(self.per_1k.0) * u128::from(tokens.0) / 1024) as u64)
    }
}

/// How a worker uses what lies below its device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TierConfig {
    /// Tokens in an object (`chunk_size`).
    pub chunk: Tokens,
    /// L1; `None`: there is none.
    pub host: Option<HostConfig>,
    /// Whether there is an L2.
    pub pool: bool,
    /// What the engine does while a load is under way.
    pub load: LoadMode,
    /// What the engine does while a store copies off the device.
    pub store: StoreMode,
    /// Load, or compute again?
    pub choice: Choice,
    /// Whether the last, partial chunk of a prompt is an object, too.
    pub save_unfull_chunk: bool,
    /// Whether replies are stored like prompts.
    pub save_decode_cache: bool,
    /// Fewer tokens than this are not worth a load.
    pub min_retrieve: Tokens,
    /// How long a load may take.
    pub deadline: Deadline,
    /// When L2 is left alone.
    pub breaker: BreakerConfig,
}

impl TierConfig {
    /// Whether the engine stands still while the pool is asked: what LMCache does in the scheduler's look-up.
    #[must_use]
    pub fn asks_in_turn(&self) -> bool {
        self.load == LoadMode::Blocking && self.choice == Choice::Always
    }

    /// Whether a request asks the pool when it arrives, and not when its turn comes, so that most of the answer's time is
    /// hidden by its wait in the queue: where one may choose, podlab's own way.
    #[must_use]
    pub fn asks_ahead(&self) -> bool {
        matches!(self.choice, Choice::ByCost(_))
    }
}
