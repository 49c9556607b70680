//! What a daemon's store answers, and what it says of itself.

use alloc::vec::Vec;
use core::fmt;

/// A part of the segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fragment {
    /// Where it begins, in bytes.
    pub offset: u64,
    /// How many bytes it has; never zero.
    pub len: u64,
}

macro_rules! ticket {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub(super) u64);

        impl $name {
            /// The number to write on a wire.
            #[must_use]
            pub const fn bits(self) -> u64 {
                self.0
            }

            /// A number read from a wire; what it names may not be under way.
            #[must_use]
            pub const fn from_bits(bits: u64) -> Self {
                Self(bits)
            }
        }
    };
}

ticket!(
    /// A lease on an object of a daemon: given once, never again.
    GrantId
);
ticket!(
    /// A put of an object under way: given once, never again.
    WriteId
);
ticket!(
    /// A wait for a lease: given once, never again.
    WaitId
);

/// A put that began: its writer fills the fragments, in order, and ends it, in exactly one of two ways.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// To end it.
    pub id: WriteId,
    /// Where the object's bytes go, in order of the object; they are its writer's alone until it ends the put.
    pub fragments: Vec<Fragment>,
}

/// Why an object is not put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PutRefusal {
    /// It is there, or another put of it is under way: 409, which clients take for a success. The object does not change.
    Present,
    /// It has no bytes: a lease on it could not be told from a miss.
    Empty,
    /// It does not fit into the segment, however empty that is.
    TooLarge {
        /// Bytes that fit.
        most: u64,
    },
    /// All else is leased or being put: 507.
    NoRoom,
}

impl fmt::Display for PutRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Present => f.write_str("the object is there, or being put"),
            Self::Empty => f.write_str("an object has at least one byte"),
            Self::TooLarge { most } => write!(f, "an object has at most {most} bytes, the size of the segment"),
            Self::NoRoom => f.write_str("the segment is full, and all of it is leased or being written"),
        }
    }
}

impl core::error::Error for PutRefusal {}

/// A lease: what it covers stays where it is, unchanged, until it is released or its time is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// To release it, once.
    pub id: GrantId,
    /// The object's length in bytes: the sum of its fragments.
    pub len: u64,
    /// What the put of the object was finished with.
    pub seal: u32,
    /// Where its bytes are, in order.
    pub fragments: Vec<Fragment>,
}

/// What came of the wish for a lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// Here it is.
    Granted(Grant),
    /// The answer comes later, from [`super::NodeStore::poll_answer`].
    Waiting(WaitId),
    /// A miss.
    Absent,
    /// So many leases or waits are under way that no more are taken.
    TooMany,
}

/// What happened so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NodeCounts {
    /// Leases granted.
    pub hits: u64,
    /// Bytes that they covered.
    pub hit_bytes: u64,
    /// Wishes for a lease that ended without one; a wait that was cancelled is neither.
    pub misses: u64,
    /// Puts begun.
    pub puts: u64,
    /// Puts finished.
    pub stored: u64,
    /// Bytes of those.
    pub stored_bytes: u64,
    /// Puts refused since the object was there, or being put (409).
    pub present: u64,
    /// Puts refused for want of room (507).
    pub no_room: u64,
    /// Objects evicted.
    pub evicted: u64,
    /// Bytes of those.
    pub evicted_bytes: u64,
    /// Leases that nobody released in time.
    pub expired: u64,
    /// Puts that nobody finished in time.
    pub discarded: u64,
    /// Puts that their writer gave up, in time.
    pub aborted: u64,
}

/// What there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NodeUsage {
    /// Bytes of the segment that can be used.
    pub capacity: u64,
    /// Objects that are there.
    pub objects: u64,
    /// Their bytes.
    pub object_bytes: u64,
    /// Bytes of the blocks that are used: by objects that are there, and by puts that their writers have not ended.
    pub used: u64,
    /// ... of those, by objects that are leased.
    pub pinned: u64,
    /// ... and by puts.
    pub writing: u64,
    /// Leases under way.
    pub leases: u64,
    /// Puts that their writers have not ended.
    pub writes: u64,
    /// Waits for a lease.
    pub waits: u64,
}
