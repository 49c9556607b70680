//! What a worker will hold soon: a request that was sent there is taken for done until the worker's own account has come.
//!
//! Between a decision and the event that tells of it lie a queue, a prefill and the way of the signal; requests with the
//! same beginning that come meanwhile should follow. Entries live for two seconds, to a quarter of that: they are kept by
//! the quarter in which they were written, and go together. They are kept in steps of sixteen blocks, which makes writing
//! them down as much cheaper: a decision must not cost what an event stream costs.

use crate::index::{Index, IndexConfig, Matches};
use alloc::vec::Vec;
use kvcache::{Chain, Span, Time, Tokens, WorkerId};

const PARTS: usize = 5;
/// Blocks in a step.
const STEP: u32 = 16;

#[derive(Debug)]
pub(crate) struct Speculative {
    parts: Vec<Index>,
    config: IndexConfig,
    part: Span,
    latest: u64, // the part that is written to, counted from the start of time
    matches: Matches,
}

impl Speculative {
    /// Entries that live for `life`, within `index.limit` bytes all together.
    pub(crate) fn new(index: IndexConfig, life: Span) -> Self {
        let least = IndexConfig::least(index.workers);
        let unit = Tokens(index.unit.0 * STEP);
        let config = IndexConfig { limit: (index.limit / PARTS as u64).max(least), unit, by_piece: false, ..index };
        Self {
            parts: (0..PARTS).map(|_| Index::new(config)).collect(),
            config,
            part: Span((life.0 / (PARTS as u64 - 1)).max(1)),
            latest: 0,
            matches: Matches::new(),
        }
    }

    fn expire(&mut self, now: Time) {
        let part = now.0 / self.part.0;
        let passed = part.saturating_sub(self.latest).min(PARTS as u64);
        for gone in 1..=passed {
            let place = ((self.latest + gone) % PARTS as u64) as usize;
            if !self.parts[place].is_empty() {
                self.parts[place] = Index::new(self.config);
            }
        }
        self.latest = self.latest.max(part);
    }

    /// Raises what is known of each worker to what was sent there lately.
    pub(crate) fn raise(&mut self, chain: Chain<'_>, tokens: &mut [Tokens], now: Time) {
        self.expire(now);
        for part in self.parts.iter().filter(|part| !part.is_empty()) {
            part.matches(chain, &mut self.matches);
            for (known, sent) in tokens.iter_mut().zip(self.matches.tokens()) {
                *known = (*known).max(*sent);
            }
        }
    }

    /// `worker` was sent `chain`.
    pub(crate) fn sent(&mut self, worker: WorkerId, chain: Chain<'_>, now: Time) {
        self.expire(now);
        let place = (self.latest % PARTS as u64) as usize;
        self.parts[place].store_chain(worker, chain, chain.tokens());
    }

    /// `worker` restarted, or is gone.
    pub(crate) fn clear(&mut self, worker: WorkerId) {
        self.parts.iter_mut().for_each(|part| part.clear(worker));
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.parts.iter().map(Index::bytes).sum()
    }
}
