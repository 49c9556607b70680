//! What workers have to tell, passed on: to the tiers' ways, to the router, to whoever drives the cluster.

use super::external::tell_moves;
use super::signals::Letter;
use super::{Cluster, Event, Station};
use crate::replica::{EngineConfig, Output, Replica};
use alloc::vec::Vec;
use kvcache::{CacheConfig, WorkerId};

impl Cluster {
    /// The same cluster, none of whose requests has arrived yet; what its workers' caches hold is told as [`Event::Cache`],
    /// whether its router listens or not.
    ///
    /// # Panics
    /// Where a request has arrived.
    #[must_use]
    pub fn with_told_caches(mut self) -> Self {
        assert!(self.arrivals == 0, "caches are told of from their first block on");
        if self.tells_caches {
            return self;
        }
        self.tells_caches = true;
        for station in &mut self.stations {
            let engine = station.replica.config();
            let engine = EngineConfig { cache: CacheConfig { events: true, ..engine.cache }, ..*engine };
            station.replica = Replica::new(engine).expect("what was valid is valid with its changes kept");
        }
        self
    }

    /// Passes on what a worker has to tell.
    pub(super) fn collect(&mut self, worker: WorkerId) {
        if self.stations[worker.index()].stretch.is_none() {
            self.look_at_held(worker);
        }
        let Station { replica, telling, .. } = &self.stations[worker.index()];
        let has_news = replica.has_output() || replica.cache_events().len() > *telling;
        if has_news || self.transport.is_some() || self.external {
            self.collect_news(worker);
        }
    }

    fn collect_news(&mut self, worker: WorkerId) {
        let (now, mut left) = (self.now, 0);
        let Self { stations, router, events, transport, signals, external, tells_caches, .. } = self;
        let Station { replica, telling, .. } = &mut stations[worker.index()];
        if let Some(transport) = transport {
            while replica.has_op() {
                let asked = replica.poll_op().expect("there is one");
                transport.start(worker, asked, now);
            }
        }
        let loads = if *external { tell_moves(worker, replica, transport.as_mut(), events) } else { Vec::new() };
        let changes = replica.cache_events().len() - *telling;
        if changes > 0 {
            if *tells_caches {
                let told = replica.cache_events().skip(*telling).cloned().collect();
                events.push_back(Event::Cache { worker, told });
            }
            if router.listens_to_cache() {
                *telling += changes;
                signals.send_changes(worker, changes, now);
            } else {
                replica.take_cache_events(changes, |_| {});
            }
        }
        if *external {
            events.extend(replica.take_let_go().into_iter().map(|request| Event::LetGo { worker, request }));
        }
        while let Some(output) = replica.poll_output() {
            match output {
                Output::FirstToken { request, .. } if router.listens_to_requests() => {
                    signals.send(worker, Letter::FirstToken(request), now);
                }
                Output::Finished { request, .. } | Output::Cancelled { request } => {
                    left += 1;
                    if router.listens_to_requests() {
                        signals.send(worker, Letter::Finished(request), now);
                    }
                }
                _ => {}
            }
            events.push_back(Event::Output { worker, output });
        }
        events.extend(loads.into_iter().map(Event::Move));
        if signals.are_many() {
            signals.deliver(router, stations, now);
        }
        if left > 0 {
            self.have_left(worker, left);
        }
    }

    /// The router hears at once of what takes no time to reach it.
    pub(super) fn hear_what_is_immediate(&mut self) {
        if self.signals.are_immediate() {
            self.signals.deliver(&mut self.router, &mut self.stations, self.now);
        }
    }
}
