//! What ends when, in a total order: at one moment transfers end first, then waits, then deadlines, so that what has
//! arrived by its deadline has arrived; among equals by number.
//!
//! A link has one entry, which moves as others join or leave it: links stand in a tournament, where moving one costs the
//! log of their number. Waits and deadlines are never moved, only void: they lie in a heap.

use alloc::collections::BinaryHeap;
use alloc::vec;
use alloc::vec::Vec;
use core::cmp::Reverse;
use kvcache::Time;

/// What ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// A link's next transfer.
    Link(u32),
    /// The wait of an operation. `life` tells the users of its number apart.
    Wait { transit: u32, life: u32 },
    /// The time that an operation has.
    Deadline { transit: u32, life: u32 },
}

const NEVER: Time = Time(u64::MAX);

#[derive(Debug)]
pub(super) struct Agenda {
    /// When each link has something to do, in the last half; before that, by node, root first, the earliest below it.
    links: Vec<Time>,
    /// Kind and number in one word, in the order of the module.
    heap: BinaryHeap<Reverse<(Time, u64)>>,
}

impl Agenda {
    pub(super) fn new(links: usize) -> Self {
        Self { links: vec![NEVER; 2 * links.next_power_of_two()], heap: BinaryHeap::new() }
    }

    /// Link `link` has something to do at `at`, and not before; `None`: nothing at all. O(log links).
    pub(super) fn schedule(&mut self, link: u32, at: Option<Time>) {
        let mut node = self.links.len() / 2 + link as usize;
        self.links[node] = at.unwrap_or(NEVER);
        while node > 1 {
            let earlier = self.links[node].min(self.links[node ^ 1]);
            node /= 2;
            if self.links[node] == earlier {
                break; // nor does anything change above
            }
            self.links[node] = earlier;
        }
    }

    /// The link that is due at `at`, which is when the first one is; of several that with the lowest number.
    fn first_link(&self, at: Time) -> u32 {
        let leaves = self.links.len() / 2;
        let mut node = 1;
        while node < leaves {
            node = 2 * node + usize::from(self.links[2 * node] != at);
        }
        (node - leaves) as u32
    }

    pub(super) fn wait(&mut self, at: Time, transit: u32, life: u32) {
        self.heap.push(Reverse((at, packed(0, transit, life))));
    }

    pub(super) fn deadline(&mut self, at: Time, transit: u32, life: u32) {
        self.heap.push(Reverse((at, packed(1, transit, life))));
    }

    /// When the earliest entry is due, be it void; the end of time where there is none.
    #[inline]
    pub(super) fn earliest_at(&self) -> Time {
        self.heap.peek().map_or(self.links[1], |Reverse((at, _))| self.links[1].min(*at))
    }

    /// The earliest entry; a wait or a deadline may be void.
    #[inline]
    pub(super) fn earliest(&self) -> Option<(Time, Due)> {
        let at = self.links[1];
        match self.heap.peek() {
            Some(Reverse((other, word))) if *other < at => Some((*other, unpacked(*word))),
            _ if at == NEVER => None,
            _ => Some((at, Due::Link(self.first_link(at)))),
        }
    }

    /// The earliest wait or deadline is dealt with.
    pub(super) fn pop(&mut self) {
        self.heap.pop();
    }
}

const fn packed(kind: u64, transit: u32, life: u32) -> u64 {
    assert!(transit < 1 << 31, "a number has 31 bits");
    (kind << 63) | ((transit as u64) << 32) | life as u64
}

const fn unpacked(word: u64) -> Due {
    let (transit, life) = ((word >> 32) as u32 & ((1 << 31) - 1), word as u32);
    if word >> 63 == 0 { Due::Wait { transit, life } } else { Due::Deadline { transit, life } }
}
