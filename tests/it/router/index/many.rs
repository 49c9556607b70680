//! At size: more than a million pieces, one place for each; then none; then as many again.

use super::super::prompt;
use kvcache::{Chain, ChainBuilder, Piece, PieceKey, Tokens, WorkerId};
use router::{Index, IndexConfig, Matches};

const UNIT: u32 = 16;

/// Documents of 1,000 blocks, each a piece.
fn document(builder: &mut ChainBuilder, number: u64) -> &[Piece] {
    builder.clear();
    (0..1_000).for_each(|block| builder.push(1_000 * number + block, Tokens(UNIT)));
    builder.pieces()
}

#[test]
fn a_million_pieces_are_found_and_go() {
    let mut index = Index::new(IndexConfig::new(3, Tokens(UNIT)));
    let (mut builder, mut matches) = (ChainBuilder::new(), Matches::new());
    let mut full = 0;
    for round in 0..3 {
        for number in 0..1_100 {
            let chain = Chain::new(document(&mut builder, number), Tokens(UNIT));
            index.store_chain(WorkerId(number as u16 % 3), chain, chain.tokens());
            // Some are held twice, up to the middle of a block: so to the end of the one before.
            if number % 10 == 0 {
                index.store_chain(WorkerId(1), chain, Tokens(9_999));
            }
        }
        assert_eq!(index.pieces(), 1_100_000);
        index.check();
        for number in 0..1_100 {
            let chain = Chain::new(document(&mut builder, number), Tokens(UNIT));
            index.matches(chain, &mut matches);
            let of = |worker: u64| match (number % 3 == worker, number % 10 == 0 && worker == 1) {
                (true, _) => 16_000,
                (_, true) => 9_984,
                _ => 0,
            };
            assert_eq!(matches.tokens(), [0, 1, 2].map(|worker| Tokens(of(worker))), "document {number}");
        }
        // A table that is used again takes no more than before.
        full = if round == 0 { index.bytes() } else { full };
        assert!(index.bytes() <= full + full / 20, "{} bytes, {full} in the first round", index.bytes());
        assert!(full < 50 * 1_100_000, "{full} bytes: some 47 a piece");
        if round == 1 {
            // Piece by piece, as a worker evicts.
            for number in 0..1_100 {
                let pieces = document(&mut builder, number);
                for worker in [number as u16 % 3, 1] {
                    pieces.iter().rev().for_each(|piece| index.evict(WorkerId(worker), piece.key, Tokens::ZERO));
                }
            }
        } else {
            (0..3).for_each(|worker| index.clear(WorkerId(worker)));
        }
        assert_eq!((index.pieces(), [0, 1, 2].map(|worker| index.held(WorkerId(worker)))), (0, [0; 3]));
        index.check();
    }
}

/// Right after a worker was removed nothing of it is found, and what only it held is gone.
#[test]
fn a_worker_is_removed_at_once() {
    let mut index = Index::new(IndexConfig::new(2, Tokens(UNIT)));
    let mut matches = Matches::new();
    let [mine, ours, yours] = [1, 2, 3].map(|own| prompt(&[(0, 4 * UNIT), (own, 4 * UNIT), (own, 40)]));
    for (worker, pieces) in [(0, &mine), (0, &ours), (1, &ours), (1, &yours)] {
        index.store_chain(WorkerId(worker), Chain::new(pieces, Tokens(UNIT)), Tokens(u32::MAX));
    }
    // The beginning, and two pieces of each; the last one holds two blocks.
    assert_eq!((index.pieces(), index.held(WorkerId(0)), index.held(WorkerId(1))), (7, 16 * 16, 16 * 16));
    index.clear(WorkerId(0));
    assert_eq!((index.pieces(), index.held(WorkerId(0)), index.held(WorkerId(1))), (5, 0, 16 * 16));
    for (pieces, left) in [(&mine, 4), (&ours, 10), (&yours, 10)] {
        index.matches(Chain::new(pieces, Tokens(UNIT)), &mut matches);
        assert_eq!(matches.tokens(), [Tokens(0), Tokens(left * UNIT)]);
    }
    index.check();
    // It comes back, and then both go.
    index.store_chain(WorkerId(0), Chain::new(&mine, Tokens(UNIT)), Tokens(u32::MAX));
    assert_eq!((index.pieces(), index.held(WorkerId(0))), (7, 160));
    (0..2).for_each(|worker| index.clear(WorkerId(worker)));
    assert_eq!((index.pieces(), index.held(WorkerId(0)), index.held(WorkerId(1))), (0, 0, 0));
    index.check();
}

/// One long piece that is left after each of its blocks, by one prompt each: it goes on in 20,000 runs, one behind the
/// other. Whatever is done with it ends, and on no deep stack.
#[test]
fn a_piece_may_go_on_many_times() {
    const TIMES: u32 = 20_000;
    let mut index = Index::new(IndexConfig::new(2, Tokens(UNIT)));
    let piece = prompt(&[(1, TIMES * UNIT)])[0];
    for block in 1..TIMES {
        // The piece up to here, and then something else, which follows it in its run.
        let upto = Tokens(block * UNIT);
        index.store(WorkerId(0), PieceKey::ROOT, piece.key, Tokens::ZERO, upto);
        let other = piece.key.then(upto, 2);
        index.store(WorkerId(0), piece.key, other, upto, upto + Tokens(UNIT));
    }
    index.store(WorkerId(1), PieceKey::ROOT, piece.key, Tokens::ZERO, piece.end);
    index.check();
    let pieces = index.pieces();
    assert_eq!(pieces, TIMES as usize, "one, and what follows it after each block but the last");
    let mut matches = Matches::new();
    let mut held = |index: &Index| {
        index.matches(Chain::new(&[piece], Tokens(UNIT)), &mut matches);
        matches.tokens().to_vec()
    };
    assert_eq!(held(&index), [Tokens((TIMES - 1) * UNIT), piece.end]);
    index.evict(WorkerId(1), piece.key, Tokens(5 * UNIT));
    assert_eq!(held(&index), [Tokens((TIMES - 1) * UNIT), Tokens(5 * UNIT)]);
    index.evict(WorkerId(1), piece.key, Tokens::ZERO);
    assert_eq!(held(&index), [Tokens((TIMES - 1) * UNIT), Tokens::ZERO]);
    index.clear(WorkerId(0));
    assert_eq!((index.pieces(), index.held(WorkerId(0)), index.held(WorkerId(1))), (0, 0, 0));
    index.check();
}
