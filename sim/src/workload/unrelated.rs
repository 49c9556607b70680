//! Unrelated prompts: nothing is found again, whatever the cache and whoever routes. What is left is the queue.

use super::lengths::{Geometric, LogNormal};
use super::{Arrivals, Segment, Workload};
use crate::streams::Streams;
use kvcache::{SessionId, Tokens};

/// No prompt is longer: half of what most models take, so that the tail queues instead of being refused.
pub const LONGEST: Tokens = super::mixed::LONGEST;

/// Its parameters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Unrelated {
    /// Prompts in all.
    pub requests: u32,
    /// Median length of a prompt, of log-normal distribution; no two are alike.
    pub prompt: Tokens,
    /// Standard deviation of the length's natural logarithm; 0: all are as long as the median.
    pub spread: f64,
    /// Mean length of an answer, of geometric distribution.
    pub answer: Tokens,
    /// Users who send them, each a session; who sends which is random.
    pub users: u32,
}

impl Unrelated {
    /// The workload of one seed; of fewer requests, the beginning of it.
    #[must_use]
    pub fn generate(&self, arrivals: Arrivals, streams: Streams) -> Workload {
        let prompt = LogNormal { median: self.prompt, spread: self.spread, longest: LONGEST };
        let answer = Geometric { mean: self.answer };
        let (mut prompts, mut answers) = (streams.named("prompt lengths"), streams.named("answer lengths"));
        let mut users = streams.named("users");
        let mut times = arrivals.times(streams);
        let mut workload = Workload::new(arrivals.pacing());
        for id in 0..u64::from(self.requests) {
            let content = [Segment { id, tokens: prompt.draw(&mut prompts) }];
            let user = users.below(u64::from(self.users.max(1)));
            let session = arrivals.user(id).unwrap_or(SessionId(user));
            workload.push(times.draw(), Some(session), &content, answer.draw(&mut answers));
        }
        arrivals.in_turns(workload, streams)
    }

    /// The most tokens that a prompt and its reply can have.
    #[must_use]
    pub fn most_tokens(&self) -> u64 {
        u64::from(LONGEST.0) + Geometric { mean: self.answer }.longest()
    }
}
