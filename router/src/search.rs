//! How deep a prompt is held: a binary search over its blocks.
//!
//! What a worker holds is closed under prefixes, so along a prompt "held" is true up to some block and false from
//! there on; and so is "held by any of these workers". The search goes by blocks, not pieces, because no event ever
//! speaks of a piece in which no block ends; each probe then decides a whole piece.

use crate::available::Available;
use crate::holders::{Holders, Slot};
use alloc::vec::Vec;
use kvcache::{Blocks, Chain, Tokens, WorkerId};

/// The longest prefix that any available worker holds.
pub(crate) struct Deepest<'a> {
    /// Its length, in full blocks; not zero.
    pub(crate) tokens: Tokens,
    /// Its last piece's row: who holds at least `tokens` of it holds the prefix.
    pub(crate) row: &'a [u32],
}

/// Buffers for [`Holders::matches`], used again and again.
#[derive(Clone, Debug, Default)]
pub struct Matches {
    tokens: Vec<Tokens>,
    slots: Vec<Slot>, // of each piece of the prompt, where looked up
}

impl Matches {
    const NOT_LOOKED_UP: Slot = Slot::MAX;
    const NOBODY: Slot = Slot::MAX - 1;

    /// Empty buffers.
    #[must_use]
    pub const fn new() -> Self {
        Self { tokens: Vec::new(), slots: Vec::new() }
    }

    /// For each worker, how many tokens of the prompt it holds, in full blocks.
    #[must_use]
    pub fn tokens(&self) -> &[Tokens] {
        &self.tokens
    }
}

impl Holders {
    /// The longest prefix of `chain` that any available worker holds; `None` where nobody holds the first block.
    /// O(log pieces) look-ups, each O(workers).
    pub(crate) fn deepest(&self, chain: Chain<'_>, available: &Available) -> Option<Deepest<'_>> {
        let chain = chain.in_units_of(self.unit());
        let mut last = None;
        let blocks = depth(chain, |piece| {
            let row = self.slot(chain.pieces()[piece].key).map(|slot| self.row(slot));
            let held = row.map_or(0, |row| available.most(row));
            // Of all pieces asked for, the deepest one that is held comes last.
            if held > 0 {
                last = row;
            }
            Tokens(held)
        });
        last.filter(|_| blocks > Blocks::ZERO).map(|row| Deepest { tokens: blocks.tokens(self.unit()), row })
    }

    /// How many tokens of `chain` `worker` holds, in full blocks. O(log pieces).
    ///
    /// # Panics
    /// Where there is no such worker.
    #[must_use]
    pub fn matched(&self, chain: Chain<'_>, worker: WorkerId) -> Tokens {
        let chain = chain.in_units_of(self.unit());
        let blocks = depth(chain, |piece| {
            let slot = self.slot(chain.pieces()[piece].key);
            Tokens(slot.map_or(0, |slot| self.row(slot)[worker.index()]))
        });
        blocks.tokens(self.unit())
    }

    /// How many tokens of `chain` each worker holds. O(pieces + workers x log pieces), and no piece is looked up twice.
    pub fn matches(&self, chain: Chain<'_>, matches: &mut Matches) {
        let chain = chain.in_units_of(self.unit());
        let Matches { tokens, slots } = matches;
        tokens.clear();
        slots.clear();
        slots.resize(chain.pieces().len(), Matches::NOT_LOOKED_UP);
        tokens.extend((0..self.workers()).map(|worker| {
            let blocks = depth(chain, |piece| {
                let slot = &mut slots[piece];
                if *slot == Matches::NOT_LOOKED_UP {
                    *slot = self.slot(chain.pieces()[piece].key).unwrap_or(Matches::NOBODY);
                }
                Tokens(if *slot == Matches::NOBODY { 0 } else { self.row(*slot)[usize::from(worker)] })
            });
            blocks.tokens(self.unit())
        }));
    }
}

/// How many blocks of `chain` are held, given up to which token each piece is (`upto(piece)`, zero for not at all).
/// Asks O(log pieces) pieces, and of those that are held the deepest last.
#[inline]
fn depth(chain: Chain<'_>, mut upto: impl FnMut(usize) -> Tokens) -> Blocks {
    let (unit, pieces) = (chain.unit(), chain.pieces());
    let (mut held, mut bound) = (Blocks::ZERO, chain.tokens().full_blocks(unit));
    while held < bound {
        let block = Blocks(u32::midpoint(held.0, bound.0));
        let piece = chain.piece_of(Tokens((block.0 + 1) * unit.0 - 1));
        let reached = upto(piece).full_blocks(unit);
        if reached == Blocks::ZERO {
            let start = piece.checked_sub(1).map_or(Tokens::ZERO, |before| pieces[before].end);
            bound = start.full_blocks(unit);
            continue;
        }
        // Another prompt may go further in this piece than this one does.
        let whole = pieces[piece].end.full_blocks(unit);
        held = reached.min(whole);
        if held < whole {
            break;
        }
    }
    held
}
