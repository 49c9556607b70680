//! A run: consecutive pieces of one prompt, and who holds how much of them.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use kvcache::{PieceKey, Time, Tokens, WorkerId};

/// A run's number. The root is a run of nothing above all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RunId(pub(super) u32);

impl RunId {
    pub(super) const ROOT: Self = Self(0);
    pub(super) const NONE: Self = Self(u32::MAX);
}

/// A piece of a run: blocks that end in it are held by somebody up to `upto`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stretch {
    pub(super) key: PieceKey,
    pub(super) upto: Tokens,
    /// Some prompts have more of the piece: its continuation is the beginning of another run.
    pub(super) continued: bool,
    /// It is such a continuation.
    pub(super) continues: bool,
}

impl Stretch {
    pub(super) const fn new(key: PieceKey, upto: Tokens) -> Self {
        Self { key, upto, continued: false, continues: false }
    }
}

/// The key of what is left of a piece behind token `at`, where others leave the piece.
pub(super) const fn continuation(piece: PieceKey, at: Tokens) -> PieceKey {
    piece.then(at, 0x636f_6e74_696e_7565)
}

/// A set of workers: the first 64 in a word, others behind it.
#[derive(Clone, Debug)]
pub(crate) struct Set {
    first: u64,
    more: Box<[u64]>,
}

impl Set {
    /// The empty set of `workers` workers.
    pub(crate) fn none(workers: u16) -> Self {
        Self { first: 0, more: vec![0; usize::from(workers).div_ceil(64).saturating_sub(1)].into_boxed_slice() }
    }

    /// Makes it that of all `workers` workers.
    pub(crate) fn fill(&mut self, workers: u16) {
        let below = |count: u16| if count >= 64 { u64::MAX } else { (1 << count) - 1 };
        self.first = below(workers);
        for (index, word) in self.more.iter_mut().enumerate() {
            *word = below(workers - 64 * (index as u16 + 1));
        }
    }

    #[inline]
    fn word(&self, worker: WorkerId) -> u64 {
        match worker.index() / 64 {
            0 => self.first,
            more => self.more[more - 1],
        }
    }

    #[inline]
    fn word_mut(&mut self, worker: WorkerId) -> &mut u64 {
        match worker.index() / 64 {
            0 => &mut self.first,
            more => &mut self.more[more - 1],
        }
    }

    #[inline]
    pub(crate) fn has(&self, worker: WorkerId) -> bool {
        self.word(worker) >> (worker.0 % 64) & 1 == 1
    }

    #[inline]
    pub(crate) fn add(&mut self, worker: WorkerId) {
        *self.word_mut(worker) |= 1 << (worker.0 % 64);
    }

    #[inline]
    pub(crate) fn remove(&mut self, worker: WorkerId) {
        *self.word_mut(worker) &= !(1 << (worker.0 % 64));
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.first == 0 && self.more.iter().all(|word| *word == 0)
    }

    /// Makes it the same as `other`, which is of as many workers.
    #[inline]
    pub(super) fn copy(&mut self, other: &Self) {
        self.first = other.first;
        self.more.copy_from_slice(&other.more);
    }

    pub(super) fn clear(&mut self) {
        self.first = 0;
        self.more.fill(0);
    }

    /// Its words, of which the first has the first 64 workers.
    pub(crate) fn words(&self) -> impl Iterator<Item = u64> {
        core::iter::once(self.first).chain(self.more.iter().copied())
    }

    /// Whether `worker` is the only one in it.
    pub(super) fn is_only(&self, worker: WorkerId) -> bool {
        let own = |index| if worker.index() / 64 == index { 1 << (worker.0 % 64) } else { 0 };
        self.first == own(0) && self.more.iter().zip(1..).all(|(word, index)| *word == own(index))
    }

    /// Takes those out that are not in `other`, and calls `visit` for each of them.
    #[inline]
    pub(super) fn keep(&mut self, other: &Self, mut visit: impl FnMut(usize)) {
        each(self.first & !other.first, 0, &mut visit);
        self.first &= other.first;
        for (index, (word, other)) in self.more.iter_mut().zip(&other.more).enumerate() {
            each(*word & !other, 64 * (index + 1), &mut visit);
            *word &= other;
        }
    }

    /// Calls `visit` for each worker in it, in order.
    #[inline]
    pub(super) fn for_each(&self, mut visit: impl FnMut(usize)) {
        each(self.first, 0, &mut visit);
        for (index, word) in self.more.iter().enumerate() {
            each(*word, 64 * (index + 1), &mut visit);
        }
    }

    pub(super) const fn heap(&self) -> usize {
        self.more.len() * size_of::<u64>()
    }
}

#[inline]
fn each(mut word: u64, base: usize, visit: &mut impl FnMut(usize)) {
    while word != 0 {
        visit(base + word.trailing_zeros() as usize);
        word &= word - 1;
    }
}

/// That a worker came to hold a part of a run, in the order in which such things happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Turn {
    pub(super) worker: WorkerId,
    pub(super) from: Tokens,
    pub(super) to: Tokens,
}

#[derive(Debug)]
pub(super) struct Run {
    /// Where it begins, at the end of a block: up to there its holders hold its parent.
    pub(super) start: Tokens,
    /// The number of its first piece, counted from the start of the prompt.
    pub(super) ordinal: u32,
    pub(super) pieces: Vec<Stretch>,
    /// Who holds all of it.
    pub(super) whole: Set,
    /// Who holds less, and up to which token.
    pub(super) part: Vec<(WorkerId, Tokens)>,
    /// Who came to hold what first; kept where that matters.
    pub(super) turns: Vec<Turn>,
    pub(super) parent: RunId,
    /// Runs that begin in it or at its end.
    pub(super) children: u32,
    /// Where those begin that do not begin at the root, first to last, and how many at each place.
    pub(super) branches: Vec<(Tokens, u32)>,
    pub(super) newer: RunId,
    pub(super) older: RunId,
    /// When it was used last.
    pub(super) used: Time,
}

impl Run {
    /// A run of no pieces yet.
    pub(super) fn new(workers: u16, parent: RunId, start: Tokens, ordinal: u32) -> Self {
        Self {
            start,
            ordinal,
            pieces: Vec::new(),
            whole: Set::none(workers),
            part: Vec::new(),
            turns: Vec::new(),
            parent,
            children: 0,
            branches: Vec::new(),
            newer: RunId::NONE,
            older: RunId::NONE,
            used: Time::ZERO,
        }
    }

    /// Whether one more piece would move the list.
    #[inline]
    pub(super) const fn is_full(&self) -> bool {
        self.pieces.len() == self.pieces.capacity()
    }

    #[inline]
    pub(super) fn end(&self) -> Tokens {
        self.pieces.last().map_or(self.start, |piece| piece.upto)
    }

    /// Makes room for so many more pieces. Lists of all sizes would leave holes of all sizes behind: a tenth of an index's
    /// limit, where it is pressed.
    pub(super) fn make_room(&mut self, pieces: usize) {
        let room = (self.pieces.len() + pieces).next_power_of_two();
        self.pieces.reserve_exact(room - self.pieces.len());
    }

    /// Nothing is in its lists any more.
    pub(super) fn empty(&mut self) {
        self.pieces.clear();
        self.part.clear();
        self.turns.clear();
        self.branches.clear();
    }

    /// Takes the memory of the lists of `other`, in which nothing is, in place of its own.
    pub(super) fn take_lists_of(&mut self, other: &mut Self) {
        self.pieces = core::mem::take(&mut other.pieces);
        self.part = core::mem::take(&mut other.part);
        self.turns = core::mem::take(&mut other.turns);
        self.branches = core::mem::take(&mut other.branches);
    }

    /// Where piece `index` begins: at the end of the last block before it.
    #[inline]
    pub(super) fn start_of(&self, index: usize) -> Tokens {
        index.checked_sub(1).map_or(self.start, |before| self.pieces[before].upto)
    }

    /// Up to which token `worker` holds it.
    #[inline]
    pub(super) fn held_by(&self, worker: WorkerId) -> Tokens {
        if self.whole.has(worker) {
            return self.end();
        }
        self.part.iter().find(|(other, _)| *other == worker).map_or(self.start, |(_, upto)| *upto)
    }

    /// Where the last of the runs below it begins; its own start where there is none.
    pub(super) fn last_branch(&self) -> Tokens {
        self.branches.last().map_or(self.start, |(at, _)| *at)
    }

    /// A run begins in it.
    pub(super) fn add_branch(&mut self, at: Tokens) {
        match self.branches.binary_search_by_key(&at, |(start, _)| *start) {
            Ok(place) => self.branches[place].1 += 1,
            Err(place) => self.branches.insert(place, (at, 1)),
        }
    }

    /// A run that began in it is gone.
    pub(super) fn remove_branch(&mut self, at: Tokens) {
        if let Ok(place) = self.branches.binary_search_by_key(&at, |(start, _)| *start) {
            self.branches[place].1 -= 1;
            if self.branches[place].1 == 0 {
                self.branches.remove(place);
            }
        }
    }

    /// Bytes on the heap.
    pub(super) fn heap(&self) -> usize {
        self.pieces.capacity() * size_of::<Stretch>()
            + self.part.capacity() * size_of::<(WorkerId, Tokens)>()
            + self.turns.capacity() * size_of::<Turn>()
            + self.branches.capacity() * size_of::<(Tokens, u32)>()
            + self.whole.heap()
    }
}
