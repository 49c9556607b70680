//! What goes into a router, and what comes out.

use crate::forecast::Forecast;
use crate::score::Score;
use alloc::boxed::Box;
use core::fmt;
use kvcache::{CacheEvent, Chain, Epoch, RequestId, SessionId, Span, Tokens, WorkerId};

/// Which endpoint of the API a request came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Api {
    /// `/v1/completions`: a prompt.
    Completions,
    /// `/v1/chat/completions`: messages. Upstream's `kvaware` tokenises the body's `prompt` only, so of a chat it sees
    /// nothing.
    Chat,
}

/// What the gateway sees of a request. The output length is absent on purpose: a router cannot know it.
#[derive(Clone, Copy, Debug)]
pub struct RouteRequest<'a> {
    /// Its number.
    pub request: RequestId,
    /// Its session, where it names one.
    pub session: Option<SessionId>,
    /// Its prompt, without the reply. The chain's unit does not matter: each strategy cuts in its own.
    pub chain: Chain<'a>,
    /// Where it came in.
    pub api: Api,
}

/// Where a request goes, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The worker.
    pub worker: WorkerId,
    /// Which rule chose it.
    pub reason: Reason,
    /// Tokens of the prompt that this worker has in any tier, as far as the router knows: sent to it before
    /// (`prefixaware`), or in its cache by its own account. `None`: nobody looked. `Some(0)`: looked, and nothing there.
    pub matched: Option<Tokens>,
    /// The most that any available worker has, as far as the router knows; what the chosen one has less is the regret.
    pub best: Option<Tokens>,
    /// How old the latest news of the chosen worker is. `None`: nothing was heard of it, or nothing is listened to.
    pub age: Option<Span>,
    /// What was weighed, a score for each worker in order; empty where nothing was.
    pub scores: Box<[Score]>,
}

impl Decision {
    /// Tokens that another available worker has more than the chosen one, as far as the router knows.
    #[must_use]
    pub fn regret(&self) -> Option<Tokens> {
        Some(self.best?.saturating_sub(self.matched?))
    }
}

/// The rule that chose a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// `roundrobin`: it was this worker's turn.
    Turn,
    /// `prefixaware`: drawn from the `tied` workers that were sent the longest prefix.
    DeepestPrefix {
        /// How many there were, at least 1.
        tied: u16,
    },
    /// `prefixaware`: no worker was sent the first chunk, so one was drawn from all.
    NoPrefix,
    /// `kvaware`: the worker that was the first of those that hold the prompt's first chunk to hold it.
    FirstHolder,
    /// The worker next on the hash ring of sessions.
    RingOfSession {
        /// Why `kvaware` did not go by its index; `None` under `session`.
        missed: Option<Missed>,
    },
    /// The request names no session, and this worker was sent the fewest requests lately.
    LowestQps {
        /// How many, within the window. `None`: it was never sent any, which comes before 0.
        recent: Option<u32>,
        /// Why another rule was not followed; `None` under `session`.
        missed: Option<Missed>,
    },
    /// Drawn from all.
    Drawn,
    /// The fewest requests in flight.
    LeastLoaded,
    /// The less loaded of two that were drawn.
    LessLoadedOfTwo {
        /// The other one; the same where there is only one.
        other: WorkerId,
    },
    /// `session+`: the first on the ring, from the session's place on, that has room.
    RingWithRoom {
        /// How many before it were full.
        passed: u16,
    },
    /// `prefixaware+`: the longest prefix among those that are not overloaded.
    LongestPrefix,
    /// `prefixaware+`: the prefix is asked for more often than those who hold it should serve, so one more will.
    HotPrefix {
        /// How many hold it.
        holders: u16,
        /// How many should.
        wanted: u16,
    },
    /// The lowest cost.
    LowestCost {
        /// How many workers had it, at least 1.
        tied: u16,
    },
}

impl Reason {
    /// A name for it, as headers and records tell it.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Turn => "turn",
            Self::DeepestPrefix { .. } => "deepest-prefix",
            Self::NoPrefix => "no-prefix",
            Self::FirstHolder => "first-holder",
            Self::RingOfSession { .. } => "ring-of-session",
            Self::LowestQps { .. } => "lowest-qps",
            Self::Drawn => "drawn",
            Self::LeastLoaded => "least-loaded",
            Self::LessLoadedOfTwo { .. } => "less-loaded-of-two",
            Self::RingWithRoom { .. } => "ring-with-room",
            Self::LongestPrefix => "longest-prefix",
            Self::HotPrefix { .. } => "hot-prefix",
            Self::LowestCost { .. } => "lowest-cost",
        }
    }

    /// Why the strategy did not do what it is named for, as records tell it. `None`: it did.
    #[must_use]
    pub const fn fallback(&self) -> Option<&'static str> {
        match self {
            Self::RingOfSession { missed: Some(missed) } | Self::LowestQps { missed: Some(missed), .. } => {
                Some(missed.as_str())
            }
            // Only `session` gives no cause: there was no session to go by.
            Self::LowestQps { missed: None, .. } => Some("no-session"),
            _ => None,
        }
    }
}

/// Why a strategy did not go by its index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missed {
    /// A chat, of which `kvaware` sees nothing.
    Chat,
    /// No available worker holds the first chunk.
    NoHolder,
    /// `kvaware`: the first holder's match leaves more than the threshold to compute.
    TooShort {
        /// How much was said to be matched.
        matched: Tokens,
    },
    /// `prefixaware`: the match is shorter than `--prefix-min-match-length`.
    BelowMinimum {
        /// How long it is.
        matched: Tokens,
    },
}

impl Missed {
    /// A name for it, as records tell it.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::NoHolder => "no-holder",
            Self::TooShort { .. } => "too-short",
            Self::BelowMinimum { .. } => "below-minimum",
        }
    }
}

/// There is nobody to send a request to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoWorker {
    /// The request.
    pub request: RequestId,
    /// How many workers there are, all of them excluded.
    pub workers: u16,
}

impl fmt::Display for NoWorker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.workers {
            1 => write!(f, "route {}: the only worker is excluded", self.request),
            workers => write!(f, "route {}: all {workers} workers are excluded", self.request),
        }
    }
}

impl core::error::Error for NoWorker {}

/// What the router gets to know of a worker.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Signal<'a> {
    /// Its cache changed, in this order. Wanted only where [`crate::Router::listens_to_cache`] says so. What is told together
    /// costs less.
    Cache(&'a [CacheEvent]),
    /// A request got its first token from it.
    FirstToken(RequestId),
    /// A request came to its end there, well or not.
    Finished(RequestId),
    /// What its work takes.
    Forecast(Forecast),
    /// Its process was replaced by another, which holds nothing yet: the life of its cache that began then.
    Restarted(Epoch),
}
