//! What was used last, and what goes when room ends: the least recently used, leaves first.

use super::Index;
use super::run::{Run, RunId, Stretch};
use super::store::FIRST_PIECES;
use super::walk::Matches;
use alloc::vec::Vec;
use kvcache::{PieceKey, Time, Tokens, WorkerId};

impl Index {
    /// What was matched is used now.
    pub fn touch_matched(&mut self, matches: &Matches) {
        self.touch(matches.deepest());
    }

    /// A run and all above it become the newest: the deepest first, so that an upper one stays newer. Where it was
    /// forgotten since it was matched, nothing does, or what has its number now.
    pub(super) fn touch(&mut self, deepest: RunId) {
        let (now, mut id) = (self.now, deepest);
        while self.is_live(id) {
            self.unlink(id);
            self.link(id, self.newest);
            let run = self.at_mut(id);
            run.used = now;
            id = run.parent;
        }
    }

    /// Hangs a new run into the list, right below the one above it.
    pub(super) fn link_below(&mut self, id: RunId, above: RunId) {
        let older = if above == RunId::ROOT { self.newest } else { self.at(above).older };
        self.link(id, older);
        self.at_mut(id).used = self.now;
    }

    /// Hangs a run into the list, right behind `older`.
    fn link(&mut self, id: RunId, older: RunId) {
        let newer = if older == RunId::NONE { self.oldest } else { self.at(older).newer };
        let run = self.at_mut(id);
        (run.older, run.newer) = (older, newer);
        if older == RunId::NONE {
            self.oldest = id;
        } else {
            self.at_mut(older).newer = id;
        }
        if newer == RunId::NONE {
            self.newest = id;
        } else {
            self.at_mut(newer).older = id;
        }
    }

    pub(super) fn unlink(&mut self, id: RunId) {
        let Run { older, newer, .. } = *self.at(id);
        if older == RunId::NONE {
            self.oldest = newer;
        } else {
            self.at_mut(older).newer = newer;
        }
        if newer == RunId::NONE {
            self.newest = older;
        } else {
            self.at_mut(newer).older = older;
        }
    }

    /// What the index may take: its limit less what one list of holders may come to take while it is moved.
    fn budget(&self) -> u64 {
        self.config.limit - self.config.slack()
    }

    /// Makes room for a piece, which is to hang below `above` or at the end of `run`: both stay. Says whether there is.
    #[inline]
    pub(super) fn make_room(&mut self, piece: PieceKey, above: RunId, run: RunId) -> bool {
        if self.config.limit == u64::MAX {
            return true;
        }
        loop {
            let growth = self.places.growth(piece) + self.growth_of_lists(above, run);
            if growth == 0 || self.bytes() + growth as u64 <= self.budget() {
                return true;
            }
            if !self.evict_oldest(above, run) {
                return false;
            }
        }
    }

    /// Whether the lists that `pieces` new pieces below `above` make grow find room without anything having to go.
    #[inline]
    pub(super) fn has_room_for(&self, pieces: usize, above: RunId) -> bool {
        if self.config.limit == u64::MAX {
            return true;
        }
        // It may get twice what it needs, and where it moves, both copies count.
        let list = (2 * pieces + 4 * self.at(above).pieces.len()) * size_of::<Stretch>();
        let most = list + self.growth_of_lists(above, RunId::NONE);
        self.bytes() + most as u64 <= self.budget()
    }

    /// Lists of the holders of `run` have grown: others make room for that.
    #[inline]
    pub(super) fn keep_to_limit(&mut self, run: RunId) {
        if self.config.limit < u64::MAX {
            while self.bytes() > self.budget() && self.evict_oldest(run, run) {}
        }
    }

    /// Bytes that one more piece takes at most outside of `places`; where a list moves, both copies count.
    fn growth_of_lists(&self, above: RunId, run: RunId) -> usize {
        if run != RunId::NONE {
            return growth(&self.at(run).pieces);
        }
        let of_run = FIRST_PIECES * size_of::<Stretch>() + self.at(RunId::ROOT).whole.heap();
        let runs = if self.vacant.is_empty() && self.runs.len() == self.runs.capacity() {
            (self.runs.len() + self.runs.len() / 4 + 16) * size_of::<Run>()
        } else {
            0
        };
        let branches = if above == RunId::ROOT { 0 } else { growth(&self.at(above).branches) };
        runs + of_run + branches
    }

    /// The least recently used leaf goes, whoever holds it, but not `above` or `run`. Says whether there was one.
    fn evict_oldest(&mut self, above: RunId, run: RunId) -> bool {
        let mut id = self.oldest;
        while id != RunId::NONE && (id == above || id == run || self.at(id).children > 0) {
            id = self.at(id).newer;
        }
        if id == RunId::NONE {
            return false;
        }
        self.counts.evicted += self.at(id).pieces.len() as u64;
        self.forget(id);
        true
    }

    /// Nobody holds anything of a leaf any more.
    fn forget(&mut self, id: RunId) {
        debug_assert_eq!(self.at(id).children, 0, "a leaf");
        for worker in (0..self.config.workers).map(WorkerId) {
            self.let_go(worker, id, self.at(id).start);
        }
        self.shrink(id);
    }

    /// Forgets what was used last before `before`.
    pub(crate) fn expire(&mut self, before: Time) {
        while self.oldest != RunId::NONE && self.at(self.oldest).used < before {
            self.forget(self.oldest);
        }
    }

    /// Forgets what was used least recently, until nobody of the index, which has one worker, holds more than `tokens`.
    pub(crate) fn keep_within(&mut self, tokens: u64) {
        let worker = WorkerId(0);
        while self.held(worker) > tokens {
            let run = self.at(self.oldest);
            let (held, start) = (run.held_by(worker), run.start);
            let too_many = (self.held(worker) - tokens).div_ceil(u64::from(self.config.unit.0));
            let gone = u32::try_from(too_many * u64::from(self.config.unit.0)).unwrap_or(u32::MAX);
            let left = held.saturating_sub(Tokens(gone)).max(start);
            let id = self.oldest;
            self.let_go(worker, id, left);
            self.shrink(id);
        }
    }
}

/// Bytes of the copy to which a list moves that has no room for one more.
const fn growth<T>(list: &Vec<T>) -> usize {
    if list.len() < list.capacity() {
        return 0;
    }
    let twice = 2 * list.len();
    (if twice > 4 { twice } else { 4 }) * size_of::<T>()
}
