//! What requests hold of the devices, integrated over time as it happens.
//!
//! Exact where it can be told without looking at every pass: when a pass starts or ends, when a load or a copy ends at an
//! engine that stands still, and inside a stretch, where the blocks that each pass begins follow from who decodes. What
//! changes while a pass runs (a copy of somebody who has left ends, or somebody who waited is taken back) is seen when it ends.

use super::{Cluster, Station};
use crate::ledger::Held;
use kvcache::{Time, WorkerId};

/// What requests hold of one device.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Level {
    blocks: u64,
    since: Time,
}

/// What they hold of all.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Watch {
    blocks: u64,
    integral: u128, // block-picoseconds
    peak: u64,
    peak_worker: u64,
}

impl Watch {
    /// A worker's level is this from now on; it has been what it was until now.
    fn set(&mut self, level: &mut Level, blocks: u64, now: Time) {
        self.integral += u128::from(level.blocks) * u128::from(now.since(level.since).0);
        self.blocks = self.blocks - level.blocks + blocks;
        *level = Level { blocks, since: now };
        self.peak = self.peak.max(self.blocks);
        self.peak_worker = self.peak_worker.max(blocks);
    }
}

impl Station {
    /// What requests hold of its device now.
    fn held(&self) -> u64 {
        let cache = self.replica.cache();
        u64::from((self.replica.config().cache.capacity - cache.available()).0)
    }
}

impl Cluster {
    /// The replica hears of all passes of the stretch under way up to the one before number `upto`.
    pub(super) fn tell_passes(&mut self, worker: WorkerId, upto: u64) {
        let station = &mut self.stations[worker.index()];
        let times = upto - station.told;
        let Some(stretch) = station.stretch.as_ref().filter(|_| times > 0) else { return };
        let told = station.told;
        let last = stretch.lasts(upto - 1);
        let begun = station.replica.repeat(times);
        // Pass number x of a stretch starts after x times the first one's duration and x (x - 1) / 2 times the growth.
        let passes = told * begun.blocks + begun.passes;
        let pairs = told * told.saturating_sub(1) / 2 * begun.blocks + told * begun.passes + begun.pairs;
        let starts =
            u128::from(stretch.first.0) * u128::from(passes) + u128::from(stretch.growth.0) * u128::from(pairs);
        let since_begun = u128::from(last.0) * u128::from(begun.blocks) - starts;
        let last = stretch.started + last;
        station.told = upto;
        let blocks = station.level.blocks + begun.blocks;
        self.held.set(&mut station.level, blocks, last);
        self.held.integral += since_begun;
    }

    /// What requests hold of a worker's device may have changed.
    pub(super) fn look_at_held(&mut self, worker: WorkerId) {
        let station = &mut self.stations[worker.index()];
        let blocks = station.held();
        self.held.set(&mut station.level, blocks, self.now);
    }

    /// What was held up to now counts no more.
    pub fn forget_held(&mut self) {
        for worker in (0..self.stations.len() as u16).map(WorkerId) {
            self.catch_up_with(worker);
            let level = &mut self.stations[worker.index()].level;
            let blocks = level.blocks;
            self.held.set(level, blocks, self.now);
        }
        let most = self.stations.iter().map(|station| station.level.blocks).max();
        self.held = Watch { integral: 0, peak: self.held.blocks, peak_worker: most.unwrap_or(0), ..self.held };
    }

    /// What requests in flight have held of the devices, since the start or since [`Cluster::forget_held`], up to when that
    /// changed last.
    #[must_use]
    pub fn held(&self) -> Held {
        let capacity = self.stations.first().map_or(0, |station| station.replica.config().cache.capacity.0);
        let Watch { integral, peak, peak_worker, .. } = self.held;
        Held {
            block: self.block,
            capacity: u64::from(capacity),
            workers: self.stations.len() as u64,
            integral,
            peak,
            peak_worker,
        }
    }
}
