use crate::contender::BLOCK;
use fastrand::Rng;

const SEQUENCES: usize = 1024;
const GROUPS: usize = 32;
/// Tokens that a user adds to a conversation.
const TURN: usize = 64;
/// As many tokens in a batch as a core keeps close to it, and not so few prompts that the clock counts.
const BATCH_TOKENS: usize = 128 << 10;
const BATCH_MOST: usize = 64;

/// Conversations in groups that share their first half, and prompts that go on from them.
///
/// Sequence `s` is held by worker `s mod workers`; the first half of each group also by every fourth worker.
pub(crate) struct Workload {
    workers: u16,
    length: usize,
    sequences: Vec<Vec<u32>>,
    rng: Rng,
}

/// What all do in one round.
pub(crate) struct Batch {
    /// Prompts: half of them a conversation and a turn more, half a group's first half and a fresh rest.
    pub(crate) prompts: Vec<Vec<u32>>,
    /// As many more of them.
    pub(crate) others: Vec<Vec<u32>>,
    /// For each worker, what it has waiting, in blocks.
    pub(crate) load: Vec<u32>,
    /// New sequences of old groups, and who comes to hold them. No two have both group and worker in common.
    pub(crate) inserts: Vec<(u16, Vec<u32>)>,
}

impl Workload {
    /// Sequences of `length` tokens, for so many workers.
    #[must_use]
    pub(crate) fn new(workers: u16, length: usize, seed: u64) -> Self {
        assert!(length.is_multiple_of(2 * BLOCK), "half a sequence is a number of blocks");
        let mut rng = Rng::with_seed(seed);
        let groups: Vec<Vec<u32>> = (0..GROUPS).map(|_| fresh(&mut rng, length / 2)).collect();
        let sequence = |s: usize| groups[s % GROUPS].iter().copied().chain(fresh(&mut rng, length / 2)).collect();
        let sequences = (0..SEQUENCES).map(sequence).collect();
        Self { workers, length, sequences, rng }
    }

    /// Who holds what, to begin with.
    pub(crate) fn held(&self) -> impl Iterator<Item = (u16, &[u32])> {
        let own = (0..SEQUENCES).map(|s| ((s % usize::from(self.workers)) as u16, &self.sequences[s][..]));
        let shared = (0..self.workers).step_by(4).flat_map(|worker| (0..GROUPS).map(move |group| (worker, group)));
        own.chain(shared.map(|(worker, group)| (worker, self.prefix(group))))
    }

    fn prefix(&self, group: usize) -> &[u32] {
        &self.sequences[group][..self.length / 2]
    }

    /// A sequence, and who holds it.
    pub(crate) fn sequence(&mut self) -> (u16, &[u32]) {
        let s = self.rng.usize(0..SEQUENCES);
        ((s % usize::from(self.workers)) as u16, &self.sequences[s])
    }

    /// A group's first half, and one of those who hold it.
    pub(crate) fn shared(&mut self) -> (u16, &[u32]) {
        let group = self.rng.usize(0..GROUPS);
        (self.rng.u16(0..self.workers.div_ceil(4)) * 4, self.prefix(group))
    }

    /// Tokens that nobody holds.
    pub(crate) fn fresh(&mut self, tokens: usize) -> Vec<u32> {
        fresh(&mut self.rng, tokens)
    }

    fn prompts(&mut self, count: usize) -> Vec<Vec<u32>> {
        let prompts = (0..count).map(|at| {
            let (before, new) = if at.is_multiple_of(2) {
                (self.sequence().1.to_vec(), TURN)
            } else {
                (self.shared().1.to_vec(), self.length / 2)
            };
            [before, self.fresh(new)].concat()
        });
        prompts.collect()
    }

    /// What to do in the next round.
    pub(crate) fn batch(&mut self) -> Batch {
        let size = (BATCH_TOKENS / self.length).min(BATCH_MOST);
        let half = self.length / 2;
        let (prompts, others) = (self.prompts(size), self.prompts(size));
        let first = self.rng.usize(0..usize::from(self.workers));
        let inserts = (0..size).map(|at| {
            let worker = (first + at + at / GROUPS) % usize::from(self.workers);
            (worker as u16, [self.prefix(at % GROUPS).to_vec(), self.fresh(half)].concat())
        });
        let inserts = inserts.collect();
        let blocks = (self.length / BLOCK) as u32;
        let load = (0..self.workers).map(|_| self.rng.u32(0..blocks)).collect();
        Batch { prompts, others, load, inserts }
    }
}

fn fresh(rng: &mut Rng, tokens: usize) -> Vec<u32> {
    // As many different tokens as Llama 3 knows.
    (0..tokens).map(|_| rng.u32(0..128_256)).collect()
}
