//! What ends by itself at a time of its own: leases, puts, waits.
//!
//! Invariant ([`Terms::check`]): the order by end lists what is under way, each once. A ticket is never given twice.

use crate::time::Time;
use alloc::collections::{BTreeMap, BTreeSet};

#[derive(Debug)]
pub(super) struct Terms<T> {
    next: u64,
    held: BTreeMap<u64, (Time, T)>,
    by_end: BTreeSet<(Time, u64)>,
}

impl<T> Terms<T> {
    pub(super) const fn new() -> Self {
        Self { next: 0, held: BTreeMap::new(), by_end: BTreeSet::new() }
    }

    /// `held` is under way until `ends`; gives its ticket. O(log terms), as all here.
    pub(super) fn start(&mut self, held: T, ends: Time) -> u64 {
        let ticket = self.next;
        self.next += 1;
        self.held.insert(ticket, (ends, held));
        self.by_end.insert((ends, ticket));
        ticket
    }

    pub(super) fn get(&self, ticket: u64) -> Option<&T> {
        self.held.get(&ticket).map(|(_, held)| held)
    }

    /// When it ends by itself.
    pub(super) fn ends(&self, ticket: u64) -> Option<Time> {
        self.held.get(&ticket).map(|(ends, _)| *ends)
    }

    /// Ends it, if it is under way.
    pub(super) fn end(&mut self, ticket: u64) -> Option<T> {
        let (ends, held) = self.held.remove(&ticket)?;
        self.by_end.remove(&(ends, ticket));
        Some(held)
    }

    /// When the next one ends by itself.
    pub(super) fn deadline(&self) -> Option<Time> {
        self.by_end.first().map(|(ends, _)| *ends)
    }

    /// One whose time is over, the earliest first; of several, the one that began first.
    pub(super) fn pop_ended(&mut self, now: Time) -> Option<(u64, T)> {
        let (ends, ticket) = *self.by_end.first()?;
        if ends > now { None } else { self.end(ticket).map(|held| (ticket, held)) }
    }

    pub(super) fn len(&self) -> usize {
        self.held.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, &T)> {
        self.held.iter().map(|(ticket, (_, held))| (*ticket, held))
    }

    /// Asserts the invariant of the module. O(terms).
    pub(super) fn check(&self) {
        let listed: BTreeSet<(Time, u64)> = self.held.iter().map(|(ticket, (ends, _))| (*ends, *ticket)).collect();
        assert_eq!(listed, self.by_end, "the order by end lists what is under way");
        assert!(self.held.keys().all(|ticket| *ticket < self.next), "tickets were given");
    }
}
