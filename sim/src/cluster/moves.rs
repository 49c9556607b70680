//! What moves between tiers, and who stands still for it.

use super::{Cluster, Event};
use crate::replica::Stall;
use kvcache::{Time, WorkerId};

impl Cluster {
    /// What ends first between the tiers, at most at `until`, ends then, and engines that wait for it go on. Says whether
    /// something did.
    pub(super) fn end_moves(&mut self, until: Time) -> bool {
        let Some(transport) = &mut self.transport else { return false };
        let Some(at) = transport.run(until) else { return false };
        self.now = self.now.max(at);
        while let Some(arrived) = self.transport.as_mut().and_then(|transport| transport.poll()) {
            let worker = arrived.worker;
            let replica = &mut self.stations[worker.index()].replica;
            if replica.op_done(arrived.op, arrived.outcome, self.now) {
                self.go_on(worker);
                self.collect(worker);
            }
        }
        true
    }

    /// Something that an engine may have waited for has come.
    fn go_on(&mut self, worker: WorkerId) {
        let station = &mut self.stations[worker.index()];
        if station.stretch.is_none() {
            self.wake(worker);
        } else if station.late_since.is_some() {
            if !station.replica.awaits_loads() {
                self.end_pass(worker);
            }
        } else {
            self.cut_stretch(worker);
        }
    }

    /// Whether a worker's pass, all computed, has to wait for its loads; notes since when. Where that is over, its time
    /// is told, and becomes part of the pass.
    pub(super) fn is_late(&mut self, worker: WorkerId) -> bool {
        let now = self.now;
        let station = &mut self.stations[worker.index()];
        if station.replica.awaits_loads() {
            station.late_since.get_or_insert(now);
            let cause = station.replica.load_stall();
            station.stalled.get_or_insert((cause, now));
            return true;
        }
        if let (Some(since), Some(stretch)) = (station.late_since.take(), &mut station.stretch) {
            stretch.idle = now.since(since);
            stretch.first += stretch.idle;
            self.tell_stall(worker);
        }
        false
    }

    /// An engine tried to start: whether it stands still, and for what, may have changed.
    pub(super) fn note_stall(&mut self, worker: WorkerId) {
        let station = &mut self.stations[worker.index()];
        let cause = station.replica.stall();
        if station.stalled.map(|(cause, _)| cause) == cause {
            return;
        }
        self.tell_stall(worker);
        let now: Time = self.now;
        self.stations[worker.index()].stalled = cause.map(|cause: Stall| (cause, now));
    }

    fn tell_stall(&mut self, worker: WorkerId) {
        if let Some((cause, since)) = self.stations[worker.index()].stalled.take() {
            let span = self.now.since(since);
            self.events.push_back(Event::Stalled { worker, cause, span });
        }
    }
}
