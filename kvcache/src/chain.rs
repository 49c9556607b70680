//! What a prompt *is* to a cache: a chain of pieces, and from it the key of every block.
//!
//! A piece is a stretch of tokens that came from one place: 512 tokens of a trace, a system prompt, a user's turn, a
//! model's reply, or simply the 16 tokens of one block where real tokens were hashed. Its key names the piece *and all
//! before it*, so two chains that carry the same piece key agree on every token up to the end of the shorter piece.
//! From that follows the whole economy of this crate: one comparison decides thousands of blocks.

use crate::units::{Blocks, Tokens};
use alloc::vec::Vec;

/// Names a piece of a prompt together with everything before it. Equal keys mean equal pasts (64 bits, so by chance
/// two of n unequal pieces collide with probability n^2 / 2^65; storage identity is [`crate::BlockHash`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PieceKey(pub u64);

/// Names a block (or text chunk) together with everything before it: the identity that routers and the simulator use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockKey(pub u64);

/// A stretch of a prompt from the end of the piece before it to `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// What it is, and what came before.
    pub key: PieceKey,
    /// Where it ends, in tokens from the start of the prompt.
    pub end: Tokens,
}

/// Mixes two words into one; a bijection in neither, but every bit of both reaches every bit of the result.
#[inline]
pub(crate) const fn mix(a: u64, b: u64) -> u64 {
    // The folded 128-bit multiplication of wyhash (Wang Yi, 2019), with its published constants. Both words go in once
    // more at the end, as in its protected variant: else one that makes its factor zero would make the other forgotten.
    let product = (a ^ 0xa076_1d64_78bd_642f) as u128 * (b ^ 0xe703_7ed1_a0b4_28db) as u128;
    (product as u64) ^ ((product >> 64) as u64) ^ a ^ b
}

impl PieceKey {
    /// The key before any piece: what a chain starts from.
    pub const ROOT: Self = Self(0x706f_646c_6162_0001);

    /// The key of block `block`, whose last token is in this piece.
    #[inline]
    pub(crate) const fn block(self, block: Blocks) -> BlockKey {
        BlockKey(mix(self.0, block.0 as u64 ^ 0xd6e8_feb8_6659_fd93))
    }

    /// The key of the piece called `id` that begins `start` tokens into a prompt and follows `self`.
    #[inline]
    #[must_use]
    pub const fn then(self, start: Tokens, id: u64) -> Self {
        Self(mix(mix(self.0, id), start.0 as u64 ^ 0x9e37_79b9_7f4a_7c15))
    }
}

/// A prompt as a cache sees it: pieces in order. `Copy`, borrowed from whoever keeps the request.
#[derive(Clone, Copy, Debug)]
pub struct Chain<'a> {
    pieces: &'a [Piece],
    start: Tokens, // where the first piece begins
    unit: Tokens,
    tail: bool,
}

impl<'a> Chain<'a> {
    /// The chain of `pieces`, cut into blocks (or chunks) of `unit` tokens.
    ///
    /// # Panics
    /// Where `unit` is zero.
    #[must_use]
    pub fn new(pieces: &'a [Piece], unit: Tokens) -> Self {
        assert!(unit.0 > 0, "a block holds at least one token");
        debug_assert!(pieces.is_sorted_by(|a, b| a.end < b.end), "pieces are not empty");
        Self { pieces, start: Tokens::ZERO, unit, tail: false }
    }

    /// What is left of a prompt behind its first `start` tokens: `start` is where the first block begins that ends in the
    /// first of `pieces`, or where that piece begins. Positions count from the prompt's start; nothing before `start` may
    /// be asked for.
    ///
    /// # Panics
    /// As [`Chain::new`].
    #[must_use]
    pub fn behind(pieces: &'a [Piece], start: Tokens, unit: Tokens) -> Self {
        Self { start, ..Self::new(pieces, unit) }
    }

    /// The same prompt cut into blocks of another size.
    #[must_use]
    pub fn in_units_of(self, unit: Tokens) -> Self {
        assert!(unit.0 > 0, "a block holds at least one token");
        Self { unit, ..self }
    }

    /// The same prompt, whose last unit counts as an object of its own even where the prompt fills it only in part
    /// (LMCache's `save_unfull_chunk`). Such a *tail* is found only by a prompt that ends at the same token.
    #[must_use]
    pub const fn with_tail(self, tail: bool) -> Self {
        Self { tail, ..self }
    }

    /// How many objects the prompt has: its full units, and its tail where that counts.
    #[inline]
    #[must_use]
    pub fn objects(self) -> Blocks {
        if self.tail { self.tokens().blocks(self.unit) } else { self.tokens().full_blocks(self.unit) }
    }

    /// Tokens of the objects before object `end`, which is at most [`Chain::objects`].
    #[inline]
    #[must_use]
    pub fn tokens_before(self, end: Blocks) -> Tokens {
        end.tokens(self.unit).min(self.tokens())
    }

    /// Its pieces, first to last.
    #[inline]
    #[must_use]
    pub const fn pieces(self) -> &'a [Piece] {
        self.pieces
    }

    /// Tokens in a block.
    #[inline]
    #[must_use]
    pub const fn unit(self) -> Tokens {
        self.unit
    }

    /// Where its first piece begins.
    #[inline]
    #[must_use]
    pub const fn start(self) -> Tokens {
        self.start
    }

    /// Tokens in the chain, those before its first piece included.
    #[inline]
    #[must_use]
    pub fn tokens(self) -> Tokens {
        self.pieces.last().map_or(self.start, |piece| piece.end)
    }

    /// The index of the piece that holds token `token`. O(1) where pieces are equally long, else O(log pieces).
    #[inline]
    #[must_use]
    pub fn piece_of(self, token: Tokens) -> usize {
        debug_assert!(token < self.tokens(), "token outside the chain");
        piece_at(self.pieces, self.start, token).0
    }

    /// Whether it has `end` full units.
    #[inline]
    #[must_use]
    pub fn reaches(self, end: Blocks) -> bool {
        end.tokens(self.unit) <= self.tokens()
    }

    /// The key of block `block`, which names all tokens up to that block's end. The block must lie inside the chain,
    /// or be its tail, whose key names the token at which it ends besides.
    #[inline]
    #[must_use]
    pub fn key(self, block: Blocks) -> BlockKey {
        if self.tail && block == self.tokens().full_blocks(self.unit) {
            let last = self.pieces.last().map_or(PieceKey::ROOT, |piece| piece.key);
            return BlockKey(mix(last.0, u64::from(self.tokens().0) ^ 0x8ebc_6af0_9c88_c6e3));
        }
        let last = Tokens((block.0 + 1) * self.unit.0 - 1);
        debug_assert!(last < self.tokens(), "a block outside the chain");
        piece_at(self.pieces, self.start, last).1.key.block(block)
    }

    /// The same of a block of a chain without a tail, where that ends in piece `piece` or in one soon behind.
    #[inline]
    pub(crate) fn key_near(self, block: Blocks, piece: usize) -> BlockKey {
        let last = Tokens((block.0 + 1) * self.unit.0 - 1);
        let found = self.pieces[piece..].iter().find(|piece| piece.end > last).expect("a block of the chain");
        let key = found.key.block(block);
        debug_assert!(!self.tail && key == self.key(block), "the piece is not behind the block");
        key
    }

    /// The pieces in which full blocks from `block` on end, first to last, and after each the end of its blocks: where
    /// keys of many blocks are asked for, one piece is searched for.
    pub(crate) fn pieces_from(self, block: Blocks) -> impl Iterator<Item = (PieceKey, Blocks)> + use<'a> {
        let last = Tokens((block.0 + 1) * self.unit.0 - 1);
        let pieces = &self.pieces[self.piece_of(last)..];
        pieces.iter().map(move |piece| (piece.key, piece.end.full_blocks(self.unit)))
    }
}

/// The piece that holds `token`, and its index, of pieces of which the first begins at `start`. Most chains are cut
/// evenly: the place is guessed, and searched for only where the guess is wrong.
#[inline]
pub(crate) fn piece_at(pieces: &[Piece], start: Tokens, token: Tokens) -> (usize, &Piece) {
    let first = &pieces[0];
    if token < first.end {
        return (0, first);
    }
    let guess = ((token.0 - start.0) / (first.end.0 - start.0)) as usize;
    if let Some(piece) = pieces.get(guess)
        && token < piece.end
        && pieces[guess - 1].end <= token
    {
        return (guess, piece);
    }
    search(pieces, token)
}

#[cold]
fn search(pieces: &[Piece], token: Tokens) -> (usize, &Piece) {
    let index = pieces.partition_point(|piece| piece.end <= token);
    (index, &pieces[index])
}

/// Builds the pieces of one prompt after another in a buffer that is used again.
#[derive(Clone, Debug, Default)]
pub struct ChainBuilder {
    pieces: Vec<Piece>,
}

impl ChainBuilder {
    /// An empty builder.
    #[must_use]
    pub const fn new() -> Self {
        Self { pieces: Vec::new() }
    }

    /// Starts a new prompt.
    pub fn clear(&mut self) {
        self.pieces.clear();
    }

    /// Appends `tokens` tokens of the content called `id`. Nothing happens where `tokens` is zero.
    #[inline]
    pub fn push(&mut self, id: u64, tokens: Tokens) {
        if tokens == Tokens::ZERO {
            return;
        }
        let (before, start) = self.pieces.last().map_or((PieceKey::ROOT, Tokens::ZERO), |p| (p.key, p.end));
        self.pieces.push(Piece { key: before.then(start, id), end: start + tokens });
    }

    /// Appends contents and their lengths, one after the other. Each has a length.
    #[inline]
    pub fn extend(&mut self, contents: impl ExactSizeIterator<Item = (u64, Tokens)>) {
        let (mut key, mut end) = self.pieces.last().map_or((PieceKey::ROOT, Tokens::ZERO), |p| (p.key, p.end));
        self.pieces.extend(contents.map(|(id, tokens)| {
            debug_assert!(tokens > Tokens::ZERO, "a piece is not empty");
            key = key.then(end, id);
            end += tokens;
            Piece { key, end }
        }));
    }

    /// What was built.
    #[inline]
    #[must_use]
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }
}
