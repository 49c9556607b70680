//! What a worker tells the world about its cache: the feed of a `kvaware` index.
//!
//! An event speaks of one piece of a chain (see [`crate::Chain`]). A worker's resident blocks are closed under
//! prefixes, so "piece K is resident up to token t" says everything about K, and implies all pieces before it.

use crate::chain::PieceKey;
use crate::units::Tokens;
use alloc::vec::Vec;

/// Which life of a worker's cache an event belongs to: grows by one at each restart, from 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u32);

/// One change of what is resident. `sequence` grows by exactly one from event to event of an epoch, from 0: a gap is a
/// lost event, a repeated number a duplicate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheEvent {
    /// The life of the cache.
    pub epoch: Epoch,
    /// The event's number in that life.
    pub sequence: u64,
    /// What changed.
    pub change: Change,
}

/// What changed. Bounds are token positions counted from the start of the prompt, at ends of full blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Full blocks that end in this piece became resident: the piece is now resident up to token `upto`. Pieces of one
    /// commit come first to last.
    Stored {
        /// The piece before it in which a full block ends: the worker holds that one to its last block.
        /// [`PieceKey::ROOT`] where there is none.
        parent: PieceKey,
        /// The piece.
        piece: PieceKey,
        /// Where the first block that ends in the piece begins.
        start: Tokens,
        /// End of the last resident block that ends in the piece.
        upto: Tokens,
    },
    /// Blocks that end in this piece were evicted. Pieces of one eviction come last to first.
    Evicted {
        /// The piece.
        piece: PieceKey,
        /// End of the last block ending in the piece that is still resident; zero where none is left.
        upto: Tokens,
    },
    /// Everything went.
    Cleared,
}

/// All that a cache holds: what its events have said so far, in sum. For whoever has missed some of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheSnapshot {
    /// The life of the cache.
    pub epoch: Epoch,
    /// The number of the event that comes next. Those before it are in here, even where nobody was told of them yet.
    pub next: u64,
    /// What is resident, as [`Change::Stored`], each piece behind its parent. A piece may come twice, the second time
    /// with more of it.
    pub stored: Vec<Change>,
}
