//! What was sent where: `prefixaware` against upstream's trie, written down literally.

use super::super::{Chance, Gateway};
use super::{UNIT, WORKERS, some_excluded, some_prompt};
use kvcache::{Chain, Piece, PieceKey, Tokens};
use router::{Reason, RouterConfig, Strategy};
use std::collections::{BTreeMap, BTreeSet};

/// Upstream's trie, literally: sets of workers by the chunks on the way. A chunk is the piece it ends in, its number
/// and its length.
#[derive(Default)]
struct Trie(BTreeMap<(PieceKey, u32, u32), BTreeSet<u16>>);

impl Trie {
    fn chunks(pieces: &[Piece], chunk: u32) -> Vec<(PieceKey, u32, u32)> {
        let tokens = Chain::new(pieces, UNIT).tokens().0;
        let ends = (1..=tokens.div_ceil(chunk)).map(|number| (number, tokens.min(number * chunk)));
        let piece_of = |end| pieces.iter().find(|piece| end <= piece.end.0).expect("the end of a chunk").key;
        ends.map(|(number, end)| (piece_of(end), number, end - (number - 1) * chunk)).collect()
    }

    /// The length of the longest match, and the workers left.
    fn walk(&self, chunks: &[(PieceKey, u32, u32)], mut left: BTreeSet<u16>) -> (u32, BTreeSet<u16>) {
        let mut length = 0;
        for chunk in chunks {
            let there = self.0.get(chunk).map_or_else(BTreeSet::new, |sent| sent & &left);
            if there.is_empty() {
                break;
            }
            (length, left) = (length + chunk.2, there);
        }
        (length, left)
    }
}

#[test]
fn prefixes_are_those_of_a_literal_trie() {
    let config = RouterConfig { chunk: Tokens(24), ..RouterConfig::new(Strategy::PrefixAware, WORKERS) };
    let mut chance = Chance::new(2);
    let mut tied_seen = BTreeSet::new();
    for _ in 0..400 {
        // A fresh router each time: nothing is ever forgotten, so an old one knows everything.
        let (mut gateway, mut trie) = (Gateway::with(config), Trie::default());
        for _ in 0..60 {
            let (pieces, excluded) = (some_prompt(&mut chance), some_excluded(&mut chance));
            let available: BTreeSet<_> = (0..WORKERS).filter(|worker| !excluded.contains(worker)).collect();
            let Ok(decision) = gateway.ask(&pieces, None, &excluded, 0) else { continue };
            let chunks = Trie::chunks(&pieces, 24);
            let (length, left) = trie.walk(&chunks, available);
            assert_eq!(decision.matched, Some(Tokens(length)));
            let reason = match length {
                0 => Reason::NoPrefix,
                _ => Reason::DeepestPrefix { tied: left.len() as u16 },
            };
            assert_eq!(decision.reason, reason);
            assert!(left.contains(&decision.worker.0), "one of those left is drawn");
            tied_seen.insert((length > 0, left.len()));
            for chunk in chunks {
                trie.0.entry(chunk).or_default().insert(decision.worker.0);
            }
        }
        gateway.router.index().unwrap().check();
    }
    assert_eq!(tied_seen.len(), 6, "1, 2 and 3 left, with and without a match");
}
