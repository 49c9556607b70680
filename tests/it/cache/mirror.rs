//! What a router's index can know of a worker: built from events, never shown the cache.

use kvcache::{CacheEvent, Change, Epoch, Piece, PieceKey, Tokens};
use std::collections::BTreeMap;

#[derive(Default)]
pub(super) struct Mirror {
    epoch: Epoch,
    next: u64,
    pub(super) upto: BTreeMap<PieceKey, Tokens>, // how far each piece is resident
}

impl Mirror {
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
            Change::Stored { parent, piece, upto, .. } => {
                assert_eq!(parents.get(&piece), Some(&parent), "the parent of a stored piece");
                let before = self.upto.insert(piece, upto);
                assert!(before < Some(upto), "stored up to {upto}, but {before:?} was known");
            }
            Change::Evicted { piece, upto } => {
                let before = self.upto.remove(&piece);
                assert!(before > Some(upto), "evicted down to {upto}, but {before:?} was known");
                if upto > Tokens::ZERO {
                    self.upto.insert(piece, upto);
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
