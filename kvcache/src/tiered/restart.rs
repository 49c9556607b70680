//! The worker's process dies and is back at once, cold.

use super::{Pace, TieredCache, Tiers};

impl TieredCache {
    /// The worker restarts: device and L1 are empty, and a new epoch of events begins. Whatever was under way is
    /// forgotten, and what it kept of the device with it: outcomes that still come change nothing, as operations go on
    /// being numbered where they were. What was learnt of the tiers' pace and of the pool's health is lost; what was
    /// counted stays. The pool is nobody's: what this worker had leased or begun to put there is not given back by it.
    /// O(what is under way, and what L1 can hold).
    ///
    /// # Panics
    /// Where a request still holds something.
    pub fn restart(&mut self) {
        if let Some(tiers) = &mut self.tiers {
            for load in tiers.loads.drain(..) {
                let reserved = load.left.expect("requests must let go before the worker restarts");
                self.device.release(load.hold, reserved);
            }
            tiers.start_over();
        }
        self.device.restart();
    }
}

impl Tiers {
    fn start_over(&mut self) {
        self.probes.clear();
        self.stores.clear();
        self.ops.clear();
        if let Some(host) = &mut self.host {
            host.clear();
        }
        self.breaker.restart();
        self.pace = Pace::default();
    }
}
