//! Somebody holds less than before.

use super::Index;
use super::run::{Run, RunId, Stretch, continuation};
use kvcache::{Piece, PieceKey, Tokens, WorkerId};

impl Index {
    /// Of the blocks that end in `piece`, `worker` holds only those up to `upto` any more; zero: none. What it holds of
    /// the prompt behind them cannot be found until they are back. O(1), and O(workers) where others hold less of it.
    ///
    /// # Panics
    /// Where there is no such worker.
    #[inline]
    pub fn evict(&mut self, worker: WorkerId, piece: PieceKey, upto: Tokens) {
        assert!(worker.0 < self.config.workers, "{worker} of {}", self.config.workers);
        debug_assert!(self.config.by_piece, "pieces cannot be found");
        let (mut next, mut upto) = (self.place(piece), upto);
        while let Some((id, index)) = next {
            let known = self.at(id).pieces[index];
            if upto < known.upto {
                self.evict_part(worker, id, upto.max(self.at(id).start_of(index)));
            }
            // What goes on elsewhere hangs below, so it is found whatever was forgotten here.
            if !known.continued {
                return;
            }
            next = self.place(continuation(piece, known.upto));
            upto = if upto > known.upto { upto } else { Tokens::ZERO };
        }
    }

    /// [`Index::evict`] for all blocks behind token `left` that end in `pieces`, which follow each other in a prompt. O(pieces).
    ///
    /// # Panics
    /// Where there is no such worker.
    pub fn evict_all(&mut self, worker: WorkerId, left: Tokens, pieces: &[Piece]) {
        assert!(worker.0 < self.config.workers, "{worker} of {}", self.config.workers);
        debug_assert!(self.config.by_piece, "pieces cannot be found");
        if let [piece] = pieces {
            return self.evict(worker, piece.key, left);
        }
        // Last to first, so that what is left of a worker's blocks is closed under prefixes at each moment.
        let mut rest = pieces;
        while let [before @ .., last] = rest {
            rest = before;
            let Some((id, deepest)) = self.place(last.key) else { continue };
            let (run, mut index) = (self.at(id), deepest);
            if run.pieces[index].continued || run.pieces[index].continues {
                self.evict(worker, last.key, left);
                continue;
            }
            // Most of those before it are the run's, too.
            while let ([before @ .., last], Some(above)) = (rest, index.checked_sub(1))
                && let Stretch { key, continued: false, continues: false, .. } = run.pieces[above]
                && key == last.key
            {
                (rest, index) = (before, above);
            }
            let known = run.pieces[index].upto;
            if left < known {
                let left = left.max(run.start_of(index));
                self.evict_part(worker, id, left);
            } else if index < deepest {
                // It keeps what there is of this one.
                self.evict_part(worker, id, known);
            }
        }
    }

    /// `worker` holds a run up to `left` only; what follows in the run goes with it.
    #[inline]
    pub(super) fn evict_part(&mut self, worker: WorkerId, id: RunId, left: Tokens) {
        let run = self.at(id);
        if run.children == 0 && run.part.is_empty() && run.whole.is_only(worker) {
            return self.cut(worker, id, left);
        }
        if self.let_go(worker, id, left) {
            self.shrink(id);
        }
    }

    /// `worker`, which alone holds a leaf, and all of it, holds it up to `left` only. What most evictions are.
    fn cut(&mut self, worker: WorkerId, id: RunId, left: Tokens) {
        let Self { runs, places, .. } = self;
        let run = &mut runs[id.0 as usize];
        let end = run.end();
        // Mostly little goes.
        let mut kept = run.pieces.len();
        while kept > 0 && left <= run.start_of(kept - 1) {
            kept -= 1;
        }
        let gone = &run.pieces[kept..];
        if self.config.by_piece {
            places.remove_all(gone.iter().map(|piece| piece.key));
            self.continuations -= gone.iter().filter(|piece| piece.continues).count();
        } else {
            // The first is found, and what continues others.
            let first = if kept == 0 { gone.first().filter(|first| !first.continues) } else { None };
            first.map(|first| places.remove(first.key));
            if self.continuations > 0 {
                for piece in gone.iter().filter(|piece| piece.continues) {
                    places.remove(piece.key);
                    self.continuations -= 1;
                }
            }
        }
        run.pieces.truncate(kept);
        if let Some(last) = run.pieces.last_mut() {
            last.upto = last.upto.min(left);
        }
        if self.config.ordered {
            take_back(run, worker, left);
        }
        self.held[worker.index()] -= u64::from((end - left).0);
        if run.pieces.is_empty() {
            run.whole.clear();
            self.shrink(id);
        }
    }

    /// `worker` holds a run up to `left` only. Says whether that is less than before.
    #[inline]
    pub(super) fn let_go(&mut self, worker: WorkerId, id: RunId, left: Tokens) -> bool {
        let run = self.at(id);
        let (held, start) = (run.held_by(worker), run.start);
        if held <= left {
            return false;
        }
        self.held[worker.index()] -= u64::from((held - left).0);
        self.change(id, |run| {
            run.whole.remove(worker);
            match run.part.iter().position(|(other, _)| *other == worker) {
                Some(index) if left > start => run.part[index].1 = left,
                Some(index) => {
                    run.part.swap_remove(index);
                }
                None if left > start => run.part.push((worker, left)),
                None => {}
            }
            take_back(run, worker, left);
        });
        true
    }

    /// Forgets what nobody holds of a run, and the run, and those above it, where nothing is left.
    pub(super) fn shrink(&mut self, id: RunId) {
        let mut id = id;
        while id != RunId::ROOT {
            self.cut_end(id);
            let run = self.at(id);
            if !run.pieces.is_empty() || run.children > 0 {
                return;
            }
            let (above, start) = (run.parent, run.start);
            self.remove(id);
            let parent = self.at_mut(above);
            parent.children -= 1;
            parent.remove_branch(start);
            id = above;
        }
    }

    /// Pieces at the end of a run that nobody holds, and behind which nothing begins, go.
    fn cut_end(&mut self, id: RunId) {
        let run = self.at(id);
        if !run.whole.is_empty() {
            return;
        }
        let longest = run.part.iter().map(|(_, upto)| *upto).max().unwrap_or(run.start);
        let end = longest.max(run.last_branch());
        while self.at(id).end() > end {
            let run = &mut self.runs[id.0 as usize];
            let last = run.pieces.len() - 1;
            if run.start_of(last) < end {
                run.pieces[last].upto = end;
            } else if let Some(gone) = run.pieces.pop() {
                if self.config.by_piece || last == 0 || gone.continues {
                    self.places.remove(gone.key);
                }
                self.continuations -= usize::from(gone.continues);
            }
        }
        let run = &mut self.runs[id.0 as usize];
        let (part, whole) = (&mut run.part, &mut run.whole);
        part.retain(|(worker, upto)| {
            let all = *upto == end;
            if all {
                whole.add(*worker);
            }
            !all
        });
    }

    fn remove(&mut self, id: RunId) {
        self.unlink(id);
        let limited = self.config.limit < u64::MAX;
        self.change(id, |run| {
            run.parent = RunId::NONE;
            run.empty();
            if limited {
                // What counts is used.
                (run.pieces, run.part, run.turns, run.branches) = Default::default();
            }
        });
        self.vacant.push(id);
    }

    /// Whether the run is in use.
    pub(super) fn is_live(&self, id: RunId) -> bool {
        id != RunId::ROOT && self.at(id).parent != RunId::NONE
    }

    /// `worker` holds nothing any more. O(runs), or O(1) where it held nothing.
    ///
    /// # Panics
    /// Where there is no such worker.
    pub fn clear(&mut self, worker: WorkerId) {
        if let Some(strands) = self.strands.get_mut(worker.index()) {
            strands.clear();
        }
        if self.held[worker.index()] == 0 {
            return;
        }
        for id in (0..self.runs.len() as u32).map(RunId) {
            if self.is_live(id) && self.let_go(worker, id, self.at(id).start) {
                self.shrink(id);
            }
        }
    }
}

/// Of what was noted of `worker`, only what it holds still counts.
#[inline]
fn take_back(run: &mut Run, worker: WorkerId, left: Tokens) {
    if let [only] = run.turns.as_mut_slice()
        && only.worker == worker
        && only.from < left
    {
        only.to = only.to.min(left);
        return;
    }
    run.turns.iter_mut().filter(|turn| turn.worker == worker).for_each(|turn| turn.to = turn.to.min(left));
    run.turns.retain(|turn| turn.from < turn.to);
}
