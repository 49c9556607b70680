//! Document Q&A: one long document, many questions; the workload that prefix caching was made for.

use super::{Arrivals, Segment, Workload};
use crate::streams::Streams;
use alloc::vec::Vec;
use kvcache::{SessionId, Tokens};

/// Its parameters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DocumentQa {
    /// Questions in all.
    pub requests: u32,
    /// Documents that the questions are about.
    pub documents: u32,
    /// How unequal their shares are: the k-th has one in proportion to `k^-skew` (Zipf). 0: equal shares.
    pub skew: f64,
    /// Length of each document.
    pub document: Tokens,
    /// Length of each question; no two are alike.
    pub question: Tokens,
    /// Length of each answer.
    pub answer: Tokens,
    /// An instruction that all prompts begin with.
    pub instruction: Tokens,
    /// Users who ask, each a session; who asks which question is random.
    pub users: u32,
}

impl DocumentQa {
    /// The workload of one seed. The order of the questions is random, and so is who asks them.
    #[must_use]
    pub fn generate(&self, arrivals: Arrivals, streams: Streams) -> Workload {
        let documents = u64::from(self.documents.max(1));
        let mut order = self.shares(documents);
        streams.named("sharing").shuffle(&mut order);
        let mut users = streams.named("users");
        let mut times = arrivals.times(streams);
        let mut workload = Workload::new(arrivals.pacing());
        for (question, document) in order.into_iter().enumerate() {
            let prompt = [
                Segment { id: 0, tokens: self.instruction },
                Segment { id: 1 + document, tokens: self.document },
                Segment { id: 1 + documents + question as u64, tokens: self.question },
            ];
            let user = users.below(u64::from(self.users.max(1)));
            let session = arrivals.user(question as u64).unwrap_or(SessionId(user));
            workload.push(times.draw(), Some(session), &prompt, self.answer);
        }
        arrivals.in_turns(workload, streams)
    }

    /// Which document each question is about, each document as often as its share says, to within one question.
    /// O(requests + documents).
    fn shares(&self, documents: u64) -> Vec<u64> {
        let requests = u64::from(self.requests);
        if self.skew == 0.0 {
            return (0..requests).map(|question| question % documents).collect();
        }
        // More documents than questions cannot all be asked about; the share of the last ones is counted all the same.
        let share = |document: u64| libm::pow((document + 1) as f64, -self.skew);
        let whole: f64 = (0..documents).map(share).sum();
        let (mut document, mut up_to) = (0, share(0));
        let of = |question: u64| {
            let at = (question as f64 + 0.5) / requests as f64 * whole;
            while up_to < at && document + 1 < documents {
                document += 1;
                up_to += share(document);
            }
            document
        };
        (0..requests).map(of).collect()
    }

    /// The tokens of a prompt and its reply.
    #[must_use]
    pub fn most_tokens(&self) -> u64 {
        let parts = [self.instruction, self.document, self.question, self.answer];
        parts.iter().map(|tokens| u64::from(tokens.0)).sum()
    }
}
