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
    /// Documents that the questions are about, in equal shares.
    pub documents: u32,
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
        let mut order: Vec<u64> = (0..u64::from(self.requests)).map(|question| question % documents).collect();
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
            workload.push(times.draw(), Some(SessionId(user)), &prompt, self.answer);
        }
        workload
    }
    /// The tokens of a prompt and its reply.
    #[must_use]
    pub fn most_tokens(&self) -> u64 {
        let parts = [self.instruction, self.document, self.question, self.answer];
        parts.iter().map(|tokens| u64::from(tokens.0)).sum()
    }
}
