//! Who may be chosen.

use alloc::vec;
use alloc::vec::Vec;
use kvcache::WorkerId;

/// The workers that may be chosen now.
#[derive(Debug)]
pub(crate) struct Available {
    // All ones or zero: an `and` with a row of the index leaves the available workers' ends, without a branch.
    masks: Vec<u32>,
    count: u16,
}

impl Available {
    pub(crate) fn all(workers: u16) -> Self {
        Self { masks: vec![u32::MAX; usize::from(workers)], count: workers }
    }

    /// All workers but `excluded` become available.
    pub(crate) fn all_but(&mut self, excluded: &[WorkerId]) {
        if usize::from(self.count) < self.masks.len() {
            self.masks.fill(u32::MAX);
            self.count = self.masks.len() as u16;
        }
        for worker in excluded {
            if let Some(mask) = self.masks.get_mut(worker.index()).filter(|mask| **mask != 0) {
                *mask = 0;
                self.count -= 1;
            }
        }
    }

    /// How many there are.
    pub(crate) const fn count(&self) -> u16 {
        self.count
    }

    /// Whether `worker` is one of them.
    pub(crate) fn has(&self, worker: WorkerId) -> bool {
        self.masks[worker.index()] != 0
    }

    /// All of them, in order of their numbers.
    pub(crate) fn iter(&self) -> impl Iterator<Item = WorkerId> {
        numbered(self.masks.iter().map(|mask| *mask != 0))
    }

    /// The largest entry of `row`, which has one for each worker, among theirs.
    #[inline]
    pub(crate) fn most(&self, row: &[u32]) -> u32 {
        row.iter().zip(&self.masks).fold(0, |most, (end, mask)| most.max(end & mask))
    }

    /// Those whose entry of `row` is at least `least`, which is not zero; in order of their numbers.
    pub(crate) fn reaching(&self, row: &[u32], least: u32) -> impl Iterator<Item = WorkerId> {
        debug_assert!(least > 0, "everyone reaches zero");
        numbered(row.iter().zip(&self.masks).map(move |(end, mask)| end & mask >= least))
    }

    /// One bit for each worker, the first in the lowest bit of the first word.
    pub(crate) fn bits(&self, words: &mut Vec<u64>) {
        words.clear();
        words.extend(
            self.masks.chunks(64).map(|masks| masks.iter().rev().fold(0, |word, mask| word << 1 | u64::from(mask & 1))),
        );
    }
}

fn numbered(yes: impl Iterator<Item = bool>) -> impl Iterator<Item = WorkerId> {
    yes.enumerate().filter(|(_, yes)| *yes).map(|(index, _)| WorkerId(index as u16))
}
