//! Who holds which prefix: one index for blocks of real tokens, for pieces of a trace and for chunks of text.
//!
//! A piece's key names all that comes before it, and what a worker holds is closed under prefixes. So pieces that
//! follow each other are kept as a *run*, and one number says how much of a run a worker holds. Where another prompt
//! leaves a run, its own run begins: nothing is ever cut in two. One comparison decides a run of any length, so a match
//! costs the runs on the prompt's way and the workers, not the blocks.
//!
//! Invariants ([`Index::check`] asserts them):
//! * each piece is held by at least one worker, or something that is held lies behind it;
//! * who holds all of a run is in `whole`, who holds a part in `part`, and nobody is in both;
//! * a run hangs below one that reaches to where it begins; of the two the upper one is the newer in the list of uses, so
//!   the oldest of all is a leaf;
//! * `places` finds each piece, or, where nobody asks for pieces, each run and each rest of a piece that others left; and
//!   nothing else;
//! * `held` counts the tokens that each worker holds, `heap` the bytes of all runs.

use alloc::vec;
use alloc::vec::Vec;
use kvcache::{PieceKey, Time, Tokens, WorkerId};
use run::{Run, RunId, Stretch};

mod places; // from a key to where it is
mod run; // what is kept together
mod walk; // how deep a prompt is held, and by whom
mod store; // somebody holds more
mod drop; // somebody holds less
mod strands; // both, told by those who number what they hold
mod uses; // what was used last, and what goes when room ends
mod first; // who came first
mod check; // the invariants

use places::{Place, Places};
pub(crate) use run::Set;
pub use walk::Matches;

/// How an index is set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexConfig {
    /// How many workers there are, numbered from 0; at least one.
    pub workers: u16,
    /// Tokens in a block (or chunk), at least one.
    pub unit: Tokens,
    /// Bytes that it may take, at least [`IndexConfig::least`]; beyond them, what was used least recently goes, leaves
    /// first. `u64::MAX`: no limit.
    pub limit: u64,
    /// Whether it remembers who came to hold what first.
    pub ordered: bool,
    /// Whether pieces are told and taken back by their keys ([`Index::store`], [`Index::evict`]). Where prompts are
    /// ([`Index::store_chain`]), or strands ([`Index::store_strand`], [`Index::evict_strand`]; they need an index without a
    /// limit), a run is found by its first piece, and a prompt costs its runs.
    pub by_piece: bool,
}

impl IndexConfig {
    /// The smallest limit for one worker: an empty index takes some 20 KiB.
    const LEAST: u64 = 64 << 10;
    /// The limit that is meant where nobody says one: 256 MiB.
    pub const DEFAULT: u64 = 256 << 20;

    /// An index of blocks of `unit` tokens, within 256 MiB.
    #[must_use]
    pub const fn new(workers: u16, unit: Tokens) -> Self {
        Self { workers, unit, limit: Self::DEFAULT, ordered: false, by_piece: true }
    }

    /// The smallest limit for so many workers, in bytes.
    #[must_use]
    pub const fn least(workers: u16) -> u64 {
        Self::LEAST + 256 * workers as u64
    }

    /// Whether strands can be told and taken back.
    pub(crate) const fn follows_strands(&self) -> bool {
        !self.by_piece && self.limit == u64::MAX
    }

    /// What lists that are no pieces may come to take for a moment: both copies of one list of holders, and of the
    /// list of vacant runs.
    const fn slack(&self) -> u64 {
        (16 << 10) + 64 * self.workers as u64
    }
}

/// What became of what an index was told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IndexCounts {
    /// Pieces that went because room ended.
    pub evicted: u64,
    /// Pieces that found no room, even so.
    pub refused: u64,
    /// Pieces told behind something that nobody holds, or that their worker does not hold: they could not be found.
    pub orphans: u64,
}

/// The index. Some 51 bytes per distinct block where each block is a piece, whoever holds it (16 for the piece, the rest for
/// finding it), and 200 per run.
#[derive(Debug)]
pub struct Index {
    config: IndexConfig,
    runs: Vec<Run>,
    vacant: Vec<RunId>,
    places: Places,
    oldest: RunId,
    newest: RunId,
    held: Vec<u64>,
    /// Of each worker, by number: the run in which its strand ends. Empty where strands are not told.
    strands: Vec<Vec<RunId>>,
    heap: usize,
    continuations: usize,
    now: Time,
    counts: IndexCounts,
    /// The run that got a new piece last.
    latest: RunId,
}

impl Index {
    /// An empty index.
    ///
    /// # Panics
    /// Where there is no worker, a block holds no token, or the limit is below [`IndexConfig::least`]: the caller checks
    /// its input.
    #[must_use]
    pub fn new(config: IndexConfig) -> Self {
        assert!(config.workers > 0, "an index needs a worker");
        assert!(config.unit > Tokens::ZERO, "a block holds at least one token");
        assert!(config.limit >= IndexConfig::least(config.workers), "an index needs room for something");
        Self {
            config,
            runs: vec![Run::new(config.workers, RunId::NONE, Tokens::ZERO, 0)],
            vacant: Vec::new(),
            places: Places::new(),
            oldest: RunId::NONE,
            newest: RunId::NONE,
            held: vec![0; usize::from(config.workers)],
            strands: if config.follows_strands() { vec![Vec::new(); usize::from(config.workers)] } else { Vec::new() },
            heap: 0,
            continuations: 0,
            now: Time::ZERO,
            counts: IndexCounts::default(),
            latest: RunId::ROOT,
        }
    }

    /// Its set-up.
    #[must_use]
    pub const fn config(&self) -> &IndexConfig {
        &self.config
    }

    /// It is `now`: what is used from now on was used then.
    pub fn tell(&mut self, now: Time) {
        debug_assert!(now >= self.now, "time does not go back");
        self.now = now;
    }

    /// How many pieces anyone holds; of whole prompts, how many runs of them.
    #[must_use]
    pub fn pieces(&self) -> usize {
        self.places.len() - self.continuations
    }

    /// Whether nobody holds anything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.places.len() == 0
    }

    /// How many tokens `worker` holds, of all prompts.
    ///
    /// # Panics
    /// Where there is no such worker.
    #[must_use]
    pub fn held(&self, worker: WorkerId) -> u64 {
        self.held[worker.index()]
    }

    /// Bytes it has allocated.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let fixed = self.runs.capacity() * size_of::<Run>()
            + self.vacant.capacity() * size_of::<RunId>()
            + self.held.capacity() * size_of::<u64>()
            + self
                .strands
                .iter()
                .map(|strands| size_of_val(strands) + strands.capacity() * size_of::<RunId>())
                .sum::<usize>();
        (self.places.bytes() + fixed + self.heap) as u64
    }

    /// What became of what it was told.
    #[must_use]
    pub const fn counts(&self) -> IndexCounts {
        self.counts
    }

    /// Somebody told something that cannot be put anywhere.
    pub(crate) const fn count_orphan(&mut self) {
        self.counts.orphans += 1;
    }

    #[inline]
    fn at(&self, id: RunId) -> &Run {
        &self.runs[id.0 as usize]
    }

    #[inline]
    fn at_mut(&mut self, id: RunId) -> &mut Run {
        &mut self.runs[id.0 as usize]
    }

    /// Changes a run, whose bytes are counted.
    #[inline]
    fn change<T>(&mut self, id: RunId, change: impl FnOnce(&mut Run) -> T) -> T {
        let run = &mut self.runs[id.0 as usize];
        let before = run.heap();
        let result = change(run);
        self.heap = self.heap + run.heap() - before;
        result
    }

    /// The place of a piece, and its number in its run.
    #[inline]
    fn place(&self, piece: PieceKey) -> Option<(RunId, usize)> {
        let Place { run, ordinal } = self.places.get(piece)?;
        Some((run, (ordinal - self.at(run).ordinal) as usize))
    }
}
