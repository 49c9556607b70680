//! What was weighed of each worker: the evidence behind a decision.

use kvcache::{Span, Tokens};

/// Tokens of a prompt, by the tier that has them. No token counts twice: what a tier has behind what faster ones have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TierTokens {
    /// On the worker's device.
    pub l0: Tokens,
    /// In its host's memory, behind that.
    pub l1: Tokens,
    /// In the pool that all share, behind that.
    pub l2: Tokens,
}

impl TierTokens {
    /// Of all tiers together: how long a prefix need not be computed.
    #[must_use]
    pub fn total(self) -> Tokens {
        self.l0 + self.l1 + self.l2
    }

    /// What is left of it within the first `most` tokens.
    #[must_use]
    pub fn within(self, most: Tokens) -> Self {
        let l0 = self.l0.min(most);
        let l1 = self.l1.min(most - l0);
        Self { l0, l1, l2: self.l2.min(most - l0 - l1) }
    }
}

/// What a decision weighed of one worker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Score {
    /// Whether it could be chosen at all.
    pub available: bool,
    /// What it has of the prompt, as far as the router knows. `None`: nobody looked.
    pub matched: Option<TierTokens>,
    /// Requests that were sent there and have not ended, as far as the router has heard. `None`: nobody counts.
    pub requests: Option<u32>,
    /// Tokens that those have still to compute, as far as it has heard; zero where nobody counts.
    pub queued: u64,
    /// Tokens of their contexts, those included; zero where nobody counts.
    pub context: u64,
    /// What the strategy makes smallest, in the unit of [`crate::Strategy::cost`]. `None`: it goes by no cost.
    pub cost: Option<u64>,
    /// `predicted-ttft`: the time to first token that is expected there.
    pub expected: Option<Span>,
    /// `predicted-ttft`: device tokens of other prompts that would make room.
    pub displaced: Option<Tokens>,
    /// How old the latest news of the worker is. `None`: none was heard.
    pub age: Option<Span>,
}

/// In which unit a strategy counts its cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CostUnit {
    /// Requests in flight.
    Requests,
    /// Tokens to compute.
    Tokens,
    /// Picoseconds.
    Time,
}
