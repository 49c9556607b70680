use crate::contender::Contender;
use dynamo_kv_router::RadixTree;
use dynamo_kv_router::protocols::{
    BlockHashOptions, ExternalSequenceBlockHash, KvCacheEvent, KvCacheEventData, KvCacheEventError, KvCacheRemoveData,
    KvCacheStoreData, KvCacheStoredBlockData, LocalBlockHash, OverlapScores, RouterEvent, compute_block_hash_for_seq,
    compute_seq_hash_for_block,
};
use std::hint::black_box;
use std::ops::Range;

/// One of Dynamo's indexes: they take the same events and the same queries.
pub trait Backend {
    /// Which one.
    const NAME: &'static str;
    /// Whether a change has been made when `apply` returns.
    const INLINE: bool;

    /// An empty index.
    fn new() -> Self;
    /// What an event says happened.
    fn apply(&mut self, event: RouterEvent);
    /// Who holds how much of a prompt.
    fn find(&self, hashes: Vec<LocalBlockHash>) -> OverlapScores;
    /// Returns when all changes so far can be seen.
    fn settle(&mut self);
}

/// Dynamo's single-threaded tree.
pub struct Radix(RadixTree);

impl Backend for Radix {
    const NAME: &'static str = "Dynamo RadixTree";
    const INLINE: bool = true;

    fn new() -> Self {
        Self(RadixTree::new())
    }

    fn apply(&mut self, event: RouterEvent) {
        assert_applied(self.0.apply_event(event));
    }

    fn find(&self, hashes: Vec<LocalBlockHash>) -> OverlapScores {
        self.0.find_matches(hashes, false)
    }

    fn settle(&mut self) {}
}

/// A block that is removed after a hole in front of it is already gone for Dynamo; any other error is ours.
pub(crate) fn assert_applied(result: Result<(), KvCacheEventError>) {
    assert!(matches!(result, Ok(()) | Err(KvCacheEventError::BlockNotFound)), "{result:?}");
}

/// What Dynamo calls blocks: by their own tokens (how a match names them), and by all tokens so far (how events do).
#[derive(Debug)]
pub struct DynamoKeys {
    local: Vec<LocalBlockHash>,
    sequence: Vec<u64>,
}

/// Dynamo's router index.
pub struct Dynamo<B> {
    backend: B,
    unit: u32,
    scores: OverlapScores,
}

impl<B: Backend> Dynamo<B> {
    fn local(&self, tokens: &[u32]) -> Vec<LocalBlockHash> {
        compute_block_hash_for_seq(tokens, self.unit, BlockHashOptions::default())
    }

    /// The event that `worker` stored some blocks.
    fn stored_range(worker: u16, keys: &DynamoKeys, blocks: Range<usize>) -> RouterEvent {
        let parent_hash = blocks.start.checked_sub(1).map(|before| ExternalSequenceBlockHash(keys.sequence[before]));
        let blocks = blocks.map(|block| KvCacheStoredBlockData {
            block_hash: ExternalSequenceBlockHash(keys.sequence[block]),
            tokens_hash: keys.local[block],
            mm_extra_info: None,
        });
        let blocks = blocks.collect();
        event(worker, KvCacheEventData::Stored(KvCacheStoreData { parent_hash, start_position: None, blocks }))
    }

    fn removed_range(worker: u16, keys: &DynamoKeys, blocks: Range<usize>) -> RouterEvent {
        let block_hashes = blocks.rev().map(|block| ExternalSequenceBlockHash(keys.sequence[block])).collect();
        event(worker, KvCacheEventData::Removed(KvCacheRemoveData { block_hashes }))
    }
}

fn event(worker: u16, data: KvCacheEventData) -> RouterEvent {
    RouterEvent::new(u64::from(worker), KvCacheEvent { event_id: 0, data, dp_rank: 0 })
}

impl<B: Backend> Contender for Dynamo<B> {
    type Keys = DynamoKeys;
    type Query = Vec<LocalBlockHash>;
    type Event = RouterEvent;

    const NAME: &'static str = B::NAME;
    const INLINE: bool = B::INLINE;

    fn new(_: u16, unit: usize) -> Self {
        Self { backend: B::new(), unit: unit as u32, scores: OverlapScores::new() }
    }

    #[inline]
    fn hash(&mut self, tokens: &[u32]) {
        black_box(self.local(tokens));
    }

    fn keys(&mut self, tokens: &[u32]) -> DynamoKeys {
        let local = self.local(tokens);
        let sequence = compute_seq_hash_for_block(&local);
        DynamoKeys { local, sequence }
    }

    fn query(&self, keys: &DynamoKeys) -> Vec<LocalBlockHash> {
        keys.local.clone()
    }

    #[inline]
    fn matches(&mut self, query: &mut Vec<LocalBlockHash>) {
        self.scores = self.backend.find(std::mem::take(query));
    }

    #[inline]
    fn ask(&mut self, tokens: &[u32]) {
        self.scores = self.backend.find(self.local(tokens));
    }

    #[inline]
    fn answer(&self, overlap: &mut [u32]) {
        overlap.fill(0);
        #[expect(clippy::iter_over_hash_type, reason = "each has its own place")]
        for (worker, &score) in &self.scores.scores {
            overlap[worker.worker_id as usize] = score;
        }
    }

    fn insert(&mut self, worker: u16, tokens: &[u32]) {
        let keys = self.keys(tokens);
        self.store(worker, &keys, 0..keys.local.len());
    }

    fn store(&mut self, worker: u16, keys: &DynamoKeys, blocks: Range<usize>) {
        self.backend.apply(Self::stored_range(worker, keys, blocks));
    }

    fn remove(&mut self, worker: u16, keys: &DynamoKeys, blocks: Range<usize>) {
        self.backend.apply(Self::removed_range(worker, keys, blocks));
    }

    fn clear(&mut self, worker: u16) {
        self.backend.apply(event(worker, KvCacheEventData::Cleared));
    }

    fn stored(&self, worker: u16, keys: &DynamoKeys, block: usize) -> RouterEvent {
        Self::stored_range(worker, keys, block..block + 1)
    }

    fn removed(&self, worker: u16, keys: &DynamoKeys, block: usize) -> RouterEvent {
        Self::removed_range(worker, keys, block..block + 1)
    }

    #[inline]
    fn apply(&mut self, event: RouterEvent) {
        self.backend.apply(event);
    }

    fn settle(&mut self) {
        self.backend.settle();
    }
}
