//! The index of who holds which prefix: against literal ones, within its limit, at size.

mod caches; // what real caches tell
mod literal; // an index, written down
mod sequences; // many short lives against it
mod room; // within its limit
mod recency; // what goes first
mod memory; // what the process takes
mod many; // a million pieces
mod trie; // what was sent where

use super::{Chance, prompt};
use kvcache::{Piece, Tokens};

const UNIT: Tokens = Tokens(16);
const WORKERS: u16 = 3;

/// A prompt of a few pieces that share their beginnings with many others: lengths are no multiples of a block, some
/// pieces hold no end of a block, and a content may be cut short wherever it stands.
fn some_prompt(chance: &mut Chance) -> Vec<Piece> {
    let contents: Vec<_> = (0..1 + chance.below(6))
        .map(|_| {
            let content = chance.below(4);
            let whole = [5, 37, 64, 90][content as usize];
            (content, if chance.percent(25) { 1 + chance.below(whole) as u32 } else { whole as u32 })
        })
        .collect();
    prompt(&contents)
}

fn some_excluded(chance: &mut Chance) -> Vec<u16> {
    (0..WORKERS).filter(|_| chance.percent(25)).collect()
}
