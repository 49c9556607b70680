use crate::clock::Started;
use crate::contender::{BLOCK, Contender, choose};
use crate::dynamo::{Dynamo, Radix};
use crate::dynamo_shared::{Concurrent, Positional};
use crate::podlab::Podlab;
use crate::smg::Smg;
use crate::stream::Part;
use crate::workload::Batch;
use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::Duration;

/// Events told between two decisions.
pub(crate) const EVENTS_PER_DECISION: usize = 100;

/// What is timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Op {
    /// As `Match`, with what the index keeps of the prompts wherever the other indexes have left it.
    MatchCold,
    /// As `Decision`, with what the index keeps of the prompts wherever the other indexes have left it.
    DecisionCold,
    /// Tokens become what a match wants.
    Hash,
    /// That becomes blocks held, for each worker. Each prompt was asked for a moment ago.
    Match,
    /// Hash, match, and the worker with the least to do. Each prompt was asked for a moment ago.
    Decision,
    /// Hash, and store a new sequence.
    Insert,
}

impl Op {
    /// All of them, in the order in which a round takes them: what wants a cold index first, what changes it last.
    pub(crate) const ALL: [Self; 6] =
        [Self::MatchCold, Self::DecisionCold, Self::Hash, Self::Match, Self::Decision, Self::Insert];

    /// As it is called in tables.
    #[must_use]
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::MatchCold => "match, cold",
            Self::DecisionCold => "decision, cold",
            Self::Hash => "hash",
            Self::Match => "match",
            Self::Decision => "decision",
            Self::Insert => "insert",
        }
    }
}

/// How long events took, with and without the decisions between them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Played {
    /// Events and decisions.
    pub(crate) all: Duration,
    /// Decisions alone.
    pub(crate) decisions: Duration,
}

/// An index at its operations, whichever it is.
pub(crate) trait Runner {
    /// Whose.
    fn name(&self) -> &'static str;
    /// Whether this thread does all the work of a change.
    fn is_inline(&self) -> bool;
    /// `worker` holds these tokens, to begin with.
    fn fill(&mut self, worker: u16, tokens: &[u32]);
    /// How long it takes to do this with each prompt of the batch, or with each insert.
    fn time(&mut self, op: Op, batch: &Batch) -> Duration;
    /// Takes out what was inserted.
    fn undo(&mut self, batch: &Batch);
    /// How many blocks of each prompt each worker holds.
    fn overlaps(&mut self, prompts: &[Vec<u32>]) -> Vec<u32>;
    /// The workers of the last decisions.
    fn choices(&self) -> &[u16];
    /// Tells events, and decides after each hundred.
    fn play(&mut self, part: &Part, batch: &Batch) -> Played;
}

/// All contenders, empty.
#[must_use]
pub(crate) fn runners(workers: u16) -> Vec<Box<dyn Runner>> {
    vec![
        Box::new(Lane::<Podlab>::new(workers)),
        Box::new(Lane::<Dynamo<Radix>>::new(workers)),
        Box::new(Lane::<Dynamo<Concurrent>>::new(workers)),
        Box::new(Lane::<Dynamo<Positional>>::new(workers)),
        Box::new(Lane::<Smg>::new(workers)),
    ]
}

/// One contender and what it needs between two calls. Loops are compiled for each of them.
struct Lane<C: Contender> {
    index: C,
    overlap: Vec<u32>,
    choices: Vec<u16>,
    held: Vec<usize>, // blocks of each insert that were held before
    branches: BTreeMap<u64, (u16, C::Keys)>,
}

impl<C: Contender> Lane<C> {
    fn new(workers: u16) -> Self {
        Self {
            index: C::new(workers, BLOCK),
            overlap: vec![0; usize::from(workers)],
            choices: Vec::new(),
            held: Vec::new(),
            branches: BTreeMap::new(),
        }
    }

    #[inline]
    fn decide(&mut self, prompt: &[u32], load: &[u32]) {
        self.index.ask(prompt);
        self.index.answer(&mut self.overlap);
        self.choices.push(choose(&self.overlap, (prompt.len() / BLOCK) as u32, load));
    }

    fn time_match(&mut self, prompts: &[Vec<u32>], is_cold: bool) -> Duration {
        let query = |prompt: &Vec<u32>| {
            let keys = self.index.keys(prompt);
            self.index.query(&keys)
        };
        let mut queries: Vec<C::Query> = prompts.iter().map(query).collect();
        if !is_cold {
            prompts.iter().for_each(|prompt| self.index.ask(prompt));
        }
        let started = Started::now();
        for query in &mut queries {
            self.index.matches(query);
        }
        started.elapsed()
    }

    fn time_decisions(&mut self, prompts: &[Vec<u32>], load: &[u32], is_cold: bool) -> Duration {
        touch(prompts);
        if !is_cold {
            prompts.iter().for_each(|prompt| self.index.ask(prompt));
        }
        self.choices.clear();
        let started = Started::now();
        for prompt in prompts {
            self.decide(prompt, load);
        }
        started.elapsed()
    }

    fn time_hash(&mut self, prompts: &[Vec<u32>]) -> Duration {
        touch(prompts);
        let started = Started::now();
        for prompt in prompts {
            self.index.hash(prompt);
        }
        started.elapsed()
    }

    fn time_insert(&mut self, batch: &Batch) -> Duration {
        self.held.clear();
        for (worker, tokens) in &batch.inserts {
            self.index.ask(tokens);
            self.index.answer(&mut self.overlap);
            self.held.push(self.overlap[usize::from(*worker)] as usize);
        }
        let started = Started::now();
        for (worker, tokens) in &batch.inserts {
            self.index.insert(*worker, tokens);
        }
        let took = started.elapsed();
        self.index.settle();
        took
    }
}

/// Brings prompts close to the core, where a tokenizer has just left them.
fn touch(prompts: &[Vec<u32>]) {
    black_box(prompts.iter().flatten().fold(0, |sum: u32, token| sum.wrapping_add(*token)));
}

impl<C: Contender> Runner for Lane<C> {
    fn name(&self) -> &'static str {
        C::NAME
    }

    fn is_inline(&self) -> bool {
        C::INLINE
    }

    fn fill(&mut self, worker: u16, tokens: &[u32]) {
        self.index.insert(worker, tokens);
        self.index.settle();
    }

    fn time(&mut self, op: Op, batch: &Batch) -> Duration {
        match op {
            Op::MatchCold => self.time_match(&batch.prompts, true),
            Op::DecisionCold => self.time_decisions(&batch.others, &batch.load, true),
            Op::Hash => self.time_hash(&batch.prompts),
            Op::Match => self.time_match(&batch.prompts, false),
            Op::Decision => self.time_decisions(&batch.prompts, &batch.load, false),
            Op::Insert => self.time_insert(batch),
        }
    }

    fn undo(&mut self, batch: &Batch) {
        for ((worker, tokens), &held) in batch.inserts.iter().zip(&self.held) {
            let keys = self.index.keys(tokens);
            self.index.remove(*worker, &keys, held..tokens.len() / BLOCK);
        }
        self.index.settle();
    }

    fn overlaps(&mut self, prompts: &[Vec<u32>]) -> Vec<u32> {
        let mut all = Vec::with_capacity(prompts.len() * self.overlap.len());
        for prompt in prompts {
            self.index.ask(prompt);
            self.index.answer(&mut self.overlap);
            all.extend_from_slice(&self.overlap);
        }
        all
    }

    fn choices(&self) -> &[u16] {
        &self.choices
    }

    fn play(&mut self, part: &Part, batch: &Batch) -> Played {
        for (id, branch) in &part.opened {
            let keys = self.index.keys(&branch.tokens);
            self.branches.insert(*id, (branch.worker, keys));
        }
        let event = |change: &crate::stream::Change| {
            let (worker, keys) = &self.branches[&change.branch];
            if change.stored {
                self.index.stored(*worker, keys, change.block)
            } else {
                self.index.removed(*worker, keys, change.block)
            }
        };
        let events: Vec<C::Event> = part.changes.iter().map(event).collect();
        let mut events = events.into_iter();
        let mut prompts = batch.prompts.iter().cycle();
        let mut decisions = Duration::ZERO;
        self.choices.clear();
        let started = Started::now();
        while events.len() > 0 {
            for event in events.by_ref().take(EVENTS_PER_DECISION) {
                self.index.apply(event);
            }
            let asked = Started::now();
            self.decide(prompts.next().expect("a batch has prompts"), &batch.load);
            decisions += asked.elapsed();
        }
        let played = Played { all: started.elapsed(), decisions };
        for id in &part.closed {
            self.branches.remove(id);
        }
        self.index.settle();
        played
    }
}
