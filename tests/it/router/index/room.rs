//! Within its limit: never a byte more, never a credit that is not true, leaves first.

use super::super::{Chance, prompt};
use super::literal::World;
use kvcache::{Chain, ChainBuilder, Piece, PieceKey, Tokens, WorkerId};
use router::{Index, IndexConfig, Matches};
use std::collections::BTreeSet;

const UNIT: u32 = 4;

fn limited(workers: u16, limit: u64) -> IndexConfig {
    IndexConfig { limit, ..IndexConfig::new(workers, Tokens(UNIT)) }
}

fn bytes_within_limit(index: &Index) {
    let (bytes, limit) = (index.bytes(), index.config().limit);
    assert!(bytes <= limit, "{bytes} bytes of {limit}");
}

/// Conversations about a few documents: they begin alike, and go on with turns of some blocks, each a piece or in
/// longer ones.
fn conversation(chance: &mut Chance, long: u32) -> Vec<Piece> {
    let mut builder = ChainBuilder::new();
    let blocks = |builder: &mut ChainBuilder, content: u64, count: u32, each: u32| {
        (0..count).for_each(|n| builder.push(1000 * content + u64::from(n), Tokens(each)));
    };
    let document = chance.below(12);
    blocks(&mut builder, document, 5 + chance.tokens(20), UNIT);
    for _ in 0..chance.below(5) {
        let each = [UNIT, UNIT, 3 * UNIT, 5][chance.pick(4)];
        let content = 12 + chance.below(5000);
        blocks(&mut builder, content, 1 + chance.tokens(long), each);
    }
    builder.pieces().to_vec()
}

/// The pieces that the index gives a worker, of all prompts: as nothing is kept behind a hole, there are no others.
fn reachable(world: &mut World) -> BTreeSet<PieceKey> {
    let mut found = BTreeSet::new();
    for place in 0..world.prompts.len() {
        let most = world.both(place).map(|(_, said, _)| said.0).max().unwrap_or_default();
        found.extend(world.prompts[place].blocks[..(most / UNIT) as usize].iter().map(|(piece, _)| *piece));
    }
    found
}

#[test]
fn what_a_small_index_says_is_true() {
    let worlds = [(1, 70_000, 60), (3, 128 << 10, 60), (65, 150_000, 60), (130, 400 << 10, 150)];
    let worlds = [true, false].into_iter().flat_map(|by_piece| worlds.map(|world| (world, by_piece)));
    for (((workers, limit, long), by_piece), seed) in worlds.zip(0..) {
        let mut chance = Chance::new(seed);
        let busy = [0, workers / 2, workers - 1].map(WorkerId).to_vec();
        let mut world = World::new(IndexConfig { by_piece, ..limited(workers, limit) }, busy);
        (0..300).for_each(|_| world.learn(conversation(&mut chance, long)));
        let (mut less, mut all) = (0, 0);
        for step in 0..6_000 {
            world.step(&mut chance);
            bytes_within_limit(&world.index);
            let place = chance.pick(world.prompts.len());
            for (worker, said, truth) in world.both(place) {
                assert!(
                    said <= truth,
                    "step {step}: {said} credited to {worker} for prompt {place}, which has {truth}"
                );
                less += u32::from(said < truth);
                all += u32::from(truth > Tokens::ZERO);
            }
            if step % 1000 == 999 {
                world.index.check();
                let found = reachable(&mut world).len();
                assert!(!by_piece || world.index.pieces() == found, "step {step}: nothing lies behind a hole");
            }
        }
        // Room ended, and yet most is known.
        let counts = world.index.counts();
        assert!(counts.evicted > 1_000 && (counts.orphans > 0 || !by_piece), "{counts:?} of {workers}");
        // Without a place for each piece, more has room.
        assert!(
            less > all / if by_piece { 20 } else { 40 } && less < all / 10 * 9,
            "{less} of {all} answers are too low, of {workers}"
        );
        assert!(world.index.bytes() > limit / 2, "{} bytes of {limit}", world.index.bytes());
    }
}

/// Runs that hang below each other, ten thousand deep: each turn of a conversation at another worker than the last one.
#[test]
fn a_conversation_that_wanders_stays_within_the_limit() {
    for limit in [IndexConfig::least(2), 1 << 20] {
        let mut index = Index::new(limited(2, limit));
        let mut builder = ChainBuilder::new();
        for turn in 0..10_000_u64 {
            builder.push(turn, Tokens(UNIT));
            let chain = Chain::new(builder.pieces(), Tokens(1));
            index.store_chain(WorkerId(turn as u16 % 2), chain, chain.tokens());
            bytes_within_limit(&index);
        }
        index.check();
    }
}

/// One document, and prompts that leave it behind each of its blocks: the list of where they do moves when it grows, and
/// it grows when no room is left.
#[test]
fn a_document_that_is_left_everywhere_stays_within_the_limit() {
    let document: Vec<_> = (0..6_000).map(|block| (block, UNIT)).collect();
    let document = prompt(&document);
    let mut index = Index::new(limited(1, 4 << 20));
    let store = |index: &mut Index, pieces: &[Piece]| {
        let chain = Chain::new(pieces, Tokens(1));
        index.store_chain(WorkerId(0), chain, chain.tokens());
        bytes_within_limit(index);
    };
    let leave = |index: &mut Index, at: usize| {
        let before = document[at];
        let piece = Piece { key: before.key.then(before.end, 9_999), end: before.end + Tokens(UNIT) };
        store(index, &[&document[..=at], &[piece]].concat());
    };
    store(&mut index, &document);
    (0..4_000).for_each(|at| leave(&mut index, at));
    let mut filler = 0;
    while index.bytes() + (40 << 10) < index.config().limit {
        let contents: Vec<_> = (0..256).map(|block| (10_000 + 256 * filler + block, UNIT)).collect();
        store(&mut index, &prompt(&contents));
        filler += 1;
    }
    assert_eq!(index.counts().evicted, 0);
    // Fillers, which are not used again, make room.
    (0..5_000).for_each(|at| leave(&mut index, at));
    let (evicted, pieces) = (index.counts().evicted, index.pieces() as u64);
    assert!(evicted > 0);
    assert_eq!(evicted + pieces, 6_000 + 5_000 + 256 * filler, "all else is there still: {:?}", index.counts());
    index.check();
}

/// A worker's account may have holes. What it says of a prompt behind a hole cannot be found, so it is not kept: else
/// whoever makes room for it could take away what it hangs on.
#[test]
fn behind_a_hole_nothing_is_kept() {
    let pieces = prompt(&[(1, UNIT), (2, UNIT), (3, UNIT)]);
    let mut index = Index::new(limited(2, 1 << 20));
    let store = |index: &mut Index, worker, piece: usize| {
        let parent = piece.checked_sub(1).map_or(PieceKey::ROOT, |before| pieces[before].key);
        let end = pieces[piece].end;
        index.store(WorkerId(worker), parent, pieces[piece].key, Tokens(end.0 - UNIT), end);
    };
    store(&mut index, 0, 0);
    store(&mut index, 1, 1); // 0 holds the first piece, 1 does not
    store(&mut index, 1, 2);
    assert_eq!((index.held(WorkerId(1)), index.pieces(), index.counts().orphans), (0, 1, 2));
    store(&mut index, 0, 1);
    store(&mut index, 1, 1); // nor does it where others hold the second one
    assert_eq!((index.held(WorkerId(1)), index.pieces(), index.counts().orphans), (0, 2, 3));
    // Nor where they hold it for another prompt's sake, too: the second piece begins a run of its own then.
    let other = Piece { key: pieces[0].key.then(pieces[0].end, 9), end: pieces[1].end };
    index.store(WorkerId(0), pieces[0].key, other.key, pieces[0].end, other.end);
    index.store(WorkerId(1), pieces[0].key, other.key, pieces[0].end, other.end);
    assert_eq!((index.held(WorkerId(1)), index.pieces(), index.counts().orphans), (0, 3, 4));
    store(&mut index, 1, 0);
    store(&mut index, 1, 1);
    let mut matches = Matches::new();
    index.matches(Chain::new(&pieces, Tokens(1)), &mut matches);
    assert_eq!(matches.tokens(), [Tokens(2 * UNIT); 2]);
    index.check();
}
