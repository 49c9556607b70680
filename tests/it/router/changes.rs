//! What a worker tells of a prompt, worked out block by block.

use kvcache::{Change, Piece, PieceKey, Tokens};

/// A block, by what is known of it without any arithmetic on keys: the piece it ends in, and its number.
pub(super) type Block = (PieceKey, u32);

/// The full blocks of a prompt.
pub(super) fn blocks(pieces: &[Piece], unit: u32) -> Vec<Block> {
    let tokens = pieces.last().map_or(0, |piece| piece.end.0);
    let piece_of = |token| pieces.iter().find(|piece| token < piece.end.0).expect("a token of the prompt").key;
    (0..tokens / unit).map(|block| (piece_of((block + 1) * unit - 1), block)).collect()
}

/// Neighbouring blocks of one piece: the piece, its first block, and the part of its blocks that lies in `from..to`.
fn groups(blocks: &[Block], from: usize, to: usize) -> Vec<(PieceKey, usize, usize, usize)> {
    let mut groups: Vec<(PieceKey, usize, usize, usize)> = Vec::new();
    for block in from..to {
        let piece = blocks[block].0;
        match groups.last_mut() {
            Some(group) if group.0 == piece => group.3 = block + 1,
            _ => {
                let first = blocks.iter().position(|(of, _)| *of == piece).expect("it is one of them");
                groups.push((piece, first, block, block + 1));
            }
        }
    }
    groups
}

/// What is told where blocks `from..to` become resident, piece by piece, first to last.
pub(super) fn stored(blocks: &[Block], from: usize, to: usize, unit: u32) -> Vec<Change> {
    let told = |(piece, first, _, end): (PieceKey, usize, usize, usize)| Change::Stored {
        parent: first.checked_sub(1).map_or(PieceKey::ROOT, |before| blocks[before].0),
        start: Tokens(first as u32 * unit),
        upto: Tokens(end as u32 * unit),
        pieces: [Piece { key: piece, end: Tokens(end as u32 * unit) }].into(),
        strand: None,
    };
    groups(blocks, from, to).into_iter().map(told).collect()
}

/// What is told where blocks `from..to`, the last that are resident, go, piece by piece, last to first.
pub(super) fn evicted(blocks: &[Block], from: usize, to: usize, unit: u32) -> Vec<Change> {
    let told = |(piece, _, gone, end): (PieceKey, usize, usize, usize)| Change::Evicted {
        left: Tokens(gone as u32 * unit),
        pieces: [Piece { key: piece, end: Tokens(end as u32 * unit) }].into(),
        strand: None,
    };
    groups(blocks, from, to).into_iter().rev().map(told).collect()
}

/// The same, told at once. There is something to tell.
pub(super) fn together(changes: &[Change]) -> Change {
    let (Some(first), Some(last)) = (changes.first(), changes.last()) else { panic!("nothing to tell") };
    let stored = |change: &Change| match change {
        Change::Stored { pieces, .. } => pieces.to_vec(),
        _ => panic!("{change:?} among what was stored"),
    };
    let evicted = |change: &Change| match change {
        Change::Evicted { pieces, .. } => pieces.to_vec(),
        _ => panic!("{change:?} among what was evicted"),
    };
    match (first, last) {
        (Change::Stored { parent, start, .. }, Change::Stored { upto, .. }) => Change::Stored {
            parent: *parent,
            start: *start,
            upto: *upto,
            pieces: changes.iter().flat_map(stored).collect(),
            strand: None,
        },
        (Change::Evicted { .. }, Change::Evicted { left, .. }) => {
            let pieces = changes.iter().rev().flat_map(evicted).collect();
            Change::Evicted { left: *left, pieces, strand: None }
        }
        _ => panic!("{first:?} and {last:?}"),
    }
}
