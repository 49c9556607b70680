//! A worker whose process dies and is back at once, cold.

use super::signals::Letter;
use super::{Cluster, Event};
use crate::executor::Stretch;
use crate::replica::Replica;
use alloc::boxed::Box;
use kvcache::{Span, Time, WorkerId};

impl Cluster {
    /// `worker` restarts at `at`, or at the present moment where that has passed: after all that ends then, before whoever
    /// arrives. See [`Cluster::restart`].
    pub fn restart_at(&mut self, worker: WorkerId, at: Time) {
        self.restarts.insert((at.max(self.now), worker));
    }

    /// The process of `worker` dies at the present moment, and is back at once. Passes that end now have ended; the one
    /// under way is lost with all its tokens, and so are the caches of its device and its host. Its requests wait there
    /// again, in order of arrival, as if the gateway had sent them again; whoever was taken back by its client ends. What
    /// moved between tiers stops, and what it had leased or begun to put in L2 stays there until its time is over; whatever
    /// else is in L2 stays. The router hears of it with all that the worker tells, and as late.
    pub fn restart(&mut self, worker: WorkerId) {
        let (lost, ()) = self.lose_process(worker, Replica::restart);
        self.events.push_back(Event::Restarted { worker, lost, at: self.now });
        // Whoever runs the workers sees to it, and says so.
        let epoch = self.stations[worker.index()].replica.cache().device().epoch();
        self.signals.send(worker, Letter::Restarted(epoch), self.now);
        self.wake(worker);
        self.collect(worker);
    }

    /// The process of `worker` is lost, with the pass under way and all that moved; `end` tells its replica, with the time at
    /// which that pass began. Gives how long the engine had computed it.
    pub(super) fn lose_process<T>(
        &mut self,
        worker: WorkerId,
        end: impl FnOnce(&mut Replica, Option<Time>, Time) -> T,
    ) -> (Span, T) {
        let now = self.now;
        self.end_stretch_now(worker);
        let lost = self.pass_under_way(worker);
        self.stands_still(worker, None);
        if let Some(transport) = &mut self.transport {
            transport.abandon(worker, now);
        }
        let station = &mut self.stations[worker.index()];
        (station.stretch, station.late_since, station.free_since) = (None, None, now);
        station.handed = None;
        let ended = end(&mut station.replica, lost.map(|(began, _)| began), now);
        (lost.map_or(Span::ZERO, |(_, lasted)| lasted), ended)
    }

    /// A pass that ends at this very moment ends before the worker dies, though the stretch would go on.
    fn end_stretch_now(&mut self, worker: WorkerId) {
        let now = self.now;
        let station = &mut self.stations[worker.index()];
        let Some(stretch) = station.stretch.as_mut().filter(|_| station.late_since.is_none()) else { return };
        let ended = stretch.passes_ended(now);
        if ended > 0 && stretch.started + stretch.lasts(ended) == now {
            stretch.passes = ended;
            self.end_pass(worker);
        }
    }

    /// When the pass under way began, and how long the engine has computed it. The passes of its stretch that ended before
    /// are told of.
    fn pass_under_way(&mut self, worker: WorkerId) -> Option<(Time, Span)> {
        self.catch_up_with(worker);
        let station = &self.stations[worker.index()];
        let stretch = station.stretch?;
        // What waits for its loads or stores is computed, and has not ended.
        let is_late = station.late_since.is_some();
        let ended = if is_late { stretch.passes - 1 } else { stretch.passes_ended(self.now) };
        if ended > 0 {
            let recorded = if self.record_work { station.replica.work() } else { None };
            let work = recorded.map(|(work, _)| Box::new(work.clone()));
            self.events.push_back(Event::Ran { worker, stretch: Stretch { passes: ended, ..stretch }, work });
        }
        let began = stretch.started + stretch.lasts(ended);
        Some((began, stretch.ends().min(self.now).since(began)))
    }
}
