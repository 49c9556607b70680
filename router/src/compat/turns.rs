//! `roundrobin`: each available worker in turn.
//!
//! Upstream sorts the endpoints' addresses and keeps a counter for each *set* of endpoints, for 1024 sets at most, then
//! forgets them all. A worker that is excluded for one request therefore shifts nobody else's turns.

use crate::available::Available;
use crate::request::{Decision, Reason};
use crate::router::{Asked, Choose};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

const SETS: usize = 1024;

#[derive(Debug)]
pub(crate) struct Turns {
    counters: BTreeMap<Vec<u64>, u64>, // by the bits of the set
    set: Vec<u64>,
}

impl Turns {
    pub(crate) const fn new() -> Self {
        Self { counters: BTreeMap::new(), set: Vec::new() }
    }

    /// The number of this turn of the set, from 0.
    fn next(&mut self, available: &Available) -> u64 {
        available.bits(&mut self.set);
        if let Some(counter) = self.counters.get_mut(self.set.as_slice()) {
            *counter += 1;
            return *counter - 1;
        }
        if self.counters.len() == SETS {
            self.counters.clear();
        }
        self.counters.insert(self.set.clone(), 1);
        0
    }
}

impl Choose for Turns {
    fn choose(&mut self, asked: &Asked<'_>) -> Decision {
        let turn = self.next(asked.available) % u64::from(asked.available.count());
        let worker = asked.available.iter().nth(turn as usize);
        Decision::blind(worker.expect("a turn lies below the number of those available"), Reason::Turn)
    }
}
