//! 100,000 short lives of an index, each with its own unit, fleet and way of cutting prompts: whatever is told, in
//! whatever order, it says what a literal index says.

use super::super::{Chance, prompt};
use super::literal::World;
use kvcache::{Piece, Tokens, WorkerId};
use router::{IndexConfig, IndexCounts};
use std::collections::BTreeMap;

const UNITS: [u32; 6] = [1, 2, 7, 16, 24, 256];
/// On both sides of where a set of workers needs another word.
const FLEETS: [u16; 9] = [1, 2, 5, 63, 64, 65, 128, 129, 130];

/// How prompts are cut into pieces, lengths by content.
struct Cut {
    lengths: [u32; 3],
    short: u64, // percent of pieces that are cut short
}

impl Cut {
    fn some(chance: &mut Chance, unit: u32) -> Self {
        match chance.below(4) {
            // Each block is a piece, as where tokens were hashed.
            0 => Self { lengths: [unit; 3], short: 0 },
            1 => Self { lengths: [unit, 2 * unit, 5 * unit], short: 0 },
            2 => Self { lengths: [unit, 3 * unit, 4 * unit], short: 30 },
            _ => {
                // Pieces that end inside of blocks, and some that hold no end of a block.
                let odd = |chance: &mut Chance| 1 + chance.tokens(4 * unit);
                Self { lengths: [odd(chance), odd(chance), 1 + unit / 3], short: 30 }
            }
        }
    }

    fn prompt(&self, chance: &mut Chance) -> Vec<Piece> {
        let contents: Vec<_> = (0..1 + chance.below(6))
            .map(|_| {
                let content = chance.pick(3);
                let whole = self.lengths[content];
                let short = chance.percent(self.short);
                (content as u64, if short { 1 + chance.tokens(whole) } else { whole })
            })
            .collect();
        prompt(&contents)
    }
}

/// A fleet of which a few workers are busy: the first, the last, and any.
fn fleet(chance: &mut Chance) -> (u16, Vec<WorkerId>) {
    let workers = FLEETS[chance.pick(FLEETS.len())];
    let mut busy = vec![WorkerId(0), WorkerId(workers - 1)];
    busy.extend((0..chance.below(3)).map(|_| WorkerId(chance.below(workers.into()) as u16)));
    busy.sort_unstable();
    busy.dedup();
    (workers, busy)
}

fn live(chance: &mut Chance, steps: u64, seen: &mut BTreeMap<&'static str, u32>) {
    let (workers, busy) = fleet(chance);
    let unit = UNITS[chance.pick(UNITS.len())];
    let (ordered, by_piece) = (chance.percent(30), chance.percent(70));
    let cut = Cut::some(chance, unit);
    let mut world = World::new(IndexConfig { ordered, by_piece, ..IndexConfig::new(workers, Tokens(unit)) }, busy);
    (0..2 + chance.below(6)).for_each(|_| world.learn(cut.prompt(chance)));
    for _ in 0..1 + chance.below(steps) {
        *seen.entry(world.step(chance)).or_default() += 1;
        // Nothing else is ever taken back there.
        if !by_piece && chance.percent(15) {
            world.clear(world.busy[chance.pick(world.busy.len())]);
        }
        let place = chance.pick(world.prompts.len());
        world.compare(place);
    }
    world.compare_all();
    assert_eq!(world.index.counts(), IndexCounts::default(), "whatever was told could be found");
}

#[test]
fn a_hundred_thousand_sequences_of_changes() {
    let mut seen = BTreeMap::new();
    for seed in 0..100_000 {
        live(&mut Chance::new(seed), 25, &mut seen);
    }
    let kinds = ["clear", "evict", "evict nothing", "nothing", "store", "store a chain", "use"];
    assert!(seen.keys().eq(&kinds), "{seen:?}");
    assert!(seen.values().all(|count| *count > 20_000), "{seen:?}");
}

#[test]
fn long_sequences_of_changes() {
    let mut seen = BTreeMap::new();
    for seed in 0..200 {
        live(&mut Chance::new(1_000_000 + seed), 2_000, &mut seen);
    }
}
