//! `prefixaware+`: the longest prefix that was sent, within bounds.
//!
//! What upstream's `prefixaware` lacks: memory is bounded; load is read, and keeps affinity (the longest prefix among
//! workers with at most `load_slack` requests more than the least loaded one, instead of dropping all affinity where
//! somebody is overloaded: sglang #32195); a miss goes to the least loaded worker, not to a random one; and a prefix that
//! more requests ask for than those who were sent it should serve is sent to one more worker.

use crate::config::RouterConfig;
use crate::corrected::heat::Heat;
use crate::index::{Index, IndexConfig, Matches};
use crate::request::{Decision, Reason};
use crate::router::{Asked, Choose};
use kvcache::{Tokens, WorkerId};

#[derive(Debug)]
pub(crate) struct BoundedPrefixes {
    sent: Index,
    matches: Matches,
    heat: Heat,
    slack: u32,
}

impl BoundedPrefixes {
    pub(crate) fn new(config: &RouterConfig) -> Self {
        let index = IndexConfig {
            limit: config.index_limit,
            by_piece: false,
            ..IndexConfig::new(config.workers, config.chunk)
        };
        Self { sent: Index::new(index), matches: Matches::new(), heat: Heat::default(), slack: config.load_slack }
    }

    /// `worker` restarted, or is gone.
    pub(crate) fn clear(&mut self, worker: WorkerId) {
        self.sent.clear(worker);
    }

    pub(crate) const fn index(&self) -> &Index {
        &self.sent
    }

    fn pick(&mut self, asked: &Asked<'_>) -> (WorkerId, Reason) {
        self.heat.count(asked.now);
        let requests = |worker: WorkerId| asked.loads.load(worker).requests;
        let least = asked.available.iter().map(requests).min().expect("somebody is available");
        let may = |worker: WorkerId| requests(worker) - least <= self.slack;
        let matches = &self.matches;
        let longest = asked.available.iter().filter(|worker| may(*worker)).map(|worker| matches.of(worker)).max();
        let longest = longest.unwrap_or_default();
        if longest == Tokens::ZERO {
            return (asked.least_loaded(|_| true).expect("somebody is available"), Reason::LeastLoaded);
        }
        let chain = asked.request.chain;
        let piece = chain.pieces()[chain.piece_of(longest - Tokens(1))].key;
        self.heat.note(piece);
        let holds = |worker: WorkerId| matches.of(worker) == longest;
        let holders = asked.available.iter().filter(|worker| holds(*worker)).count() as u16;
        let wanted = self.heat.wanted(piece, asked.available.count());
        if holders < wanted
            && let Some(worker) = asked.least_loaded(|worker| may(worker) && !holds(worker))
        {
            return (worker, Reason::HotPrefix { holders, wanted });
        }
        let worker = asked.least_loaded(|worker| may(worker) && holds(worker));
        (worker.expect("the longest prefix is somebody's"), Reason::LongestPrefix)
    }
}

impl Choose for BoundedPrefixes {
    fn choose(&mut self, asked: &Asked<'_>) -> Decision {
        let chain = asked.request.chain;
        self.sent.tell(asked.now);
        self.sent.matches(chain, &mut self.matches);
        let (worker, reason) = self.pick(asked);
        let mut decision = asked.decide(worker, reason, &self.matches);
        for (score, worker) in decision.scores.iter_mut().zip((0..).map(WorkerId)) {
            let load = asked.loads.load(worker);
            score.requests = Some(load.requests);
            (score.queued, score.context) = (load.new_tokens, load.context_tokens);
            score.cost = score.available.then(|| u64::from(load.requests));
        }
        self.sent.store_chain(worker, chain, chain.tokens());
        decision
    }
}
