//! What a pool answers, and what it says of itself.

use crate::units::{Blocks, Tokens};
use core::fmt;

/// A lease: given once, never again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseId(pub(super) u64);

/// A put under way: given once, never again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PutId(pub(super) u64);

impl LeaseId {
    /// The number to write on a wire.
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// A number read from a wire; what it names may be [`Unknown`].
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }
}

/// A lease or put that is not under way: never given, ended already, or too late. Nothing changed; the caller may go
/// on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unknown;

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no such lease or put is under way")
    }
}

impl core::error::Error for Unknown {}

/// What came of the wish for a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leased {
    /// Objects up to `end` are pinned; short of what was asked, a shorter prefix.
    Got {
        /// The lease.
        id: LeaseId,
        /// The end of what it covers.
        end: Blocks,
    },
    /// The first object is being put. A daemon may hold the request for as long as its `timeout_ms` says: the shell
    /// asks again whenever a put has ended or been discarded, and when the time is up with [`super::Pool::lease`],
    /// which counts the miss that it answers.
    Pending,
    /// The first object is not there and nobody is putting it: a miss.
    Absent,
}

/// A put that began, as far as there was anything to put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Begun {
    /// To end it. `None` where nothing is new: everything is there (409, a success) or found no room.
    pub put: Option<PutId>,
    /// All objects before it are there, being put by others, or this put's; the one at it found no room.
    pub end: Blocks,
    /// Tokens of the objects to be written.
    pub new: Tokens,
}

/// What happened so far. Tokens, but for the numbers of leases and puts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolCounts {
    /// Tokens leased.
    pub hits: u64,
    /// Tokens asked for and not leased.
    pub misses: u64,
    /// Tokens that puts began to write.
    pub puts: u64,
    /// Tokens that a put found there, or being put (409).
    pub present: u64,
    /// Tokens that found no room, and were not put.
    pub skipped: u64,
    /// Tokens evicted for want of room.
    pub evicted: u64,
    /// Tokens whose time to live was over.
    pub aged: u64,
    /// Leases that nobody released in time.
    pub expired_leases: u64,
    /// Puts that nobody ended in time.
    pub discarded: u64,
}

/// How full a shard is, in tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolUsage {
    /// What it can hold.
    pub capacity: u64,
    /// In objects that are there or being put.
    pub used: u64,
    /// In objects that are there and leased, or part of a put under way.
    pub pinned: u64,
    /// Whether new objects go to it.
    pub up: bool,
}
