//! What a worker tells the world about its cache: the feed of a `kvaware` index.
//!
//! An event speaks of pieces of a chain that follow each other (see [`crate::Chain`]): what one commit brought, or what went
//! at once. A worker's resident blocks are closed under prefixes, so "resident up to token t of piece K" says everything
//! about K, and implies all before it.

use crate::chain::{Piece, PieceKey};
use crate::units::Tokens;
use alloc::vec::Vec;

/// Which life of a worker's cache an event belongs to: grows by one at each restart, from 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u32);

/// What a worker calls a *strand*: blocks that follow each other in one prompt, of which those at the end come last and go
/// first. Where another prompt leaves a strand, its own begins. The number is used again once nothing of it is resident.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StrandId(pub u32);

/// Where a worker keeps what it stored: whoever follows its numbers needs no keys to find it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Strand {
    /// The strand whose end it is.
    pub id: StrandId,
    /// The strand that it goes on, itself where it has grown; `None`: it begins a prompt.
    pub behind: Option<StrandId>,
}

/// One change of what is resident. `sequence` grows by exactly one from event to event of an epoch, from 0: a gap is a
/// lost event, a repeated number a duplicate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheEvent {
    /// The life of the cache.
    pub epoch: Epoch,
    /// The event's number in that life.
    pub sequence: u64,
    /// What changed.
    pub change: Change,
}

/// What changed. Bounds are token positions counted from the start of the prompt, at ends of full blocks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Full blocks became resident, those that end in `pieces` up to token `upto`: all of the prompt is resident up to there.
    Stored {
        /// The piece before them in which a full block ends: the worker holds that one to its last block.
        /// [`PieceKey::ROOT`] where there is none.
        parent: PieceKey,
        /// Where the first block begins that ends in the first of them. It may have been resident before.
        start: Tokens,
        /// End of the last resident block that ends in the last of them.
        upto: Tokens,
        /// The pieces, first to last. There may be some in which no full block ends, but the first and the last.
        pieces: Vec<Piece>,
        /// Where they are kept, where the worker says so.
        strand: Option<Strand>,
    },
    /// Of the blocks that end in `pieces`, those behind token `left` were evicted.
    Evicted {
        /// What is resident of the prompt ends here.
        left: Tokens,
        /// The pieces, first to last; none where nobody asks ([`crate::WorkerCache::tell_by_strand`]).
        pieces: Vec<Piece>,
        /// The strand whose end they were, where the worker says so: it is resident up to `left` any more.
        strand: Option<StrandId>,
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
