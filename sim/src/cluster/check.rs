//! The laws of all workers.

use super::Cluster;
use kvcache::WorkerId;

impl Cluster {
    /// Asserts every law of every worker. O(live state).
    ///
    /// # Panics
    /// Where one is broken: a bug.
    pub fn check(&self) {
        for (index, station) in self.stations.iter().enumerate() {
            station.replica.check();
            let may_start = station.stretch.is_some() || self.starting.contains(&WorkerId(index as u16));
            if may_start || station.replica.live() == 0 {
                continue;
            }
            let cause = station.replica.stall();
            assert!(cause.is_some(), "an engine with work stands still for a cause");
            assert_eq!(
                station.stalled.map(|(cause, _)| cause),
                cause,
                "and that is what it is told to stand still for"
            );
        }
        if let Some(transport) = &self.transport {
            transport.check();
        }
    }
}
