//! Things that end after a fixed time unless somebody ends them before: leases, and puts under way.
//!
//! Invariant ([`Terms::check`]): what is under way hangs in one list, in the order of its end, which is that of its
//! start, since all last equally long. A ticket is never given twice: a slot that is used again counts its uses.

use crate::time::{Span, Time};
use alloc::vec::Vec;

const NONE: u32 = u32::MAX;

#[derive(Debug)]
struct Slot<T> {
    held: Option<T>,
    uses: u32, // ended so far
    ends: Time,
    older: u32, // neighbours in the list
    newer: u32,
}

#[derive(Debug)]
pub(super) struct Terms<T> {
    slots: Vec<Slot<T>>,
    vacant: Vec<u32>,
    oldest: u32,
    newest: u32,
    term: Span,
}

impl<T> Terms<T> {
    pub(super) const fn new(term: Span) -> Self {
        Self { slots: Vec::new(), vacant: Vec::new(), oldest: NONE, newest: NONE, term }
    }

    /// `held` is under way from now on; gives its ticket. O(1), as all here.
    pub(super) fn start(&mut self, held: T, now: Time) -> u64 {
        let (ends, older) = (now + self.term, self.newest);
        debug_assert!(older == NONE || self.slots[older as usize].ends <= ends, "time ran backwards");
        let index = self.vacant.pop().unwrap_or_else(|| {
            self.slots.push(Slot { held: None, uses: 0, ends, older, newer: NONE });
            self.slots.len() as u32 - 1
        });
        let slot = &mut self.slots[index as usize];
        (slot.held, slot.ends, slot.older, slot.newer) = (Some(held), ends, older, NONE);
        let ticket = u64::from(slot.uses) << 32 | u64::from(index);
        if older == NONE {
            self.oldest = index;
        } else {
            self.slots[older as usize].newer = index;
        }
        self.newest = index;
        ticket
    }

    /// What this ticket stands for, if it is under way.
    pub(super) fn get(&self, ticket: u64, now: Time) -> Option<&T> {
        let slot = self.slots.get(ticket as u32 as usize)?;
        slot.held.as_ref().filter(|_| u64::from(slot.uses) == ticket >> 32 && now < slot.ends)
    }

    /// Ends what this ticket stands for, if it is under way.
    pub(super) fn end(&mut self, ticket: u64, now: Time) -> Option<T> {
        self.get(ticket, now)?;
        self.take(ticket as u32)
    }

    /// When the next one ends by itself.
    pub(super) fn deadline(&self) -> Option<Time> {
        self.slots.get(self.oldest as usize).map(|slot| slot.ends)
    }

    /// One that has ended by itself, earliest first.
    pub(super) fn pop_ended(&mut self, now: Time) -> Option<T> {
        if self.deadline()? <= now { self.take(self.oldest) } else { None }
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.vacant.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.slots.iter().filter_map(|slot| slot.held.as_ref())
    }

    fn take(&mut self, index: u32) -> Option<T> {
        let slot = &mut self.slots[index as usize];
        let held = slot.held.take()?;
        slot.uses = slot.uses.wrapping_add(1);
        let (older, newer) = (slot.older, slot.newer);
        if older == NONE {
            self.oldest = newer;
        } else {
            self.slots[older as usize].newer = newer;
        }
        if newer == NONE {
            self.newest = older;
        } else {
            self.slots[newer as usize].older = older;
        }
        self.vacant.push(index);
        Some(held)
    }

    /// Asserts the invariant of the module. O(slots).
    pub(super) fn check(&self) {
        let (mut index, mut older, mut listed) = (self.oldest, NONE, 0);
        while index != NONE {
            let slot = &self.slots[index as usize];
            assert!(slot.held.is_some() && slot.older == older, "the list holds what is under way");
            assert!(older == NONE || self.slots[older as usize].ends <= slot.ends, "in the order of its end");
            listed += 1;
            (older, index) = (index, slot.newer);
        }
        assert_eq!((older, listed), (self.newest, self.len()), "the list holds all that is under way");
    }
}
