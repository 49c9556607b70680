use crate::contender::Contender;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// A block's number: one for each pair of the block before it and its tokens, so equal numbers mean equal prefixes.
type Block = usize;

/// A map from each block to the set of its holders; no hashes, no sharing, no short cuts.
#[derive(Debug)]
pub struct Literal {
    workers: u16,
    unit: usize,
    numbers: BTreeMap<(Option<Block>, Vec<u32>), Block>,
    holders: BTreeMap<Block, BTreeSet<u16>>,
    overlap: Vec<u32>,
}

impl Literal {
    /// Whether `worker` holds this block.
    #[must_use]
    pub fn holds(&self, worker: u16, block: usize) -> bool {
        self.holders.get(&block).is_some_and(|holders| holders.contains(&worker))
    }

    /// How many leading blocks of `keys` `worker` holds.
    #[must_use]
    pub fn held(&self, worker: u16, keys: &[usize]) -> usize {
        keys.iter().take_while(|&&block| self.holds(worker, block)).count()
    }

    /// Whether `worker` holds a block that follows `block`.
    #[must_use]
    pub fn holds_beyond(&self, worker: u16, block: usize) -> bool {
        let children = self.numbers.range((Some(block), Vec::new())..(Some(block + 1), Vec::new()));
        children.into_iter().any(|(_, &child)| self.holds(worker, child))
    }
}

impl Contender for Literal {
    type Keys = Vec<Block>;
    type Query = Vec<Block>;
    type Event = (u16, Block, bool);

    const NAME: &'static str = "literal";
    const INLINE: bool = true;

    fn new(workers: u16, unit: usize) -> Self {
        Self { workers, unit, numbers: BTreeMap::new(), holders: BTreeMap::new(), overlap: Vec::new() }
    }

    fn hash(&mut self, tokens: &[u32]) {
        self.keys(tokens);
    }

    fn keys(&mut self, tokens: &[u32]) -> Vec<Block> {
        let mut before = None;
        let blocks = tokens.chunks_exact(self.unit).map(|block| {
            let next = self.numbers.len();
            let number = *self.numbers.entry((before, block.to_vec())).or_insert(next);
            before = Some(number);
            number
        });
        blocks.collect()
    }

    fn query(&self, keys: &Vec<Block>) -> Vec<Block> {
        keys.clone()
    }

    fn matches(&mut self, query: &mut Vec<Block>) {
        self.overlap = (0..self.workers).map(|worker| self.held(worker, query) as u32).collect();
    }

    fn ask(&mut self, tokens: &[u32]) {
        let mut keys = self.keys(tokens);
        self.matches(&mut keys);
    }

    fn answer(&self, overlap: &mut [u32]) {
        overlap.copy_from_slice(&self.overlap);
    }

    fn insert(&mut self, worker: u16, tokens: &[u32]) {
        let keys = self.keys(tokens);
        self.store(worker, &keys, 0..keys.len());
    }

    fn store(&mut self, worker: u16, keys: &Vec<Block>, blocks: Range<usize>) {
        for &block in &keys[blocks] {
            self.apply((worker, block, true));
        }
    }

    fn remove(&mut self, worker: u16, keys: &Vec<Block>, blocks: Range<usize>) {
        for &block in &keys[blocks] {
            self.apply((worker, block, false));
        }
    }

    fn clear(&mut self, worker: u16) {
        for holders in self.holders.values_mut() {
            holders.remove(&worker);
        }
    }

    fn stored(&self, worker: u16, keys: &Vec<Block>, block: usize) -> Self::Event {
        (worker, keys[block], true)
    }

    fn removed(&self, worker: u16, keys: &Vec<Block>, block: usize) -> Self::Event {
        (worker, keys[block], false)
    }

    fn apply(&mut self, (worker, block, stored): Self::Event) {
        let holders = self.holders.entry(block).or_default();
        if stored {
            holders.insert(worker);
        } else {
            holders.remove(&worker);
        }
    }

    fn settle(&mut self) {}
}
