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
pub mod unrelated; // prompts that share nothing
pub mod code_review; // reviews of pull requests to a few repositories
pub mod multi_round_qa; // users with a history each, as production-stack's benchmark has them
pub mod lengths; // how long what is drawn may be
mod arrivals; // when generated requests are sent
pub mod shape; // ... at a rate that changes
mod turns; // requests that wait for the reply to the one before
mod repeat; // a list played several times
pub mod description; // what a workload is
pub mod trace; // files of requests, recognised by content
pub mod mooncake; // ... in Mooncake's format
mod plain; // ... as most of them write it
mod table; // ... as CSV
mod list; // ... as JSON
mod moment; // dates in them

pub use arrivals::Arrivals;
pub use repeat::MOST_ROUNDS;
pub use trace::TraceError;
pub use turns::Turn;

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
    /// When it is sent, under [`Pacing::Open`]; under [`Pacing::Turns`], if it waits for nobody.
    pub at: Time,
    /// Its user's session.
    pub session: Option<SessionId>,
    /// Its prompt.
    pub prompt: Tokens,
    /// The tokens of its reply.
    pub output: Tokens,
    /// The id of its reply as a segment, as far as no segments are named for that.
    pub reply: u64,
    segments: Range<u32>,
    /// Segments behind those of the prompt that name the beginning of its reply.
    replied: u32,
    /// Which playing of the list it belongs to.
    round: u32,
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
    /// The replies, each for the request that waits for it ([`Turn`]).
    Turns,
}

#[expect(clippy::disallowed_types, reason = "what several runs read and none changes is no shared state")]
type SharedSegments = alloc::sync::Arc<Vec<Segment>>;

/// A list of requests in order of sending.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    requests: Vec<Request>,
    /// One list for all copies, of which each run has one.
    segments: SharedSegments,
    turns: Vec<Turn>,
    pacing: Pacing,
}

/// Ids of private replies start here, above all others.
const PRIVATE: u64 = 1 << 63;

impl Workload {
    /// A workload without requests.
    #[must_use]
    pub fn new(pacing: Pacing) -> Self {
        Self { requests: Vec::new(), segments: SharedSegments::default(), turns: Vec::new(), pacing }
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
        self.push_with_segments(at, session, prompt, &[], reply);
    }

    /// Adds a request whose reply begins with the segments `replied`, which are part of `reply`'s tokens; its id names what
    /// is behind them.
    ///
    /// # Panics
    /// As [`Workload::push_with_reply`].
    pub fn push_with_segments(
        &mut self,
        at: Time,
        session: Option<SessionId>,
        prompt: &[Segment],
        replied: &[Segment],
        reply: Segment,
    ) {
        assert!(self.requests.last().is_none_or(|last| last.at <= at), "requests are in order of sending");
        let segments = SharedSegments::make_mut(&mut self.segments);
        let from = segments.len() as u32;
        append(segments, prompt);
        let to = u32::try_from(segments.len()).expect("segments are counted in 32 bits");
        append(segments, replied);
        let all = u32::try_from(segments.len()).expect("segments are counted in 32 bits");
        self.requests.push(Request {
            at,
            session,
            prompt: prompt.iter().map(|segment| segment.tokens).sum(),
            output: reply.tokens,
            reply: reply.id,
            segments: from..to,
            replied: all - to,
            round: 0,
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
    ///
    /// # Panics
    /// For [`Pacing::Turns`], of which [`Workload::in_turns`] says more.
    #[must_use]
    pub fn paced(mut self, pacing: Pacing) -> Self {
        assert!(pacing != Pacing::Turns, "whose turn it is must be said");
        self.turns = Vec::new();
        self.pacing = pacing;
        self
    }

    /// Only the first `count` requests.
    #[must_use]
    pub fn first(mut self, count: usize) -> Self {
        self.requests.truncate(count);
        self.turns.truncate(count);
        self
    }

    /// The same requests, sent `factor` times as fast.
    #[must_use]
    pub fn sped_up(mut self, factor: f64) -> Self {
        let faster = |span: Span| Span::from_secs_f64(span.as_secs_f64() / factor);
        for request in &mut self.requests {
            request.at = Time(faster(Span(request.at.0)).0);
        }
        for turn in &mut self.turns {
            (turn.think, turn.gap) = (faster(turn.think), faster(turn.gap));
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
        let (from, to) = (request.segments.start as usize, (request.segments.end + request.replied) as usize);
        // What is behind a past that nobody else has is nobody else's.
        let mut own = request.round_key();
        let mut segments = &self.segments[from..to];
        if let Some((first, rest)) = segments.split_first().filter(|_| own != 0) {
            into.push(first.id ^ own, first.tokens);
            (segments, own) = (rest, 0);
        }
        into.extend(segments.iter().map(|segment| (segment.id, segment.tokens)));
        let named = into.pieces().last().map_or(Tokens::ZERO, |piece| piece.end);
        into.push(request.reply ^ own, Tokens((request.prompt.0 + request.output.0).saturating_sub(named.0)));
    }
}

/// Adds those that have a length: mostly all.
fn append(segments: &mut Vec<Segment>, more: &[Segment]) {
    if more.iter().all(|segment| segment.tokens > Tokens::ZERO) {
        segments.extend_from_slice(more);
    } else {
        segments.extend(more.iter().filter(|segment| segment.tokens > Tokens::ZERO));
    }
}
