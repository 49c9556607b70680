//! `session+`: consistent hashing with bounded loads.
//!
//! A session keeps its worker while that has at most `load_bound` (1.25) times the mean number of requests in flight,
//! the new one counted; else it goes to the next worker on the ring that has room, and comes back when there is room
//! again. So no worker has more than that, whatever the sessions are. (Mirrokni, Thorup and Zadimoghaddam, "Consistent
//! Hashing with Bounded Loads", SODA 2018.) A request without a session goes to the least loaded worker.

use crate::compat::ring::Ring;
use crate::config::RouterConfig;
use crate::index::Set;
use crate::request::{Decision, Reason};
use crate::router::{Asked, Choose};
use kvcache::{SessionId, WorkerId};

#[derive(Debug)]
pub(crate) struct BoundedRing {
    ring: Ring,
    workers: u16,
    bound: u32, // thousandths of the mean
}

impl BoundedRing {
    pub(crate) fn new(config: &RouterConfig) -> Self {
        Self { ring: Ring::new(config.workers), workers: config.workers, bound: config.load_bound.max(1000) }
    }

    /// The first worker from the session's place on that has room, and how many before it had none.
    fn owner(&self, session: SessionId, asked: &Asked<'_>) -> (WorkerId, u16) {
        let available = asked.available;
        let in_flight: u64 = available.iter().map(|worker| u64::from(asked.loads.load(worker).requests)).sum();
        // At least the mean, rounded up: somebody has room.
        let room = ((in_flight + 1) * u64::from(self.bound)).div_ceil(1000 * u64::from(available.count()));
        let mut full = Set::none(self.workers);
        let mut passed = 0;
        for worker in self.ring.owners(session).filter(|worker| available.has(*worker)) {
            if u64::from(asked.loads.load(worker).requests) < room {
                return (worker, passed);
            }
            // A worker has many places on the ring.
            if !full.has(worker) {
                full.add(worker);
                passed += 1;
            }
        }
        (self.ring.owner(session, available), passed)
    }
}

impl Choose for BoundedRing {
    fn choose(&mut self, asked: &Asked<'_>) -> Decision {
        if let Some(session) = asked.request.session {
            let (worker, passed) = self.owner(session, asked);
            return asked.by_load(worker, Reason::RingWithRoom { passed });
        }
        let worker = asked.least_loaded(|_| true).expect("somebody is available");
        asked.by_load(worker, Reason::LeastLoaded)
    }
}
