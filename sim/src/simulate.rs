//! Virtual time: a workload through a cluster, as fast as it goes.

use crate::cluster::{Arrival, Cluster, Event};
use crate::extent::Extent;
use crate::fleet::Fleet;
use crate::ledger::{Ledger, TierEvents};
use crate::pacer::Pacer;
use crate::transport::{Moved, Transport};
use crate::workload::{Pacing, Workload};
use core::fmt;
use kvcache::{ChainBuilder, Piece, RequestId, Span, Time, Tokens};
use router::Api;

mod crew; // workers that come and go

use crew::Crew;

/// The last moment a run may reach: 100 days, so that the longest stretch begun before it ends within 64 bits.
pub const HORIZON: Time = Time(100 * 86_400 * 1_000_000_000_000);

/// A run that would last beyond [`HORIZON`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BeyondHorizon;

impl fmt::Display for BeyondHorizon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the run reaches beyond the 100 days that it may last")
    }
}

impl core::error::Error for BeyondHorizon {}

/// What the path to the cluster is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Path {
    /// Pure latency between client and router, both ways together: it is in every TTFT and takes no capacity.
    pub latency: Span,
    /// Which API requests come through.
    pub api: Api,
    /// Whether a request names its session where the router looks for it (`SESSION_KEY`).
    pub names_session: bool,
}

/// Who sees what happens in a run, and executes what its cluster hands out ([`Cluster::with_external_passes`]).
pub trait Shell {
    /// A request is about to reach the router; its reply is the last of `pieces`, behind `prompt`.
    fn arrives(&mut self, request: RequestId, pieces: &[Piece], prompt: Tokens);

    /// Something happened in `cluster`. A pass that is to be executed is answered by [`Cluster::lasted`].
    fn hear(&mut self, event: &Event, cluster: &mut Cluster);
}

/// One that looks on.
struct Onlooker<F>(F);

impl<F: FnMut(&Event)> Shell for Onlooker<F> {
    fn arrives(&mut self, _: RequestId, _: &[Piece], _: Tokens) {}

    fn hear(&mut self, event: &Event, _: &mut Cluster) {
        (self.0)(event);
    }
}

/// Sends `workload` through `cluster` and keeps the books, until everything has ended. `look` sees every event.
///
/// # Errors
/// Where something would happen beyond the horizon.
pub fn simulate(
    workload: &Workload,
    cluster: &mut Cluster,
    path: Path,
    look: impl FnMut(&Event),
) -> Result<Ledger, BeyondHorizon> {
    simulate_within(workload, cluster, None, path, Extent::default(), look)
}

/// The same, of an extent, and of a cluster whose workers come and go as `fleet` has it. What is planned for after the last
/// request has ended does not happen.
///
/// # Errors
/// As [`simulate`].
pub fn simulate_within(
    workload: &Workload,
    cluster: &mut Cluster,
    fleet: Option<&mut Fleet>,
    path: Path,
    extent: Extent,
    look: impl FnMut(&Event),
) -> Result<Ledger, BeyondHorizon> {
    simulate_executed(workload, cluster, fleet, path, extent, &mut Onlooker(look))
}

/// The same, of a cluster that hands out what is to be executed: `shell` says how long it lasted.
///
/// # Errors
/// As [`simulate`].
pub fn simulate_executed(
    workload: &Workload,
    cluster: &mut Cluster,
    fleet: Option<&mut Fleet>,
    path: Path,
    extent: Extent,
    shell: &mut impl Shell,
) -> Result<Ledger, BeyondHorizon> {
    let last = workload.requests().last().map_or(Time::ZERO, |request| request.at);
    if last.0.checked_add(path.latency.0).is_none_or(|at| at > HORIZON.0) {
        return Err(BeyondHorizon);
    }

    let workers = cluster.replicas().count() as u16;
    let present = cluster.replicas_there().count() as u16;
    let mut run = Run {
        workload,
        path,
        ledger: Ledger::new(workers, workload.requests().len()).with_present(present),
        crew: fleet.map(Crew::new),
        chain: ChainBuilder::new(),
        pacer: Pacer::new(workload, path.latency, &extent),
        moved: Moved::default(),
        before: (Moved::default(), TierEvents::default()),
    };
    run.ledger.set_warmup(extent.warmup);
    run.ledger.set_tiers(cluster.lower_tiers());
    match workload.pacing() {
        Pacing::Open => run.open(cluster, shell)?,
        Pacing::Closed { .. } | Pacing::Turns => run.closed(cluster, shell)?,
    }
    run.ledger.close(cluster.now());
    let (moved, events) = run.before;
    run.ledger.set_moved(run.moved - moved);
    run.ledger.set_tier_events(cluster.tier_events() - events);
    run.ledger.set_held(cluster.held());
    run.ledger.set_order(run.pacer.into_order());
    Ok(run.ledger)
}

struct Run<'a> {
    workload: &'a Workload,
    path: Path,
    ledger: Ledger,
    crew: Option<Crew<'a>>,
    chain: ChainBuilder,
    pacer: Pacer<'a>,
    moved: Moved,                // when the latest request ended
    before: (Moved, TierEvents), // when the first measured request arrived
}

impl Run<'_> {
    fn open(&mut self, cluster: &mut Cluster, shell: &mut impl Shell) -> Result<(), BeyondHorizon> {
        for index in 0..self.workload.requests().len() {
            let sent = self.workload.requests()[index].at;
            self.live_until(sent + self.path.latency, cluster, shell);
            cluster.advance(sent + self.path.latency);
            self.enter_events(cluster, shell);
            self.deliver(index, sent, cluster, shell);
        }
        self.enter_events(cluster, shell);
        while let Some(at) = self.next_due(cluster) {
            within_horizon(at)?;
            self.live_until(at, cluster, shell);
            cluster.advance(at);
            self.enter_events(cluster, shell);
        }
        Ok(())
    }

    fn closed(&mut self, cluster: &mut Cluster, shell: &mut impl Shell) -> Result<(), BeyondHorizon> {
        loop {
            let due = self.next_due(cluster);
            self.pacer.start_by(due);
            let arrival = self.pacer.first();
            within_horizon(cluster.now())?;
            match (arrival, due) {
                (Some((at, index)), due) if due.is_none_or(|due| at < due) => {
                    within_horizon(at)?;
                    if self.live_until(at, cluster, shell) {
                        continue; // somebody else may come first now
                    }
                    cluster.advance(at);
                    self.pacer.arrives();
                    self.deliver(index, Time(at.0 - self.path.latency.0), cluster, shell);
                }
                (_, Some(due)) => {
                    self.live_until(due, cluster, shell);
                    cluster.advance(due);
                }
                (_, None) => return Ok(()),
            }
            self.enter_events(cluster, shell);
        }
    }

    fn deliver(&mut self, index: usize, sent: Time, cluster: &mut Cluster, shell: &mut impl Shell) {
        let request = &self.workload.requests()[index];
        let id = RequestId(self.ledger.records().len() as u64);
        if self.ledger.arrived(id, sent, cluster.now(), request.prompt, request.output) && id.0 > 0 {
            self.before = (cluster.transport().map(Transport::moved).unwrap_or_default(), cluster.tier_events());
            cluster.forget_held();
        }
        if let Some(crew) = &mut self.crew {
            crew.sent.push(index as u32);
        }
        self.arrive(id, index, cluster, shell);
    }

    /// A request reaches the router, for the first time or again.
    fn arrive(&mut self, id: RequestId, index: usize, cluster: &mut Cluster, shell: &mut impl Shell) {
        let request = &self.workload.requests()[index];
        self.workload.chain(request, &mut self.chain);
        shell.arrives(id, self.chain.pieces(), request.prompt);
        cluster.arrive(&Arrival {
            request: id,
            session: request.session.filter(|_| self.path.names_session),
            pieces: self.chain.pieces(),
            prompt: request.prompt,
            output: request.output,
            api: self.path.api,
        });
    }

    fn enter_events(&mut self, cluster: &mut Cluster, shell: &mut impl Shell) {
        while let Some(event) = cluster.poll() {
            shell.hear(&event, cluster);
            self.ledger.enter(&event, cluster.now());
            let ended = if self.crew.is_some() { self.fails(&event, cluster, shell) } else { None };
            if let Some(request) = ended.or_else(|| ends(&event)) {
                self.moved = cluster.transport().map_or(self.moved, Transport::moved);
                let sent = self.ledger.records()[request.0 as usize].sent;
                match event {
                    Event::Refused { refusal, .. } if refusal.may_pass() => {
                        self.pacer.turned_away(request, sent, cluster.now());
                    }
                    _ => self.pacer.ended(request, sent, cluster.now()),
                }
            }
        }
    }
}

fn within_horizon(at: Time) -> Result<(), BeyondHorizon> {
    if at > HORIZON { Err(BeyondHorizon) } else { Ok(()) }
}

/// The request that an event ends.
fn ends(event: &Event) -> Option<RequestId> {
    use crate::replica::Output::{Cancelled, Finished};
    match event {
        Event::Refused { request, .. } => Some(*request),
        Event::Output { output: Finished { request, .. } | Cancelled { request, .. }, .. } => Some(*request),
        Event::Output { .. }
        | Event::Routed { .. }
        | Event::Ran { .. }
        | Event::Cache { .. }
        | Event::Started { .. }
        | Event::Move(_)
        | Event::Moved { .. }
        | Event::Shelved { .. }
        | Event::LetGo { .. }
        | Event::Stalled { .. }
        | Event::Restarted { .. }
        | Event::Worker { .. }
        | Event::Lost { .. } => None,
    }
}
