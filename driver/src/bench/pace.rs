//! Who sends when, in wall time: by the clock, by replies, or turn by turn; the rules are those of the simulator's pacer.
//!
//! Pure: told the time. A request's scheduled moment never depends on when it was noticed: an open loop's is its arrival,
//! a closed loop's the moment at which its slot became free.

use sim::extent::Extent;
use sim::workload::{Pacing, Workload};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Picoseconds in a nanosecond.
const PICOS: u64 = 1000;
/// A place that is not known before it is sent.
const ANY: usize = usize::MAX;

/// What is due.
#[derive(Debug)]
pub struct Pace {
    /// Moments (ns) and places; of a closed loop, users.
    due: BinaryHeap<Reverse<(u64, usize)>>,
    /// The next place of an open or a closed loop.
    next: usize,
    /// The moments of an open loop, in order.
    times: Vec<u64>,
    /// Who waits for each place, and how long: think time and gap.
    waits: Vec<Option<(usize, u64, u64)>>,
    all: usize,
    until: Option<u64>,
    closed: bool,
}

impl Pace {
    /// Of `workload`, from moment `start` (ns) on.
    #[must_use]
    pub fn new(workload: &Workload, extent: &Extent, start: u64) -> Self {
        let requests = workload.requests();
        let mut pace = Self {
            due: BinaryHeap::new(),
            next: 0,
            times: Vec::new(),
            waits: Vec::new(),
            all: requests.len(),
            until: extent.until.map(|until| start + until.0 / PICOS),
            closed: false,
        };
        let ramp = extent.ramp.0 / PICOS;
        match workload.pacing() {
            Pacing::Open => pace.times = requests.iter().map(|request| start + request.at.0 / PICOS).collect(),
            Pacing::Closed { concurrency } => {
                pace.closed = true;
                let begins = |user: u32| start + ramp * u64::from(user) / u64::from(concurrency.max(1));
                pace.due.extend((0..concurrency).map(|user| Reverse((begins(user), ANY))));
            }
            Pacing::Turns => {
                pace.waits = vec![None; requests.len()];
                let firsts = workload.turns().iter().filter(|turn| turn.after.is_none()).count().max(1) as u64;
                let mut user = 0;
                for (place, turn) in workload.turns().iter().enumerate() {
                    match turn.after {
                        None => {
                            let begins = (start + requests[place].at.0 / PICOS).max(start + ramp * user / firsts);
                            user += 1;
                            pace.due.push(Reverse((begins, place)));
                        }
                        Some(before) => {
                            let wait = (place, turn.think.0 / PICOS, turn.gap.0 / PICOS);
                            pace.waits[before as usize] = Some(wait);
                        }
                    }
                }
            }
        }
        pace
    }

    /// When something is due next; `None`: nothing is before another request ends.
    #[must_use]
    pub fn next(&self) -> Option<u64> {
        let timed = self.times.get(self.next).copied();
        let due = self.due.peek().map(|Reverse((at, _))| *at).filter(|_| !self.closed || self.next < self.all);
        let next = timed.into_iter().chain(due).min()?;
        self.until.is_none_or(|until| next < until).then_some(next)
    }

    /// What is due at `now`: its scheduled moment and its place.
    pub fn pop(&mut self, now: u64) -> Option<(u64, usize)> {
        let next = self.next().filter(|next| *next <= now)?;
        if self.times.get(self.next) == Some(&next) {
            self.next += 1;
            return Some((next, self.next - 1));
        }
        let Reverse((at, place)) = self.due.pop()?;
        if place != ANY {
            return Some((at, place));
        }
        self.next += 1;
        Some((at, self.next - 1))
    }

    /// The request at `place`, scheduled at `sent`, was over at `ended`: whoever waits goes on.
    pub fn ended(&mut self, place: usize, sent: u64, ended: u64) {
        if self.closed {
            self.due.push(Reverse((ended, ANY)));
        } else if let Some((after, think, gap)) = self.waits.get(place).copied().flatten() {
            self.due.push(Reverse(((ended + think).max(sent + gap), after)));
        }
    }

    /// Nothing more is sent.
    pub fn stop(&mut self) {
        self.until = Some(0);
    }

    /// Whether some request could still become due.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed
    }
}
