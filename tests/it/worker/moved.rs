//! Blocks that leave a worker and come to another: the same bits come back, and nothing else is taken for them.

use super::bench::{Bench, Sequence, model, prompt};
use kvcache::BlockHash;
use proptest::prelude::*;
use std::sync::{Arc, OnceLock};
use worker::block::{HEADER, NotTheBlock, Passport};
use worker::model::{Identity, tiny};
use worker::pages::{PageId, PageShape, Pages};

const CHAIN: BlockHash = BlockHash([7; 32]);

fn passport(bench: &Bench) -> Passport {
    Passport::new(&bench.model.identity, bench.pages.shape())
}

/// A block of 8 tokens as bytes, its passport, and the page it came from.
fn block() -> &'static (Passport, Vec<u8>, Vec<u16>) {
    static BLOCK: OnceLock<(Passport, Vec<u8>, Vec<u16>)> = OnceLock::new();
    BLOCK.get_or_init(|| {
        let mut bench = Bench::new(&model(), 8, 2, 1);
        bench.pass(&mut [(&mut Sequence::new(prompt(8, 257, 1), [1]), 8)]);
        let (passport, mut bytes) = (passport(&bench), Vec::new());
        passport.export(&bench.pages, PageId(1), CHAIN, &mut bytes);
        (passport, bytes, bench.pages.page(PageId(1)).to_vec())
    })
}

/// Imports into a page of ones; says what came of it, and that the page changed only where it was taken.
fn import(passport: &Passport, bytes: &[u8], chain: BlockHash, shape: PageShape) -> Result<(), NotTheBlock> {
    let mut pages = Pages::new(shape, 1);
    pages.page_mut(PageId(0)).fill(1);
    let imported = passport.import(bytes, chain, &mut pages, PageId(0));
    let untouched = pages.page(PageId(0)).iter().all(|half| *half == 1);
    assert_eq!(untouched, imported.is_err(), "a page changes where its block was taken, and only there");
    imported
}

fn shape(tokens: usize) -> PageShape {
    PageShape { layers: 2, heads: 2, dim: 64, tokens }
}

#[test]
fn a_block_comes_back_as_it_left() {
    let (passport, bytes, page) = block();
    assert_eq!(bytes.len(), passport.bytes());
    assert!(page.iter().filter(|half| **half != 0).count() > page.len() / 2, "there is something in it");
    let mut pages = Pages::new(shape(8), 3);
    passport.import(bytes, CHAIN, &mut pages, PageId(2)).expect("it is the block");
    assert_eq!(pages.page(PageId(2)), page);
}

#[test]
fn every_flipped_bit_and_every_cut_is_refused() {
    let (passport, bytes, _) = block();
    let mut wrong = bytes.clone();
    // Every bit of the header, and one of each byte behind it.
    let places = (0..HEADER * 8).chain((HEADER..bytes.len()).map(|byte| byte * 8 + byte % 8));
    for bit in places {
        wrong[bit / 8] ^= 1 << (bit % 8);
        assert!(import(passport, &wrong, CHAIN, shape(8)).is_err(), "bit {bit}");
        wrong[bit / 8] ^= 1 << (bit % 8);
    }
    for length in (0..HEADER + 9).chain([bytes.len() - 2, bytes.len() - 1]) {
        assert!(import(passport, &bytes[..length], CHAIN, shape(8)).is_err(), "{length} bytes");
    }
    wrong.push(0);
    assert!(matches!(import(passport, &wrong, CHAIN, shape(8)), Err(NotTheBlock::Length { .. })));
}

#[test]
fn each_difference_has_its_own_error() {
    let (passport, bytes, _) = block();
    let other_chain = BlockHash([8; 32]);
    assert_eq!(import(passport, bytes, other_chain, shape(8)), Err(NotTheBlock::Chain));
    let identity = &model().identity;
    let of = |identity: &Identity, shape| Passport::new(identity, shape);
    let other = tiny(2).identity;
    assert_ne!(other.hash, identity.hash, "another seed is another model");
    assert_eq!(import(&of(&other, shape(8)), bytes, CHAIN, shape(8)), Err(NotTheBlock::Model));
    let requantised = Identity { weights: "q4_1>q8_0".into(), ..identity.clone() };
    assert_eq!(import(&of(&requantised, shape(8)), bytes, CHAIN, shape(8)), Err(NotTheBlock::Weights));
    let tokens = import(&of(identity, shape(16)), bytes, CHAIN, shape(16));
    assert_eq!(tokens, Err(NotTheBlock::Tokens { found: 8, wanted: 16 }));
    let fewer = PageShape { layers: 1, ..shape(8) };
    assert_eq!(import(&of(identity, fewer), bytes, CHAIN, fewer), Err(NotTheBlock::Shape));
    let changed = |at: usize, value: u8| {
        let mut wrong = bytes.clone();
        wrong[at] = value;
        import(passport, &wrong, CHAIN, shape(8))
    };
    assert_eq!(changed(0, 0), Err(NotTheBlock::Magic));
    assert_eq!(changed(4, 2), Err(NotTheBlock::Version(2)));
    assert_eq!(changed(6, 2), Err(NotTheBlock::Elements(2)));
    assert_eq!(changed(HEADER + 5, !bytes[HEADER + 5]), Err(NotTheBlock::Checksum));
    assert_eq!(import(passport, &bytes[..HEADER - 1], CHAIN, shape(8)), Err(NotTheBlock::Short(HEADER - 1)));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]
    #[test]
    fn a_prompt_continued_elsewhere_has_the_scores_of_a_cold_one(
        length in 2..=600usize,
        block in prop::sample::select(vec![8usize, 16, 64]),
        share in 0.0..1.0f64,
        chunk in 1..300usize,
    ) {
        let tokens = prompt(length, 257, 11);
        let pages = length.div_ceil(block);
        let mut cold = Bench::new(&model(), block, pages, 1);
        let mut whole = Sequence::new(tokens.clone(), 0..pages as u32);
        let expected = cold.pass(&mut [(&mut whole, length)]);
        // Of its full blocks, all before the last token, some move.
        let moved = ((length - 1) / block) as f64 * share;
        let moved = moved.ceil() as usize;
        let passport = passport(&cold);
        let mut warm = Bench::new(&model(), block, pages + 1, 1);
        let name = |at: usize| BlockHash([at as u8; 32]);
        for at in 0..moved {
            let mut bytes = Vec::new();
            passport.export(&cold.pages, PageId(at as u32), name(at), &mut bytes);
            // Pages there are in another order.
            let page = PageId((pages - at) as u32);
            prop_assert_eq!(passport.import(&bytes, name(at), &mut warm.pages, page), Ok(()));
        }
        let mut sequence = Sequence::new(tokens, (0..pages as u32).map(|at| pages as u32 - at));
        sequence.computed = moved * block;
        let mut scores = Vec::new();
        while sequence.computed < length {
            let n = chunk.min(length - sequence.computed);
            scores = warm.pass(&mut [(&mut sequence, n)]);
        }
        prop_assert!(scores == expected, "{} of {} tokens moved", moved * block, length);
    }
}

#[test]
fn identity_is_of_tensors_and_not_of_the_moment() {
    assert_eq!(tiny(1).identity, Arc::clone(&model()).identity);
}
