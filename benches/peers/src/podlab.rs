use crate::contender::Contender;
use kvcache::{Chain, Piece, PieceKey, Tokens, WorkerId};
use router::{Index, IndexConfig, Matches, TokenHasher};
use std::hint::black_box;
use std::ops::Range;

/// podlab's own. A block of real tokens is a piece.
pub struct Podlab {
    index: Index,
    hasher: TokenHasher,
    matches: Matches,
    unit: Tokens,
}

/// A change of one block, as podlab's index takes it.
#[derive(Clone, Copy, Debug)]
pub struct PodlabEvent {
    worker: WorkerId,
    parent: PieceKey,
    piece: Piece,
    start: Tokens,
    stored: bool,
}

impl Contender for Podlab {
    type Keys = Vec<Piece>;
    type Query = Vec<Piece>;
    type Event = PodlabEvent;

    const NAME: &'static str = "podlab";
    const INLINE: bool = true;

    fn new(workers: u16, unit: usize) -> Self {
        let unit = Tokens(unit as u32);
        Self {
            index: Index::new(IndexConfig::new(workers, unit)),
            hasher: TokenHasher::new(unit, 0),
            matches: Matches::new(),
            unit,
        }
    }

    #[inline]
    fn hash(&mut self, tokens: &[u32]) {
        black_box(self.hasher.pieces(tokens));
    }

    fn keys(&mut self, tokens: &[u32]) -> Vec<Piece> {
        self.hasher.pieces(tokens).to_vec()
    }

    fn query(&self, keys: &Vec<Piece>) -> Vec<Piece> {
        keys.clone()
    }

    #[inline]
    fn matches(&mut self, query: &mut Vec<Piece>) {
        self.index.matches(Chain::new(query, self.unit), &mut self.matches);
    }

    #[inline]
    fn ask(&mut self, tokens: &[u32]) {
        let chain = Chain::new(self.hasher.pieces(tokens), self.unit);
        self.index.matches(chain, &mut self.matches);
    }

    #[inline]
    fn answer(&self, overlap: &mut [u32]) {
        for (overlap, tokens) in overlap.iter_mut().zip(self.matches.tokens()) {
            *overlap = tokens.0 / self.unit.0;
        }
    }

    fn insert(&mut self, worker: u16, tokens: &[u32]) {
        let chain = Chain::new(self.hasher.pieces(tokens), self.unit);
        self.index.store_chain(WorkerId(worker), chain, chain.tokens());
    }

    fn store(&mut self, worker: u16, keys: &Vec<Piece>, blocks: Range<usize>) {
        // A chain is told from its beginning; one that goes on where another ended, block by block.
        if blocks.start == 0 {
            let chain = Chain::new(&keys[blocks], self.unit);
            self.index.store_chain(WorkerId(worker), chain, chain.tokens());
        } else {
            for block in blocks {
                self.apply(self.stored(worker, keys, block));
            }
        }
    }

    fn remove(&mut self, worker: u16, keys: &Vec<Piece>, blocks: Range<usize>) {
        for block in blocks.rev() {
            self.apply(self.removed(worker, keys, block));
        }
    }

    fn clear(&mut self, worker: u16) {
        self.index.clear(WorkerId(worker));
    }

    fn stored(&self, worker: u16, keys: &Vec<Piece>, block: usize) -> PodlabEvent {
        let parent = block.checked_sub(1).map_or(PieceKey::ROOT, |before| keys[before].key);
        let piece = keys[block];
        PodlabEvent { worker: WorkerId(worker), parent, piece, start: piece.end - self.unit, stored: true }
    }

    fn removed(&self, worker: u16, keys: &Vec<Piece>, block: usize) -> PodlabEvent {
        PodlabEvent { stored: false, ..self.stored(worker, keys, block) }
    }

    #[inline]
    fn apply(&mut self, event: PodlabEvent) {
        let PodlabEvent { worker, parent, piece, start, stored } = event;
        if stored {
            self.index.store(worker, parent, piece.key, start, piece.end);
        } else {
            self.index.evict(worker, piece.key, Tokens::ZERO);
        }
    }

    fn settle(&mut self) {}
}
