//! What ends when, in a total order: at one moment transfers end first, then waits, then deadlines, so that what has
//! arrived by its deadline has arrived; among equals by number.

use alloc::collections::BinaryHeap;
use core::cmp::Reverse;
use kvcache::Time;

/// What ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// A link's next transfer.
    Link(u32),
    /// A leg's wait. `life` tells the users of its number apart.
    Wait { leg: u32, life: u32 },
    /// The time that an operation has.
    Deadline { transit: u32, life: u32 },
}

impl Due {
    /// In one word, in the order of the module.
    const fn packed(self) -> u64 {
        let (kind, number, life) = match self {
            Self::Link(link) => (0, link, 0),
            Self::Wait { leg, life } => (1, leg, life),
            Self::Deadline { transit, life } => (2, transit, life),
        };
        assert!(number < 1 << 30, "a number has 30 bits");
        (kind << 62) | ((number as u64) << 32) | life as u64
    }

    const fn unpacked(word: u64) -> Self {
        let (number, life) = ((word >> 32) as u32 & ((1 << 30) - 1), word as u32);
        match word >> 62 {
            0 => Self::Link(number),
            1 => Self::Wait { leg: number, life },
            _ => Self::Deadline { transit: number, life },
        }
    }
}

/// Entries that may have become void meanwhile: whoever asks says which.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    heap: BinaryHeap<Reverse<(Time, u64)>>,
}

impl Agenda {
    pub(super) fn add(&mut self, at: Time, due: Due) {
        self.heap.push(Reverse((at, due.packed())));
    }

    /// The earliest entry that stands.
    #[inline]
    pub(super) fn earliest(&mut self, stands: impl Fn(Time, Due) -> bool) -> Option<(Time, Due)> {
        while let Some(Reverse((at, word))) = self.heap.peek() {
            let due = Due::unpacked(*word);
            if stands(*at, due) {
                return Some((*at, due));
            }
            self.heap.pop();
        }
        None
    }

    pub(super) fn remove_earliest(&mut self) {
        self.heap.pop();
    }
}
