//! The invariants of the index, asserted.

use super::run::{Run, RunId, Stretch};
use super::{Index, Place};
use alloc::vec;
use kvcache::{Tokens, WorkerId};

impl Index {
    /// Asserts the invariants of the module. O(pieces + runs x workers).
    ///
    /// # Panics
    /// Where one is broken: a bug.
    pub fn check(&self) {
        assert!(self.bytes() <= self.config.limit, "{} bytes of {}", self.bytes(), self.config.limit);
        let (mut pieces, mut heap) = (0, 0);
        let mut held = vec![0; self.held.len()];
        let mut children = vec![0; self.runs.len()];
        let live = || (1..self.runs.len() as u32).map(RunId).filter(|id| self.is_live(*id));
        for id in live() {
            let run = self.at(id);
            self.check_run(id, run);
            let found = |(index, piece): (usize, &Stretch)| self.config.by_piece || index == 0 || piece.continues;
            pieces += run.pieces.iter().enumerate().filter(|piece| found(*piece)).count();
            children[run.parent.0 as usize] += 1;
            for worker in 0..self.config.workers {
                held[usize::from(worker)] += u64::from((run.held_by(WorkerId(worker)) - run.start).0);
            }
        }
        for run in &self.runs {
            heap += run.heap();
        }
        assert_eq!(heap, self.heap + self.at(RunId::ROOT).heap(), "bytes of runs");
        assert_eq!(pieces, self.places.len(), "each piece that can be found is in one run");
        assert_eq!(held, self.held, "tokens of each worker");
        assert!(
            self.runs.iter().zip(&children).all(|(run, count)| run.parent == RunId::NONE || run.children == *count)
        );
        assert_eq!(live().count() + self.vacant.len() + 1, self.runs.len(), "a run is live or vacant");
        self.check_uses(live().count(), children);
    }

    fn check_run(&self, id: RunId, run: &Run) {
        let parent = self.at(run.parent);
        assert!(run.parent == RunId::ROOT || self.is_live(run.parent), "a run hangs below a live one");
        assert!((parent.start..=parent.end()).contains(&run.start), "a run begins in the one above it");
        let noted = |(at, count): &(Tokens, u32)| *at == run.start && *count > 0;
        assert!(run.parent == RunId::ROOT || parent.branches.iter().any(noted), "and is noted there");
        assert!(run.branches.is_sorted_by(|(a, _), (b, _)| a < b), "places where runs begin are in order");
        let below: u32 = run.branches.iter().map(|(_, count)| count).sum();
        assert_eq!(below, run.children, "each run below it is noted once");
        assert!(!run.pieces.is_empty(), "a run is not empty");
        let ends = run.pieces.iter().map(|piece| piece.upto);
        assert!(core::iter::once(run.start).chain(ends).is_sorted_by(|a, b| a < b), "pieces follow each other");
        for (ordinal, piece) in (run.ordinal..).zip(&run.pieces) {
            if self.config.by_piece || ordinal == run.ordinal || piece.continues {
                assert_eq!(self.places.get(piece.key), Some(Place { run: id, ordinal }), "a piece is found");
            }
        }
        let longest = run.part.iter().map(|(_, upto)| *upto).max();
        assert!(longest.is_none_or(|upto| upto < run.end()), "who holds a part does not hold all");
        let both = run.part.iter().any(|(worker, upto)| run.whole.has(*worker) || *upto <= run.start);
        assert!(!both, "a part is something, and not all");
        let needed = longest.unwrap_or(run.start).max(run.last_branch());
        assert!(!run.whole.is_empty() || run.end() <= needed, "what nobody needs is gone");
        if self.config.ordered {
            for worker in (0..self.config.workers).map(WorkerId) {
                let turns = run.turns.iter().filter(|turn| turn.worker == worker);
                let noted: u32 = turns.map(|turn| turn.to.0 - turn.from.0).sum();
                assert_eq!(noted, run.held_by(worker).0 - run.start.0, "turns tell what is held");
            }
        }
    }

    /// The list holds each run once, children before parents, linked both ways.
    fn check_uses(&self, live: usize, mut waiting: alloc::vec::Vec<u32>) {
        let (mut id, mut older, mut count) = (self.oldest, RunId::NONE, 0);
        while id != RunId::NONE {
            let run = self.at(id);
            assert!(self.is_live(id) && run.older == older, "the list holds live runs");
            assert_eq!(waiting[id.0 as usize], 0, "children come before their parents");
            waiting[run.parent.0 as usize] -= 1;
            count += 1;
            (older, id) = (id, run.newer);
        }
        assert_eq!((older, count), (self.newest, live), "the list holds every run");
    }
}
