//! What random histories have in common: they are lived through step by step, say where they failed, and count what
//! happened in them.

use super::prompts::Chance;
use std::collections::BTreeMap;
use std::fmt::Debug;

/// A cache and its model, which live through the same.
pub(super) trait History {
    /// Something happens; says what.
    fn step(&mut self) -> &'static str;

    /// Asserts that they agree on everything that can be asked; `step` is how often they did so before.
    fn compare(&mut self, step: u32);
}

/// Lives through so many steps. A failure names the `setting` and the step; so it does as long as what this gives is kept.
pub(super) fn live<S: Debug>(setting: S, steps: u32, history: &mut impl History) -> Place<S> {
    let mut place = Place { setting, step: 0, doing: "" };
    for step in 0..steps {
        (place.step, place.doing) = (step, "in the middle of it");
        place.doing = history.step();
        history.compare(step);
    }
    place
}

/// Where one is in a history.
#[derive(Debug)]
#[expect(dead_code, reason = "read by whoever reads a failure")]
pub(super) struct Place<S: Debug> {
    setting: S,
    step: u32,
    doing: &'static str,
}

impl<S: Debug> Drop for Place<S> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("failed in {self:?}");
        }
    }
}

/// How often all histories are lived through, each time with other seeds: `PODLAB_SEEDS` says so.
pub(super) fn rounds() -> u64 {
    std::env::var("PODLAB_SEEDS").map_or(1, |rounds| rounds.parse().expect("PODLAB_SEEDS is a number"))
}

/// Of all that is `known`, `most` are remembered.
pub(super) fn learn<T>(known: &mut Vec<T>, new: T, most: usize, chance: &mut Chance) {
    if known.len() < most {
        known.push(new);
    } else {
        let forgotten = chance.below(most as u32) as usize;
        known[forgotten] = new;
    }
}

/// How often what happened: histories in which nothing happens prove nothing.
#[derive(Debug, Default)]
pub(super) struct Seen(BTreeMap<&'static str, u64>);

impl Seen {
    pub(super) fn saw(&mut self, what: &'static str, count: u64) {
        *self.0.entry(what).or_default() += count;
    }

    pub(super) fn when(&mut self, what: &'static str, happened: bool) {
        self.saw(what, u64::from(happened));
    }

    pub(super) fn add(&mut self, other: &Self) {
        for (what, count) in &other.0 {
            self.saw(what, *count);
        }
    }

    /// Asserts that so many kinds of things could happen, and that each happened at least so often.
    pub(super) fn check(&self, kinds: usize, least: u64) {
        assert_eq!(self.0.len(), kinds, "what nobody came to count did not happen: {self:?}");
        for (what, count) in &self.0 {
            assert!(*count >= least, "too little of {what} in these histories: {self:?}");
        }
    }
}
