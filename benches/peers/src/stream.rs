use crate::contender::BLOCK;
use crate::workload::Workload;
use fastrand::Rng;
use std::collections::BTreeMap;

/// Blocks that a worker adds to a branch, one by one.
const GROWTH: usize = 64;
/// Branches that grow at a time, for each worker.
const GROWING: usize = 8;
/// Blocks held in branches by all workers together, before as many are removed as are stored; for each worker.
const HELD: usize = 1024;

/// A conversation that grows on a worker, block by block as tokens are generated.
#[derive(Clone, Debug)]
pub(crate) struct Branch {
    /// Whose.
    pub(crate) worker: u16,
    /// All tokens that it will have.
    pub(crate) tokens: Vec<u32>,
}

/// A block stored or removed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Change {
    /// Of which branch.
    pub(crate) branch: u64,
    /// Which block of it.
    pub(crate) block: usize,
    /// Stored, or removed.
    pub(crate) stored: bool,
}

/// What happens next.
#[derive(Debug, Default)]
pub(crate) struct Part {
    /// Branches that begin.
    pub(crate) opened: Vec<(u64, Branch)>,
    /// Blocks stored and removed, in order.
    pub(crate) changes: Vec<Change>,
    /// Branches of which nothing is left but what they began from.
    pub(crate) closed: Vec<u64>,
}

/// What engines tell: branches grow from held prefixes at random, and whole ones are taken back from their end.
pub(crate) struct Stream {
    rng: Rng,
    growing: Vec<Stem>,
    grown: Vec<Stem>, // these are taken back
    prompts: BTreeMap<u64, Vec<u32>>,
    next: u64,
    held: usize,
    room: usize,
}

#[derive(Clone, Copy)]
struct Stem {
    branch: u64,
    base: usize, // blocks it began with
    end: usize,  // blocks it has
}

impl Stream {
    /// Events of so many workers.
    #[must_use]
    pub(crate) fn new(workers: u16, seed: u64) -> Self {
        let workers = usize::from(workers);
        Self {
            rng: Rng::with_seed(seed),
            growing: Vec::with_capacity(workers * GROWING),
            grown: Vec::new(),
            prompts: BTreeMap::new(),
            next: 0,
            held: 0,
            room: workers * HELD,
        }
    }

    /// How many events it takes until as many blocks are removed as are stored.
    #[must_use]
    pub(crate) const fn warm_up(&self) -> usize {
        self.room
    }

    /// The next `events` events.
    pub(crate) fn part(&mut self, workload: &mut Workload, events: usize) -> Part {
        let mut part = Part::default();
        while self.growing.len() < self.growing.capacity() {
            self.open(workload, &mut part);
        }
        for _ in 0..events {
            if self.held < self.room || self.grown.is_empty() || self.rng.bool() {
                self.grow(workload, &mut part);
            } else {
                self.shrink(&mut part);
            }
        }
        part
    }

    fn open(&mut self, workload: &mut Workload, part: &mut Part) {
        let (worker, before) = if self.rng.bool() { workload.sequence() } else { workload.shared() };
        let before = before.to_vec();
        let base = before.len() / BLOCK;
        let tokens = [before, workload.fresh(GROWTH * BLOCK)].concat();
        self.growing.push(Stem { branch: self.next, base, end: base });
        self.prompts.insert(self.next, tokens.clone());
        part.opened.push((self.next, Branch { worker, tokens }));
        self.next += 1;
    }

    fn grow(&mut self, workload: &mut Workload, part: &mut Part) {
        let at = self.rng.usize(0..self.growing.len());
        let stem = &mut self.growing[at];
        part.changes.push(Change { branch: stem.branch, block: stem.end, stored: true });
        stem.end += 1;
        self.held += 1;
        if stem.end == stem.base + GROWTH {
            self.grown.push(self.growing.swap_remove(at));
            self.open(workload, part);
        }
    }

    fn shrink(&mut self, part: &mut Part) {
        let at = self.rng.usize(0..self.grown.len());
        let stem = &mut self.grown[at];
        stem.end -= 1;
        self.held -= 1;
        part.changes.push(Change { branch: stem.branch, block: stem.end, stored: false });
        if stem.end == stem.base {
            let stem = self.grown.swap_remove(at);
            self.prompts.remove(&stem.branch);
            part.closed.push(stem.branch);
        }
    }

    /// All tokens of some branches that grow and of as many that are taken back.
    #[must_use]
    pub(crate) fn prompts(&mut self, count: usize) -> Vec<Vec<u32>> {
        let growing = self.rng.choose_multiple(&self.growing, count);
        let grown = self.rng.choose_multiple(&self.grown, count);
        growing.iter().chain(&grown).map(|stem| self.prompts[&stem.branch].clone()).collect()
    }
}
