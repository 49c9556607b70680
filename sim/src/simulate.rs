//! Virtual time: a workload through a cluster, as fast as it goes.

use crate::cluster::{Arrival, Cluster, Event};
use crate::ledger::Ledger;
use crate::workload::{Pacing, Workload};
use alloc::collections::BTreeSet;
use kvcache::{ChainBuilder, RequestId, Span, Time};
use router::Api;

/// What the path to the cluster is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Path {
    /// Pure latency between client and router, both ways together: it is in every TTFT and takes no capacity.
    pub latency: Span,
    /// Which API requests come through.
    pub api: Api,
}

/// Sends `workload` through `cluster` and keeps the books, until everything has ended. `look` sees every event.
pub fn simulate(workload: &Workload, cluster: &mut Cluster, path: Path, mut look: impl FnMut(&Event)) -> Ledger {
    let workers = cluster.replicas().count() as u16;
    let mut run = Run {
        workload,
        path,
        ledger: Ledger::new(workers, workload.requests().len()),
        chain: ChainBuilder::new(),
        sent: 0,
        due: BTreeSet::new(),
    };
    match workload.pacing() {
        Pacing::Open => run.open(cluster, &mut look),
        Pacing::Closed { concurrency } => run.closed(cluster, concurrency, &mut look),
    }
    run.ledger.close(cluster.now());
    run.ledger
}

struct Run<'a> {
    workload: &'a Workload,
    path: Path,
    ledger: Ledger,
    chain: ChainBuilder,
    sent: usize,
    due: BTreeSet<(Time, usize)>, // requests on their way to the router, under closed pacing
}

impl Run<'_> {
    fn open(&mut self, cluster: &mut Cluster, look: &mut impl FnMut(&Event)) {
        for index in 0..self.workload.requests().len() {
            let sent = self.workload.requests()[index].at;
            cluster.advance(sent + self.path.latency);
            self.enter_events(cluster, look);
            self.deliver(index, sent, cluster);
        }
        self.enter_events(cluster, look);
        while let Some(at) = cluster.next_due() {
            cluster.advance(at);
            self.enter_events(cluster, look);
        }
    }

    fn closed(&mut self, cluster: &mut Cluster, concurrency: u32, look: &mut impl FnMut(&Event)) {
        for _ in 0..concurrency {
            self.send_next(Time::ZERO);
        }
        loop {
            let (arrival, due) = (self.due.first().copied(), cluster.next_due());
            match (arrival, due) {
                (Some((at, index)), due) if due.is_none_or(|due| at < due) => {
                    cluster.advance(at);
                    self.due.pop_first();
                    self.deliver(index, Time(at.0 - self.path.latency.0), cluster);
                }
                (_, Some(due)) => cluster.advance(due),
                (_, None) => break,
            }
            self.enter_events(cluster, look);
        }
    }

    /// Under closed pacing: whoever's turn it is sends now.
    fn send_next(&mut self, now: Time) {
        if self.sent < self.workload.requests().len() {
            self.due.insert((now + self.path.latency, self.sent));
            self.sent += 1;
        }
    }

    fn deliver(&mut self, index: usize, sent: Time, cluster: &mut Cluster) {
        let request = &self.workload.requests()[index];
        self.workload.chain(request, &mut self.chain);
        let id = RequestId(self.ledger.records().len() as u64);
        self.ledger.arrived(id, sent, cluster.now(), request.prompt, request.output);
        cluster.arrive(&Arrival {
            request: id,
            session: request.session,
            pieces: self.chain.pieces(),
            prompt: request.prompt,
            output: request.output,
            api: self.path.api,
        });
    }

    fn enter_events(&mut self, cluster: &mut Cluster, look: &mut impl FnMut(&Event)) {
        let closed = matches!(self.workload.pacing(), Pacing::Closed { .. });
        while let Some(event) = cluster.poll() {
            look(&event);
            self.ledger.enter(&event, cluster.now());
            if closed && ends_a_request(&event) {
                self.send_next(cluster.now());
            }
        }
    }
}

fn ends_a_request(event: &Event) -> bool {
    use crate::replica::Output::{Cancelled, Finished};
    match event {
        Event::Refused { .. } => true,
        Event::Output { output, .. } => matches!(output, Finished { .. } | Cancelled { .. }),
        Event::Routed { .. } | Event::Ran { .. } => false,
    }
}
