//! Load, or compute again?
//!
//! A hit is not always a win: a tier may be slower than the engine. The choice compares what loading is expected to take
//! with what computing would, both from coefficients that whoever owns the cost model derives, and corrects the former
//! by what loads have really taken.

use crate::time::Span;
use crate::units::Tokens;

/// What loading from one tier takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TierCost {
    /// However little it is.
    pub fixed: Span,
    /// Per token.
    pub per_token: Span,
}

/// What loading and computing take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Costs {
    /// Computing a token: the linear layers.
    pub new_token: Span,
    /// Computing 1,024 query-key pairs: the attention over what comes before.
    pub pairs_1024: Span,
    /// Loading from L1.
    pub host: TierCost,
    /// Loading from L2.
    pub pool: TierCost,
}

/// When to load what a tier has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// Whatever it takes: LMCache.
    Always,
    /// Never: tiers are written and not read.
    Never,
    /// Where it is expected to take less time than computing.
    ByCost(Costs),
}

/// What experience says, in moving averages with weight 1/4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pace {
    /// How much slower than expected loads from L1 have been, in permille.
    host: u64,
    /// The same from L2.
    pool: u64,
    /// How often, in permille, it was of use to ask the pool.
    useful: u64,
    /// How long it took to learn that the pool has nothing; `None`: that has not happened yet.
    wasted: Option<Span>,
}

/// So often, in permille, it is thought to be of use to ask the pool before anybody has, and at least.
const USEFUL: u64 = 125;
const USEFUL_LEAST: u64 = 8;

impl Default for Pace {
    fn default() -> Self {
        Self { host: 1000, pool: 1000, useful: USEFUL, wasted: None }
    }
}

/// A load that takes a thousand times what was expected says no more than one that takes a hundred times.
const SLOWEST: u64 = 100_000;

impl Choice {
    /// Picoseconds expected to be gained by having tokens `had..cached` loaded, of which `(host, pool)` tokens move;
    /// `None`: not to be loaded. What is computed keeps not only its own request waiting: also those of the `others` that
    /// stand behind it, about half. Half of that counts, as what loads take is a guess, and where many load it errs alike.
    pub(super) fn gain(
        &self,
        pace: &Pace,
        (had, cached): (Tokens, Tokens),
        (host, pool): (Tokens, Tokens),
        others: u32,
    ) -> Option<u64> {
        let costs = match self {
            Self::Always => return Some(u64::from(cached.0)),
            Self::Never => return None,
            Self::ByCost(costs) => costs,
        };
        let new = u128::from(cached.0 - had.0);
        let pairs = new * (u128::from(had.0) + u128::from(cached.0)) / 2;
        let computing = new * u128::from(costs.new_token.0) + pairs * u128::from(costs.pairs_1024.0) / 1024;
        let computing = computing * (4 + u128::from(others)) / 4;
        let loading = costs.host.of(host, pace.host) + costs.pool.of(pool, pace.pool);
        computing.checked_sub(loading).filter(|gain| *gain > 0).map(|gain| gain.min(u128::from(u64::MAX)) as u64)
    }
}

impl TierCost {
    /// Others on the same way slow it down; that is in the pace, which has seen them.
    fn of(self, tokens: Tokens, pace: u64) -> u128 {
        if tokens == Tokens::ZERO {
            return 0;
        }
        let moving = u128::from(self.per_token.0) * u128::from(tokens.0);
        (u128::from(self.fixed.0) + moving) * u128::from(pace) / 1000
    }
}

impl Pace {
    /// A load of `(host, pool)` tokens took this long. One that came short says only that it was not faster.
    pub(super) fn saw(&mut self, (host, pool): (Tokens, Tokens), whole: bool, took: Span, choice: &Choice) {
        let Choice::ByCost(costs) = choice else { return };
        let expected = costs.host.of(host, 1000) + costs.pool.of(pool, 1000);
        let Some(ratio) = (u128::from(took.0) * 1000).checked_div(expected) else { return };
        let ratio = ratio.min(u128::from(SLOWEST)) as u64;
        let slot = if pool > Tokens::ZERO { &mut self.pool } else { &mut self.host };
        if whole || ratio > *slot {
            *slot = (*slot * 3 + ratio) / 4;
        }
    }

    /// The pool was asked, and that was of use, or not.
    pub(super) fn asked(&mut self, useful: bool) {
        let now = if useful { 1000 } else { 0 };
        self.useful = ((self.useful * 3 + now) / 4).max(USEFUL_LEAST);
    }

    /// The pool answered after so long that it has nothing.
    pub(super) fn learnt_nothing(&mut self, took: Span, choice: &Choice) {
        let Choice::ByCost(costs) = choice else { return };
        let before = self.wasted.unwrap_or(costs.pool.fixed);
        self.wasted = Some(Span((before.0 * 3 + took.0) / 4));
    }

    /// Nobody was asked: what a question takes loses weight, as `forget` says of loads.
    pub(super) fn asked_nobody(&mut self) {
        if let Some(wasted) = &mut self.wasted {
            wasted.0 -= wasted.0 / 128;
        }
    }

    /// How long to wait for an answer that may gain so many picoseconds; `None`: it is not worth asking. It is where what
    /// is to be expected of it exceeds what an answer takes that is none; then a quarter of the gain may be staked.
    pub(super) fn patience(&self, gain: u64, costs: &Costs) -> Option<Span> {
        let expected = u128::from(gain) * u128::from(self.useful) / 1000;
        let wasted = self.wasted.unwrap_or(costs.pool.fixed);
        (expected > u128::from(wasted.0)).then_some(Span(gain / 4))
    }

    /// Something was not loaded: what is not tried is not learnt about, so what was seen loses weight, and a tier that
    /// recovers is tried again some hundred requests later.
    pub(super) fn forget(&mut self) {
        for slot in [&mut self.host, &mut self.pool] {
            *slot -= slot.saturating_sub(1000) / 64;
        }
    }
}
