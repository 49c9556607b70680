//! The same tokens in, the same matches out: every index against the literal one, on random histories.

use podlab_peers::{
    Action, Concurrent, Contender, Dynamo, Holes, Literal, Podlab, Positional, Radix, Script, Size, Smg,
};

/// How many histories of which size: 100,000 in all, small ones first, where a difference is easy to read.
const SIZES: [(u64, Size); 5] = [
    (40_000, Size { workers: 2, unit: 1, blocks: 6, symbols: 2, actions: 16 }),
    (30_000, Size { workers: 4, unit: 4, blocks: 12, symbols: 2, actions: 30 }),
    (20_000, Size { workers: 8, unit: 16, blocks: 24, symbols: 3, actions: 50 }),
    (8_000, Size { workers: 64, unit: 16, blocks: 40, symbols: 3, actions: 120 }),
    (2_000, Size { workers: 200, unit: 16, blocks: 100, symbols: 4, actions: 300 }),
];

/// Replays one of `every` histories of each size.
fn agree<C: Contender>(holes: Holes, every: u64) {
    let mut seen = Seen::default();
    for (count, size) in SIZES {
        for seed in (0..count).filter(|seed| seed.is_multiple_of(every)) {
            let script = Script::random(size, holes, seed);
            seen.count(&script);
            if let Err(difference) = script.replay::<C>() {
                panic!("{difference}");
            }
        }
    }
    eprintln!("{}: {seen:?}", C::NAME);
    seen.assert_enough(every);
}

/// What the histories contained: a comparison of empty answers shows nothing.
#[derive(Debug, Default)]
struct Seen {
    scripts: u64,
    stores: u64,
    removals: u64,
    clears: u64,
    matches: u64,
    found: u64,     // matches that find something
    different: u64, // matches that find different lengths with different workers
}

impl Seen {
    fn count(&mut self, script: &Script) {
        self.scripts += 1;
        for action in &script.actions {
            match action {
                Action::Store { .. } => self.stores += 1,
                Action::Remove { .. } => self.removals += 1,
                Action::Clear { .. } => self.clears += 1,
                Action::Match { overlap, .. } => {
                    let mut lengths: Vec<u32> = overlap.iter().copied().filter(|&held| held > 0).collect();
                    lengths.sort_unstable();
                    lengths.dedup();
                    self.matches += 1;
                    self.found += u64::from(!lengths.is_empty());
                    self.different += u64::from(lengths.len() > 1);
                }
            }
        }
    }

    fn assert_enough(&self, every: u64) {
        assert_eq!(self.scripts, SIZES.iter().map(|(count, _)| count.div_ceil(every)).sum::<u64>());
        let least = self.scripts;
        assert!(self.stores > 5 * least && self.removals > least && self.clears > least / 4, "{self:?}");
        assert!(self.found > 2 * least && self.different > least, "{self:?}");
    }
}

#[test]
fn podlab_answers_as_the_literal_index_does() {
    agree::<Podlab>(Holes::Never, 1);
}

#[test]
fn dynamo_answers_as_the_literal_index_does() {
    agree::<Dynamo<Radix>>(Holes::Never, 1);
}

#[test]
fn kv_index_answers_as_the_literal_index_does() {
    agree::<Smg>(Holes::Never, 1);
}

#[test]
fn dynamo_positional_answers_as_the_literal_index_does() {
    agree::<Dynamo<Positional>>(Holes::Never, 1);
}

/// A thread for each history: fewer of them.
#[test]
fn dynamo_concurrent_answers_as_the_literal_index_does() {
    agree::<Dynamo<Concurrent>>(Holes::Never, 10);
}

/// Up to a hole all agree, as long as nothing is stored over it.
#[test]
fn a_match_ends_at_a_hole() {
    agree::<Podlab>(Holes::Unhealed, 10);
    agree::<Dynamo<Radix>>(Holes::Unhealed, 10);
    agree::<Smg>(Holes::Unhealed, 10);
}

/// How many blocks of `abcd` a worker is said to hold that stored it, lost b, and stored b again.
fn healed<C: Contender>() -> u32 {
    let mut index = C::new(1, 1);
    let keys = index.keys(&[1, 2, 3, 4]);
    index.store(0, &keys, 0..4);
    index.remove(0, &keys, 1..2);
    index.store(0, &keys, 1..2);
    index.settle();
    let mut answer = [0];
    index.matches(&mut index.query(&keys));
    index.answer(&mut answer);
    answer[0]
}

/// Where they differ: what follows a hole comes back with the lost block in kv-index. In the others it is gone where it
/// was kept together with the lost block. Engines remove the last block first, so that for them the question does not
/// arise.
#[test]
fn what_follows_a_hole_comes_back_in_kv_index_only() {
    assert_eq!(healed::<Literal>(), 4);
    assert_eq!(healed::<Smg>(), 4);
    assert_eq!(healed::<Dynamo<Radix>>(), 2);
    assert_eq!(healed::<Podlab>(), 2);
}
