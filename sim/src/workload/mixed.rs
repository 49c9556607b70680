//! Mixed sizes: many short prompts, some of medium length, and questions about long documents, on the same workers.
//!
//! Lengths are heavy-tailed on purpose: a short request behind a long prefill waits for it, and how long the mean wait
//! is depends on the second moment of the service time (Pollaczek and Khinchine).

use super::lengths::{Geometric, LogNormal};
use super::{Arrivals, Segment, Workload};
use crate::streams::{Stream, Streams};
use alloc::vec::Vec;
use kvcache::{SessionId, Tokens};

/// Documents that are asked about at a time.
pub const OPEN_DOCUMENTS: u32 = 8;

/// Mean length of a question about a document, of geometric distribution.
pub const QUESTION: Tokens = Tokens(64);

/// No short or medium prompt is longer: half of what most models take, so that the tail queues instead of being refused.
pub const LONGEST: Tokens = Tokens(65_536);

/// Its parameters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mixed {
    /// Requests in all.
    pub requests: u32,
    /// Thousandths of the requests that ask about a long document.
    pub long_share: u16,
    /// Thousandths of the requests that have a medium prompt; all others have a short one.
    pub medium_share: u16,
    /// Median length of short prompts, of log-normal distribution; no two are alike.
    pub short: Tokens,
    /// Median length of medium prompts, of log-normal distribution; no two are alike.
    pub medium: Tokens,
    /// Standard deviation of the natural logarithm of both.
    pub spread: f64,
    /// Length of each long document.
    pub document: Tokens,
    /// How often each is asked about, always by the same user.
    pub questions: u32,
    /// Mean length of an answer, of geometric distribution.
    pub answer: Tokens,
    /// Users, each a session; whose a short or medium prompt, or a document, is, is random.
    pub users: u32,
}

impl Mixed {
    /// The workload of one seed; of fewer requests, the beginning of it.
    ///
    /// [`OPEN_DOCUMENTS`] documents are asked about at a time, each question about a random one of them; a document with
    /// all its answers makes room for a new one.
    ///
    /// # Panics
    /// Where the shares exceed the whole.
    #[must_use]
    pub fn generate(&self, arrivals: Arrivals, streams: Streams) -> Workload {
        assert!(self.long_share + self.medium_share <= 1000, "shares are parts of one whole");
        let prompt = |median| LogNormal { median, spread: self.spread, longest: LONGEST };
        let (short, medium) = (prompt(self.short), prompt(self.medium));
        let (question, answer) = (Geometric { mean: QUESTION }, Geometric { mean: self.answer });
        let (mut shorts, mut mediums) = (streams.named("short lengths"), streams.named("medium lengths"));
        let (mut questions, mut answers) = (streams.named("question lengths"), streams.named("answer lengths"));
        let (mut kinds, mut users) = (streams.named("kinds"), streams.named("users"));
        let mut shelf = Shelf::new(*self, streams);
        let mut times = arrivals.times(streams);
        let mut workload = Workload::new(arrivals.pacing());
        for id in 0..u64::from(self.requests) {
            let kind = kinds.below(1000) as u16;
            let (document, user, length) = if kind < self.long_share {
                let (document, user) = shelf.ask();
                (document, user, question.draw(&mut questions))
            } else {
                let user = users.below(u64::from(self.users.max(1)));
                let is_medium = kind < self.long_share + self.medium_share;
                (NONE, user, if is_medium { medium.draw(&mut mediums) } else { short.draw(&mut shorts) })
            };
            let prompt = [document, Segment { id: 2 * id, tokens: length }];
            let session = arrivals.user(id).unwrap_or(SessionId(user));
            workload.push(times.draw(), Some(session), &prompt, answer.draw(&mut answers));
        }
        arrivals.in_turns(workload, streams)
    }

    /// The most tokens that a prompt and its reply can have.
    #[must_use]
    pub fn most_tokens(&self) -> u64 {
        let long = u64::from(self.document.0) + Geometric { mean: QUESTION }.longest();
        long.max(u64::from(LONGEST.0)) + Geometric { mean: self.answer }.longest()
    }
}

/// The long documents that are being asked about.
struct Shelf {
    of: Mixed,
    open: Vec<Document>,
    documents: u64, // ever opened
    choices: Stream,
    users: Stream,
}

struct Document {
    content: Segment,
    user: u64,
    left: u32, // questions
}

/// A prompt that is about no document.
const NONE: Segment = Segment { id: 0, tokens: Tokens::ZERO };

impl Shelf {
    fn new(of: Mixed, streams: Streams) -> Self {
        let (choices, users) = (streams.named("sharing"), streams.named("document users"));
        let mut shelf = Self { of, open: Vec::new(), documents: 0, choices, users };
        for _ in 0..OPEN_DOCUMENTS {
            let document = shelf.take();
            shelf.open.push(document);
        }
        shelf
    }

    /// A question about one of the open documents: the document, and whose it is.
    fn ask(&mut self) -> (Segment, u64) {
        let place = self.choices.below(u64::from(OPEN_DOCUMENTS)) as usize;
        let document = &mut self.open[place];
        document.left = document.left.saturating_sub(1);
        let asked = (document.content, document.user);
        if document.left == 0 {
            self.open[place] = self.take();
        }
        asked
    }

    /// A document that nobody has asked about.
    fn take(&mut self) -> Document {
        self.documents += 1;
        let content = Segment { id: 2 * self.documents - 1, tokens: self.of.document };
        Document { content, user: self.users.below(u64::from(self.of.users.max(1))), left: self.of.questions }
    }
}
