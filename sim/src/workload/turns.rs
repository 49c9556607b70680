//! Turns: requests that wait for the reply to the one before.
//!
//! A turn is sent at `max(reply + think, sent + gap)`: a *think time* after the reply of the turn before it is complete, and
//! not before a *gap* after that turn was sent. Users with think times have no gaps; a trace's users have the gaps that were
//! recorded and think no longer, so that on workers as fast as those of the recording the trace comes as it was recorded.
//!
//! Law: each request is waited for by at most one other, which is behind it in the list; so the list falls into chains.

use super::{Pacing, Workload};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use kvcache::{SessionId, Span, Time};

/// What a request waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Turn {
    /// The turn before it, by its place in the list; `None`: it is a first one, and is sent at its own time.
    pub after: Option<u32>,
    /// From the end of that one's reply, at least.
    pub think: Span,
    /// From that one's sending, at least.
    pub gap: Span,
}

impl Turn {
    /// When it is sent, where the turn before was sent at `sent` and its reply was complete at `ended`.
    #[must_use]
    pub fn due(&self, sent: Time, ended: Time) -> Time {
        let later = |at: Time, span: Span| Time(at.0.saturating_add(span.0));
        later(ended, self.think).max(later(sent, self.gap))
    }
}

impl Workload {
    /// The same requests, each waiting for what `turns` says, one for each request.
    ///
    /// # Panics
    /// Where there are not as many, or a turn waits for one that is not before it, or that another waits for already.
    #[must_use]
    pub fn in_turns(mut self, turns: Vec<Turn>) -> Self {
        assert_eq!(turns.len(), self.requests.len(), "each request has its turn");
        let mut waited_for = alloc::vec![false; turns.len()];
        for (place, turn) in turns.iter().enumerate() {
            if let Some(before) = turn.after {
                assert!((before as usize) < place, "a turn comes after the one that it waits for");
                let taken = core::mem::replace(&mut waited_for[before as usize], true);
                assert!(!taken, "one reply begins one turn");
            }
        }
        self.turns = turns;
        self.pacing = Pacing::Turns;
        self
    }

    /// The same requests, each session's one after the other: the first at its own time, each later one when the reply to
    /// the one before is complete, and not sooner after it than by the list's times. Requests that name no session wait for
    /// nobody. O(requests x log sessions).
    #[must_use]
    pub fn waiting(self) -> Self {
        let mut last: BTreeMap<SessionId, u32> = BTreeMap::new();
        let turns = self.requests.iter().enumerate().map(|(place, request)| {
            let after = request.session.and_then(|session| last.insert(session, place as u32));
            let gap = after.map_or(Span::ZERO, |before| request.at.since(self.requests[before as usize].at));
            Turn { after, think: Span::ZERO, gap }
        });
        let turns = turns.collect();
        self.in_turns(turns)
    }

    /// Whether its times say when each request is due, as they do where no reply is late: not where replies alone decide.
    #[must_use]
    pub fn is_planned(&self) -> bool {
        match self.pacing {
            Pacing::Open => true,
            Pacing::Closed { .. } => false,
            Pacing::Turns => {
                let mut later = self.turns.iter().filter(|turn| turn.after.is_some()).peekable();
                later.peek().is_none() || later.any(|turn| turn.gap > Span::ZERO)
            }
        }
    }

    /// What each request waits for; empty unless replies decide turn by turn.
    #[must_use]
    pub fn turns(&self) -> &[Turn] {
        &self.turns
    }
}
