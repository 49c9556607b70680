use crate::contender::Contender;
use kv_index::{
    ChainBlockMap, ChainIndex, ContentHash, StoredBlock, compute_request_content_hashes, request_prefix_hashes,
};
use std::hint::black_box;
use std::ops::Range;

/// smg's `ChainIndex` of the crate `kv-index`, fed by events.
pub struct Smg {
    index: ChainIndex,
    ids: Vec<u32>,            // of workers, in the index
    places: Vec<u16>,         // of those, the workers
    held: Vec<ChainBlockMap>, // of each worker, by number
    unit: usize,
    overlap: Vec<u32>,
}

/// A change of one block, as `ChainIndex` takes it.
#[derive(Clone, Copy, Debug)]
pub struct SmgEvent {
    worker: u16,
    block: StoredBlock,
    parent: Option<kv_index::SequenceHash>,
    stored: bool,
}

impl Contender for Smg {
    type Keys = Vec<StoredBlock>;
    type Query = Vec<ContentHash>;
    type Event = SmgEvent;

    const NAME: &'static str = "kv-index ChainIndex";
    const INLINE: bool = true;

    fn new(workers: u16, unit: usize) -> Self {
        let index = ChainIndex::with_max_workers(usize::from(workers));
        let ids: Vec<u32> = (0..workers)
            .map(|worker| index.intern_worker(&worker.to_string()).expect("there is room for so many workers"))
            .collect();
        let mut places = vec![0; ids.len()];
        for (worker, &id) in (0..).zip(&ids) {
            places[id as usize] = worker;
        }
        let held = ids.iter().map(|_| ChainBlockMap::new()).collect();
        Self { index, ids, places, held, unit, overlap: vec![0; usize::from(workers)] }
    }

    #[inline]
    fn hash(&mut self, tokens: &[u32]) {
        black_box(compute_request_content_hashes(tokens, self.unit));
    }

    fn keys(&mut self, tokens: &[u32]) -> Vec<StoredBlock> {
        let contents = compute_request_content_hashes(tokens, self.unit);
        let chained = request_prefix_hashes(&contents);
        let blocks = contents.into_iter().zip(chained);
        blocks.map(|(content_hash, seq_hash)| StoredBlock { seq_hash, content_hash }).collect()
    }

    fn query(&self, keys: &Vec<StoredBlock>) -> Vec<ContentHash> {
        keys.iter().map(|block| block.content_hash).collect()
    }

    #[inline]
    fn matches(&mut self, query: &mut Vec<ContentHash>) {
        let Self { index, places, overlap, .. } = self;
        overlap.fill(0);
        index.score_into(query, |hash| hash.0, false, |id, score| overlap[usize::from(places[id as usize])] = score);
    }

    #[inline]
    fn ask(&mut self, tokens: &[u32]) {
        self.matches(&mut compute_request_content_hashes(tokens, self.unit));
    }

    #[inline]
    fn answer(&self, overlap: &mut [u32]) {
        overlap.copy_from_slice(&self.overlap);
    }

    fn insert(&mut self, worker: u16, tokens: &[u32]) {
        let keys = self.keys(tokens);
        self.store(worker, &keys, 0..keys.len());
    }

    fn store(&mut self, worker: u16, keys: &Vec<StoredBlock>, blocks: Range<usize>) {
        let parent = blocks.start.checked_sub(1).map(|before| keys[before].seq_hash);
        let at = usize::from(worker);
        let stored = self.index.apply_stored(self.ids[at], &keys[blocks], parent, &mut self.held[at]);
        stored.expect("the block before it is held");
    }

    fn remove(&mut self, worker: u16, keys: &Vec<StoredBlock>, blocks: Range<usize>) {
        let at = usize::from(worker);
        let hashes: Vec<_> = keys[blocks].iter().rev().map(|block| block.seq_hash).collect();
        self.index.apply_removed(self.ids[at], &hashes, &mut self.held[at]);
    }

    fn clear(&mut self, worker: u16) {
        let at = usize::from(worker);
        self.index.apply_cleared(self.ids[at], &mut self.held[at]);
    }

    fn stored(&self, worker: u16, keys: &Vec<StoredBlock>, block: usize) -> SmgEvent {
        let parent = block.checked_sub(1).map(|before| keys[before].seq_hash);
        SmgEvent { worker, block: keys[block], parent, stored: true }
    }

    fn removed(&self, worker: u16, keys: &Vec<StoredBlock>, block: usize) -> SmgEvent {
        SmgEvent { stored: false, ..self.stored(worker, keys, block) }
    }

    #[inline]
    fn apply(&mut self, event: SmgEvent) {
        let at = usize::from(event.worker);
        let (id, held) = (self.ids[at], &mut self.held[at]);
        if event.stored {
            let stored = self.index.apply_stored(id, &[event.block], event.parent, held);
            stored.expect("the block before it is held");
        } else {
            self.index.apply_removed(id, &[event.block.seq_hash], held);
        }
    }

    fn settle(&mut self) {}
}
