//! `kvaware`: a worker that holds the longest prefix of the prompt now, by its own account.
//!
//! Upstream takes the first instance in the reply of the LMCache controller, if that matched anything and at least the
//! prompt less 2000 tokens; so for prompts up to 2000 tokens any hit wins. Else it goes by session, and without one by
//! rate. Here the first is the lowest number among those with the longest match. The match is what is resident: a
//! worker that holds all of a prompt still computes its last token, and with it a block, again.

use crate::available::Available;
use crate::config::RouterConfig;
use crate::feed::Feed;
use crate::request::{Api, Decision, Missed, Reason, RouteRequest};
use crate::router::Choose;
use crate::sessions::Sessions;
use kvcache::{CacheEvent, Time, Tokens, WorkerId};

#[derive(Debug)]
pub(crate) struct Exact {
    feed: Feed,
    fallback: Sessions,
    threshold: Tokens,
}

impl Exact {
    pub(crate) fn new(config: &RouterConfig) -> Self {
        Self {
            feed: Feed::new(config.workers, config.block),
            fallback: Sessions::new(config.workers, config.qps_window),
            threshold: config.kv_aware_threshold,
        }
    }

    pub(crate) const fn feed(&self) -> &Feed {
        &self.feed
    }

    #[inline]
    pub(crate) fn hear(&mut self, worker: WorkerId, event: &CacheEvent) {
        self.feed.apply(worker, event);
    }

    /// By the index: the holder of the longest prefix, where that is long enough.
    fn holder(&self, request: &RouteRequest<'_>, available: &Available) -> Result<Decision, Missed> {
        if request.api == Api::Chat {
            return Err(Missed::Chat);
        }
        let deepest = self.feed.holders().deepest(request.chain, available).ok_or(Missed::NoHolder)?;
        let longest = deepest.tokens;
        if longest < request.chain.tokens().saturating_sub(self.threshold) {
            return Err(Missed::TooShort { longest });
        }
        let mut holders = available.reaching(deepest.row, longest.0);
        let worker = holders.next().ok_or(Missed::NoHolder)?;
        let tied = 1 + holders.count() as u16;
        Ok(Decision { worker, reason: Reason::Holder { tied }, matched: Some(longest) })
    }
}

impl Choose for Exact {
    fn choose(&mut self, request: &RouteRequest<'_>, available: &Available, now: Time) -> Decision {
        let decision = self.holder(request, available).unwrap_or_else(|missed| {
            let (worker, reason) = self.fallback.pick(request.session, Some(missed), available, now);
            let matched = match missed {
                Missed::Chat => None,
                Missed::NoHolder => Some(Tokens::ZERO),
                Missed::TooShort { .. } => Some(self.feed.holders().matched(request.chain, worker)),
            };
            Decision { worker, reason, matched }
        });
        self.fallback.note(decision.worker, now);
        decision
    }
}
