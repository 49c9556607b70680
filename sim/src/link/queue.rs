//! Who ends next: transfers in order of their finish, then of joining.
//!
//! The first stands apart, as most are alone. The few behind it stand in a short sorted row, where everything is a move
//! within some cache lines; those beyond lie in trees, so that no operation is worse than O(log n).
//!
//! Invariant: the first goes before all who stand near, and these before all who lie far; somebody is first unless
//! nobody is there, and somebody stands near unless nobody lies far.

use super::TransferId;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};

/// The longest row: about where inserting into it begins to cost what inserting into a tree does.
const NEAR: usize = 64;

/// A transfer under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Transfer {
    /// It ends when this much work is attained.
    pub(super) finish: u128,
    /// Its turn among those that joined.
    joined: u64,
    pub(super) id: TransferId,
    pub(super) bytes: u64,
}

/// The order of ends.
type Place = (u128, u64);

impl Transfer {
    const fn place(&self) -> Place {
        (self.finish, self.joined)
    }
}

#[derive(Debug, Default)]
pub(super) struct Queue {
    first: Option<Transfer>,
    near: VecDeque<Transfer>,
    far: BTreeMap<Place, Transfer>,
    places: BTreeMap<TransferId, Place>, // of those far
    joined: u64,
    len: usize,
}

impl Queue {
    #[inline]
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    #[inline]
    pub(super) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    #[inline]
    pub(super) fn first_finish(&self) -> Option<u128> {
        self.first.as_ref().map(|transfer| transfer.finish)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Transfer> {
        self.first.iter().chain(&self.near).chain(self.far.values())
    }

    #[inline]
    pub(super) fn insert(&mut self, id: TransferId, bytes: u64, finish: u128) {
        self.joined += 1;
        self.len += 1;
        if self.first.is_none() {
            // Made in its place: a copy that follows at once would wait for what it copies.
            self.first = Some(Transfer { finish, joined: self.joined, id, bytes });
        } else {
            self.join_others(Transfer { finish, joined: self.joined, id, bytes });
        }
    }

    fn join_others(&mut self, transfer: Transfer) {
        match &mut self.first {
            Some(first) if transfer.finish < first.finish => {
                let second = core::mem::replace(first, transfer);
                self.near.push_front(second);
                self.shorten();
            }
            _ => self.put_behind(transfer),
        }
    }

    fn put_behind(&mut self, transfer: Transfer) {
        if self.far.first_key_value().is_some_and(|(first, _)| *first < transfer.place()) {
            self.put_far(transfer);
            return;
        }
        // Who joined before with the same finish goes first.
        if self.near.back().is_none_or(|last| last.finish <= transfer.finish) {
            self.near.push_back(transfer);
        } else {
            let index = self.near.partition_point(|other| other.finish <= transfer.finish);
            self.near.insert(index, transfer);
        }
        self.shorten();
    }

    fn shorten(&mut self) {
        if self.near.len() > NEAR {
            let last = self.near.pop_back().expect("the row is too long");
            self.put_far(last);
        }
    }

    fn put_far(&mut self, transfer: Transfer) {
        let other = self.places.insert(transfer.id, transfer.place());
        assert_eq!(other, None, "two transfers under way have the same number");
        self.far.insert(transfer.place(), transfer);
    }

    #[inline]
    pub(super) fn pop(&mut self) -> Option<Transfer> {
        let first = self.first.take()?;
        self.len -= 1;
        if self.len > 0 {
            self.first = self.near.pop_front();
            self.fetch();
        }
        Some(first)
    }

    pub(super) fn remove(&mut self, id: TransferId) -> Option<Transfer> {
        if self.first.is_some_and(|first| first.id == id) {
            return self.pop();
        }
        let removed = if let Some(index) = self.near.iter().position(|transfer| transfer.id == id) {
            let removed = self.near.remove(index);
            self.fetch();
            removed
        } else {
            self.places.remove(&id).and_then(|place| self.far.remove(&place))
        };
        self.len -= usize::from(removed.is_some());
        removed
    }

    /// Brings the first of those far near, where nobody is.
    fn fetch(&mut self) {
        if self.near.is_empty()
            && let Some((_, first)) = self.far.pop_first()
        {
            self.places.remove(&first.id);
            self.near.push_back(first);
        }
    }

    pub(super) fn check(&self) {
        assert_eq!(self.iter().count(), self.len, "everyone is counted");
        assert!(self.first.is_some() || self.near.is_empty(), "somebody is first");
        assert!(self.near.len() <= NEAR && (!self.near.is_empty() || self.far.is_empty()), "the row is well filled");
        assert!(self.iter().is_sorted_by_key(Transfer::place), "transfers stand in order");
        assert!(self.far.iter().all(|(place, transfer)| *place == transfer.place()), "trees know their keys");
        assert_eq!(self.far.len(), self.places.len(), "whoever lies far can be found");
        assert!(self.far.values().all(|far| self.places.get(&far.id) == Some(&far.place())), "and at their place");
        let ids: BTreeSet<TransferId> = self.iter().map(|transfer| transfer.id).collect();
        assert_eq!(ids.len(), self.len(), "no two have the same number");
    }
}
