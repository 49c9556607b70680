//! Work for whoever owns the wires, and what came of it.

use super::LoadEnd;
use crate::units::{Blocks, RequestId, Tokens};

/// An operation's number, unique in the life of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OpId(pub u64);

/// Something to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Op {
    /// Its number.
    pub id: OpId,
    /// For whom. Its prompt names the objects.
    pub request: RequestId,
    /// What.
    pub task: Task,
}

/// What to do. Bounds count objects from the start of the prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// Ask the pool how far the objects from `from` on are there, at most up to `to`.
    Probe {
        /// The first.
        from: Blocks,
        /// The end.
        to: Blocks,
    },
    /// Bring objects `from..host` from L1 and `host..to` from L2 to the device, and the latter into L1 on the way.
    Load {
        /// The first.
        from: Blocks,
        /// The end of what L1 has.
        host: Blocks,
        /// The end.
        to: Blocks,
        /// Tokens to move from L1.
        host_tokens: Tokens,
        /// Tokens to move from L2.
        pool_tokens: Tokens,
    },
    /// Copy objects `from..to` off the device; then, where `pool`, put them into L2.
    Store {
        /// The first.
        from: Blocks,
        /// The end.
        to: Blocks,
        /// Objects before this are in L1 then, unless the copy fails; the others found no room there.
        host: Blocks,
        /// Tokens that are new to L1.
        host_tokens: Tokens,
        /// Whether L2 is to have them.
        pool: bool,
    },
}

/// How an operation ended well, perhaps short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    /// The pool has the objects up to this one.
    Probed(Blocks),
    /// A prefix has come.
    Loaded {
        /// Objects before this one are on the device.
        device: Blocks,
        /// Of those from L2, objects before this one are in host memory: no fewer.
        host: Blocks,
        /// What was heard of the pool.
        pool: Contact,
    },
    /// All that was to be stored is off the device; the rest of the way follows.
    Copied,
    /// The last step of a store.
    Stored,
}

/// How an operation failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failed {
    /// L2 could not be reached.
    Unreachable,
    /// L2 gave no sign of life in time.
    TimedOut,
    /// Anything else: nothing came.
    Broken,
}

/// What was heard of the pool while an operation lasted, which is what its breaker goes by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Contact {
    /// It was not asked.
    #[default]
    Unasked,
    /// It answered, if only in part, or that it has nothing.
    Answered,
    /// The connection was refused.
    Refused,
    /// Nothing at all, for as long as the operation lasted.
    Silent,
}

impl Contact {
    /// What the outcome of an operation on the pool alone says.
    pub(super) const fn of(outcome: &Result<Done, Failed>) -> Self {
        match outcome {
            Ok(Done::Loaded { pool, .. }) => *pool,
            Ok(_) => Self::Answered,
            // It may have broken on this side.
            Err(Failed::Broken) => Self::Unasked,
            Err(Failed::Unreachable) => Self::Refused,
            Err(Failed::TimedOut) => Self::Silent,
        }
    }
}

/// What an outcome means for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Woken {
    /// Its look-up is answered: give the answer to its [`super::Inquiry`].
    Answered {
        /// Whose.
        request: RequestId,
        /// By which operation.
        op: OpId,
        /// How far the pool reaches; `None`: nobody knows.
        upto: Option<Blocks>,
    },
    /// Its load ended.
    Loaded(LoadEnd),
    /// A copy off the device ended.
    Copied,
    /// Its load ended after it had let go of its blocks: they came free.
    Room(LoadEnd),
}
