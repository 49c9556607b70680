//! Whose identity a cached run carries: pieces copied from the request that computed it, kept while a run needs them.
//!
//! A label holds the pieces of a chain from the first one that the run touches, so a run deep in a
//! long prompt does not keep what lies before it. Buffers are used again: once a worker is warm, a label allocates nothing.
//!
//! Invariant: a label is vacant, or at least one run refers to it.

use crate::chain::{BlockKey, Chain, Piece, PieceKey, piece_at};
use crate::event::StrandId;
use crate::units::{Blocks, Tokens};
use alloc::vec::Vec;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LabelId(u32);

impl From<LabelId> for StrandId {
    /// Runs of one label lie on one way, and the last of them is the one that grows and goes: see `Runs::extend`.
    fn from(id: LabelId) -> Self {
        Self(id.0)
    }
}

/// The pieces in which blocks of an extent end.
pub(crate) struct Touched<'a> {
    /// The piece before them in which a block ends.
    pub(crate) parent: PieceKey,
    /// Where the first of them begins.
    pub(crate) start: Tokens,
    pub(crate) pieces: &'a [Piece],
}

#[derive(Debug)]
struct Label {
    pieces: Vec<Piece>,
    skipped: u32,     // pieces of the chain before the first one here
    start: Tokens,    // where the first piece here begins
    before: PieceKey, // the piece before it in which a block ends
    runs: u32,        // how many runs refer to it
}

#[derive(Debug)]
pub(crate) struct Labels {
    labels: Vec<Label>,
    vacant: Vec<LabelId>,
    unit: Tokens,
}

impl Label {
    /// The index, in `pieces`, of the piece that holds `token`.
    #[inline]
    fn piece_of(&self, token: Tokens) -> usize {
        piece_at(&self.pieces, self.start, token).0
    }
}

impl Labels {
    pub(crate) const fn new(unit: Tokens) -> Self {
        Self { labels: Vec::new(), vacant: Vec::new(), unit }
    }

    /// A label for a run of `chain` that starts at block `from`, referred to once.
    pub(crate) fn keep(&mut self, chain: Chain<'_>, from: Blocks) -> LabelId {
        let first = chain.piece_of(self.last_token(from));
        let id = self.vacant.pop().unwrap_or_else(|| {
            self.labels.push(Label {
                pieces: Vec::new(),
                skipped: 0,
                start: Tokens::ZERO,
                before: PieceKey::ROOT,
                runs: 0,
            });
            LabelId(self.labels.len() as u32 - 1)
        });
        let label = &mut self.labels[id.0 as usize];
        label.pieces.clear();
        label.pieces.extend_from_slice(&chain.pieces()[first..]);
        label.skipped = first as u32;
        let before = &chain.pieces()[..first];
        label.start = before.last().map_or(Tokens::ZERO, |piece| piece.end);
        label.before = last_with_a_block(before, Tokens::ZERO, self.unit).unwrap_or(PieceKey::ROOT);
        label.runs = 1;
        id
    }

    /// Whether the label was copied from a chain that ends as this one does, and so is this one: it covers all blocks
    /// from its first one on.
    pub(crate) fn is_of(&self, id: LabelId, chain: Chain<'_>) -> bool {
        let label = &self.labels[id.0 as usize];
        label.skipped as usize + label.pieces.len() == chain.pieces().len()
            && label.pieces.last() == chain.pieces().last()
    }

    /// The runs of a label go on as `chain` does, which has all their blocks.
    pub(crate) fn relabel(&mut self, id: LabelId, chain: Chain<'_>) {
        let label = &mut self.labels[id.0 as usize];
        label.pieces.clear();
        // A key names its past: what is before the first piece is the same, too.
        label.pieces.extend_from_slice(&chain.pieces()[label.skipped as usize..]);
    }

    /// One more run refers to it.
    pub(crate) fn share(&mut self, id: LabelId) {
        self.labels[id.0 as usize].runs += 1;
    }

    /// One run less refers to it.
    pub(crate) fn drop_one(&mut self, id: LabelId) {
        let label = &mut self.labels[id.0 as usize];
        label.runs -= 1;
        if label.runs == 0 {
            self.vacant.push(id);
        }
    }

    fn last_token(&self, block: Blocks) -> Tokens {
        Tokens((block.0 + 1) * self.unit.0 - 1)
    }

    /// The key of a block that the label covers; equal to [`Chain::key`] of the chain it was copied from.
    pub(crate) fn key(&self, id: LabelId, block: Blocks) -> BlockKey {
        let label = &self.labels[id.0 as usize];
        piece_at(&label.pieces, label.start, self.last_token(block)).1.key.block(block)
    }

    /// How many blocks from `from` on, at most `most`, are the same in the label and in `chain`, given that all blocks
    /// before `from` are. O(log pieces): keys name their past, so agreement is a prefix.
    pub(crate) fn common(&self, id: LabelId, chain: Chain<'_>, from: Blocks, most: Blocks) -> Blocks {
        self.agree(id, chain, from, most).0
    }

    /// The same, and where they end because label and chain differ from there on, the last piece that is the same.
    pub(crate) fn agree(&self, id: LabelId, chain: Chain<'_>, from: Blocks, most: Blocks) -> (Blocks, Option<usize>) {
        let label = &self.labels[id.0 as usize];
        let ours = label.pieces.as_slice();
        let theirs = chain.pieces().get(label.skipped as usize..).unwrap_or_default();
        let both = ours.len().min(theirs.len());
        if both == 0 || ours[0].key != theirs[0].key {
            return (Blocks::ZERO, None);
        }
        let same = |piece: usize| ours[piece].key == theirs[piece].key;
        let deepest = if same(both - 1) { both - 1 } else { last_same(0, both - 1, same) };
        let agreed = ours[deepest].end.min(theirs[deepest].end).full_blocks(self.unit).saturating_sub(from);
        if agreed <= most { (agreed, Some(label.skipped as usize + deepest)) } else { (most, None) }
    }

    /// The pieces in which the first and the last block of `from..to`, which is not empty, end, and those between them.
    #[inline]
    pub(crate) fn pieces(&self, id: LabelId, from: Blocks, to: Blocks) -> &[Piece] {
        self.before_and_in(&self.labels[id.0 as usize], from, to).1
    }

    /// The same, and what is before them.
    #[inline]
    pub(crate) fn touched(&self, id: LabelId, from: Blocks, to: Blocks) -> Touched<'_> {
        let label = &self.labels[id.0 as usize];
        let (before, pieces) = self.before_and_in(label, from, to);
        Touched {
            parent: last_with_a_block(before, label.start, self.unit).unwrap_or(label.before),
            start: before.last().map_or(label.start, |piece| piece.end),
            pieces,
        }
    }

    #[inline]
    fn before_and_in<'a>(&self, label: &'a Label, from: Blocks, to: Blocks) -> (&'a [Piece], &'a [Piece]) {
        let first = label.piece_of(self.last_token(from));
        let last = label.piece_of(self.last_token(to - Blocks(1)));
        let (before, rest) = label.pieces.split_at(first);
        (before, &rest[..=last - first])
    }

    /// Labels that runs refer to, and references to them.
    pub(crate) fn count(&self) -> (usize, u32) {
        let used = self.labels.len() - self.vacant.len();
        (used, self.labels.iter().map(|label| label.runs).sum())
    }
}

/// The last of `pieces`, of which the first begins at `start`, in which a full block ends.
#[inline]
fn last_with_a_block(pieces: &[Piece], start: Tokens, unit: Tokens) -> Option<PieceKey> {
    for (index, piece) in pieces.iter().enumerate().rev() {
        let from = index.checked_sub(1).map_or(start, |before| pieces[before].end);
        if piece.end.full_blocks(unit) > from.full_blocks(unit) {
            return Some(piece.key);
        }
    }
    None
}

/// The last index in `lo..hi` for which `same` holds, given that it holds for `lo`, not for `hi`, and for a prefix.
fn last_same(mut lo: usize, mut hi: usize, same: impl Fn(usize) -> bool) -> usize {
    while hi - lo > 1 {
        let middle = usize::midpoint(lo, hi);
        if same(middle) { lo = middle } else { hi = middle }
    }
    lo
}
