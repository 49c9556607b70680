use crate::contender::Contender;
use crate::literal::Literal;
use fastrand::Rng;
use std::ops::Range;

/// How large a history is.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Workers.
    pub workers: u16,
    /// Tokens in a block.
    pub unit: usize,
    /// The longest prompt, in blocks.
    pub blocks: usize,
    /// How many different blocks may follow a block: the fewer, the more prompts share.
    pub symbols: usize,
    /// Stores, removals, clears and matches.
    pub actions: usize,
}

/// Whether a worker may lose a block and keep those after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holes {
    /// What is held stays closed under prefixes.
    Never,
    /// It may not be; a worker with a hole stores nothing until it is cleared.
    Unhealed,
}

/// One thing that happens, to blocks of a prompt.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the fields are named after what they are")]
pub enum Action {
    /// A worker stores blocks, told as one run, or block by block.
    Store { worker: u16, prompt: usize, blocks: Range<usize>, single: bool },
    /// A worker removes blocks, told as one run, or block by block.
    Remove { worker: u16, prompt: usize, blocks: Range<usize>, single: bool },
    /// A worker removes all it holds.
    Clear { worker: u16 },
    /// A prompt is looked for, and found in so many leading blocks of each worker.
    Match { prompt: usize, overlap: Vec<u32> },
}

/// A random history with the right answers, which are those of the [literal index](Literal).
#[derive(Clone, Debug)]
pub struct Script {
    /// What it was drawn from.
    pub seed: u64,
    /// How large it is.
    pub size: Size,
    /// All prompts.
    pub prompts: Vec<Vec<u32>>,
    /// What happens, in order.
    pub actions: Vec<Action>,
}

impl Script {
    /// A history of that size. The same seed gives the same history.
    #[must_use]
    pub fn random(size: Size, holes: Holes, seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let prompts = random_prompts(size, &mut rng);
        let mut literal = Literal::new(size.workers, size.unit);
        let keys = prompts.iter().map(|prompt| literal.keys(prompt)).collect();
        let broken = vec![false; usize::from(size.workers)];
        let mut author = Author { rng, size, holes, literal, keys, broken };
        let mut actions: Vec<Action> = (0..size.actions).filter_map(|_| author.next()).collect();
        actions.extend((0..prompts.len().min(4)).map(|_| author.look()));
        Self { seed, size, prompts, actions }
    }

    /// Tells an index of kind `C` this history, and compares what it answers.
    ///
    /// # Errors
    /// What it answered, and what would have been right, where it differs.
    pub fn replay<C: Contender>(&self) -> Result<(), String> {
        let mut index = C::new(self.size.workers, self.size.unit);
        let keys: Vec<C::Keys> = self.prompts.iter().map(|prompt| index.keys(prompt)).collect();
        let mut answer = vec![0; usize::from(self.size.workers)];
        for (at, action) in self.actions.iter().enumerate() {
            match action {
                Action::Store { worker, prompt, blocks, single: false } => {
                    index.store(*worker, &keys[*prompt], blocks.clone());
                }
                Action::Remove { worker, prompt, blocks, single: false } => {
                    index.remove(*worker, &keys[*prompt], blocks.clone());
                }
                Action::Store { worker, prompt, blocks, single: true } => {
                    for block in blocks.clone() {
                        index.apply(index.stored(*worker, &keys[*prompt], block));
                    }
                }
                Action::Remove { worker, prompt, blocks, single: true } => {
                    for block in blocks.clone().rev() {
                        index.apply(index.removed(*worker, &keys[*prompt], block));
                    }
                }
                Action::Clear { worker } => index.clear(*worker),
                Action::Match { prompt, overlap } => {
                    index.settle();
                    // Asked with tokens and with keys, by turns.
                    if at.is_multiple_of(2) {
                        index.ask(&self.prompts[*prompt]);
                    } else {
                        index.matches(&mut index.query(&keys[*prompt]));
                    }
                    index.answer(&mut answer);
                    if answer != *overlap {
                        let told = &self.actions[..=at];
                        return Err(format!("{} answers {answer:?} to the last of {told:#?}, {self:?}", C::NAME));
                    }
                }
            }
        }
        Ok(())
    }
}

/// Prompts that share prefixes: each goes on from some place in an earlier one. The last block may be cut short.
fn random_prompts(size: Size, rng: &mut Rng) -> Vec<Vec<u32>> {
    let symbols = symbols(size, rng);
    let block = |symbol: usize| symbols[symbol].iter();
    let mut prompts: Vec<Vec<u32>> = Vec::new();
    for _ in 0..size.actions.div_ceil(3) {
        let mut prompt = Vec::new();
        if !prompts.is_empty() && rng.u8(0..8) > 0 {
            let before = &prompts[rng.usize(0..prompts.len())];
            prompt.extend_from_slice(&before[..rng.usize(0..=before.len() / size.unit) * size.unit]);
        }
        let room = size.blocks - prompt.len() / size.unit;
        for _ in 0..rng.usize(0..=room) {
            prompt.extend(block(rng.usize(0..size.symbols)));
        }
        prompt.extend(block(rng.usize(0..size.symbols)).take(rng.usize(0..size.unit)));
        prompts.push(prompt);
    }
    prompts
}

/// Blocks that differ in one token or two, and often only in where it stands: a hash that overlooks a token or their
/// order mixes them up.
fn symbols(size: Size, rng: &mut Rng) -> Vec<Vec<u32>> {
    assert!(size.symbols <= size.unit + 1, "each symbol but the first has a place of its own");
    let plain: Vec<u32> = (0..size.unit).map(|_| rng.u32(0..2)).collect();
    let mut places: Vec<usize> = (0..size.unit).collect();
    rng.shuffle(&mut places);
    let marked = places.into_iter().take(size.symbols - 1).map(|place| {
        let mut symbol = plain.clone();
        symbol[place] = 2;
        symbol
    });
    [plain.clone()].into_iter().chain(marked).collect()
}

/// Who makes up a history, with the literal index at hand.
struct Author {
    rng: Rng,
    size: Size,
    holes: Holes,
    literal: Literal,
    keys: Vec<Vec<usize>>,
    broken: Vec<bool>, // which workers have a hole
}

impl Author {
    /// The next thing, or nothing where what came to mind cannot happen.
    fn next(&mut self) -> Option<Action> {
        let worker = self.rng.u16(0..self.size.workers);
        let prompt = self.rng.usize(0..self.keys.len());
        match self.rng.u8(0..100) {
            0..45 if !self.broken[usize::from(worker)] => self.store(worker, prompt),
            45..70 if self.holes == Holes::Unhealed && self.rng.bool() => self.pierce(worker, prompt),
            45..70 => self.remove(worker, prompt),
            70..73 => {
                self.literal.clear(worker);
                self.broken[usize::from(worker)] = false;
                Some(Action::Clear { worker })
            }
            _ => Some(self.look()),
        }
    }

    /// Blocks up to some end are stored: all of them, those not yet held, or from anywhere on.
    fn store(&mut self, worker: u16, prompt: usize) -> Option<Action> {
        let keys = &self.keys[prompt];
        let held = self.literal.held(worker, keys);
        let from = match self.rng.u8(0..3) {
            0 => 0,
            1 => held,
            _ => self.rng.usize(0..=held),
        };
        if from == keys.len() {
            return None;
        }
        let to = if self.rng.bool() { keys.len() } else { self.rng.usize(from + 1..=keys.len()) };
        self.literal.store(worker, keys, from..to);
        Some(Action::Store { worker, prompt, blocks: from..to, single: self.rng.bool() })
    }

    /// Blocks from some place on are removed, as far as nothing held follows them.
    fn remove(&mut self, worker: u16, prompt: usize) -> Option<Action> {
        let keys = &self.keys[prompt];
        let held = self.literal.held(worker, keys);
        let wanted = self.rng.usize(0..=held);
        let mut from = held;
        while from > wanted && !self.literal.holds_beyond(worker, keys[from - 1]) {
            from -= 1;
            self.literal.remove(worker, keys, from..from + 1);
        }
        (from < held).then(|| Action::Remove { worker, prompt, blocks: from..held, single: self.rng.bool() })
    }

    /// One block is removed, and what follows it stays.
    fn pierce(&mut self, worker: u16, prompt: usize) -> Option<Action> {
        let keys = &self.keys[prompt];
        let block = self.rng.usize(0..keys.len().max(1));
        if !keys.get(block).is_some_and(|&key| self.literal.holds(worker, key)) {
            return None;
        }
        self.literal.remove(worker, keys, block..block + 1);
        self.broken[usize::from(worker)] = true;
        Some(Action::Remove { worker, prompt, blocks: block..block + 1, single: self.rng.bool() })
    }

    fn look(&mut self) -> Action {
        let prompt = self.rng.usize(0..self.keys.len());
        let mut overlap = vec![0; usize::from(self.size.workers)];
        self.literal.matches(&mut self.keys[prompt].clone());
        self.literal.answer(&mut overlap);
        Action::Match { prompt, overlap }
    }
}
