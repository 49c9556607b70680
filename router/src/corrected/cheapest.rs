//! `kvaware+`: the fewest tokens to compute.
//!
//! ```text
//! cost = tokens queued there + max(0, prompt - credit) + context_weight * contexts in flight
//! credit = 1.0 * L0 + 0.75 * L1 + 0.5 * L2
//! ```
//!
//! As Dynamo's router (1.6.1) adds them: affinity and load in one score, in one unit. What upstream's `kvaware` lacks: the
//! most that *any* worker has counts, not what the first one is named for; a worker that is swamped is left alone; the
//! lower tiers count; and it works for chat.

use crate::config::{RouterConfig, TierCredits};
use crate::knowledge::Knowledge;
use crate::request::{Decision, Reason};
use crate::router::{Asked, Choose};
use crate::score::TierTokens;
use kvcache::{Tokens, WorkerId};

#[derive(Debug)]
pub(crate) struct Cheapest {
    pub(crate) knowledge: Knowledge,
    credits: TierCredits,
    context_weight: u16,
}

impl Cheapest {
    pub(crate) fn new(config: &RouterConfig) -> Self {
        Self { knowledge: Knowledge::new(config), credits: config.credits, context_weight: config.context_weight }
    }

    fn to_compute(&self, prompt: Tokens, known: TierTokens) -> u64 {
        let part = |tokens: Tokens, thousandths: u16| u64::from(tokens.0) * u64::from(thousandths);
        let TierCredits { l0, l1, l2 } = self.credits;
        let credit = part(known.l0, l0) + part(known.l1, l1) + part(known.l2, l2);
        u64::from(prompt.0).saturating_sub(credit / 1000)
    }
}

impl Choose for Cheapest {
    fn choose(&mut self, asked: &Asked<'_>) -> Decision {
        let (chain, now) = (asked.request.chain, asked.now);
        self.knowledge.look(chain, now, asked.lag);
        let cost = |worker: WorkerId, known: TierTokens| {
            let load = asked.loads.load(worker);
            let contexts = load.context_tokens * u64::from(self.context_weight) / 1000;
            load.new_tokens + self.to_compute(chain.tokens(), known) + contexts
        };
        let mut scores = asked.scores(self.knowledge.tiers());
        let held = |worker| self.knowledge.held(worker);
        for (score, worker) in scores.iter_mut().zip((0..).map(WorkerId)) {
            score.cost = score.available.then(|| cost(worker, score.matched.unwrap_or_default()));
        }
        let (worker, tied) = asked.cheapest(&scores, held);
        self.knowledge.sent(worker, chain, now, asked.lag);
        Decision::weighed(worker, Reason::LowestCost { tied }, scores)
    }
}
