//! What workers really had of a prompt when it was routed, which no router can know for sure.

use super::Cluster;
use kvcache::{Chain, Tokens, WorkerId};

/// Tokens of a prompt on the workers' devices, in full blocks, at the moment of a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overlap {
    /// On that of the worker chosen.
    pub chosen: Tokens,
    /// The most on that of any worker.
    pub best: Tokens,
}

impl Overlap {
    /// What was lost by not choosing the worker that had the most.
    #[must_use]
    pub fn regret(self) -> Tokens {
        self.best - self.chosen
    }
}

impl Cluster {
    /// What each worker has of `chain` now. The last token is computed in any case, and with it its block.
    pub(super) fn overlap(&self, chain: Chain<'_>, chosen: WorkerId) -> Overlap {
        let most = Tokens(chain.tokens().0.saturating_sub(1)).full_blocks(self.block);
        let of = |worker: usize| {
            self.stations[worker].replica.cache().device().find(chain, most).blocks().tokens(self.block)
        };
        let there = |worker: &usize| self.away.is_empty() || !self.away.contains(&WorkerId(*worker as u16));
        let chosen = chosen.index();
        let others = (0..self.stations.len()).filter(|worker| *worker != chosen);
        let best = others.filter(there).map(of).max().unwrap_or_default();
        let chosen = of(chosen);
        Overlap { chosen, best: best.max(chosen) }
    }
}
