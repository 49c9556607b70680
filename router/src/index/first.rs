//! Who came first: the reply of LMCache's controller to a look-up.

use super::Index;
use super::run::{Run, Set};
use super::walk::Matches;
use kvcache::{Tokens, WorkerId};

impl Index {
    /// What LMCache's controller would put first into its reply: the worker that was the first of those that hold the
    /// prompt's first chunk to hold it, and the end of the last chunk of which the same is true, as far as somebody holds
    /// each chunk before it. The prompt is the one just matched. Chunks have `chunk` tokens, a multiple of the unit; workers
    /// outside of `among` do not count. O(chunks + turns on the way). The index must be an ordered one.
    ///
    /// (`lmcache/v1/cache_controller/controllers/kv_controller.py`, `lookup`: for each chunk the first entry of the list
    /// of those that admitted it and have not evicted it.)
    pub(crate) fn first_in_reply(&self, matches: &Matches, chunk: Tokens, among: &Set) -> Option<(WorkerId, Tokens)> {
        debug_assert!(self.config.ordered && chunk.0.is_multiple_of(self.config.unit.0));
        let mut reply: Option<(WorkerId, Tokens)> = None;
        let mut end = chunk;
        for (id, upto) in &matches.way {
            while end <= *upto {
                let Some(first) = first_at(self.at(*id), end, among) else { return reply };
                let (worker, matched) = reply.get_or_insert((first, end));
                if *worker == first {
                    *matched = end;
                }
                end += chunk;
            }
        }
        reply
    }
}

/// Who of `among` was the first to hold a run up to `end`, of those who do.
fn first_at(run: &Run, end: Tokens, among: &Set) -> Option<WorkerId> {
    let covers = |turn: &&super::run::Turn| turn.from < end && end <= turn.to && among.has(turn.worker);
    run.turns.iter().find(covers).map(|turn| turn.worker)
}
