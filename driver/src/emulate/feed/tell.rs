//! A cache's changes as events of vLLM's.

use super::names::Names;
use kvcache::{CacheEvent, Change, PieceKey, Tokens};
use std::collections::HashSet;

/// What is told of a worker's cache. Blocks are named by the keys of their pieces, which name all before them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// Blocks that follow each other are there now.
    Stored {
        /// Their names.
        names: Vec<u64>,
        /// The block before them; `None`: they begin a prompt.
        parent: Option<u64>,
        /// All their tokens.
        tokens: Vec<u32>,
    },
    /// These are not.
    Removed(Vec<u64>),
    /// None is.
    Cleared,
}

/// What one worker has told.
#[derive(Debug)]
pub(super) struct Teller {
    block: Tokens,
    /// What it told of and holds: never more than its cache has room for.
    held: HashSet<PieceKey>,
}

impl Teller {
    /// Of a cold cache with blocks of so many tokens.
    pub(super) fn new(block: Tokens) -> Self {
        Self { block, held: HashSet::new() }
    }

    /// What these changes are to whoever listens; perhaps nothing. O(blocks).
    pub(super) fn tell(&mut self, changes: &[CacheEvent], names: &Names) -> Vec<Told> {
        changes.iter().filter_map(|event| self.take(&event.change, names)).collect()
    }

    fn take(&mut self, change: &Change, names: &Names) -> Option<Told> {
        match change {
            Change::Stored { parent, upto, pieces, .. } => {
                // What is not known is an emulated reply's, or has a salt; so is all that follows it.
                let known = pieces.iter().take_while(|piece| piece.end <= *upto);
                let known = known.map_while(|piece| Some((piece.key, names.tokens(piece.key, self.block)?)));
                let (keys, tokens): (Vec<PieceKey>, Vec<&[u32]>) = known.unzip();
                self.held.extend(&keys);
                let parent = (*parent != PieceKey::ROOT).then_some(parent.0);
                let stored = Told::Stored { names: numbers(&keys), parent, tokens: tokens.concat() };
                (!keys.is_empty()).then_some(stored)
            }
            Change::Evicted { left, pieces, .. } => {
                let gone = pieces.iter().filter(|piece| piece.end > *left).map(|piece| piece.key);
                let gone: Vec<PieceKey> = gone.filter(|key| self.held.remove(key)).collect();
                (!gone.is_empty()).then(|| Told::Removed(numbers(&gone)))
            }
            Change::Cleared => {
                self.held.clear();
                Some(Told::Cleared)
            }
        }
    }
}

fn numbers(keys: &[PieceKey]) -> Vec<u64> {
    keys.iter().map(|key| key.0).collect()
}
