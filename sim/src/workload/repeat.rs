//! A list played several times, one after the other, its content new each time.
//!
//! Nobody would ask a month's questions word by word again; were the content the same, every round but the first would be
//! served from caches. So the ids of a round are its own: the first id of each prompt is another one, and what is behind a
//! past that nobody else has is nobody else's. Sessions are a round's own, too. Segments are not copied.

use super::{Request, Workload};
use kvcache::{SessionId, Span, Time};

/// Rounds whose ids are told apart for certain where ids are below 2^53, as readers of JSON keep them.
pub const MOST_ROUNDS: u32 = 1000;

/// Between rounds of a list of one request.
const ALONE: Span = Span::from_secs(1);

impl Request {
    /// What sets its round's ids apart: nothing in the first round.
    #[must_use]
    pub const fn round_key(&self) -> u64 {
        (self.round as u64) << 53
    }
}

impl Workload {
    /// The same list `rounds` times, and no more than `most` requests: each round begins a mean gap after the last request of
    /// the one before. Memory: that of its requests, but not of their segments.
    ///
    /// # Panics
    /// Where turns are taken: they are said of the whole.
    #[must_use]
    pub fn repeated(mut self, rounds: u32, most: usize) -> Self {
        assert!(self.turns.is_empty(), "turns are said of the whole");
        let length = self.requests.len();
        let (Some(first), Some(last)) = (self.requests.first(), self.requests.last()) else { return self };
        let span = last.at.since(first.at);
        let gap = if length > 1 { Span(span.0 / (length as u64 - 1)) } else { ALONE };
        let period = span.0.saturating_add(gap.0);
        let all = length.saturating_mul(rounds.max(1) as usize).min(most);
        self.requests.truncate(all);
        self.requests.reserve_exact(all - self.requests.len());
        for place in length..all {
            let round = (place / length) as u32;
            let mut request = self.requests[place % length].clone();
            request.round = round;
            request.at = Time(request.at.0.saturating_add(period.saturating_mul(u64::from(round))));
            request.session = request.session.map(|session| SessionId(session.0 ^ request.round_key()));
            self.requests.push(request);
        }
        self
    }
}
