//! What a reply is called while it is said: its blocks get the names under which a later prompt will ask for them, so that
//! the next turn of a chat finds what this one computed.

use kvcache::{BlockHash, Piece, PieceKey, Tokens};

/// The names of a prompt and of what was said to it, as far as blocks are full.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    block: Tokens,
    hash: BlockHash, // of the last full block
    pieces: Vec<Piece>,
    open: Vec<u32>, // tokens behind it
    full: Vec<u32>, // its own
}

impl Names {
    /// Those of a prompt, in blocks of `block` tokens behind `root`.
    pub(super) fn of(prompt: &[u32], root: BlockHash, block: Tokens) -> Self {
        let mut names = Self { block, hash: root, pieces: Vec::new(), open: Vec::new(), full: Vec::new() };
        for token in prompt {
            names.say(*token);
        }
        names
    }

    /// A token comes behind. Where it fills a block, gives the pieces of all full blocks.
    pub(super) fn say(&mut self, token: u32) -> Option<&[Piece]> {
        self.open.push(token);
        if self.open.len() < self.block.0 as usize {
            return None;
        }
        let end = self.pieces.last().map_or(Tokens::ZERO, |last| last.end) + self.block;
        self.hash = self.hash.then(&self.open);
        self.pieces.push(Piece { key: self.hash.piece_key(), end });
        core::mem::swap(&mut self.open, &mut self.full);
        self.open.clear();
        Some(&self.pieces)
    }

    /// The last full block: what it is called, and its tokens.
    pub(super) fn last_block(&self) -> Option<(PieceKey, &[u32])> {
        Some((self.pieces.last()?.key, &self.full))
    }
}
