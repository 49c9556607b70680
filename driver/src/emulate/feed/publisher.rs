//! What the engine hears of its workers' caches, on its way to the world.

use super::names::Names;
use super::publish::Feed;
use super::tell::Teller;
use kvcache::{CacheEvent, Piece, PieceKey, RequestId, Tokens, WorkerId};
use std::sync::Arc;

/// Turns what caches say into what is published.
#[derive(Debug)]
pub(in crate::emulate) struct Publisher {
    block: Tokens,
    names: Names,
    tellers: Vec<Teller>,
    feed: Feed,
}

impl Publisher {
    /// Of cold workers, one for each of the feed's places, with blocks of so many tokens.
    pub(in crate::emulate) fn new(feed: Feed, block: Tokens) -> Self {
        let tellers = feed.places().iter().map(|_| Teller::new(block)).collect();
        Self { block, names: Names::default(), tellers, feed }
    }

    /// A request was taken in, whose prompt others may find.
    pub(in crate::emulate) fn know(&mut self, request: RequestId, pieces: &[Piece], prompt: &Arc<[u32]>) {
        self.names.know(request, pieces, prompt, self.block);
    }

    /// A block of its reply was said, which others may find as well; of a salted one nothing comes.
    pub(in crate::emulate) fn know_more(&mut self, request: RequestId, key: PieceKey, tokens: &[u32]) {
        self.names.know_more(request, key, tokens);
    }

    /// It has ended.
    pub(in crate::emulate) fn forget(&mut self, request: RequestId) {
        self.names.forget(request);
    }

    /// The cache of `worker` changed.
    pub(in crate::emulate) fn cache(&mut self, worker: WorkerId, changes: &[CacheEvent]) {
        let told = self.tellers[worker.index()].tell(changes, &self.names);
        self.feed.publish(worker, told);
    }
}
