//! What goes into a router, and what comes out.

use core::fmt;
use kvcache::{CacheEvent, Chain, RequestId, SessionId, Tokens, WorkerId};

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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The worker.
    pub worker: WorkerId,
    /// Which rule chose it.
    pub reason: Reason,
    /// Tokens of the prompt that this worker has, as far as the router knows: sent to it before (`prefixaware`), or in
    /// its cache by its own account (`kvaware`). `None`: nobody looked. `Some(0)`: looked, and nothing there.
    pub matched: Option<Tokens>,
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
    /// `kvaware`: the lowest number among the `tied` workers that hold the longest prefix.
    Holder {
        /// How many there were, at least 1.
        tied: u16,
    },
    /// The worker next on the hash ring of sessions.
    RingOfSession {
        /// Why `kvaware` did not go by its index; `None` under `session`.
        missed: Option<Missed>,
    },
    /// The request names no session, and this worker was sent the fewest requests lately.
    LowestQps {
        /// How many, within the window. `None`: it was never sent any, which comes before 0.
        recent: Option<u32>,
        /// Why `kvaware` did not go by its index; `None` under `session`.
        missed: Option<Missed>,
    },
}

/// Why `kvaware` did not go by its index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missed {
    /// A chat, of which it sees nothing.
    Chat,
    /// No available worker holds the first block.
    NoHolder,
    /// The longest prefix held leaves more than the threshold to compute.
    TooShort {
        /// The longest prefix that an available worker holds.
        longest: Tokens,
    },
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

/// What a worker lets the router know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal<'a> {
    /// Its cache changed. Wanted only where [`crate::Router::listens_to_cache`] says so.
    Cache(&'a CacheEvent),
    /// A request got its first token from it.
    FirstToken(RequestId),
    /// A request came to its end there, well or not.
    Finished(RequestId),
}
