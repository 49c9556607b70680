//! What a worker's work takes: coefficients, not a model.
//!
//! Whoever knows the engine derives them (the simulator, from its cost model), whoever does not learns them.

use kvcache::{Span, TierCost, Time, Tokens};

/// Whether a worker loads what lower tiers have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Loading {
    /// Whatever they have, however long it takes.
    Always,
    /// Nothing: it computes again.
    #[default]
    Never,
    /// What is faster than computing again.
    WhereFaster,
}

/// What work takes at a worker. A pass with `n` new tokens, `p` query-key pairs of prompts and a decode context of `c`
/// tokens lasts `max(fixed + n * per_new_token + p * per_1024_pairs / 1024, least) + c * per_context_token`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forecast {
    /// Of a pass that computes much.
    pub fixed: Span,
    /// A pass that computes little takes no less: it reads the weights.
    pub least: Span,
    /// For each token of a prompt.
    pub per_new_token: Span,
    /// For each 1,024 pairs of a prompt's query and key.
    pub per_1024_pairs: Span,
    /// For each token of the contexts of those who decode meanwhile.
    pub per_context_token: Span,
    /// Most new tokens in a pass, at least one.
    pub pass: Tokens,
    /// Loading from the host's memory.
    pub l1: TierCost,
    /// Loading from the pool.
    pub l2: TierCost,
    /// What is loaded.
    pub loading: Loading,
    /// Tokens of KV that the device holds.
    pub capacity: u64,
    /// When this was known.
    pub as_of: Time,
}

/// What a prefill takes where nobody decodes, and in how many passes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Alone {
    span: Span,
    passes: u64,
}

impl Alone {
    /// Beside others who decode with `context` tokens of context together.
    #[inline]
    pub(crate) fn beside(self, forecast: &Forecast, context: u64) -> Span {
        let each = forecast.per_context_token.0.saturating_mul(context);
        Span(self.span.0.saturating_add(self.passes.saturating_mul(each)))
    }
}

impl Forecast {
    /// Where nobody says what work takes, a token counts as one unit, whatever that is.
    pub const UNKNOWN: Self = Self {
        fixed: Span::ZERO,
        least: Span::ZERO,
        per_new_token: Span::from_micros(50),
        per_1024_pairs: Span::ZERO,
        per_context_token: Span::ZERO,
        pass: Tokens(8192),
        l1: TierCost { fixed: Span::ZERO, per_token: Span::from_micros(12) },
        l2: TierCost { fixed: Span::ZERO, per_token: Span::from_micros(25) },
        loading: Loading::WhereFaster,
        capacity: u64::MAX,
        as_of: Time::ZERO,
    };

    /// How long it takes to compute `new` tokens behind `cached` ones, while others decode with `context` tokens of
    /// context together. O(1).
    #[must_use]
    pub fn prefill(&self, cached: Tokens, new: Tokens, context: u64) -> Span {
        self.alone(cached, new).beside(self, context)
    }

    /// The same where nobody decodes.
    #[inline]
    pub(crate) fn alone(&self, cached: Tokens, new: Tokens) -> Alone {
        let pass = self.pass.0.max(1);
        let (full, rest) = (u64::from(new.0 / pass), u64::from(new.0 % pass));
        let (cached, new, pass) = (u64::from(cached.0), u64::from(new.0), u64::from(pass));
        let pairs = new * cached + new * (new + 1) / 2;
        let attention = (u128::from(pairs) * u128::from(self.per_1024_pairs.0) / 1024) as u64;
        let of_full = (self.fixed.0 + pass * self.per_new_token.0).max(self.least.0);
        let of_rest = if rest == 0 { 0 } else { (self.fixed.0 + rest * self.per_new_token.0).max(self.least.0) };
        Alone { span: Span(full * of_full + of_rest + attention), passes: full + u64::from(rest > 0) }
    }

    /// Whether `other` says the same of what work takes.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        *self == Self { as_of: self.as_of, ..*other }
    }

    /// How long it takes to have the first `total` tokens, of which the device has `l0`, and behind them the host's
    /// memory `l1` and the pool `l2`; and how many of them are computed. The last one always is.
    #[must_use]
    pub fn first_token(&self, total: Tokens, l0: Tokens, l1: Tokens, l2: Tokens, context: u64) -> (Span, Tokens) {
        let from = |loaded: Span, cached: Tokens| {
            let new = total.saturating_sub(cached).max(Tokens(1));
            (loaded + self.prefill(total.saturating_sub(new), new, context), new)
        };
        let load = |tier: &TierCost, tokens: Tokens| {
            if tokens == Tokens::ZERO { Span::ZERO } else { tier.fixed + tier.per_token * u64::from(tokens.0) }
        };
        // Where lower tiers have nothing there is nothing to choose.
        if self.loading == Loading::Never || (l1, l2) == (Tokens::ZERO, Tokens::ZERO) {
            return from(Span::ZERO, l0);
        }
        let near = load(&self.l1, l1);
        let ends = [(Span::ZERO, l0), (near, l0 + l1), (near + load(&self.l2, l2), l0 + l1 + l2)];
        match self.loading {
            Loading::Always => from(ends[2].0, ends[2].1),
            Loading::Never | Loading::WhereFaster => {
                let [first, second, third] = ends.map(|(loaded, cached)| from(loaded, cached));
                first.min(second).min(third)
            }
        }
    }
}
