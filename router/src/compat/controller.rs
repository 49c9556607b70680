//! `kvaware`: the first worker in the reply of LMCache's controller.
//!
//! Upstream asks the controller who has which 256-token chunk of the prompt. Of each chunk the controller names whoever
//! was the first to admit it, of those who have it still, and upstream takes the worker that is named first: that of the
//! first chunk, whoever has more. It is followed if what it is named for reaches at least to the prompt less 2000 tokens;
//! so for prompts up to 2000 tokens any hit wins, and a longer one that begins like many others finds only their common
//! beginning. Else upstream goes by session, and without one by rate. (`routing_logic.py` of production-stack,
//! `kv_controller.py` of LMCache; here the controller hears of workers' device caches.)

use crate::compat::sessions::Sessions;
use crate::config::RouterConfig;
use crate::index::{IndexConfig, Matches};
use crate::knowledge::Feed;
use crate::request::{Api, Decision, Missed, Reason};
use crate::router::{Asked, Choose};
use kvcache::{Tokens, WorkerId};

#[derive(Debug)]
pub(crate) struct Controller {
    pub(crate) feed: Feed,
    matches: Matches,
    fallback: Sessions,
    threshold: Tokens,
    chunk: Tokens,
}

impl Controller {
    pub(crate) fn new(config: &RouterConfig) -> Self {
        // What workers hold bounds what they tell; a controller that forgets would be another one.
        let (limit, by_piece) = (u64::MAX, !config.strands);
        let index = IndexConfig { limit, ordered: true, by_piece, ..IndexConfig::new(config.workers, config.block) };
        Self {
            feed: Feed::new(index).with_silence(config.silence),
            matches: Matches::new(),
            fallback: Sessions::new(config.workers, config.qps_window),
            threshold: config.kv_aware_threshold,
            chunk: Tokens(config.lmcache_chunk.0.next_multiple_of(config.block.0)),
        }
    }

    /// Whom the controller names first, if that is followed. The prompt has been matched, unless it is a chat's.
    fn first(&self, asked: &Asked<'_>) -> Result<WorkerId, Missed> {
        if asked.request.api == Api::Chat {
            return Err(Missed::Chat);
        }
        let chain = asked.request.chain;
        let reply = self.feed.index().first_in_reply(&self.matches, self.chunk, asked.available.set());
        let (worker, matched) = reply.ok_or(Missed::NoHolder)?;
        if matched < chain.tokens().saturating_sub(self.threshold) {
            return Err(Missed::TooShort { matched });
        }
        Ok(worker)
    }
}

impl Choose for Controller {
    fn choose(&mut self, asked: &Asked<'_>) -> Decision {
        let is_seen = asked.request.api != Api::Chat;
        if is_seen {
            self.feed.index().matches(asked.request.chain, &mut self.matches);
        }
        let (worker, reason) = match self.first(asked) {
            Ok(worker) => (worker, Reason::FirstHolder),
            Err(missed) => self.fallback.pick(asked.request.session, Some(missed), asked.available, asked.now),
        };
        self.fallback.note(worker, asked.now);
        // Of a chat, nobody looked.
        if is_seen { asked.decide(worker, reason, &self.matches) } else { Decision::blind(worker, reason) }
    }
}
