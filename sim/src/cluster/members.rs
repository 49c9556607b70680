//! Workers that come and go: a process that dies, one that is started, one that takes no more requests, a slow one.
//!
//! A worker is there, *away* (the router does not choose it) or both: one that drains is away and still works. Whoever
//! dies is not away before that is noticed: until then requests are sent to it, and nobody answers them. All of them, and
//! those it had, are told of as [`Event::Lost`] when it is noticed. To send them again, or to give them up, is up to whoever
//! drives the cluster: it knows what the requests were.

use super::signals::Letter;
use super::{Cluster, Event, Station};
use crate::cost::{CostModel, Segment, Shape};
use crate::replica::Replica;
use kvcache::{RequestId, Span, WorkerId};
use router::Signal;

/// What becomes of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It has been ordered, and is being set up: from now on it costs what it costs.
    Ordered,
    /// Its process is there, cold, and takes requests.
    Started,
    /// Its process died. `lost` is how long its engine had computed the pass that was under way, and never ended.
    Died {
        /// Engine time of which nothing came.
        lost: Span,
    },
    /// It takes no more requests, and ends when it has none.
    Draining,
    /// It is gone, and costs nothing any more.
    Left,
    /// Its passes take so many thousandths of what they should, from its next one on.
    Paced(u32),
}

/// Where a worker is in its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Presence {
    /// It takes requests.
    #[default]
    Up,
    /// It works, and takes no more requests.
    Draining,
    /// Its process is not there; it will be.
    Down,
    /// Nobody has ordered it, or it has left.
    Absent,
}

impl Cluster {
    /// The same cluster, of whose workers only the first `present` are there at the start.
    #[must_use]
    pub fn with_present(mut self, present: u16) -> Self {
        for worker in (present..self.stations.len() as u16).map(WorkerId) {
            self.stations[worker.index()].presence = Presence::Absent;
            self.away.push(worker);
        }
        self
    }

    /// Where `worker` is in its life.
    #[must_use]
    pub fn presence(&self, worker: WorkerId) -> Presence {
        self.stations[worker.index()].presence
    }

    /// Requests that have reached the router so far, each attempt.
    #[must_use]
    pub const fn arrivals(&self) -> u64 {
        self.arrivals
    }

    /// The engines of the workers whose process is there, in order.
    pub fn replicas_there(&self) -> impl Iterator<Item = &Replica> {
        let there = |station: &&Station| matches!(station.presence, Presence::Up | Presence::Draining);
        self.stations.iter().filter(there).map(|station| &station.replica)
    }

    /// `worker`, who is absent, is ordered: it will be there, once somebody starts it.
    pub fn order(&mut self, worker: WorkerId) {
        assert_eq!(self.presence(worker), Presence::Absent, "who is ordered is not there");
        self.stations[worker.index()].presence = Presence::Down;
        self.tell(worker, Change::Ordered);
    }

    /// The process of `worker` is there, cold, and the router may choose it. What was lost with the one before is noticed
    /// now at the latest.
    pub fn start(&mut self, worker: WorkerId) {
        assert_eq!(self.presence(worker), Presence::Down, "who is started is not there and has been ordered");
        self.notice(worker);
        self.away.retain(|other| *other != worker);
        self.stations[worker.index()].presence = Presence::Up;
        self.stations[worker.index()].free_since = self.now;
        self.tell(worker, Change::Started);
    }

    /// The process of `worker` dies, and nobody starts it again by itself. Passes that end now have ended; the one under way is
    /// lost, and so are its caches. Nobody has noticed yet.
    ///
    /// # Panics
    /// Where no process is there.
    pub fn die(&mut self, worker: WorkerId) {
        let draining = match self.presence(worker) {
            Presence::Up => false,
            Presence::Draining => true,
            Presence::Down | Presence::Absent => panic!("{worker} is not there"),
        };
        let (lost, mut gone) = self.lose_process(worker, Replica::die);
        let station = &mut self.stations[worker.index()];
        gone.extend(station.line.drain(..).map(|waiting| waiting.request));
        station.inside = 0;
        station.stuck.extend(gone);
        station.presence = Presence::Down;
        self.tell(worker, Change::Died { lost });
        self.collect(worker);
        if draining {
            self.notice(worker); // nobody has to find out: the router leaves it alone already
        }
    }

    /// That `worker` is dead has been noticed: the router does not choose it, and all who were there learn it.
    pub fn notice(&mut self, worker: WorkerId) {
        if self.presence(worker) != Presence::Down {
            return;
        }
        if !self.away.contains(&worker) {
            self.away.push(worker);
            // Whoever runs the workers tells the router that there will be a new life.
            let epoch = self.stations[worker.index()].replica.cache().device().epoch();
            self.signals.send(worker, Letter::Restarted(epoch), self.now);
        }
        let at = self.now;
        let stuck = core::mem::take(&mut self.stations[worker.index()].stuck);
        self.events.extend(stuck.into_iter().map(|request| Event::Lost { request, worker, at }));
    }

    /// `worker` takes no more requests. Where it has none, it is gone; else it is when the last has ended.
    pub fn drain(&mut self, worker: WorkerId) {
        match self.presence(worker) {
            Presence::Up => {
                self.away.push(worker);
                self.stations[worker.index()].presence = Presence::Draining;
                self.tell(worker, Change::Draining);
                self.leave_if_drained(worker);
            }
            Presence::Down => {
                self.notice(worker);
                self.leave(worker);
            }
            Presence::Draining | Presence::Absent => {}
        }
    }

    /// `worker`, who drains, is not waited for any longer: what it has not ended is lost.
    pub fn cut_off(&mut self, worker: WorkerId) {
        if self.presence(worker) == Presence::Draining {
            self.die(worker);
            self.leave(worker);
        }
    }

    /// A request that was lost at `worker` is not sent again: what the router has reserved for it comes free.
    pub fn give_up(&mut self, request: RequestId, worker: WorkerId) {
        self.hear_what_is_immediate();
        self.router.observe(worker, Signal::Finished(request), self.now, self.now);
    }

    /// From its next pass on, passes of `worker` take `permille` thousandths of what the cost model says.
    pub fn pace(&mut self, worker: WorkerId, permille: u32) {
        self.stations[worker.index()].permille = permille;
        self.cut_stretch(worker);
        self.tell(worker, Change::Paced(permille));
    }

    pub(super) fn leave_if_drained(&mut self, worker: WorkerId) {
        let station = &self.stations[worker.index()];
        let idle = station.replica.live() == 0 && station.line.is_empty();
        if station.presence == Presence::Draining && idle {
            // Nothing is lost with it but what is cached.
            let (_, gone) = self.lose_process(worker, Replica::die);
            debug_assert!(gone.is_empty(), "an idle worker has no request");
            self.leave(worker);
        }
    }

    fn leave(&mut self, worker: WorkerId) {
        let station = &mut self.stations[worker.index()];
        (station.presence, station.permille) = (Presence::Absent, USUAL);
        self.hear_what_is_immediate();
        self.router.forget(worker);
        self.tell(worker, Change::Left);
    }

    fn tell(&mut self, worker: WorkerId, change: Change) {
        self.events.push_back(Event::Worker { worker, change, at: self.now });
    }

    /// Whether nobody answers at `worker`; then `request`, which is sent there, waits for somebody to notice.
    pub(super) fn is_stuck(&mut self, worker: WorkerId, request: RequestId) -> bool {
        let station = &mut self.stations[worker.index()];
        let dead = matches!(station.presence, Presence::Down | Presence::Absent);
        if dead {
            station.stuck.push(request);
        }
        dead
    }
}

/// A cost model whose passes take so many thousandths of what they should.
pub(super) struct Paced<'a> {
    pub(super) model: &'a dyn CostModel,
    pub(super) permille: u32,
}

/// Neither faster nor slower.
pub(super) const USUAL: u32 = 1000;

impl CostModel for Paced<'_> {
    fn segment(&self, shape: &Shape) -> Segment {
        let segment = self.model.segment(shape);
        let paced = |span: Span| Span((u128::from(span.0) * u128::from(self.permille) / u128::from(USUAL)) as u64);
        Segment { base: paced(segment.base), slope: paced(segment.slope), ..segment }
    }
}
