//! Workers behind a router, told the time.
//!
//! The machine that both shells drive: `simulate` tells it times as fast as it can, `emulate` tells it the wall clock's.
//! It never learns which. A pass ends at the moment its cost model says, however late the shell comes to tell the time.

use crate::cost::CostModel;
use crate::executor::Stretch;
use crate::ledger::LowerTiers;
use crate::replica::{EngineConfig, InvalidEngine, Pass, Replica, Stall};
use crate::transport::{Transport, TransportConfig};
use alloc::boxed::Box;
use alloc::collections::{BTreeSet, VecDeque};
use alloc::vec::Vec;
use kvcache::{Chain, Piece, RequestId, Span, Time, Tokens, WorkerId};
use router::{Forecast, NoWorker, RouteRequest, Router, Signal};

mod agenda; // what will happen when
mod events; // what goes in and comes out
mod moves; // what moves between tiers, and who stands still for it
mod signals; // what the router hears, and when
mod collect; // what workers have to tell, passed on
mod overlap; // what it could have known
mod external; // passes that somebody else executes, and bytes that somebody else carries
mod restart; // a worker's process dies and is back at once
mod members; // workers that come and go
mod limits; // how many requests a worker lets in
mod held; // what requests hold of the devices
mod check; // the laws of all workers

use agenda::{Agenda, Due};
pub use events::{Arrival, Event, Refusal};
use limits::InLine;
pub use limits::RequestLimits;
pub use members::{Change, Presence};
use members::{Paced, USUAL};
pub use overlap::Overlap;
use signals::Signals;

#[derive(Debug)]
struct Station {
    replica: Replica,
    stretch: Option<Stretch>,
    /// The pass under way, where somebody else executes it and has not said yet how long it lasted.
    handed: Option<Pass>,
    /// Passes of the stretch that the replica was told of.
    told: u64,
    /// Whether the stretch evicts on its way: an index elsewhere has to hear of that before it ends.
    evicts: bool,
    plan: u64,
    /// Since when its engine has been free.
    free_since: Time,
    /// Why it stands still, and since when.
    stalled: Option<(Stall, Time)>,
    /// Since when its pass, all computed, has waited for its loads or stores.
    late_since: Option<Time>,
    presence: Presence,
    /// Thousandths of what they should take that its passes take.
    permille: u32,
    /// Requests that were sent to its process, which is dead, and that nobody has missed yet.
    stuck: Vec<RequestId>,
    /// Requests that its engine has, and those that wait before it, where that is limited.
    inside: u32,
    line: VecDeque<InLine>,
    /// What requests hold of its device.
    level: held::Level,
    /// Changes of its cache of which the router will hear: a signal is under way.
    telling: usize,
}

/// The cluster.
pub struct Cluster {
    router: Router,
    stations: Vec<Station>,
    model: Box<dyn CostModel>,
    transport: Option<Transport>,
    block: Tokens,
    record_work: bool,
    agenda: Agenda,
    starting: Vec<WorkerId>,              // engines that are free and may have something to do
    restarts: BTreeSet<(Time, WorkerId)>, // to come
    away: Vec<WorkerId>,                  // whom the router does not choose
    limits: Option<RequestLimits>,
    arrivals: u64,
    now: Time,
    events: VecDeque<Event>,
    signals: Signals,
    audits: bool,
    /// Somebody else executes passes.
    external: bool,
    /// Whoever drives it is told what its workers' caches hold.
    tells_caches: bool,
    held: held::Watch,
    /// When stretches were last told of up to the present moment.
    caught_up: Option<Time>,
}

impl core::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Cluster").field("now", &self.now).field("workers", &self.stations.len()).finish_non_exhaustive()
    }
}

impl Cluster {
    /// `workers` idle workers of one kind behind `router`. `transport` is what their lower tiers are reached by.
    ///
    /// # Errors
    /// Where the engine's settings contradict each other.
    ///
    /// # Panics
    /// Where the engine has lower tiers, or an L2, and the transport has none.
    pub fn new(
        workers: u16,
        engine: EngineConfig,
        router: Router,
        model: Box<dyn CostModel>,
        transport: Option<TransportConfig>,
    ) -> Result<Self, InvalidEngine> {
        assert!(engine.tiers.is_none() || transport.is_some(), "what is below the device must be reached somehow");
        let wants_pool = engine.tiers.is_some_and(|tiers| tiers.pool);
        assert!(!wants_pool || transport.is_some_and(|ways| ways.pool.is_some()), "an L2 must be reached somehow");
        let mut engine = engine;
        engine.cache.events = router.listens_to_cache();
        let follows_strands = router.follows_strands();
        let station = || {
            let mut replica = Replica::new(engine)?;
            replica.tell_by_strand(follows_strands);
            Ok(Station {
                replica,
                stretch: None,
                handed: None,
                told: 0,
                evicts: false,
                plan: 0,
                free_since: Time::ZERO,
                stalled: None,
                late_since: None,
                presence: Presence::Up,
                permille: USUAL,
                stuck: Vec::new(),
                inside: 0,
                line: VecDeque::new(),
                level: held::Level::default(),
                telling: 0,
            })
        };
        Ok(Self {
            router,
            stations: (0..workers).map(|_| station()).collect::<Result<_, InvalidEngine>>()?,
            model,
            transport: engine.tiers.and(transport).map(|config| Transport::new(config, workers)),
            block: engine.cache.block,
            record_work: engine.record_work,
            agenda: Agenda::default(),
            starting: Vec::new(),
            restarts: BTreeSet::new(),
            away: Vec::new(),
            limits: None,
            arrivals: 0,
            now: Time::ZERO,
            events: VecDeque::new(),
            signals: Signals::default(),
            audits: false,
            external: false,
            tells_caches: false,
            held: held::Watch::default(),
            caught_up: None,
        })
    }

    /// The same cluster, of which the router hears everything `lag` later. (Its own decisions it knows at once.)
    #[must_use]
    pub fn with_signal_lag(mut self, lag: Span) -> Self {
        self.signals = Signals::new(lag);
        // What left a worker at one moment is not to be heard with what left it at another.
        let tell_by_strand = self.signals.are_immediate() && self.router.follows_strands() && !self.tells_caches;
        for station in &mut self.stations {
            station.replica.tell_by_strand(tell_by_strand);
        }
        self
    }

    /// The same cluster, whose router is told what the workers' work takes.
    #[must_use]
    pub fn with_forecast(mut self, forecast: Forecast) -> Self {
        for worker in (0..self.stations.len() as u16).map(WorkerId) {
            self.router.observe(worker, Signal::Forecast(forecast), Time::ZERO, Time::ZERO);
        }
        self
    }

    /// The same cluster; at each decision it looks what workers really have of the prompt. O(workers) for each.
    #[must_use]
    pub fn with_audit(mut self) -> Self {
        self.audits = true;
        self
    }

    /// The router.
    #[must_use]
    pub const fn router(&self) -> &Router {
        &self.router
    }

    /// The latest moment it was told.
    #[must_use]
    pub const fn now(&self) -> Time {
        self.now
    }

    /// Its workers' engines, in order.
    pub fn replicas(&self) -> impl Iterator<Item = &Replica> {
        self.stations.iter().map(|station| &station.replica)
    }

    /// Which lower tiers its workers have.
    #[must_use]
    pub fn lower_tiers(&self) -> LowerTiers {
        let tiers = self.stations.first().and_then(|station| station.replica.cache().tiers());
        tiers.map_or_else(LowerTiers::default, |tiers| LowerTiers { l1: tiers.host.is_some(), l2: tiers.pool })
    }

    /// The ways between the tiers, where there are lower ones.
    #[must_use]
    pub const fn transport(&self) -> Option<&Transport> {
        self.transport.as_ref()
    }

    /// The same, to cut one or take something away.
    pub const fn transport_mut(&mut self) -> Option<&mut Transport> {
        self.transport.as_mut()
    }

    /// The next event that nobody was told of yet.
    pub fn poll(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When something happens by itself next.
    pub fn next_due(&mut self) -> Option<Time> {
        if !self.starting.is_empty() {
            // Passes start once all who arrive at this moment are here, that is when time moves on.
            return Some(Time(self.now.0 + 1));
        }
        let pass = self.earliest().map(|due| due.at);
        let move_ends = self.transport.as_mut().and_then(Transport::due);
        let restart = self.restarts.first().map(|(at, _)| *at);
        [pass, move_ends, restart].into_iter().flatten().min()
    }

    fn earliest(&mut self) -> Option<Due> {
        let stations = &self.stations;
        self.agenda.earliest(|due| {
            let station = &stations[due.worker.index()];
            station.stretch.is_some() && station.plan == due.plan
        })
    }

    /// Time moves on to `to`: passes that end by then end, and passes that start before then start.
    ///
    /// # Panics
    /// Where `to` lies in the past.
    pub fn advance(&mut self, to: Time) {
        assert!(to >= self.now, "time ran backwards");
        while let Some((at, worker)) = self.restarts.first().copied().filter(|(at, _)| *at <= to) {
            self.restarts.pop_first();
            self.advance_undisturbed(at);
            self.restart(worker);
        }
        self.advance_undisturbed(to);
        self.hear_what_is_immediate();
    }

    fn advance_undisturbed(&mut self, to: Time) {
        loop {
            let next = self.earliest();
            let first = next.map_or(to, |due| due.at.min(to));
            // Passes start once all that ends at this moment has ended.
            let until = if self.starting.is_empty() { first } else { self.now };
            if self.transport.is_some() && self.end_moves(until) {
                continue;
            }
            let nothing_more_now = next.is_none_or(|due| due.at > self.now);
            if !self.starting.is_empty() && nothing_more_now && to > self.now {
                self.start_passes();
                continue;
            }
            match next {
                Some(due) if due.at <= to => {
                    self.now = due.at;
                    self.agenda.remove_earliest();
                    self.end_pass(due.worker);
                }
                _ => break,
            }
        }
        self.now = to;
    }

    /// A request reaches the router at the present moment.
    pub fn arrive(&mut self, arrival: &Arrival<'_>) {
        let (request, at) = (arrival.request, self.now);
        self.arrivals += 1;
        if self.router.listens_to_cache() || self.tells_caches || self.audits {
            self.catch_up();
        }
        self.signals.deliver(&mut self.router, &mut self.stations, at);
        let prompt_pieces = &arrival.pieces[..arrival.pieces.partition_point(|piece| piece.end <= arrival.prompt)];
        let asked = RouteRequest {
            request,
            session: arrival.session,
            chain: Chain::new(prompt_pieces, self.block),
            api: arrival.api,
        };
        let decision = match self.router.route(&asked, &self.away, at) {
            Ok(decision) => decision,
            Err(NoWorker { .. }) => {
                self.events.push_back(Event::Refused { request, refusal: Refusal::NoWorker, at });
                return;
            }
        };
        let worker = decision.worker;
        let overlap = self.audits.then(|| self.overlap(asked.chain, worker));
        self.events.push_back(Event::Routed { request, decision, overlap, at });
        self.hand_over(worker, arrival);
    }

    fn hand_over(&mut self, worker: WorkerId, arrival: &Arrival<'_>) {
        if self.is_stuck(worker, arrival.request) || self.stays_outside(worker, arrival) {
            return;
        }
        self.submit(worker, arrival.request, arrival.pieces, arrival.prompt, arrival.output);
    }

    /// A request reaches the engine of `worker`.
    fn submit(&mut self, worker: WorkerId, request: RequestId, pieces: &[Piece], prompt: Tokens, output: Tokens) {
        let now = self.now;
        if self.transport.is_some() {
            // It may be looked up at once, ahead of its turn.
            self.catch_up_with(worker);
        }
        let station = &mut self.stations[worker.index()];
        let matters = station.replica.would_look_at_arrival();
        if let Err(refused) = station.replica.submit(request, pieces, prompt, output, now) {
            self.refuse(worker, request, Refusal::Worker(refused));
            if self.limits.is_some() {
                self.let_in(worker);
            }
            return;
        }
        if matters {
            self.cut_stretch(worker);
        }
        self.wake(worker);
        if self.transport.is_some() {
            self.collect(worker);
        }
    }

    /// An engine that is free tries to start: something has changed that it may have waited for.
    fn wake(&mut self, worker: WorkerId) {
        if self.stations[worker.index()].stretch.is_none() && !self.starting.contains(&worker) {
            self.starting.push(worker);
        }
    }

    /// The engine is to plan anew as soon as the pass under way has ended.
    fn cut_stretch(&mut self, worker: WorkerId) {
        let now = self.now;
        let station = &mut self.stations[worker.index()];
        let Some(stretch) = &mut station.stretch else { return };
        let passes = stretch.passes_until(now);
        if passes < stretch.passes {
            stretch.passes = passes;
            station.plan += 1;
            self.agenda.add(Due { at: stretch.ends(), worker, plan: station.plan });
        }
    }

    /// The client of `request` went away; `worker` is who serves it.
    pub fn cancel(&mut self, worker: WorkerId, request: RequestId) {
        if self.leave_line(worker, request) {
            return;
        }
        if !self.stations[worker.index()].replica.cancel(request) {
            return;
        }
        self.cut_stretch(worker);
        self.wake(worker);
        self.collect(worker);
    }

    /// Lets an index elsewhere hear of what stretches under way have evicted by now.
    fn catch_up(&mut self) {
        if self.caught_up == Some(self.now) {
            // Passes start when time moves on.
            return;
        }
        self.caught_up = Some(self.now);
        for index in 0..self.stations.len() {
            let (worker, now) = (WorkerId(index as u16), self.now);
            let station = &self.stations[index];
            let Some(stretch) = station.stretch.as_ref().filter(|_| station.evicts) else { continue };
            let behind = stretch.passes_started(now) - station.told;
            if behind > 0 && station.replica.repeats_evict(behind) {
                self.catch_up_with(worker);
                self.collect(worker);
            }
        }
    }

    /// The replica hears of all passes of the stretch under way that have started by now.
    fn catch_up_with(&mut self, worker: WorkerId) {
        if let Some(stretch) = &self.stations[worker.index()].stretch {
            self.tell_passes(worker, stretch.passes_started(self.now));
        }
    }

    fn start_passes(&mut self) {
        self.starting.sort_unstable();
        let mut starting = core::mem::take(&mut self.starting);
        for worker in starting.drain(..) {
            let station = &mut self.stations[worker.index()];
            let started = station.replica.start(self.now);
            if self.transport.is_some() {
                self.stands_still(worker, self.stations[worker.index()].replica.stall());
            }
            let station = &mut self.stations[worker.index()];
            if let Some(pass) = started {
                let mut stretch = match station.permille {
                    _ if self.external => Stretch::unknown(&pass, self.now),
                    USUAL => Stretch::begin(&*self.model, &pass, self.now),
                    permille => Stretch::begin(&Paced { model: &*self.model, permille }, &pass, self.now),
                };
                if stretch.steady > 0 {
                    stretch.waited = self.now.since(station.free_since);
                }
                station.stretch = Some(stretch);
                station.told = 1;
                station.evicts = station.replica.repeats_evict(stretch.passes - 1);
                station.plan += 1;
                if !self.external {
                    self.agenda.add(Due { at: stretch.ends(), worker, plan: station.plan });
                }
                self.look_at_held(worker);
            }
            self.collect(worker);
            if let (Some(pass), true) = (started, self.external) {
                self.hand_out(worker, pass);
            }
        }
        self.starting = starting;
    }

    fn end_pass(&mut self, worker: WorkerId) {
        let passes = self.stations[worker.index()].stretch.map_or(0, |stretch| stretch.passes);
        self.tell_passes(worker, passes);
        if self.transport.is_some() && self.is_late(worker) {
            return;
        }
        let station = &mut self.stations[worker.index()];
        let stretch = station.stretch.take().expect("a due entry belongs to a stretch");
        station.free_since = self.now;
        let recorded = if self.record_work { station.replica.work() } else { None };
        let work = recorded.map(|(work, _)| Box::new(work.clone()));
        self.events.push_back(Event::Ran { worker, stretch, work });
        station.replica.ended(self.now);
        self.starting.push(worker);
        self.collect(worker);
    }

    /// So many requests have ended at `worker`.
    fn have_left(&mut self, worker: WorkerId, requests: u32) {
        let died = matches!(self.stations[worker.index()].presence, Presence::Down | Presence::Absent);
        if self.limits.is_some() && !died {
            for _ in 0..requests {
                self.let_in(worker);
            }
        }
        self.leave_if_drained(worker);
    }
}
