//! The fleet: what befalls workers and the pool according to a schedule, and how many workers there should be.
//!
//! A machine beside the [`Cluster`]: it has a deadline, and acts on the cluster when that has come. At one instant it acts in
//! the order in which what it does was planned, the schedule's events first, in the order of the list.

use crate::cluster::{Change, Cluster, Event, Presence};
use crate::transport::{Reach, Transport};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use kvcache::{Span, Time, WorkerId};

mod autoscaler; // how many workers the metrics ask for
mod metric; // what it looks at

pub use autoscaler::{Autoscaler, AutoscalerConfig, SYNC, TOLERANCE, Trigger};
pub use metric::{Counts, Metric};

/// Something that is planned to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Planned {
    /// When.
    pub at: Time,
    /// What.
    pub what: What,
}

/// What can befall a fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// A worker's process dies, and is there again after a while, cold.
    Crash {
        /// Which.
        worker: WorkerId,
        /// For how long it is not there. `None`: as long as a new worker takes.
        lasts: Option<Span>,
    },
    /// There should be so many workers.
    Replicas(u16),
    /// Passes of a worker take so many thousandths of what they should.
    Slow {
        /// Which.
        worker: WorkerId,
        /// Thousandths.
        permille: u32,
        /// For how long. `None`: to the end.
        lasts: Option<Span>,
    },
    /// L2 cannot be reached.
    PoolOut {
        /// How it does not answer.
        reach: Reach,
        /// For how long. `None`: to the end.
        lasts: Option<Span>,
    },
    /// A shard of L2 is lost with all that was on it.
    ShardLost {
        /// Which.
        shard: u16,
        /// For how long it gets nothing new. `None`: to the end.
        lasts: Option<Span>,
    },
}

/// Why something planned did not happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missed {
    /// The worker that it was about was not there: down already, or not one of them.
    Nobody,
    /// All requests had ended before.
    TooLate,
}

/// How a fleet lives.
#[derive(Clone, Debug, PartialEq)]
pub struct FleetConfig {
    /// Workers at the start.
    pub replicas: u16,
    /// From the order of a worker until it takes requests.
    pub startup: Span,
    /// How long one that is to go may work on what it has.
    pub grace: Span,
    /// How long nobody notices that a process has died.
    pub detect: Span,
    /// How often a request whose worker dies before its first token is sent again.
    pub retries: u32,
    /// What befalls it, in order of time.
    pub schedule: Vec<Planned>,
    /// Who decides how many workers there should be, other than the schedule.
    pub autoscaler: Option<AutoscalerConfig>,
}

impl FleetConfig {
    /// The most workers that there can ever be, at least 1.
    #[must_use]
    pub fn capacity(&self) -> u16 {
        let planned = self.schedule.iter().filter_map(|planned| match planned.what {
            What::Replicas(replicas) => Some(replicas),
            _ => None,
        });
        let scaled = self.autoscaler.iter().map(|scaler| scaler.max);
        planned.chain(scaled).fold(self.replicas.max(1), u16::max)
    }

    /// Whether nothing ever happens to it.
    #[must_use]
    pub fn is_static(&self) -> bool {
        self.schedule.is_empty() && self.autoscaler.is_none()
    }
}

/// What is to be done when its time has come. The order of variants has no meaning: the numbers of steps decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Befall(usize),
    Notice(WorkerId),
    Start(WorkerId),
    CutOff(WorkerId),
    UsualPace(WorkerId),
    PoolBack,
    ShardBack(u16),
    Scale,
}

/// The machine.
#[derive(Debug)]
pub struct Fleet {
    config: FleetConfig,
    steps: BTreeSet<(Time, u64, Step)>,
    planned: u64,
    wanted: u16,
    /// Whether a worker is wanted for which there is no room before another has left.
    short: bool,
    autoscaler: Option<Autoscaler>,
    /// When each worker took its first request, or will: the youngest goes first.
    begun: Vec<Time>,
    /// When each that is to go is not waited for any longer.
    cut_off: Vec<Time>,
    /// When each is as fast as ever again. Of events that overlap the latest counts, and ends when it says.
    slow_until: Vec<Option<Time>>,
    pool_out_until: Option<Time>,
    shards_lost_until: BTreeMap<u16, Option<Time>>,
    /// What has not become of each planned event.
    missed: Vec<Option<Missed>>,
}

impl Fleet {
    /// A fleet at the start of its life.
    #[must_use]
    pub fn new(config: FleetConfig) -> Self {
        let autoscaler = config.autoscaler.clone().map(|scaler| Autoscaler::new(scaler, config.replicas));
        let mut fleet = Self {
            steps: BTreeSet::new(),
            planned: 0,
            wanted: config.replicas,
            short: false,
            autoscaler,
            begun: alloc::vec![Time::ZERO; usize::from(config.capacity())],
            cut_off: alloc::vec![Time::ZERO; usize::from(config.capacity())],
            slow_until: alloc::vec![None; usize::from(config.capacity())],
            pool_out_until: None,
            shards_lost_until: BTreeMap::new(),
            missed: alloc::vec![Some(Missed::TooLate); config.schedule.len()],
            config,
        };
        for index in 0..fleet.config.schedule.len() {
            fleet.plan(fleet.config.schedule[index].at, Step::Befall(index));
        }
        if let Some(at) = fleet.autoscaler.as_ref().map(Autoscaler::deadline) {
            fleet.plan(at, Step::Scale);
        }
        fleet
    }

    /// How it lives.
    #[must_use]
    pub const fn config(&self) -> &FleetConfig {
        &self.config
    }

    /// What was planned and has not happened, in order of time.
    pub fn missed(&self) -> impl Iterator<Item = (&Planned, Missed)> {
        self.config.schedule.iter().zip(&self.missed).filter_map(|(planned, missed)| Some((planned, (*missed)?)))
    }

    fn plan(&mut self, at: Time, step: Step) {
        self.steps.insert((at, self.planned, step));
        self.planned += 1;
    }

    /// When [`Fleet::act`] has something to do.
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        self.steps.first().map(|(at, ..)| *at)
    }

    /// Does what is to be done by now: the time that `cluster` was told.
    pub fn act(&mut self, cluster: &mut Cluster) {
        let now = cluster.now();
        while let Some((_, _, step)) = self.steps.first().copied().filter(|(at, ..)| *at <= now) {
            self.steps.pop_first();
            self.take(step, cluster);
        }
    }

    fn take(&mut self, step: Step, cluster: &mut Cluster) {
        match step {
            Step::Befall(index) => self.missed[index] = self.befall(self.config.schedule[index].what, cluster),
            Step::Notice(worker) => cluster.notice(worker),
            Step::Start(worker) => {
                // Who was scaled in meanwhile is not started.
                if cluster.presence(worker) == Presence::Down && self.begun[worker.index()] == cluster.now() {
                    cluster.start(worker);
                }
            }
            Step::CutOff(worker) => {
                // Another may have its number by now.
                if self.cut_off[worker.index()] == cluster.now() {
                    cluster.cut_off(worker);
                }
            }
            Step::UsualPace(worker) => {
                if self.slow_until[worker.index()] == Some(cluster.now()) {
                    cluster.pace(worker, 1000);
                }
            }
            Step::PoolBack => {
                if self.pool_out_until == Some(cluster.now()) {
                    set_reach(cluster, Reach::Up);
                }
            }
            Step::ShardBack(shard) => {
                if self.shards_lost_until.get(&shard) != Some(&Some(cluster.now())) {
                    return;
                }
                if let Some(pool) = cluster.transport_mut().and_then(Transport::pool_mut) {
                    pool.restore_shard(shard);
                }
            }
            Step::Scale => self.autoscale(cluster),
        }
    }

    /// Says why nothing happens, where that is so.
    fn befall(&mut self, what: What, cluster: &mut Cluster) -> Option<Missed> {
        let now = cluster.now();
        match what {
            What::Crash { worker, lasts } => {
                if !matches!(cluster.presence(worker), Presence::Up | Presence::Draining) {
                    return Some(Missed::Nobody);
                }
                self.crash(worker, lasts.unwrap_or(self.config.startup), cluster);
            }
            What::Replicas(replicas) => self.scale_to(replicas, cluster),
            What::Slow { worker, permille, lasts } => {
                if cluster.presence(worker) == Presence::Absent {
                    return Some(Missed::Nobody);
                }
                cluster.pace(worker, permille);
                self.slow_until[worker.index()] = lasts.map(|span| now + span);
                self.plan_after(now, lasts, Step::UsualPace(worker));
            }
            What::PoolOut { reach, lasts } => {
                set_reach(cluster, reach);
                self.pool_out_until = lasts.map(|span| now + span);
                self.plan_after(now, lasts, Step::PoolBack);
            }
            What::ShardLost { shard, lasts } => {
                if let Some(pool) = cluster.transport_mut().and_then(Transport::pool_mut) {
                    pool.lose_shard(shard, now);
                }
                self.shards_lost_until.insert(shard, lasts.map(|span| now + span));
                self.plan_after(now, lasts, Step::ShardBack(shard));
            }
        }
        None
    }

    fn plan_after(&mut self, now: Time, span: Option<Span>, step: Step) {
        if let Some(span) = span {
            self.plan(now + span, step);
        }
    }

    fn crash(&mut self, worker: WorkerId, lasts: Span, cluster: &mut Cluster) {
        let now = cluster.now();
        let goes = cluster.presence(worker) == Presence::Draining;
        cluster.die(worker);
        if goes {
            return cluster.drain(worker); // nobody starts it again
        }
        if lasts > self.config.detect {
            self.plan(now + self.config.detect, Step::Notice(worker));
        }
        self.begun[worker.index()] = now + lasts;
        self.plan(now + lasts, Step::Start(worker));
    }

    /// Whether a worker is wanted that waits for the place of one that has not left: whoever drives the cluster must not let time
    /// pass beyond that moment.
    #[must_use]
    pub const fn is_short(&self) -> bool {
        self.short
    }

    /// Takes note of what happened in the cluster.
    pub fn look(&mut self, event: &Event, cluster: &mut Cluster) {
        if let Event::Worker { change: Change::Left, .. } = event {
            // Somebody may have waited for its place.
            self.scale_to(self.wanted, cluster);
        }
    }

    fn autoscale(&mut self, cluster: &mut Cluster) {
        let Some(scaler) = &mut self.autoscaler else { return };
        let wanted = scaler.decide(self.wanted, &Counts::of(cluster), cluster.now());
        let next = scaler.deadline();
        self.plan(next, Step::Scale);
        if wanted != self.wanted {
            self.scale_to(wanted, cluster);
        }
    }

    /// From now on there should be so many workers. New ones are ordered where there is room; of those too many, who does not
    /// work yet goes first, then the youngest.
    fn scale_to(&mut self, wanted: u16, cluster: &mut Cluster) {
        self.wanted = wanted;
        let now = cluster.now();
        let mut members: Vec<WorkerId> = Vec::new();
        let mut absent: Vec<WorkerId> = Vec::new();
        for worker in (0..self.begun.len() as u16).map(WorkerId) {
            match cluster.presence(worker) {
                Presence::Up | Presence::Down => members.push(worker),
                Presence::Absent => absent.push(worker),
                Presence::Draining => {}
            }
        }
        let missing = usize::from(wanted).saturating_sub(members.len());
        self.short = missing > absent.len();
        for worker in absent.into_iter().take(missing) {
            cluster.order(worker);
            self.begun[worker.index()] = now + self.config.startup;
            self.plan(now + self.config.startup, Step::Start(worker));
        }
        members.sort_unstable_by_key(|worker| {
            (cluster.presence(*worker) == Presence::Up, core::cmp::Reverse((self.begun[worker.index()], *worker)))
        });
        let spare = members.len().saturating_sub(usize::from(wanted));
        for worker in members.into_iter().take(spare) {
            cluster.drain(worker);
            if cluster.presence(worker) == Presence::Draining {
                self.cut_off[worker.index()] = now + self.config.grace;
                self.plan(now + self.config.grace, Step::CutOff(worker));
            }
        }
    }
}

fn set_reach(cluster: &mut Cluster, reach: Reach) {
    if let Some(transport) = cluster.transport_mut() {
        transport.set_reach(reach);
    }
}
