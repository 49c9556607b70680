//! Who may be chosen.

use crate::index::Set;
use alloc::vec::Vec;
use kvcache::WorkerId;

/// The workers that may be chosen now.
#[derive(Debug)]
pub(crate) struct Available {
    workers: u16,
    count: u16,
    set: Set,
}

impl Available {
    pub(crate) fn all(workers: u16) -> Self {
        let mut set = Set::none(workers);
        set.fill(workers);
        Self { workers, count: workers, set }
    }

    /// All workers but `excluded` become available.
    pub(crate) fn all_but(&mut self, excluded: &[WorkerId]) {
        if self.count < self.workers {
            self.set.fill(self.workers);
            self.count = self.workers;
        }
        for worker in excluded {
            if worker.0 < self.workers && self.set.has(*worker) {
                self.set.remove(*worker);
                self.count -= 1;
            }
        }
    }

    /// How many there are.
    pub(crate) const fn count(&self) -> u16 {
        self.count
    }

    /// Whether `worker` is one of them.
    #[inline]
    pub(crate) fn has(&self, worker: WorkerId) -> bool {
        self.set.has(worker)
    }

    pub(crate) const fn set(&self) -> &Set {
        &self.set
    }

    /// All of them, in order of their numbers.
    #[inline]
    pub(crate) fn iter(&self) -> impl Iterator<Item = WorkerId> {
        (0..self.workers).map(WorkerId).filter(|worker| self.set.has(*worker))
    }

    /// One bit for each worker, the first in the lowest bit of the first word.
    pub(crate) fn bits(&self, words: &mut Vec<u64>) {
        words.clear();
        words.extend(self.set.words());
    }
}
