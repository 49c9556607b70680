//! An index as one would write it down, and a world in which it and the real one are told the same.

use super::super::Chance;
use super::super::changes::{Block, blocks, evicted, stored, together};
use kvcache::{Chain, Change, Piece, Tokens, WorkerId};
use router::{Index, IndexConfig, Matches};
use std::collections::{BTreeMap, BTreeSet};

/// A set of up to 192 workers.
type Workers = [u64; 3];

const fn has(workers: &Workers, worker: WorkerId) -> bool {
    workers[worker.index() / 64] >> (worker.index() % 64) & 1 == 1
}

/// A map from blocks to those who hold them.
#[derive(Default)]
pub(super) struct Literal {
    holders: BTreeMap<Block, Workers>,
    /// The blocks that follow a block in some prompt.
    behind: BTreeMap<Block, BTreeSet<Block>>,
}

impl Literal {
    fn learn(&mut self, blocks: &[Block]) {
        for pair in blocks.windows(2) {
            self.behind.entry(pair[0]).or_default().insert(pair[1]);
        }
    }

    fn holds(&self, worker: WorkerId, block: &Block) -> bool {
        self.holders.get(block).is_some_and(|workers| has(workers, worker))
    }

    fn store(&mut self, worker: WorkerId, blocks: &[Block]) {
        for block in blocks {
            self.holders.entry(*block).or_default()[worker.index() / 64] |= 1 << (worker.index() % 64);
        }
    }

    fn lose(&mut self, worker: WorkerId, blocks: &[Block]) {
        for block in blocks {
            let workers = self.holders.get_mut(block).expect("somebody holds it");
            workers[worker.index() / 64] &= !(1 << (worker.index() % 64));
            if *workers == [0; 3] {
                self.holders.remove(block);
            }
        }
    }

    fn clear(&mut self, worker: WorkerId) {
        let held: Vec<_> = self.holders.keys().filter(|block| self.holds(worker, block)).copied().collect();
        self.lose(worker, &held);
    }

    /// How many leading blocks of a prompt `worker` holds.
    pub(super) fn depth(&self, worker: WorkerId, blocks: &[Block]) -> usize {
        blocks.iter().take_while(|block| self.holds(worker, block)).count()
    }

    /// Whether `worker` holds something right behind a block.
    fn goes_on(&self, worker: WorkerId, block: &Block) -> bool {
        self.behind.get(block).is_some_and(|behind| behind.iter().any(|block| self.holds(worker, block)))
    }

    /// Blocks that `worker` holds.
    fn held(&self, worker: WorkerId) -> usize {
        self.holders.values().filter(|workers| has(workers, worker)).count()
    }

    /// Pieces of which somebody holds a block.
    fn pieces(&self) -> usize {
        self.holders.keys().map(|(piece, _)| *piece).collect::<BTreeSet<_>>().len()
    }
}

pub(super) struct Prompt {
    pub(super) pieces: Vec<Piece>,
    pub(super) blocks: Vec<Block>,
}

/// An index and a literal one, which live through the same.
pub(super) struct World {
    pub(super) index: Index,
    pub(super) literal: Literal,
    pub(super) prompts: Vec<Prompt>,
    /// Those to whom things happen; all others stay empty.
    pub(super) busy: Vec<WorkerId>,
    matches: Matches,
    /// What was found a while ago.
    stale: Matches,
    unit: u32,
}

impl World {
    pub(super) fn new(config: IndexConfig, busy: Vec<WorkerId>) -> Self {
        Self {
            index: Index::new(config),
            literal: Literal::default(),
            prompts: Vec::new(),
            busy,
            matches: Matches::new(),
            stale: Matches::new(),
            unit: config.unit.0,
        }
    }

    /// A prompt that will be asked for from now on.
    pub(super) fn learn(&mut self, pieces: Vec<Piece>) {
        let blocks = blocks(&pieces, self.unit);
        self.literal.learn(&blocks);
        self.prompts.push(Prompt { pieces, blocks });
    }

    /// Told piece by piece, or at once.
    fn apply(&mut self, worker: WorkerId, changes: &[Change], chance: &mut Chance) {
        let index = &mut self.index;
        match chance.below(3) {
            0 if !changes.is_empty() => match together(changes) {
                Change::Stored { parent, start, upto, pieces, .. } => {
                    index.store_all(worker, parent, start, &pieces, upto);
                }
                Change::Evicted { left, pieces, .. } => index.evict_all(worker, left, &pieces),
                Change::Cleared => index.clear(worker),
            },
            0 | 1 => changes.iter().for_each(|change| match change {
                Change::Stored { parent, start, upto, pieces, .. } => {
                    index.store_all(worker, *parent, *start, pieces, *upto);
                }
                Change::Evicted { left, pieces, .. } => index.evict_all(worker, *left, pieces),
                Change::Cleared => index.clear(worker),
            }),
            _ => changes.iter().for_each(|change| match change {
                Change::Stored { parent, start, upto, pieces, .. } => {
                    index.store(worker, *parent, pieces[0].key, *start, *upto);
                }
                Change::Evicted { left, pieces, .. } => index.evict(worker, pieces[0].key, *left),
                Change::Cleared => index.clear(worker),
            }),
        }
    }

    /// Something happens; says what.
    pub(super) fn step(&mut self, chance: &mut Chance) -> &'static str {
        let worker = self.busy[chance.pick(self.busy.len())];
        let place = chance.pick(self.prompts.len());
        let by_piece = self.index.config().by_piece;
        match chance.below(100) {
            30..60 if by_piece => self.store(worker, place, chance),
            60..85 if by_piece => self.evict(worker, chance),
            0..85 => self.store_chain(worker, place, chance),
            85..96 => self.use_again(place, chance),
            96..98 => self.clear(worker),
            _ => {
                self.index.check();
                "nothing"
            }
        }
    }

    pub(super) fn clear(&mut self, worker: WorkerId) -> &'static str {
        self.index.clear(worker);
        self.literal.clear(worker);
        assert_eq!(self.index.held(worker), 0, "{worker} holds nothing right away");
        "clear"
    }

    fn store_chain(&mut self, worker: WorkerId, place: usize, chance: &mut Chance) -> &'static str {
        let Prompt { pieces, blocks } = &self.prompts[place];
        let chain = Chain::new(pieces, Tokens(1));
        // Now and then all of it, or more.
        let upto = if chance.percent(50) { u32::MAX } else { chance.tokens(chain.tokens().0 + 1) };
        self.index.store_chain(worker, chain, Tokens(upto));
        self.literal.store(worker, &blocks[..blocks.len().min((upto / self.unit) as usize)]);
        "store a chain"
    }

    /// As events tell it; of what is known already, some is told again.
    fn store(&mut self, worker: WorkerId, place: usize, chance: &mut Chance) -> &'static str {
        let blocks = &self.prompts[place].blocks;
        let depth = self.literal.depth(worker, blocks);
        let from = if chance.percent(20) { chance.pick(depth + 1) } else { depth };
        let to = from + chance.pick(blocks.len() - from + 1);
        self.literal.store(worker, &blocks[from..to]);
        let changes = stored(blocks, from, to, self.unit);
        self.apply(worker, &changes, chance);
        "store"
    }

    /// Some blocks that nothing follows at this worker, from a prompt's last one on.
    fn evict(&mut self, worker: WorkerId, chance: &mut Chance) -> &'static str {
        let ends = |prompt: &&Prompt| {
            let depth = self.literal.depth(worker, &prompt.blocks);
            depth > 0 && !self.literal.goes_on(worker, &prompt.blocks[depth - 1])
        };
        let leaves: Vec<_> = self.prompts.iter().filter(ends).collect();
        if leaves.is_empty() {
            return "evict nothing";
        }
        let blocks = leaves[chance.pick(leaves.len())].blocks.clone();
        let depth = self.literal.depth(worker, &blocks);
        let most = 1 + chance.pick(depth);
        let mut from = depth;
        while from > depth - most && !self.literal.goes_on(worker, &blocks[from - 1]) {
            from -= 1;
            self.literal.lose(worker, &blocks[from..=from]);
        }
        self.apply(worker, &evicted(&blocks, from, depth, self.unit), chance);
        "evict"
    }

    /// What was found counts as used: at once, or when much has changed since.
    fn use_again(&mut self, place: usize, chance: &mut Chance) -> &'static str {
        let matches = if chance.percent(50) { &mut self.matches } else { &mut self.stale };
        if chance.percent(70) {
            self.index.matches(Chain::new(&self.prompts[place].pieces, Tokens(1)), matches);
        }
        self.index.touch_matched(matches);
        "use"
    }

    /// What the index says of one prompt and what is true, of each worker.
    pub(super) fn both(&mut self, place: usize) -> impl Iterator<Item = (WorkerId, Tokens, Tokens)> {
        let Prompt { pieces, blocks } = &self.prompts[place];
        self.index.matches(Chain::new(pieces, Tokens(1)), &mut self.matches);
        let workers = self.index.config().workers;
        assert_eq!(self.matches.tokens().len(), usize::from(workers), "an answer for each worker");
        (0..workers).map(WorkerId).map(|worker| {
            let truth = self.literal.depth(worker, blocks) as u32 * self.unit;
            (worker, self.matches.of(worker), Tokens(truth))
        })
    }

    /// Asserts that the index says what is true of one prompt.
    pub(super) fn compare(&mut self, place: usize) {
        for (worker, said, truth) in self.both(place) {
            assert_eq!(said, truth, "prompt {place} at {worker}");
        }
    }

    /// Asserts all that can be asked.
    pub(super) fn compare_all(&mut self) {
        (0..self.prompts.len()).for_each(|place| self.compare(place));
        if self.index.config().by_piece {
            assert_eq!(self.index.pieces(), self.literal.pieces(), "each piece that somebody holds, and no other");
        }
        assert_eq!(self.index.is_empty(), self.literal.pieces() == 0);
        for worker in &self.busy {
            let held = self.literal.held(*worker) as u64 * u64::from(self.unit);
            assert_eq!(self.index.held(*worker), held, "what {worker} holds");
        }
        self.index.check();
    }
}
