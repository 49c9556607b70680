//! Somebody holds more than before.

use super::run::{Run, RunId, Stretch, Turn, continuation};
use super::walk::key_behind;
use super::{Index, Place};
use alloc::vec::Vec;
use kvcache::{Chain, Piece, PieceKey, Tokens, WorkerId};

impl Index {
    /// `worker` now holds `piece` up to token `upto`, the end of a full block that ends in it; the first such block begins
    /// at `start`. `parent` is the piece before it in which a block ends, [`PieceKey::ROOT`] for none; the worker holds
    /// that. O(1), and O(workers) where others held all of the piece so far.
    ///
    /// # Panics
    /// Where there is no such worker.
    #[inline]
    pub fn store(&mut self, worker: WorkerId, parent: PieceKey, piece: PieceKey, start: Tokens, upto: Tokens) {
        assert!(worker.0 < self.config.workers, "{worker} of {}", self.config.workers);
        debug_assert!(self.config.by_piece, "pieces cannot be found");
        if upto <= start {
            return;
        }
        if let Some((id, index)) = self.place(piece) {
            self.hold_piece(worker, piece, (id, index), upto);
            return;
        }
        let above = self.above(parent, start);
        // Behind a hole it could not be found, and what it hangs on would be nobody's: gone when room is made.
        match above.filter(|above| self.holds_upto(worker, *above, start)) {
            Some(above) => {
                self.add(worker, above, start, core::iter::once(Stretch::new(piece, upto)));
            }
            None => self.counts.orphans += 1,
        }
    }

    /// [`Index::store`] for all blocks that end in `pieces`, up to token `upto`. `start` is where the first of them begins,
    /// `parent` the piece before. O(pieces).
    ///
    /// # Panics
    /// Where there is no such worker.
    pub fn store_all(&mut self, worker: WorkerId, parent: PieceKey, start: Tokens, pieces: &[Piece], upto: Tokens) {
        assert!(worker.0 < self.config.workers, "{worker} of {}", self.config.workers);
        debug_assert!(self.config.by_piece, "pieces cannot be found");
        let unit = self.config.unit;
        let end = |piece: &Piece| piece.end.full_blocks(unit).tokens(unit).min(upto);
        if let [piece] = pieces {
            return self.store(worker, parent, piece.key, start, end(piece));
        }
        let (mut parent, mut at, mut new) = (parent, start, pieces);
        // Those that somebody holds come first: a key names its past, so what is behind an unknown piece is unknown, too.
        while let [piece, rest @ ..] = new {
            // In some no block ends.
            let upto = end(piece);
            if upto > at {
                let Some(place) = self.place(piece.key) else { break };
                self.hold_piece(worker, piece.key, place, upto);
                (parent, at) = (piece.key, upto);
            }
            new = rest;
        }
        if new.is_empty() {
            return;
        }
        let above = self.above(parent, at);
        let Some(above) = above.filter(|above| self.holds_upto(worker, *above, at)) else {
            self.counts.orphans += new.len() as u64;
            return;
        };
        let mut before = at;
        let stretches = new.iter().filter_map(move |piece| {
            let upto = end(piece);
            let longer = upto > before;
            before = before.max(upto);
            longer.then(|| Stretch::new(piece.key, before))
        });
        self.add_all(worker, above, at, stretches, new.len());
    }

    /// What hangs behind `parent` from token `at` on hangs below this run; `None` where nobody holds that.
    #[inline]
    fn above(&self, parent: PieceKey, at: Tokens) -> Option<RunId> {
        if parent == PieceKey::ROOT { Some(RunId::ROOT) } else { self.run_at(parent, at) }
    }

    /// The run in which token `at` lies, at the end of `piece` or inside.
    #[inline]
    fn run_at(&self, piece: PieceKey, at: Tokens) -> Option<RunId> {
        // What is stored goes on where it went on before, more often than not.
        let latest = self.at(self.latest).pieces.last();
        if latest.is_some_and(|last| last.key == piece && last.upto == at) {
            return Some(self.latest);
        }
        let mut found = self.place(piece)?;
        loop {
            let (id, index) = found;
            let stretch = self.at(id).pieces[index];
            if at <= stretch.upto {
                return (at > self.at(id).start_of(index)).then_some(id);
            }
            found = self.place(continuation(piece, stretch.upto))?;
        }
    }

    /// Whether `worker` holds all of a prompt up to token `at`, which lies in run `id` or is where that begins.
    #[inline]
    pub(super) fn holds_upto(&self, worker: WorkerId, id: RunId, at: Tokens) -> bool {
        let run = self.at(id);
        let held = run.held_by(worker);
        // Who holds something of a run holds all above it.
        held >= at && (held > run.start || id == RunId::ROOT || self.at(run.parent).held_by(worker) >= run.start)
    }

    /// `worker` holds `chain` up to token `upto`, in full blocks. What is on the way counts as used now. O(runs on the
    /// way + new pieces).
    ///
    /// # Panics
    /// Where there is no such worker.
    pub fn store_chain(&mut self, worker: WorkerId, chain: Chain<'_>, upto: Tokens) {
        assert!(worker.0 < self.config.workers, "{worker} of {}", self.config.workers);
        let unit = self.config.unit;
        let upto = upto.min(chain.tokens()).full_blocks(unit).tokens(unit);
        let (above, at) = self.hold_known(worker, chain, (RunId::ROOT, Tokens::ZERO), upto);
        self.touch(above);
        if at < upto {
            self.store_rest(worker, chain, (above, at), upto);
        }
    }

    /// `worker` holds what is known of `chain` from token `at` in run `above` on, up to `upto`. Gives where that ends.
    #[inline]
    pub(super) fn hold_known(
        &mut self,
        worker: WorkerId,
        chain: Chain<'_>,
        (mut above, mut at): (RunId, Tokens),
        upto: Tokens,
    ) -> (RunId, Tokens) {
        while at < upto {
            let Some((id, agreed)) = self.step(above, at, chain) else { break };
            self.hold(worker, id, agreed.min(upto));
            (above, at) = (id, agreed.min(upto));
        }
        (above, at)
    }

    /// Behind what is known of `chain`, which ends in run `above` at token `at`. Gives the run that holds the last of it.
    pub(super) fn store_rest(
        &mut self,
        worker: WorkerId,
        chain: Chain<'_>,
        (above, at): (RunId, Tokens),
        upto: Tokens,
    ) -> Option<RunId> {
        let unit = self.config.unit;
        let end = |piece: &Piece| piece.end.full_blocks(unit).tokens(unit).min(upto);
        let first = chain.piece_of(Tokens(at.0 + unit.0 - 1));
        let piece = &chain.pieces()[first];
        let (mut above, mut start) = (above, at);
        if key_behind(chain, first, at) != piece.key {
            // Others left the piece here, or hold no more of it so far.
            let place = (above, self.at(above).pieces.partition_point(|known| known.upto < at));
            let id = self.hold_piece(worker, piece.key, place, end(piece))?;
            (above, start) = (id, end(piece));
            if start >= upto {
                return Some(id);
            }
        }
        // Those in which a block ends.
        let rest = &chain.pieces()[first..=chain.piece_of(Tokens(upto.0 - 1))];
        let mut before = start;
        let new = rest.iter().filter_map(move |piece| {
            let longer = piece.end >= before + unit;
            longer.then(|| {
                before = end(piece);
                Stretch::new(piece.key, before)
            })
        });
        if self.config.by_piece || self.config.limit == u64::MAX {
            self.add_all(worker, above, start, new, rest.len())
        } else {
            self.add(worker, above, start, new)
        }
    }

    /// `worker` holds a piece, of which a part is known at this place, up to `upto`. Gives the run in which that lies.
    /// O(continuations of the piece).
    fn hold_piece(&mut self, worker: WorkerId, piece: PieceKey, place: (RunId, usize), upto: Tokens) -> Option<RunId> {
        let (mut id, mut index) = place;
        loop {
            let run = self.at(id);
            if !self.holds_upto(worker, id, run.start_of(index)) {
                self.counts.orphans += 1;
                return None;
            }
            let Stretch { upto: known, continued, .. } = run.pieces[index];
            let is_last = index + 1 == run.pieces.len() && !continued;
            if upto > known && is_last && run.part.is_empty() && run.whole.is_only(worker) {
                // Nobody else holds anything of it: all of it is the worker's, as before.
                self.at_mut(id).pieces[index].upto = upto;
                self.added(worker, id, known, upto);
                return Some(id);
            }
            if upto <= known || is_last {
                if upto > known {
                    self.reach(id, upto);
                }
                self.hold(worker, id, upto);
                return Some(id);
            }
            // Others go on with other pieces where this one goes on.
            self.hold(worker, id, known);
            let key = continuation(piece, known);
            let Some(next) = self.place(key) else {
                self.at_mut(id).pieces[index].continued = true;
                let rest = Stretch { continues: true, ..Stretch::new(key, upto) };
                return self.add(worker, id, known, core::iter::once(rest));
            };
            (id, index) = next;
        }
    }

    /// Blocks of a run's last piece are held further than by anyone before: who held all of it holds a part.
    fn reach(&mut self, id: RunId, upto: Tokens) {
        let old = self.at(id).end();
        self.change(id, |run| {
            if let Some(last) = run.pieces.last_mut() {
                last.upto = upto;
            }
            let Run { whole, part, .. } = run;
            whole.for_each(|worker| part.push((WorkerId(worker as u16), old)));
            whole.clear();
        });
    }

    /// `worker` now holds a run up to `upto`.
    #[inline]
    pub(super) fn hold(&mut self, worker: WorkerId, id: RunId, upto: Tokens) {
        let held = self.at(id).held_by(worker);
        if held >= upto {
            return;
        }
        self.held[worker.index()] += u64::from((upto - held).0);
        let run = &mut self.runs[id.0 as usize];
        let known = run.part.iter().position(|(other, _)| *other == worker);
        match (upto == run.end(), known) {
            (true, known) => {
                known.map(|index| run.part.swap_remove(index));
                run.whole.add(worker);
            }
            (false, Some(index)) => run.part[index].1 = upto,
            (false, None) => self.heap += push(&mut run.part, (worker, upto)),
        }
        if self.config.ordered {
            self.heap += take_turn(run, Turn { worker, from: held, to: upto });
        }
        self.keep_to_limit(id);
    }

    /// [`Index::add`] for pieces that are no rests of any, at most `most` of them.
    fn add_all(
        &mut self,
        worker: WorkerId,
        above: RunId,
        at: Tokens,
        new: impl Iterator<Item = Stretch>,
        most: usize,
    ) -> Option<RunId> {
        if !self.has_room_for(most, above) {
            return self.add(worker, above, at, new);
        }
        let id = match self.grown_by(worker, above, at) {
            Some(id) => {
                self.change(id, |run| run.make_room(most));
                id
            }
            None => self.open(above, at, most),
        };
        if self.config.limit == u64::MAX {
            self.put_all(id, new);
        } else {
            self.put_within_limit(id, above, new);
        }
        let upto = self.at(id).end();
        if upto == at {
            // Nothing came of it, nor of the run that was to hold it.
            self.shrink(id);
            return None;
        }
        self.added(worker, id, at, upto);
        Some(id)
    }

    /// New pieces at the end of a run, which has room for them, get their places.
    fn put_all(&mut self, id: RunId, new: impl Iterator<Item = Stretch>) {
        let Self { runs, places, counts, config, .. } = self;
        let run = &mut runs[id.0 as usize];
        let mut known = run.pieces.len();
        run.pieces.extend(new);
        if !config.by_piece {
            // A run is found by its first piece.
            if let (0, Some(first)) = (known, run.pieces.first())
                && !places.insert(first.key, Place { run: id, ordinal: run.ordinal })
            {
                counts.orphans += 1; // as below
                run.pieces.clear();
            }
            return;
        }
        let keys = run.pieces[known..].iter().map(|piece| piece.key);
        places.glance(keys.clone());
        for key in keys {
            if !places.insert(key, Place { run: id, ordinal: run.ordinal + known as u32 }) {
                // Somebody tells what cannot be: known, and behind what is unknown.
                counts.orphans += 1;
                break;
            }
            known += 1;
        }
        run.pieces.truncate(known);
    }

    /// The same, as far as there is room for places. The run hangs below `above`, or is that.
    fn put_within_limit(&mut self, id: RunId, above: RunId, new: impl Iterator<Item = Stretch>) {
        for stretch in new {
            if self.places.growth(stretch.key) > 0 && !self.make_room(stretch.key, above, id) {
                self.counts.refused += 1;
                break;
            }
            let run = &mut self.runs[id.0 as usize];
            let ordinal = run.ordinal + run.pieces.len() as u32;
            if !self.places.insert(stretch.key, Place { run: id, ordinal }) {
                self.counts.orphans += 1; // as above
                break;
            }
            run.pieces.push(stretch);
        }
    }

    /// The run that grows where `worker` comes to hold what is behind `above` from token `at` on: `above` itself, where it
    /// ends there and nobody else holds it.
    #[inline]
    fn grown_by(&self, worker: WorkerId, above: RunId, at: Tokens) -> Option<RunId> {
        let grows = above != RunId::ROOT && self.at(above).end() == at && self.at(above).whole.is_only(worker);
        grows.then_some(above)
    }

    /// `worker` holds new pieces behind `above`, of which it holds all up to `at`. Gives the run in which they are.
    fn add(&mut self, worker: WorkerId, above: RunId, at: Tokens, new: impl Iterator<Item = Stretch>) -> Option<RunId> {
        let mut id = self.grown_by(worker, above, at).unwrap_or(RunId::NONE);
        let by_piece = self.config.by_piece;
        let mut upto = at;
        for stretch in new {
            let found = by_piece || id == RunId::NONE || stretch.continues;
            // Who makes room may take away what it was to hang on.
            if (found || self.at(id).is_full()) && !self.make_room(stretch.key, above, id) {
                self.counts.refused += 1;
                break;
            }
            if id == RunId::NONE {
                id = self.open(above, at, FIRST_PIECES);
            }
            let run = &mut self.runs[id.0 as usize];
            let ordinal = run.ordinal + run.pieces.len() as u32;
            if found && !self.places.insert(stretch.key, Place { run: id, ordinal }) {
                // Somebody tells what cannot be: known, and behind what is unknown.
                self.counts.orphans += 1;
                break;
            }
            self.heap += push(&mut run.pieces, stretch);
            self.continuations += usize::from(stretch.continues);
            upto = stretch.upto;
        }
        if upto == at {
            return None;
        }
        self.added(worker, id, at, upto);
        Some(id)
    }

    /// `worker`, and nobody else, holds new pieces of a run.
    #[inline]
    pub(super) fn added(&mut self, worker: WorkerId, id: RunId, at: Tokens, upto: Tokens) {
        self.held[worker.index()] += u64::from((upto - at).0);
        let run = &mut self.runs[id.0 as usize];
        run.whole.add(worker);
        if self.config.ordered {
            self.heap += take_turn(run, Turn { worker, from: at, to: upto });
        }
        self.latest = id;
    }

    /// A new run that begins in `above`, `at` tokens from the prompt's start, with room for `pieces`.
    fn open(&mut self, above: RunId, at: Tokens, pieces: usize) -> RunId {
        let parent = self.at(above);
        // Its first piece is the one behind the parent's piece that ends where it begins, or holds that place.
        let before = parent.pieces.partition_point(|piece| piece.upto < at) as u32;
        let ordinal = if above == RunId::ROOT { 0 } else { parent.ordinal + before + 1 };
        self.at_mut(above).children += 1;
        if above != RunId::ROOT {
            self.change(above, |parent| parent.add_branch(at));
        }
        let mut run = Run::new(self.config.workers, above, at, ordinal);
        let vacant = self.vacant.pop();
        if let Some(id) = vacant {
            self.heap -= self.at(id).heap();
            run.take_lists_of(self.at_mut(id));
        }
        run.make_room(pieces.max(FIRST_PIECES));
        self.heap += run.heap();
        let id = if let Some(id) = vacant {
            self.runs[id.0 as usize] = run;
            id
        } else {
            if self.runs.len() == self.runs.capacity() {
                self.runs.reserve_exact(self.runs.len() / 4 + 16);
            }
            self.runs.push(run);
            RunId(self.runs.len() as u32 - 1)
        };
        self.link_below(id, above);
        id
    }
}

/// Pieces for which a new run has room.
pub(super) const FIRST_PIECES: usize = 8;

/// Notes that somebody came to hold something; what continues the latest note becomes a part of it. Gives the bytes that
/// this takes.
#[inline]
fn take_turn(run: &mut Run, turn: Turn) -> usize {
    match run.turns.last_mut() {
        Some(last) if last.worker == turn.worker && last.to == turn.from => {
            last.to = turn.to;
            0
        }
        _ => push(&mut run.turns, turn),
    }
}

/// Puts `item` behind the others; gives the bytes that the list has grown by.
#[inline]
fn push<T>(list: &mut Vec<T>, item: T) -> usize {
    let before = list.capacity();
    list.push(item);
    (list.capacity() - before) * size_of::<T>()
}
