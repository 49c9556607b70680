//! How deep a prompt is held, and by whom.

use super::run::{Run, RunId, Set, continuation};
use super::{Index, Stretch};
use alloc::vec::Vec;
use kvcache::{Chain, PieceKey, Tokens, WorkerId};

/// Buffers for [`Index::matches`], used again and again, and its answer.
#[derive(Clone, Debug)]
pub struct Matches {
    pub(super) tokens: Vec<Tokens>,
    pub(super) left: Set,
    stay: Set,
    /// Runs on the prompt's way, and up to where it goes in each.
    pub(super) way: Vec<(RunId, Tokens)>,
}

impl Default for Matches {
    fn default() -> Self {
        Self::new()
    }
}

impl Matches {
    /// Empty buffers.
    #[must_use]
    pub fn new() -> Self {
        Self { tokens: Vec::new(), left: Set::none(0), stay: Set::none(0), way: Vec::new() }
    }

    /// For each worker, how many tokens of the prompt it holds, in full blocks.
    #[must_use]
    pub fn tokens(&self) -> &[Tokens] {
        &self.tokens
    }

    /// How many tokens `worker` holds; zero where nothing was looked up.
    #[must_use]
    pub fn of(&self, worker: WorkerId) -> Tokens {
        self.tokens.get(worker.index()).copied().unwrap_or_default()
    }
}

impl Matches {
    /// The last run on the prompt's way; the root where there is none.
    pub(super) fn deepest(&self) -> RunId {
        self.way.last().map_or(RunId::ROOT, |(id, _)| *id)
    }

    /// Those workers of whom `whole` is true hold all `tokens` tokens of the prompt.
    pub(crate) fn raise(&mut self, tokens: Tokens, mut whole: impl FnMut(WorkerId) -> bool) {
        for (held, worker) in self.tokens.iter_mut().zip((0..).map(WorkerId)) {
            if whole(worker) {
                *held = tokens;
            }
        }
    }
}

impl Index {
    /// Whether `worker` holds something of `piece`. O(1).
    pub(crate) fn holds(&self, worker: WorkerId, piece: PieceKey) -> bool {
        self.place(piece).is_some_and(|(id, index)| {
            let run = self.at(id);
            run.held_by(worker) > run.start_of(index)
        })
    }

    /// How many tokens of `chain` each worker holds, in full blocks. O(runs on the way, times the log of their pieces,
    /// + workers).
    pub fn matches(&self, chain: Chain<'_>, matches: &mut Matches) {
        let Matches { tokens, left, stay, way } = matches;
        let workers = self.config.workers;
        way.clear();
        tokens.clear();
        tokens.resize(usize::from(workers), Tokens::ZERO);
        if left.heap() != self.at(RunId::ROOT).whole.heap() {
            (*left, *stay) = (Set::none(workers), Set::none(workers));
        }
        left.fill(workers);
        let (mut above, mut at) = (RunId::ROOT, Tokens::ZERO);
        while let Some((id, upto)) = self.step(above, at, chain) {
            narrow(self.at(id), at, upto, tokens, left, stay);
            (above, at) = (id, upto);
            way.push((id, upto));
            if left.is_empty() {
                break;
            }
        }
        left.for_each(|worker| tokens[worker] = at);
    }

    /// The run that begins where `chain` leaves `above`, `at` tokens from its start, and how far the two agree.
    #[inline]
    pub(super) fn step(&self, above: RunId, at: Tokens, chain: Chain<'_>) -> Option<(RunId, Tokens)> {
        let last = Tokens(at.0.checked_add(self.config.unit.0 - 1)?);
        if last >= chain.tokens() || self.at(above).children == 0 {
            return None;
        }
        let id = self.places.get(key_behind(chain, chain.piece_of(last), at))?.run;
        let run = self.at(id);
        if run.parent != above || run.start != at {
            return None;
        }
        Some((id, self.agreed(run, 0, chain)))
    }

    /// The end of the last block of `run`, from piece `first` on, that `chain` has too, given that both have all before
    /// that. Keys name their past, so agreement is a prefix: the last piece is asked for first, then the search halves.
    #[inline]
    pub(super) fn agreed(&self, run: &Run, first: usize, chain: Chain<'_>) -> Tokens {
        let last = run.pieces.len() - 1;
        if let Some(end) = self.agrees(run, last, chain) {
            return end;
        }
        let (mut low, mut high) = (first, last);
        while high - low > 1 {
            let middle = usize::midpoint(low, high);
            if self.agrees(run, middle, chain).is_some() {
                low = middle;
            } else {
                high = middle;
            }
        }
        self.agrees(run, low, chain).unwrap_or(run.start_of(first))
    }

    /// The end of the last block that `chain` has of piece `index` of `run`; `None` where it has not even the first.
    #[inline]
    fn agrees(&self, run: &Run, index: usize, chain: Chain<'_>) -> Option<Tokens> {
        let Stretch { key, upto, .. } = run.pieces[index];
        let (unit, start) = (self.config.unit, run.start_of(index));
        let first = Tokens(start.0 + unit.0 - 1);
        if first >= chain.tokens() {
            return None;
        }
        let piece = chain.piece_of(first);
        // The prompt may be cut short in the very piece.
        let end = chain.pieces()[piece].end.full_blocks(unit).tokens(unit);
        (key_behind(chain, piece, start) == key).then(|| upto.min(end))
    }
}

/// The key of piece `index` of `chain`, or of what is left of it behind token `at`, the end of a block.
#[inline]
pub(super) fn key_behind(chain: Chain<'_>, index: usize, at: Tokens) -> PieceKey {
    let start = index.checked_sub(1).map_or(chain.start(), |before| chain.pieces()[before].end);
    let key = chain.pieces()[index].key;
    if start < at { continuation(key, at) } else { key }
}

/// Of those left, who hold the prompt up to `at`, some hold the run up to `upto`; what the others hold is told.
#[inline]
fn narrow(run: &Run, at: Tokens, upto: Tokens, tokens: &mut [Tokens], left: &mut Set, stay: &mut Set) {
    if run.part.is_empty() {
        // At the start all are left, and all have nothing yet.
        return if at == Tokens::ZERO {
            left.copy(&run.whole)
        } else {
            left.keep(&run.whole, |worker| tokens[worker] = at)
        };
    }
    narrow_by_parts(run, at, upto, tokens, left, stay);
}

fn narrow_by_parts(run: &Run, at: Tokens, upto: Tokens, tokens: &mut [Tokens], left: &mut Set, stay: &mut Set) {
    stay.copy(&run.whole);
    for (worker, end) in &run.part {
        if left.has(*worker) {
            tokens[worker.index()] = (*end).min(upto);
            if *end >= upto {
                stay.add(*worker);
            }
        }
    }
    if at == Tokens::ZERO {
        left.copy(stay);
    } else {
        left.keep(stay, |worker| tokens[worker] = tokens[worker].max(at));
    }
}
