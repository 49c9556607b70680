//! What moves between tiers, and who stands still for it.

use super::{Cluster, Event};
use crate::ledger::TierEvents;
use crate::replica::{Replica, Stall};
use crate::transport::Transport;
use kvcache::{Done, HostCache, Pool, Time, WorkerId};

impl Cluster {
    /// What ends between the tiers, at most at `until`, ends then, up to the first moment at which an engine that waits for
    /// it goes on. Says whether there is one.
    pub(super) fn end_moves(&mut self, until: Time) -> bool {
        let mut goes_on = false;
        while !goes_on {
            let Some(transport) = self.transport.as_mut().filter(|transport| transport.stirs_by(until)) else {
                return false;
            };
            let Some(at) = transport.run(until) else { return false };
            self.now = self.now.max(at);
            while let Some(arrived) = self.transport.as_mut().and_then(Transport::poll) {
                let worker = arrived.worker;
                if !matches!(arrived.outcome, Ok(Done::Copied | Done::Stored | Done::Probed(_))) {
                    self.catch_up_with(worker);
                }
                let replica = &mut self.stations[worker.index()].replica;
                if replica.op_done(arrived.op, arrived.outcome, self.now) {
                    self.go_on(worker);
                    self.collect(worker);
                    goes_on = true;
                }
                if self.external {
                    // What it brought is there now, or went.
                    self.collect(worker);
                    if arrived.outcome != Ok(Done::Copied) {
                        self.events.push_back(Event::Moved { worker, op: arrived.op });
                    }
                }
            }
        }
        true
    }

    /// What has gone wrong in the lower tiers so far.
    #[must_use]
    pub fn tier_events(&self) -> TierEvents {
        let pool = self.transport.as_ref().and_then(Transport::pool).map(Pool::counts).unwrap_or_default();
        let mut events = TierEvents {
            l2_discarded_puts: pool.discarded,
            l2_skipped_tokens: pool.skipped,
            l2_expired_leases: pool.expired_leases,
            ..TierEvents::default()
        };
        for cache in self.replicas().map(Replica::cache) {
            let counts = cache.counts();
            events.short_loads += counts.short_loads;
            events.declined_tokens += counts.declined;
            events.l1_skipped_tokens += cache.host().map_or(0, HostCache::skipped);
            events.breaker_opened += cache.breaker_opened();
        }
        events
    }

    /// Something that an engine may have waited for has come.
    fn go_on(&mut self, worker: WorkerId) {
        let station = &mut self.stations[worker.index()];
        if station.stretch.is_none() {
            self.wake(worker);
        } else if station.late_since.is_some() {
            self.end_pass(worker);
        } else {
            self.cut_stretch(worker);
        }
    }

    /// Whether a worker's pass, all computed, has to wait for its loads or stores; notes since when. Where that is over,
    /// the time becomes part of the pass.
    pub(super) fn is_late(&mut self, worker: WorkerId) -> bool {
        let now = self.now;
        let station = &mut self.stations[worker.index()];
        let cause = station.replica.held_up(now);
        if cause.is_some() {
            station.late_since.get_or_insert(now);
            self.collect(worker);
        } else if let (Some(since), Some(stretch)) = (station.late_since.take(), &mut station.stretch) {
            stretch.idle = now.since(since);
            stretch.first += stretch.idle;
        }
        self.stands_still(worker, cause);
        cause.is_some()
    }

    /// An engine stands still from now on, or does not.
    pub(super) fn stands_still(&mut self, worker: WorkerId, cause: Option<Stall>) {
        let now = self.now;
        let stalled = &mut self.stations[worker.index()].stalled;
        if stalled.map(|(cause, _)| cause) == cause {
            return;
        }
        let before = core::mem::replace(stalled, cause.map(|cause| (cause, now)));
        if let Some((cause, since)) = before {
            self.events.push_back(Event::Stalled { worker, cause, span: now.since(since) });
        }
    }
}
