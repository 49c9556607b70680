//! A request that has not ended, as the engine knows it.

use super::clock::Clock;
use super::executor::Prompt;
use super::meters::Meters;
use super::names::Names;
use super::progress::Progress;
use crate::http::vllm::Finish;
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
    /// What is measured of it.
    pub(super) timing: Timing,
}

/// When what happened to a request, for `/metrics`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timing {
    taken: Time,
    latest: Option<Time>, // token
    tokens: u64,
    running: bool,
}

impl Timing {
    /// Of a request that was taken in at `taken`.
    pub(super) const fn new(taken: Time) -> Self {
        Self { taken, latest: None, tokens: 0, running: false }
    }

    /// Its worker has let it in, or has sent it back to wait.
    pub(super) fn runs(&mut self, running: bool, meters: &Meters) {
        if std::mem::replace(&mut self.running, running) != running {
            meters.running(running);
        }
    }

    /// So many tokens came out since the latest; this one at `at`.
    pub(super) fn tokens(&mut self, count: u32, at: Time, clock: &Clock, meters: &Meters) {
        let mut later = count;
        let before = self.latest.replace(at).unwrap_or_else(|| {
            meters.vllm.first_token(clock.lasts(at.since(self.taken)));
            later = count.saturating_sub(1);
            at
        });
        for _ in 0..later {
            meters.vllm.next_token(clock.lasts(at.since(before)) / later);
        }
        self.tokens += u64::from(count);
    }

    /// It ended.
    pub(super) fn end(&mut self, why: Option<Finish>, prompt: Tokens, at: Time, clock: &Clock, meters: &Meters) {
        self.runs(false, meters);
        let Some(why) = why else { return };
        meters.vllm.finished(why, clock.lasts(at.since(self.taken)));
        if why != Finish::Abort {
            meters.vllm.lengths(prompt.0.into(), self.tokens);
        }
    }
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
