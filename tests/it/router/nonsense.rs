//! What no engine says, told all the same.

use super::Chance;
use kvcache::{CacheEvent, Change, Epoch, Piece, PieceKey, Span, Strand, StrandId, Time, Tokens, WorkerId};
use router::{Router, RouterConfig, Signal, Strategy};

const fn at(millis: u64) -> Time {
    Time(Span::from_millis(millis).0)
}

/// Nonsense, told together or one by one, breaks nothing.
#[test]
fn whatever_is_told_nothing_breaks() {
    let mut chance = Chance::new(5);
    let mut credited = 0;
    for _ in 0..3_000 {
        let strands = chance.percent(50);
        let config = RouterConfig { silence: None, strands, ..RouterConfig::new(Strategy::KvAware, 3) };
        let (mut router, mut slow) = (Router::new(config), Router::new(config));
        let mut sequences = [0; 3];
        for _ in 0..30 {
            let worker = chance.pick(3);
            let mut some: Vec<CacheEvent> = Vec::new();
            for _ in 0..1 + chance.below(8) {
                let key = |chance: &mut Chance| PieceKey(chance.below(9) << 60 | 1);
                let at = |chance: &mut Chance| Tokens(16 * chance.below(6) as u32);
                let pieces = |chance: &mut Chance, start: Tokens| -> Vec<Piece> {
                    // In order of their ends or not, of equal keys or not, or none at all.
                    let count = [1, 1, 2, 3, 5, 0][chance.pick(6)];
                    (0..count).map(|_| Piece { key: key(chance), end: start + at(chance) }).collect()
                };
                let id = |chance: &mut Chance| StrandId([0, 1, 2, 3, 9, u32::MAX][chance.pick(6)]);
                let strand = |chance: &mut Chance| {
                    let behind = chance.percent(60).then(|| id(chance));
                    chance.percent(90).then(|| Strand { id: id(chance), behind })
                };
                let last = some.last().map(|event| event.change.clone());
                let change = match (chance.below(10), last) {
                    (0..5, Some(Change::Stored { upto, pieces: before, .. })) if !before.is_empty() => {
                        // Linked as they should be, whatever the piece.
                        let parent = before[before.len() - 1].key;
                        let upto_now = upto + at(&mut chance);
                        let (pieces, strand) = (pieces(&mut chance, upto), strand(&mut chance));
                        Change::Stored { parent, start: upto, upto: upto_now, pieces, strand }
                    }
                    (0..6, _) => {
                        let parent = if chance.percent(50) { PieceKey::ROOT } else { key(&mut chance) };
                        let first = parent == PieceKey::ROOT && chance.percent(80);
                        let start = if first { Tokens::ZERO } else { at(&mut chance) };
                        let upto = start + at(&mut chance);
                        let (pieces, strand) = (pieces(&mut chance, start), strand(&mut chance));
                        Change::Stored { parent, start, upto, pieces, strand }
                    }
                    (6..9, _) => {
                        let left = at(&mut chance);
                        let strand = chance.percent(90).then(|| id(&mut chance));
                        Change::Evicted { left, pieces: pieces(&mut chance, left), strand }
                    }
                    _ => Change::Cleared,
                };
                some.push(CacheEvent { epoch: Epoch(0), sequence: sequences[worker], change });
                sequences[worker] += 1;
            }
            router.observe(WorkerId(worker as u16), Signal::Cache(&some), at(0), at(0));
            some.iter().for_each(|one| {
                slow.observe(WorkerId(worker as u16), Signal::Cache(std::slice::from_ref(one)), at(0), at(0))
            });
            let [index, singly] = [&router, &slow].map(|router| router.index().expect("it keeps one"));
            index.check();
            singly.check();
            credited += index.held(WorkerId(0));
        }
    }
    assert!(credited > 1_000_000, "some of it makes sense: {credited}");
}
