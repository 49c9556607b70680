//! What is sent: requests made of segments, and when.
//!
//! A segment is `(id, length)`: equal ids at equal positions behind equal pasts are equal tokens. Prompt *and* reply are
//! segments, since the next turn of a chat contains the reply.

use alloc::vec::Vec;
use core::ops::Range;
use kvcache::{ChainBuilder, SessionId, Span, Time, Tokens};

pub mod document_qa; // one long document, many questions
pub mod chat; // conversations of several turns
pub mod shared_system; // unrelated questions behind one system prompt
pub mod mixed; // prompts of very different lengths
pub mod lengths; // how long what is drawn may be
mod arrivals; // when generated requests are sent
pub mod description; // what a workload is
pub mod mooncake; // replay of a trace in Mooncake's format

pub use arrivals::Arrivals;

/// A stretch of a prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Names its content.
    pub id: u64,
    /// Its length.
    pub tokens: Tokens,
}

/// One request of a workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// When it is sent, under [`Pacing::Open`].
    pub at: Time,
    /// Its user's session.
    pub session: Option<SessionId>,
    /// Its prompt.
    pub prompt: Tokens,
    /// The tokens of its reply.
    pub output: Tokens,
    /// The id of its reply as a segment.
    pub reply: u64,
    segments: Range<u32>,
}

/// Who decides when a request is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pacing {
    /// The clock: at its own time, however many are in flight.
    Open,
    /// The replies: so many are always in flight, and the next is sent when one ends.
    Closed {
        /// How many.
        concurrency: u32,
    },
}

/// A list of requests in order of sending.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    requests: Vec<Request>,
    segments: Vec<Segment>,
    pacing: Pacing,
}

/// Ids of private replies start here, above all others.
const PRIVATE: u64 = 1 << 63;

impl Workload {
    /// A workload without requests.
    #[must_use]
    pub const fn new(pacing: Pacing) -> Self {
        Self { requests: Vec::new(), segments: Vec::new(), pacing }
    }

    /// Adds a request with a reply that nobody will refer to.
    ///
    /// # Panics
    /// As [`Workload::push_with_reply`].
    pub fn push(&mut self, at: Time, session: Option<SessionId>, prompt: &[Segment], output: Tokens) {
        let reply = Segment { id: PRIVATE | self.requests.len() as u64, tokens: output };
        self.push_with_reply(at, session, prompt, reply);
    }

    /// Adds a request whose reply is the segment `reply`: a later prompt that goes on from here has `prompt`, then
    /// `reply`, then what is new. Its id is below 2^63.
    ///
    /// # Panics
    /// Where the prompt exceeds 2^32 tokens or `at` runs backwards: readers and generators check both. Where all prompts
    /// together have 2^32 segments, which take 64 GiB.
    pub fn push_with_reply(&mut self, at: Time, session: Option<SessionId>, prompt: &[Segment], reply: Segment) {
        assert!(self.requests.last().is_none_or(|last| last.at <= at), "requests are in order of sending");
        let from = self.segments.len() as u32;
        self.segments.extend(prompt.iter().filter(|segment| segment.tokens > Tokens::ZERO));
        self.requests.push(Request {
            at,
            session,
            prompt: prompt.iter().map(|segment| segment.tokens).sum(),
            output: reply.tokens,
            reply: reply.id,
            segments: from..u32::try_from(self.segments.len()).expect("segments are counted in 32 bits"),
        });
    }

    /// Its requests, in order of sending.
    #[must_use]
    pub fn requests(&self) -> &[Request] {
        &self.requests
    }

    /// Who decides when a request is sent.
    #[must_use]
    pub const fn pacing(&self) -> Pacing {
        self.pacing
    }

    /// The same requests, sent by `pacing`.
    #[must_use]
    pub fn paced(mut self, pacing: Pacing) -> Self {
        self.pacing = pacing;
        self
    }

    /// Only the first `count` requests.
    #[must_use]
    pub fn first(mut self, count: usize) -> Self {
        self.requests.truncate(count);
        self
    }

    /// The same requests, sent `factor` times as fast.
    #[must_use]
    pub fn sped_up(mut self, factor: f64) -> Self {
        for request in &mut self.requests {
            request.at = Time(Span::from_secs_f64(Span(request.at.0).as_secs_f64() / factor).0);
        }
        self
    }

    /// The longest prompt.
    #[must_use]
    pub fn longest_prompt(&self) -> Tokens {
        self.requests.iter().map(|request| request.prompt).max().unwrap_or_default()
    }

    /// The segments of a request's prompt.
    #[must_use]
    pub fn segments(&self, request: &Request) -> &[Segment] {
        &self.segments[request.segments.start as usize..request.segments.end as usize]
    }

    /// The pieces of a request's prompt and reply, the reply last.
    pub fn chain(&self, request: &Request, into: &mut ChainBuilder) {
        into.clear();
        for segment in self.segments(request) {
            into.push(segment.id, segment.tokens);
        }
        into.push(request.reply, request.output);
    }
}
