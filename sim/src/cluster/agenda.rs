//! What will happen when, in a total order.
//!
//! At one instant: passes end first, in order of workers; then workers restart, die, come and go, and requests arrive, in order of arrival;
//! then passes start, in order of workers. So a pass that ends at `t` frees its blocks before a request that arrives at `t` is routed, and
//! a pass that starts at `t` sees every request that arrived at `t`.

use alloc::collections::BinaryHeap;
use core::cmp::Reverse;
use kvcache::{Time, WorkerId};

/// The end of a worker's pass or stretch. The order of the fields is the order of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Due {
    pub(super) at: Time,
    pub(super) worker: WorkerId,
    /// Which plan this belongs to: a stretch cut short leaves a stale entry behind.
    pub(super) plan: u64,
}

#[derive(Debug, Default)]
pub(super) struct Agenda {
    heap: BinaryHeap<Reverse<Due>>,
}

impl Agenda {
    pub(super) fn add(&mut self, due: Due) {
        self.heap.push(Reverse(due));
    }

    /// The earliest entry, stale ones (by `is_live`) dropped.
    pub(super) fn earliest(&mut self, is_live: impl Fn(&Due) -> bool) -> Option<Due> {
        while let Some(Reverse(due)) = self.heap.peek() {
            if is_live(due) {
                return Some(*due);
            }
            self.heap.pop();
        }
        None
    }

    pub(super) fn remove_earliest(&mut self) {
        self.heap.pop();
    }
}
