//! What became of the fleet: who came and went, and what it cost to have them.

use crate::cluster::Change;
use alloc::vec::Vec;
use kvcache::{Time, WorkerId};

/// How many workers there were from a moment on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Workers {
    /// From when.
    pub at: Time,
    /// Workers that take requests.
    pub up: u16,
    /// Workers that are paid for: those that start, are down or still work off what they have included.
    pub provisioned: u16,
}

/// What happened to the fleet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct FleetCounts {
    /// Processes that died, those cut off when their time to go was over included.
    pub deaths: u64,
    /// Workers that were ordered.
    pub ordered: u64,
    /// Workers that left.
    pub left: u64,
    /// Requests that were sent again after their worker had died. (Once for each time.)
    pub sent_again: u64,
    /// Requests that ended with an error since their worker had died.
    pub errored: u64,
}

/// The books of the fleet.
#[derive(Clone, Debug, Default)]
pub(super) struct FleetBooks {
    up: Vec<bool>,
    /// Who ever took requests.
    pub(super) ever: Vec<bool>,
    pub(super) timeline: Vec<Workers>,
    pub(super) counts: FleetCounts,
}

impl FleetBooks {
    pub(super) fn new(workers: u16, present: u16) -> Self {
        let up: Vec<bool> = (0..workers).map(|worker| worker < present).collect();
        let start = Workers { at: Time::ZERO, up: present, provisioned: present };
        Self { ever: up.clone(), up, timeline: alloc::vec![start], counts: FleetCounts::default() }
    }

    pub(super) fn enter(&mut self, worker: WorkerId, change: Change, at: Time) {
        let mut now = Workers { at, ..self.timeline.last().copied().unwrap_or_default() };
        let up = &mut self.up[worker.index()];
        let was_up = core::mem::replace(
            up,
            matches!(change, Change::Started) || (*up && matches!(change, Change::Paced(_) | Change::Ordered)),
        );
        match change {
            Change::Ordered => {
                now.provisioned += 1;
                self.counts.ordered += 1;
            }
            Change::Started => {
                now.up += 1;
                self.ever[worker.index()] = true;
            }
            Change::Died { .. } => self.counts.deaths += 1,
            Change::Left => {
                now.provisioned -= 1;
                self.counts.left += 1;
            }
            Change::Draining => {}
            Change::Paced(_) => return,
        }
        if was_up && matches!(change, Change::Died { .. } | Change::Draining | Change::Left) {
            now.up -= 1;
        }
        // Of what happens at one moment, only the outcome counts.
        match self.timeline.last_mut() {
            Some(last) if last.at == at => *last = now,
            _ => self.timeline.push(now),
        }
    }

    /// The integral of `of` the fleet from `from` to `to`, in its unit times picoseconds.
    pub(super) fn integral(&self, from: Time, to: Time, of: impl Fn(&Workers) -> u64) -> u128 {
        let ends = self.timeline.iter().skip(1).map(|next| next.at).chain([Time(u64::MAX)]);
        let pieces = self.timeline.iter().zip(ends);
        pieces
            .map(|(workers, end)| {
                let (begins, ends) = (workers.at.max(from), end.min(to));
                u128::from(of(workers)) * u128::from(ends.0.saturating_sub(begins.0))
            })
            .sum()
    }
}
