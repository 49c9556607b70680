//! The law of workers: a token's scores depend on the tokens before it and on nothing else, bit for bit.

use super::bench::{Bench, Sequence, model, prompt};
use proptest::prelude::*;
use std::sync::OnceLock;
use worker::pages::PageId;

const LONGEST: usize = 600;

/// The scores after each token of the longest prompt, computed at once on pages in order.
fn expected() -> &'static (Vec<u32>, Vec<Vec<u32>>) {
    static ALL: OnceLock<(Vec<u32>, Vec<Vec<u32>>)> = OnceLock::new();
    ALL.get_or_init(|| {
        let tokens = prompt(LONGEST, 257, 3);
        let mut bench = Bench::new(&model(), 16, 38, 1);
        let scores = bench.all(&Sequence::new(tokens.clone(), 0..38));
        (tokens, scores)
    })
}

#[test]
fn scores_differ_from_token_to_token() {
    let (_, scores) = expected();
    assert_eq!(scores.len(), LONGEST);
    assert!(scores.iter().all(|scores| scores.len() == 257));
    assert!(scores.windows(2).all(|pair| pair[0] != pair[1]), "the law would say nothing");
    assert!(scores.iter().flatten().all(|bits| f32::from_bits(*bits).is_finite()));
}

#[test]
fn every_length_and_every_block_edge() {
    let (tokens, expected) = expected();
    for block in [8, 16, 64] {
        let mut bench = Bench::new(&model(), block, LONGEST.div_ceil(block), 1);
        // Each prefix is warm, and one token of it is computed.
        let mut sequence = Sequence::new(tokens.clone(), 0..LONGEST.div_ceil(block) as u32);
        for (at, expected) in expected.iter().enumerate() {
            let scores = bench.pass(&mut [(&mut sequence, 1)]);
            assert!(scores[0] == *expected, "token {at}, blocks of {block}");
        }
        // Cold, warm up to each edge of a block and beside it.
        for edge in (block..LONGEST).step_by(block).flat_map(|edge| [edge - 1, edge, edge + 1]) {
            let mut warm = Sequence { computed: edge, ..sequence.clone() };
            let more = (LONGEST - edge).min(1 + edge % 5);
            let scores = bench.pass(&mut [(&mut warm, more)]);
            assert!(scores[0] == expected[edge + more - 1], "{edge} + {more}, blocks of {block}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn any_chunks_any_batch_any_pages_any_threads(
        length in 1..=LONGEST,
        block in prop::sample::select(vec![8usize, 16, 24, 64]),
        threads in 1..=3usize,
        others in prop::collection::vec((1..60usize, 1..200usize), 0..4),
        cuts in prop::collection::vec(1..300usize, 1..6),
        shuffle in any::<u64>(),
    ) {
        let (tokens, expected) = expected();
        let needed = |n: usize| n.div_ceil(block);
        let all = needed(length) + others.iter().map(|(_, n)| needed(*n)).sum::<usize>();
        let mut free: Vec<u32> = (0..all as u32 + 3).collect();
        // Pages in any order.
        let mut draws = sim::streams::Streams::new(shuffle).named("pages");
        for at in (1..free.len()).rev() {
            free.swap(at, draws.below(at as u64 + 1) as usize);
        }
        let mut bench = Bench::new(&model(), block, free.len(), threads);
        for page in 0..free.len() {
            // What a page held before counts for nobody, were it not a number.
            bench.pages.page_mut(PageId(page as u32)).fill(0x7e00);
        }
        let mut take = |n: usize| free.split_off(free.len() - needed(n));
        let mut sequence = Sequence::new(tokens[..length].to_vec(), take(length));
        let mut others: Vec<_> =
            others.iter().map(|(each, n)| (Sequence::new(prompt(*n, 257, *n as u64), take(*n)), *each)).collect();
        let mut cuts = cuts.iter().cycle();
        while sequence.computed < length {
            let chunk = (*cuts.next().expect("it goes round")).min(length - sequence.computed);
            let place = chunk % (others.len() + 1);
            let mut batch: Vec<_> = others
                .iter_mut()
                .filter(|(other, _)| other.computed < other.tokens.len())
                .map(|(other, each)| { let left = other.tokens.len() - other.computed; (other, left.min(*each)) })
                .collect();
            let place = place.min(batch.len());
            batch.insert(place, (&mut sequence, chunk));
            let scores = bench.pass(&mut batch);
            prop_assert!(scores[place] == expected[sequence.computed - 1], "after {} tokens", sequence.computed);
        }
    }
}
