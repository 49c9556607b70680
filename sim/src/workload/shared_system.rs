//! Shared system prompt: questions that have nothing in common but what the operator put before all of them.

use super::lengths::Geometric;
use super::{Arrivals, Segment, Workload};
use crate::streams::Streams;
use kvcache::{SessionId, Tokens};

/// Its parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SharedSystem {
    /// Questions in all.
    pub requests: u32,
    /// Length of the system prompt.
    pub system: Tokens,
    /// Mean length of a question, of geometric distribution; no two are alike.
    pub question: Tokens,
    /// Mean length of an answer, of geometric distribution.
    pub answer: Tokens,
    /// Users who ask, each a session; who asks which question is random.
    pub users: u32,
}

impl SharedSystem {
    /// The workload of one seed; of fewer requests, the beginning of it.
    #[must_use]
    pub fn generate(&self, arrivals: Arrivals, streams: Streams) -> Workload {
        let (question, answer) = (Geometric { mean: self.question }, Geometric { mean: self.answer });
        let (mut questions, mut answers) = (streams.named("question lengths"), streams.named("answer lengths"));
        let mut users = streams.named("users");
        let mut times = arrivals.times(streams);
        let mut workload = Workload::new(arrivals.pacing());
        for id in 1..=u64::from(self.requests) {
            let prompt =
                [Segment { id: 0, tokens: self.system }, Segment { id, tokens: question.draw(&mut questions) }];
            let user = users.below(u64::from(self.users.max(1)));
            let session = arrivals.user(id - 1).unwrap_or(SessionId(user));
            workload.push(times.draw(), Some(session), &prompt, answer.draw(&mut answers));
        }
        arrivals.in_turns(workload, streams)
    }

    /// The most tokens that a prompt and its reply can have.
    #[must_use]
    pub fn most_tokens(&self) -> u64 {
        let drawn = Geometric { mean: self.question }.longest() + Geometric { mean: self.answer }.longest();
        u64::from(self.system.0) + drawn
    }
}
