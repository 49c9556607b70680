//! What workers will have kept of what they were sent, where nobody tells: each is taken to keep so many blocks, least
//! recently used first out, and none for longer than a while.

use crate::index::{Index, IndexConfig, Matches};
use alloc::vec::Vec;
use kvcache::{Chain, Span, Time, Tokens, WorkerId};

/// How much is kept, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Tokens of each worker.
    pub tokens: u64,
    /// What was not used for so long is gone; `None`: nothing goes by age.
    pub ttl: Option<Span>,
}

/// One store for each worker, or one that all share.
#[derive(Debug)]
pub(crate) struct Approximate {
    stores: Vec<Index>,
    kept: Kept,
    matches: Matches,
}

impl Approximate {
    /// `stores` stores of blocks of `unit` tokens, within `limit` bytes together.
    pub(crate) fn new(stores: u16, unit: Tokens, kept: Kept, limit: u64) -> Self {
        let limit = (limit / u64::from(stores.max(1))).max(IndexConfig::least(1));
        let config = IndexConfig { limit, by_piece: false, ..IndexConfig::new(1, unit) };
        Self { stores: (0..stores).map(|_| Index::new(config)).collect(), kept, matches: Matches::new() }
    }

    /// How much of `chain` the store of `worker` has. O(runs on the way).
    pub(crate) fn of(&mut self, worker: WorkerId, chain: Chain<'_>, now: Time) -> Tokens {
        let store = &mut self.stores[worker.index()];
        if let Some(ttl) = self.kept.ttl {
            store.expire(Time(now.0.saturating_sub(ttl.0)));
        }
        store.matches(chain, &mut self.matches);
        self.matches.of(WorkerId(0))
    }

    /// The store of `worker` gets all of `chain`.
    pub(crate) fn sent(&mut self, worker: WorkerId, chain: Chain<'_>, now: Time) {
        let store = &mut self.stores[worker.index()];
        store.tell(now);
        store.store_chain(WorkerId(0), chain, chain.tokens());
        store.keep_within(self.kept.tokens);
    }

    /// Tokens that the store of `worker` has.
    pub(crate) fn held(&self, worker: WorkerId) -> u64 {
        self.stores[worker.index()].held(WorkerId(0))
    }

    /// What the store of `worker` has is gone.
    pub(crate) fn clear(&mut self, worker: WorkerId) {
        self.stores[worker.index()].clear(WorkerId(0));
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.stores.iter().map(Index::bytes).sum()
    }
}
