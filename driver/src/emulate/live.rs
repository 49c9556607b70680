//! A request that has not ended, as the engine knows it.

use super::executor::Prompt;
use super::names::Names;
use super::progress::Progress;
use kvcache::{Piece, Time, Tokens, WorkerId};
use tokio::sync::watch;

/// A request that has not ended.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) teller: watch::Sender<Vec<Progress>>,
    pub(super) choice: usize, // its place among those of its caller
    pub(super) worker: Option<WorkerId>,
    pub(super) prompt: Tokens,
    /// When it is or was at the router.
    pub(super) entered: Time,
    /// What is to be computed, until a worker has been told.
    pub(super) asked: Option<(Prompt, Vec<Piece>)>,
    /// What its blocks are called, and what its reply is called that has not been said.
    pub(super) names: Option<(Names, Piece)>,
    /// What belongs to its text if it ends now.
    pub(super) rest: String,
    /// It ended by itself, and is taken back from its worker.
    pub(super) over: bool,
}

impl Live {
    /// A token was said. Where it fills a block, gives what prompt and reply are called from now on.
    pub(super) fn name(&mut self, token: u32) -> Option<Vec<Piece>> {
        let (names, reply) = self.names.as_mut()?;
        let mut pieces = names.say(token)?.to_vec();
        // What has not been said is like nothing else, and behind another past it is something else.
        let last = pieces.last().copied().filter(|last| last.end < reply.end);
        pieces.extend(last.map(|last| Piece { key: last.key.then(last.end, reply.key.0), end: reply.end }));
        Some(pieces)
    }

    pub(super) fn tell(&self, change: impl FnOnce(&mut Progress)) {
        self.teller.send_modify(|all| change(&mut all[self.choice]));
    }
}
