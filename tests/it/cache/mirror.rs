//! What a router's index can know of a worker: built from events, never shown the cache.

use kvcache::{CacheEvent, Change, Epoch, Piece, PieceKey, Tokens};
use std::collections::BTreeMap;

pub(super) struct Mirror {
    block: Tokens,
    epoch: Epoch,
    next: u64,
    pub(super) upto: BTreeMap<PieceKey, Tokens>, // how far each piece is resident
    start: BTreeMap<PieceKey, Tokens>,           // where its first block begins
    /// Changes that spoke of several pieces.
    pub(super) long: u64,
}

impl Mirror {
    pub(super) fn new(block: Tokens) -> Self {
        let (upto, start) = (BTreeMap::new(), BTreeMap::new());
        Self { block, epoch: Epoch::default(), next: 0, upto, start, long: 0 }
    }

    /// Takes one event. `parents` says which piece comes before which; an event may not say otherwise.
    pub(super) fn apply(&mut self, event: CacheEvent, parents: &BTreeMap<PieceKey, PieceKey>) {
        if event.epoch > self.epoch {
            assert_eq!(event.epoch.0, self.epoch.0 + 1, "an epoch was skipped");
            assert_eq!(event.change, Change::Cleared, "a new epoch begins by clearing");
            (self.epoch, self.next) = (event.epoch, 0);
        }
        assert_eq!((event.epoch, event.sequence), (self.epoch, self.next), "an event was lost or repeated");
        self.next += 1;
        match event.change {
            Change::Stored { mut parent, start, upto, pieces, .. } => {
                self.long += u64::from(pieces.len() > 1);
                let mut at = start;
                for piece in &pieces {
                    let end = piece.end.full_blocks(self.block).tokens(self.block).min(upto);
                    if end > at {
                        assert_eq!(parents.get(&piece.key), Some(&parent), "the parent of a stored piece");
                        let before = self.upto.insert(piece.key, end);
                        assert!(before < Some(end), "stored up to {end}, but {before:?} was known");
                        assert_eq!(*self.start.entry(piece.key).or_insert(at), at, "a piece begins at one place");
                        (parent, at) = (piece.key, end);
                    }
                }
                assert_eq!(at, upto, "the pieces reach as far as it says");
                assert_eq!(pieces.last().map(|piece| piece.key), Some(parent), "a block ends in the last piece");
            }
            Change::Evicted { left, pieces, .. } => {
                for piece in &pieces {
                    let Some(before) = self.upto.remove(&piece.key) else { continue }; // no block ends in it
                    assert!(before > left, "evicted down to {left}, but {before:?} was known");
                    if left > self.start[&piece.key] {
                        self.upto.insert(piece.key, left);
                    }
                }
            }
            Change::Cleared => {
                assert_eq!(event.sequence, 0, "a cache is cleared when an epoch begins");
                self.upto.clear();
            }
        }
    }

    /// How many leading blocks of a prompt are resident, from the mirror's own knowledge.
    pub(super) fn find(&self, pieces: &[Piece], block: u32) -> u32 {
        let mut known = 0;
        for piece in pieces {
            let end = piece.end.0 / block; // blocks up to the last one that ends in the piece
            if end > known {
                let upto = self.upto.get(&piece.key).map_or(0, |upto| upto.0 / block);
                known = known.max(upto.min(end));
                if known < end {
                    break;
                }
            }
        }
        known
    }
}
