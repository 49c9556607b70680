//! Quantities with types: adding tokens to blocks does not compile.

use core::fmt;
use core::iter::Sum;
use core::ops::{Add, AddAssign, Sub, SubAssign};

macro_rules! quantity {
    ($(#[$doc:meta])* $name:ident, $unit:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u32);

        impl $name {
            /// None at all.
            pub const ZERO: Self = Self(0);

            /// The difference, or zero where `other` is larger.
            #[inline]
            #[must_use]
            pub const fn saturating_sub(self, other: Self) -> Self {
                Self(self.0.saturating_sub(other.0))
            }
        }

        impl Add for $name {
            type Output = Self;
            #[inline]
            fn add(self, other: Self) -> Self {
                Self(self.0 + other.0)
            }
        }
        impl Sub for $name {
            type Output = Self;
            #[inline]
            fn sub(self, other: Self) -> Self {
                Self(self.0 - other.0)
            }
        }
        impl AddAssign for $name {
            #[inline]
            fn add_assign(&mut self, other: Self) {
                self.0 += other.0;
            }
        }
        impl SubAssign for $name {
            #[inline]
            fn sub_assign(&mut self, other: Self) {
                self.0 -= other.0;
            }
        }
        impl Sum for $name {
            fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
                amounts.fold(Self::ZERO, Add::add)
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!("{} ", $unit), self.0)
            }
        }
    };
}

quantity!(
    /// A number of tokens: of a prompt, a reply, a context or a budget.
    Tokens,
    "tokens"
);
quantity!(
    /// A number of KV blocks, each holding the keys and values of `block_size` tokens.
    Blocks,
    "blocks"
);

impl Tokens {
    /// How many blocks of `block` tokens these fill completely.
    #[inline]
    #[must_use]
    pub const fn full_blocks(self, block: Tokens) -> Blocks {
        Blocks(self.0 / block.0)
    }

    /// How many blocks of `block` tokens it takes to hold these, the last one perhaps in part.
    #[inline]
    #[must_use]
    pub const fn blocks(self, block: Tokens) -> Blocks {
        Blocks(self.0.div_ceil(block.0))
    }
}

impl Blocks {
    /// The tokens that this many full blocks of `block` tokens hold.
    #[inline]
    #[must_use]
    pub const fn tokens(self, block: Tokens) -> Tokens {
        Tokens(self.0 * block.0)
    }
}

/// A worker (a model pod) of the endpoint: its index, from 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkerId(pub u16);

impl WorkerId {
    /// The index of this worker in a list of all.
    #[inline]
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "worker {}", self.0)
    }
}

/// A request, numbered by whoever accepted it: unique within a run, increasing in order of arrival.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "request {}", self.0)
    }
}

/// A user's session: what `SESSION_KEY` names in a request body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);
