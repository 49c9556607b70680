//! Which slice of a shard goes next. One trait, one file per policy, one enum to choose.
//!
//! Policies order *slices*: the ready objects that one strip has on one shard. Slices have numbers that are used again,
//! so a policy keeps what it knows of them in a vector.

mod list; // many lists over one vector of neighbours
mod ghost; // what was evicted and is remembered
mod recent; // least recently used
mod fifo; // first published
mod s3fifo; // small, main and ghost queues
mod arc; // adaptive between recency and frequency
mod lfu; // least frequently used, as Redis samples it

use self::recent::Recent;
use super::slices::SliceId;
use crate::time::Time;
use alloc::boxed::Box;
use core::fmt;
use core::str::FromStr;

/// Which object of a full tier makes room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Eviction {
    /// The least recently used, of one prompt the deepest first.
    #[default]
    Lru,
    /// S3-FIFO: a small queue filters what is used once (Yang, Zhang, Qiu, Yue, Rashmi: SOSP 2023).
    S3Fifo,
    /// ARC: recency and frequency, balanced by what was evicted too early (Megiddo, Modha: FAST 2003).
    Arc,
    /// The one published first; uses change nothing.
    Fifo,
    /// The least frequently used of a sample, as Redis' `allkeys-lfu`.
    Lfu,
}

impl Eviction {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Lru, Self::S3Fifo, Self::Arc, Self::Fifo, Self::Lfu];

    /// Its name in settings.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Lru => "lru",
            Self::S3Fifo => "s3-fifo",
            Self::Arc => "arc",
            Self::Fifo => "fifo",
            Self::Lfu => "lfu",
        }
    }

    /// The order of shard number `shard`, of `capacity` tokens; `seed` is for those that sample.
    pub(crate) fn order(self, shard: u16, capacity: u64, seed: u64) -> Order {
        match self {
            Self::Lru => Order::Recent(Recent::new(shard)),
            Self::S3Fifo => Order::Other(Box::new(s3fifo::S3Fifo::new(capacity))),
            Self::Arc => Order::Other(Box::new(arc::Arc::new(capacity))),
            Self::Fifo => Order::Other(Box::new(fifo::Fifo::new())),
            Self::Lfu => Order::Other(Box::new(lfu::Lfu::new(seed))),
        }
    }
}

impl fmt::Display for Eviction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A name that no [`Eviction`] has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownEviction;

impl fmt::Display for UnknownEviction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no such eviction policy; there are lru, s3-fifo, arc, fifo and lfu")
    }
}

impl core::error::Error for UnknownEviction {}

impl FromStr for Eviction {
    type Err = UnknownEviction;

    fn from_str(name: &str) -> Result<Self, UnknownEviction> {
        Self::ALL.into_iter().find(|eviction| eviction.as_str() == name).ok_or(UnknownEviction)
    }
}

/// The order in which the slices of one shard go. A slice *enters* with its first ready object and is *gone* with
/// its last. The slices of one use are told deepest first, and uses in order.
pub(crate) trait Policy: fmt::Debug + Send {
    /// Whether publication alone decides: then objects that are published later are a slice of their own.
    fn by_age(&self) -> bool {
        false
    }

    /// A slice that begins with `key` was asked for in vain and is about to be written. Room is made right after.
    fn coming(&mut self, _key: u64) {}

    /// A slice of `tokens` has its first ready objects. It must not be the victim while `pinned`.
    fn enter(&mut self, slice: SliceId, key: u64, tokens: u64, pinned: bool, now: Time);

    /// It is pinned from now on.
    fn pin(&mut self, slice: SliceId);

    /// It was used, and is `pinned` from now on or is not.
    fn used(&mut self, slice: SliceId, pinned: bool, now: Time);

    /// It weighs `tokens` now.
    fn reweigh(&mut self, slice: SliceId, tokens: u64);

    /// The upper part of `lower`'s objects is `upper` from now on: equal in everything, but it goes right after
    /// `lower`.
    fn split(&mut self, lower: SliceId, lower_tokens: u64, upper: SliceId, upper_tokens: u64);

    /// It lost its last object: `evicted` says under which key it may be remembered, or that it was lost.
    fn gone(&mut self, slice: SliceId, evicted: Option<u64>);

    /// The slice that goes next, if one may go.
    fn victim(&mut self, now: Time) -> Option<SliceId>;

    /// All slices are gone at once, and nothing is remembered.
    fn clear(&mut self);

    /// Tokens of all slices, where it counts them.
    fn tokens(&self) -> Option<u64> {
        None
    }

    /// Slices that may go. O(slices).
    fn evictable(&self) -> usize;
}

/// A policy. That which shelves mostly have is known by name, since a slice asks several times in its life.
#[derive(Debug)]
pub(crate) enum Order {
    Recent(Recent),
    Other(Box<dyn Policy>),
}

/// Asks whichever it is.
macro_rules! ask {
    ($order:expr, $policy:ident => $question:expr) => {
        match $order {
            Order::Recent($policy) => $question,
            Order::Other($policy) => $question,
        }
    };
}

impl Policy for Order {
    fn by_age(&self) -> bool {
        ask!(self, policy => policy.by_age())
    }

    #[inline]
    fn coming(&mut self, key: u64) {
        ask!(self, policy => policy.coming(key));
    }

    #[inline]
    fn enter(&mut self, slice: SliceId, key: u64, tokens: u64, pinned: bool, now: Time) {
        ask!(self, policy => policy.enter(slice, key, tokens, pinned, now));
    }

    #[inline]
    fn pin(&mut self, slice: SliceId) {
        ask!(self, policy => policy.pin(slice));
    }

    #[inline]
    fn used(&mut self, slice: SliceId, pinned: bool, now: Time) {
        ask!(self, policy => policy.used(slice, pinned, now));
    }

    #[inline]
    fn reweigh(&mut self, slice: SliceId, tokens: u64) {
        ask!(self, policy => policy.reweigh(slice, tokens));
    }

    fn split(&mut self, lower: SliceId, lower_tokens: u64, upper: SliceId, upper_tokens: u64) {
        ask!(self, policy => policy.split(lower, lower_tokens, upper, upper_tokens));
    }

    #[inline]
    fn gone(&mut self, slice: SliceId, evicted: Option<u64>) {
        ask!(self, policy => policy.gone(slice, evicted));
    }

    #[inline]
    fn victim(&mut self, now: Time) -> Option<SliceId> {
        ask!(self, policy => policy.victim(now))
    }

    fn clear(&mut self) {
        ask!(self, policy => policy.clear());
    }

    fn tokens(&self) -> Option<u64> {
        ask!(self, policy => policy.tokens())
    }

    fn evictable(&self) -> usize {
        ask!(self, policy => policy.evictable())
    }
}
