//! Virtual time: a workload through a cluster, as fast as it goes.

use crate::cluster::{Arrival, Cluster, Event};
use crate::ledger::Ledger;
use crate::pacer::Pacer;
use crate::transport::{Moved, Transport};
use crate::workload::{Pacing, Workload};
use core::fmt;
use kvcache::{ChainBuilder, RequestId, Span, Time};
use router::Api;

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

/// Sends `workload` through `cluster` and keeps the books, until everything has ended. `look` sees every event.
///
/// # Errors
/// Where something would happen beyond the horizon.
pub fn simulate(
    workload: &Workload,
    cluster: &mut Cluster,
    path: Path,
    mut look: impl FnMut(&Event),
) -> Result<Ledger, BeyondHorizon> {
    let last = workload.requests().last().map_or(Time::ZERO, |request| request.at);
    if last.0.checked_add(path.latency.0).is_none_or(|at| at > HORIZON.0) {
        return Err(BeyondHorizon);
    }

    let workers = cluster.replicas().count() as u16;
    let mut run = Run {
        workload,
        path,
        ledger: Ledger::new(workers, workload.requests().len()),
        chain: ChainBuilder::new(),
        pacer: Pacer::new(workload, path.latency),
        moved: Moved::default(),
    };
    run.ledger.set_tiers(cluster.lower_tiers());
    match workload.pacing() {
        Pacing::Open => run.open(cluster, &mut look)?,
        Pacing::Closed { .. } | Pacing::Turns => run.closed(cluster, &mut look)?,
    }
    run.ledger.close(cluster.now());
    run.ledger.set_moved(run.moved);
    run.ledger.set_tier_events(cluster.tier_events());
    run.ledger.set_order(run.pacer.into_order());
    Ok(run.ledger)
}

struct Run<'a> {
    workload: &'a Workload,
    path: Path,
    ledger: Ledger,
    chain: ChainBuilder,
    pacer: Pacer<'a>,
    moved: Moved, // when the latest request ended
}

impl Run<'_> {
    fn open(&mut self, cluster: &mut Cluster, look: &mut impl FnMut(&Event)) -> Result<(), BeyondHorizon> {
        for index in 0..self.workload.requests().len() {
            let sent = self.workload.requests()[index].at;
            cluster.advance(sent + self.path.latency);
            self.enter_events(cluster, look);
            self.deliver(index, sent, cluster);
        }
        self.enter_events(cluster, look);
        while let Some(at) = cluster.next_due() {
            within_horizon(at)?;
            cluster.advance(at);
            self.enter_events(cluster, look);
        }
        Ok(())
    }

    fn closed(&mut self, cluster: &mut Cluster, look: &mut impl FnMut(&Event)) -> Result<(), BeyondHorizon> {
        loop {
            let (arrival, due) = (self.pacer.first(), cluster.next_due());
            within_horizon(cluster.now())?;
            match (arrival, due) {
                (Some((at, index)), due) if due.is_none_or(|due| at < due) => {
                    within_horizon(at)?;
                    cluster.advance(at);
                    self.pacer.arrives();
                    self.deliver(index, Time(at.0 - self.path.latency.0), cluster);
                }
                (_, Some(due)) => cluster.advance(due),
                (_, None) => return Ok(()),
            }
            self.enter_events(cluster, look);
        }
    }

    fn deliver(&mut self, index: usize, sent: Time, cluster: &mut Cluster) {
        let request = &self.workload.requests()[index];
        self.workload.chain(request, &mut self.chain);
        let id = RequestId(self.ledger.records().len() as u64);
        self.ledger.arrived(id, sent, cluster.now(), request.prompt, request.output);
        cluster.arrive(&Arrival {
            request: id,
            session: request.session.filter(|_| self.path.names_session),
            pieces: self.chain.pieces(),
            prompt: request.prompt,
            output: request.output,
            api: self.path.api,
        });
    }

    fn enter_events(&mut self, cluster: &mut Cluster, look: &mut impl FnMut(&Event)) {
        while let Some(event) = cluster.poll() {
            look(&event);
            self.ledger.enter(&event, cluster.now());
            if let Some(request) = ended(&event) {
                self.moved = cluster.transport().map_or(self.moved, Transport::moved);
                let sent = self.ledger.records()[request.0 as usize].sent;
                self.pacer.ended(request, sent, cluster.now());
            }
        }
    }
}

fn within_horizon(at: Time) -> Result<(), BeyondHorizon> {
    if at > HORIZON { Err(BeyondHorizon) } else { Ok(()) }
}

/// The request that an event ends.
fn ended(event: &Event) -> Option<RequestId> {
    use crate::replica::Output::{Cancelled, Finished};
    match event {
        Event::Refused { request, .. } => Some(*request),
        Event::Output { output: Finished { request, .. } | Cancelled { request, .. }, .. } => Some(*request),
        Event::Output { .. }
        | Event::Routed { .. }
        | Event::Ran { .. }
        | Event::Stalled { .. }
        | Event::Restarted { .. } => None,
    }
}
