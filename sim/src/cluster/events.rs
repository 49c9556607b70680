//! What goes into a cluster, and what happens in it.

use super::members::Change;
use super::overlap::Overlap;
use crate::executor::Stretch;
use crate::replica::{Output, Pass, Refused, Stall, Work};
use crate::transport::Move;
use alloc::boxed::Box;
use alloc::vec::Vec;
use kvcache::{CacheEvent, OpId, Piece, RequestId, SessionId, Shelved, Span, Time, Tokens, WorkerId};
use router::{Api, Decision};

/// A request as it reaches the router.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'a> {
    /// Its number.
    pub request: RequestId,
    /// Its user's session, if it says one.
    pub session: Option<SessionId>,
    /// What prompt and reply are; a piece ends where the prompt does.
    pub pieces: &'a [Piece],
    /// Tokens of the prompt.
    pub prompt: Tokens,
    /// Tokens of the reply. The router does not see them.
    pub output: Tokens,
    /// Which API it came through.
    pub api: Api,
}

/// What happened, in order. What is big and rare is boxed: millions of these go from hand to hand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The router chose.
    Routed {
        /// For which request.
        request: RequestId,
        /// What, and why.
        decision: Decision,
        /// What workers really had of its prompt. `None`: nobody looked.
        overlap: Option<Overlap>,
        /// When.
        at: Time,
    },
    /// No worker could be chosen, or the worker refused.
    Refused {
        /// Which request.
        request: RequestId,
        /// Why.
        refusal: Refusal,
        /// When.
        at: Time,
    },
    /// Something came out of a worker's engine.
    Output {
        /// Of which worker.
        worker: WorkerId,
        /// What.
        output: Output,
    },
    /// A worker ran a stretch of passes.
    Ran {
        /// Which worker.
        worker: WorkerId,
        /// Times of the stretch.
        stretch: Stretch,
        /// Who took part, where that is recorded.
        work: Option<Box<Work>>,
    },
    /// A worker's cache changed, where that is told ([`Cluster::with_told_caches`](super::Cluster::with_told_caches)) or somebody else executes
    /// passes.
    Cache {
        /// Whose.
        worker: WorkerId,
        /// How, in order.
        told: Vec<CacheEvent>,
    },
    /// KV is to be moved between tiers by somebody else, who says what came ([`Cluster::moved`](super::Cluster::moved)). A store
    /// is told before anything can become of its request's blocks, a load after all that led to it.
    Move(Move),
    /// The move is over, whatever came of it.
    Moved {
        /// Whose it was.
        worker: WorkerId,
        /// Which.
        op: OpId,
    },
    /// Objects came to a lower tier, or went: told where somebody else keeps their bytes.
    Shelved {
        /// Whose L1; `None`: L2.
        worker: Option<WorkerId>,
        /// Which, in order.
        told: Vec<Shelved>,
    },
    /// A request that waits gave up its blocks: told where somebody else keeps them.
    LetGo {
        /// Of which worker.
        worker: WorkerId,
        /// Which.
        request: RequestId,
    },
    /// A pass is to be executed by somebody else, who says how long it lasted
    /// ([`Cluster::lasted`](super::Cluster::lasted)). All that led to it was told before.
    Started {
        /// By which worker.
        worker: WorkerId,
        /// What it is.
        pass: Box<Pass>,
        /// Who takes part.
        work: Box<Work>,
        /// When it began.
        at: Time,
    },
    /// A worker's engine stood still though it had work.
    Stalled {
        /// Which worker.
        worker: WorkerId,
        /// Why.
        cause: Stall,
        /// How long.
        span: Span,
    },
    /// A worker's process died and was back at once, cold.
    Restarted {
        /// Which worker.
        worker: WorkerId,
        /// How long its engine had computed the pass that was under way, and never ended. It kept the engine busy, and is
        /// part of no [`Event::Ran`].
        lost: Span,
        /// When.
        at: Time,
    },
    /// Something became of a worker.
    Worker {
        /// Of which.
        worker: WorkerId,
        /// What.
        change: Change,
        /// When.
        at: Time,
    },
    /// A request was at a worker, or on its way there, whose process is dead: nothing more comes of it, and it has not ended
    /// before whoever sent it says so, or sends it again.
    Lost {
        /// Which request.
        request: RequestId,
        /// Where it was.
        worker: WorkerId,
        /// When that was noticed.
        at: Time,
    },
}

/// Why a request was not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The router had nobody to choose.
    NoWorker,
    /// The worker will never serve it.
    Worker(Refused),
    /// As many as may be at the worker, and as many as may wait there, are there already.
    Overflow {
        /// The HTTP status that its client gets.
        status: u16,
    },
}

impl Refusal {
    /// Whether the same request might be served a moment later. Clients wait and try again then; what the worker will never
    /// serve they are told at once, and for good.
    #[must_use]
    pub const fn may_pass(&self) -> bool {
        match self {
            Self::NoWorker | Self::Overflow { .. } => true,
            Self::Worker(_) => false,
        }
    }

    /// Its class, as records name it.
    #[must_use]
    pub const fn class(&self) -> &'static str {
        match self {
            Self::NoWorker => "no_worker",
            Self::Overflow { .. } => "overflow",
            Self::Worker(Refused::TooLong { .. }) => "too_long",
            Self::Worker(Refused::Empty) => "empty",
        }
    }
}

impl core::fmt::Display for Refusal {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::NoWorker => f.write_str("no worker to choose"),
            Self::Overflow { status } => write!(f, "HTTP {status}: the worker has as many requests as it may have"),
            Self::Worker(refused) => refused.fmt(f),
        }
    }
}
