//! Code review: an assistant that reads pull requests to a few repositories.
//!
//! A prompt is what such an assistant sends, from what most share to what nobody does: its instructions, which all prompts
//! begin with; the repository's guide (style, conventions), which never changes; the repository's map at the commit that the
//! pull request began from; the files that the pull request touches, which all its reviews read; and a diff, which is one
//! review's own. Then follow-up turns: all that was said, the reply included, and a question.
//!
//! A repository's map is drawn anew after so many of its pull requests are merged, and those begun before keep the old one:
//! so a cache holds several versions of one repository that agree up to the guide.

use super::lengths::Geometric;
use super::{Arrivals, Segment, Workload};
use crate::streams::{Stream, Streams};
use alloc::vec::Vec;
use kvcache::{SessionId, Tokens};

/// Pull requests that are reviewed at a time, where it is not users who decide.
pub const OPEN_PULLS: u32 = 16;

/// Mean length of a follow-up question, of geometric distribution.
pub const QUESTION: Tokens = Tokens(64);

/// Its parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodeReview {
    /// Requests in all, follow-up turns included.
    pub requests: u32,
    /// Repositories, all as busy.
    pub repositories: u32,
    /// Length of the instructions.
    pub system: Tokens,
    /// Length of a repository's guide.
    pub guide: Tokens,
    /// Length of a repository's map.
    pub map: Tokens,
    /// Pull requests of a repository that are merged before its map is drawn anew.
    pub merges: u32,
    /// Mean length of the files that a pull request touches, of geometric distribution.
    pub files: Tokens,
    /// Reviews of a pull request: one for each commit that is pushed.
    pub reviews: u32,
    /// Mean length of a diff, of geometric distribution.
    pub diff: Tokens,
    /// Turns of a review: the first, and then follow-ups.
    pub turns: u32,
    /// Mean length of a reply, of geometric distribution.
    pub answer: Tokens,
}

impl CodeReview {
    /// The workload of one seed; of fewer requests, the beginning of it.
    ///
    /// Each pull request is a session. Where users decide, each has one at a time, goes through all its reviews and their
    /// turns, and begins another, and is one session. Else [`OPEN_PULLS`] are open at a time, and each request is the next
    /// of a random one of them.
    #[must_use]
    pub fn generate(&self, arrivals: Arrivals, streams: Streams) -> Workload {
        let (diff, question) = (Geometric { mean: self.diff }, Geometric { mean: QUESTION });
        let answer = Geometric { mean: self.answer };
        let (mut diffs, mut questions) = (streams.named("diff lengths"), streams.named("question lengths"));
        let (mut answers, mut choices) = (streams.named("answer lengths"), streams.named("sharing"));
        let mut hub = Hub::new(*self, streams);
        let mut times = arrivals.times(streams);
        let mut workload = Workload::new(arrivals.pacing());
        let mut open: Vec<Pull> = Vec::new();
        for place in 0..u64::from(self.requests) {
            let user = arrivals.user(place);
            let chosen = match user {
                Some(user) => user.0 as usize,
                None => choices.below(u64::from(OPEN_PULLS)) as usize,
            };
            while open.len() <= chosen {
                open.push(hub.open());
            }
            let pull = &mut open[chosen];
            // Ids of what is drawn once are odd or even; those of pull requests and repositories are above all of them.
            let said = if pull.turn == 0 { diff.draw(&mut diffs) } else { question.draw(&mut questions) };
            pull.said.push(Segment { id: 2 * place, tokens: said });
            let reply = Segment { id: 2 * place + 1, tokens: answer.draw(&mut answers) };
            let session = user.unwrap_or(SessionId(pull.number));
            workload.push_with_reply(times.draw(), Some(session), &pull.said, reply);
            pull.said.push(reply);
            if pull.next_turn(self) {
                let merged = core::mem::take(pull);
                hub.merge(&merged);
                open[chosen] = hub.open();
            }
        }
        arrivals.in_turns(workload, streams)
    }

    /// The most tokens that a prompt and its reply can have.
    #[must_use]
    pub fn most_tokens(&self) -> u64 {
        let longest = |mean: Tokens| Geometric { mean }.longest();
        let shared: u64 = [self.system, self.guide, self.map].iter().map(|part| u64::from(part.0)).sum();
        let turn = longest(QUESTION).max(1) + longest(self.answer);
        shared + longest(self.files) + longest(self.diff) + u64::from(self.turns) * turn
    }
}

/// A pull request under review.
#[derive(Clone, Debug, Default)]
struct Pull {
    number: u64,
    repository: usize,
    said: Vec<Segment>,
    shared: usize, // segments of it that all its reviews begin with
    review: u32,
    turn: u32,
}

impl Pull {
    /// After a turn; whether the pull request is done with.
    fn next_turn(&mut self, of: &CodeReview) -> bool {
        self.turn += 1;
        if self.turn >= of.turns.max(1) {
            self.turn = 0;
            self.review += 1;
            self.said.truncate(self.shared);
        }
        self.review >= of.reviews.max(1)
    }
}

/// Ids of what several prompts share, in kinds; a repository has 2^26 maps, more than requests there can be.
const INSTRUCTIONS: u64 = 1 << 59;
const GUIDES: u64 = 2 << 59;
const MAPS: u64 = 3 << 59;
const FILES: u64 = 4 << 59;
const VERSIONS: u64 = 1 << 26;

/// Where pull requests come from.
struct Hub {
    of: CodeReview,
    merged: Vec<u32>, // of each repository
    pulls: u64,       // ever opened
    repositories: Stream,
    files: Stream,
}

impl Hub {
    fn new(of: CodeReview, streams: Streams) -> Self {
        let merged = alloc::vec![0; of.repositories.max(1) as usize];
        Self { of, merged, pulls: 0, repositories: streams.named("repositories"), files: streams.named("file lengths") }
    }

    fn open(&mut self) -> Pull {
        let repository = self.repositories.below(self.merged.len() as u64) as usize;
        let version = u64::from(self.merged[repository] / self.of.merges.max(1));
        let segment = |id, tokens| Segment { id, tokens };
        let said = alloc::vec![
            segment(INSTRUCTIONS, self.of.system),
            segment(GUIDES + repository as u64, self.of.guide),
            segment(MAPS + repository as u64 * VERSIONS + version, self.of.map),
            segment(FILES + self.pulls, Geometric { mean: self.of.files }.draw(&mut self.files)),
        ];
        self.pulls += 1;
        Pull { number: self.pulls - 1, repository, shared: said.len(), said, review: 0, turn: 0 }
    }

    fn merge(&mut self, pull: &Pull) {
        self.merged[pull.repository] += 1;
    }
}
