//! What workers hold, told by those who number it: [`kvcache::WorkerCache`] says which of its strands has grown, or lost
//! its end. Nothing but where the strand ends need be known to take that back, so no piece need be found by its key.
//!
//! Invariant: of a strand that its worker holds something of, `strands` has the run in which that ends. What it has of
//! others is not asked for.

use super::Index;
use super::run::{RunId, Stretch};
use kvcache::{Chain, Piece, Strand, StrandId, Tokens, WorkerId};

/// Nobody numbers so many.
const MOST: usize = 1 << 24;

impl Index {
    /// `worker` now holds all blocks that end in `pieces`, up to token `upto`, as a strand or the end of one. `start` is
    /// where the first of them begins; it holds all before that. O(runs on the way + new pieces).
    ///
    /// # Panics
    /// Where there is no such worker.
    pub fn store_strand(&mut self, worker: WorkerId, strand: Strand, start: Tokens, pieces: &[Piece], upto: Tokens) {
        assert!(worker.0 < self.config.workers, "{worker} of {}", self.config.workers);
        debug_assert!(self.config.follows_strands(), "they need an index that nothing else takes away from");
        let (unit, known) = (self.config.unit, strand.id.0 as usize);
        let upto = pieces.last().map_or(start, |last| last.end.min(upto)).full_blocks(unit).tokens(unit);
        let follow = pieces.is_sorted_by(|one, next| one.end < next.end);
        let makes_sense = start < upto && pieces[0].end > start && follow && known < MOST;
        if makes_sense && strand.behind == Some(strand.id) && self.grow(worker, strand.id, start, pieces, upto) {
            return;
        }
        let above = self.run_behind(worker, strand.behind, start);
        let Some(above) = above.filter(|_| makes_sense) else {
            self.counts.orphans += pieces.len() as u64;
            // What had its number before has ended.
            if let Some(end) = self.strands[worker.index()].get_mut(known) {
                *end = RunId::NONE;
            }
            return;
        };
        let chain = Chain::behind(pieces, start, unit);
        let (above, at) = self.hold_inside(worker, chain, (above, start), upto);
        let (mut end, at) = self.hold_known(worker, chain, (above, at), upto);
        if at < upto {
            end = self.store_rest(worker, chain, (end, at), upto).unwrap_or(end);
        }
        let strands = &mut self.strands[worker.index()];
        if strands.len() <= known {
            strands.resize(known + 1, RunId::NONE);
        }
        strands[known] = end;
    }

    /// A strand grows by `pieces`, and nobody else knows anything of where it ends: what most of them do. Says whether it was
    /// so simple. O(new pieces).
    fn grow(&mut self, worker: WorkerId, strand: StrandId, start: Tokens, pieces: &[Piece], upto: Tokens) -> bool {
        let (unit, Some(id)) = (self.config.unit, self.end_of(worker, strand)) else { return false };
        let run = self.at(id);
        let Some(last) = run.pieces.last() else { return false };
        if last.continued || run.children > 0 || !run.part.is_empty() || !run.whole.is_only(worker) {
            return false;
        }
        let end = |piece: &Piece| piece.end.full_blocks(unit).tokens(unit).min(upto);
        // It begins behind the last piece, or has more of that.
        let more = last.key == pieces[0].key && run.start_of(run.pieces.len() - 1) == start;
        if if more { end(&pieces[0]) < last.upto } else { last.upto != start } {
            return false;
        }
        let (held, run) = (last.upto, &mut self.runs[id.0 as usize]);
        let before = run.pieces.capacity();
        if run.pieces.len() + pieces.len() > before {
            run.make_room(pieces.len());
        }
        let (mut at, mut new) = (start, pieces);
        if let (true, Some(last)) = (more, run.pieces.last_mut()) {
            at = end(&pieces[0]);
            last.upto = at;
            new = &pieces[1..];
        }
        for piece in new {
            // Those in which a block ends.
            if at < upto && piece.end >= at + unit {
                at = end(piece);
                run.pieces.push(Stretch::new(piece.key, at));
            }
        }
        self.heap += (run.pieces.capacity() - before) * size_of::<Stretch>();
        self.added(worker, id, held, at);
        true
    }

    /// Of a strand, `worker` holds only what lies before token `left` any more. O(runs that it held of it).
    ///
    /// # Panics
    /// Where there is no such worker.
    pub fn evict_strand(&mut self, worker: WorkerId, strand: StrandId, left: Tokens) {
        assert!(worker.0 < self.config.workers, "{worker} of {}", self.config.workers);
        let Some(mut id) = self.end_of(worker, strand) else { return };
        while self.is_live(id) && left < self.at(id).end() {
            let (start, above) = (self.at(id).start, self.at(id).parent);
            self.evict_part(worker, id, left.max(start));
            if left > start {
                break;
            }
            id = above;
            if left == start {
                // What goes on there goes on with something else, which is another strand's.
                break;
            }
        }
        self.strands[worker.index()][strand.0 as usize] = id;
    }

    fn end_of(&self, worker: WorkerId, strand: StrandId) -> Option<RunId> {
        self.strands[worker.index()].get(strand.0 as usize).copied().filter(|id| *id != RunId::NONE)
    }

    /// The run in which the first `start` tokens of what is stored behind a strand end, if `worker` holds those.
    #[inline]
    fn run_behind(&self, worker: WorkerId, behind: Option<StrandId>, start: Tokens) -> Option<RunId> {
        let mut id = match behind {
            // Nothing is before the beginning, whatever grows there.
            Some(strand) if start > Tokens::ZERO => self.end_of(worker, strand)?,
            _ => RunId::ROOT,
        };
        while self.is_live(id) && self.at(id).start >= start {
            id = self.at(id).parent;
        }
        let is_there = id == RunId::ROOT || self.is_live(id);
        (is_there && self.holds_upto(worker, id, start)).then_some(id)
    }

    /// `worker` holds what a run goes on with behind token `at`, as far as `chain` has that too.
    #[inline]
    fn hold_inside(
        &mut self,
        worker: WorkerId,
        chain: Chain<'_>,
        (id, at): (RunId, Tokens),
        upto: Tokens,
    ) -> (RunId, Tokens) {
        let run = self.at(id);
        if id == RunId::ROOT || at >= run.end() {
            return (id, at);
        }
        let first = run.pieces.partition_point(|piece| piece.upto <= at);
        let agreed = self.agreed(run, first, chain).min(upto);
        if agreed <= at {
            return (id, at);
        }
        self.hold(worker, id, agreed);
        (id, agreed)
    }
}
