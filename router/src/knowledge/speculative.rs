//! What a worker will hold soon: a request that was sent there is taken for done until the worker's own account has come.
//!
//! Between a decision and the event that tells of it lie a queue, a prefill and the way of the signal; requests with the
//! same beginning that come meanwhile should follow. Entries live for two seconds and as long as signals take, to a quarter
//! of that: they are kept by the quarter in which they were written, and go together. They are kept in steps of sixteen
//! blocks, which makes writing them down as much cheaper: a decision must not cost what an event stream costs.

use crate::index::{Index, IndexConfig, Matches};
use alloc::collections::VecDeque;
use kvcache::{Chain, Span, Time, Tokens, WorkerId};

/// Four of them cover a life, one is written to, and one is left where signals came to take less time.
const PARTS: usize = 6;
/// Blocks in a step.
const STEP: u32 = 16;

#[derive(Debug)]
struct Part {
    closes: Time, // what is sent later goes into the next one
    sent: Index,
}

#[derive(Debug)]
pub(crate) struct Speculative {
    parts: VecDeque<Part>, // the last one is written to
    config: IndexConfig,
    life: Span,
    matches: Matches,
}

impl Speculative {
    /// Entries that live for `life` where signals take no time, within `index.limit` bytes all together.
    pub(crate) fn new(index: IndexConfig, life: Span) -> Self {
        let least = IndexConfig::least(index.workers);
        let unit = Tokens(index.unit.0 * STEP);
        let limit = (index.limit / PARTS as u64).max(least);
        let config = IndexConfig { limit, unit, by_piece: false, ..index };
        Self { parts: VecDeque::with_capacity(PARTS), config, life, matches: Matches::new() }
    }

    fn expire(&mut self, now: Time, lag: Span) {
        let life = self.life + lag;
        while self.parts.pop_front_if(|part| part.closes + life <= now).is_some() {}
    }

    /// Raises what is known of each worker to what was sent there lately. Signals take `lag`.
    pub(crate) fn raise(&mut self, chain: Chain<'_>, tokens: &mut [Tokens], now: Time, lag: Span) {
        self.expire(now, lag);
        for part in &self.parts {
            part.sent.matches(chain, &mut self.matches);
            for (known, sent) in tokens.iter_mut().zip(self.matches.tokens()) {
                *known = (*known).max(*sent);
            }
        }
    }

    /// `worker` was sent `chain`. Signals take `lag`.
    pub(crate) fn sent(&mut self, worker: WorkerId, chain: Chain<'_>, now: Time, lag: Span) {
        self.expire(now, lag);
        if self.parts.back().is_none_or(|part| part.closes <= now) {
            if self.parts.len() == PARTS {
                self.parts.pop_front();
            }
            let closes = now + Span((self.life + lag).0 / 4).max(Span(1));
            self.parts.push_back(Part { closes, sent: Index::new(self.config) });
        }
        if let Some(part) = self.parts.back_mut() {
            part.sent.store_chain(worker, chain, chain.tokens());
        }
    }

    /// `worker` restarted, or is gone.
    pub(crate) fn clear(&mut self, worker: WorkerId) {
        self.parts.iter_mut().for_each(|part| part.sent.clear(worker));
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.parts.iter().map(|part| part.sent.bytes()).sum()
    }
}
