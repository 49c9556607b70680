//! What is in the system, counted twice: in the engines from event to event, and by the ledger when it is over. And that
//! nothing is lost.

use super::fault::Fault;
use super::input;
use super::law::{Bench, Law, Seen, exact};
use super::queues::{SERVICE, by_replies};
use kvcache::{ChainBuilder, RequestId, Time};
use router::{Api, Strategy};
use sim::cluster::{Arrival, Cluster, Event};
use sim::ledger::{Ledger, Status};
use sim::replica::{Output, Replica};
use sim::workload::Arrivals;

/// Of so many requests one is lost, where any is.
const ONE_IN: u64 = 10_000;
const WORKERS: u16 = 3;

/// The integrals of the numbers of requests in the system, and in its queues, in request-picoseconds.
#[derive(Default)]
struct Counted {
    system: u128,
    queue: u128,
}

/// The request that an event of an engine is about.
fn request(event: &Event) -> Option<RequestId> {
    let Event::Output { output, .. } = event else { return None };
    match output {
        Output::Admitted { request, .. }
        | Output::Loaded { request, .. }
        | Output::Preempted { request }
        | Output::Split { request, .. }
        | Output::FirstToken { request, .. }
        | Output::Resumed { request, .. }
        | Output::Tokens { request, .. }
        | Output::Finished { request, .. }
        | Output::Cancelled { request } => Some(*request),
    }
}

/// Goes to `to` from event to event, counts, and enters what the ledger hears.
fn advance(bench: &Bench, cluster: &mut Cluster, ledger: &mut Ledger, counted: &mut Counted, to: Time) {
    let lost = |event: &Event| {
        bench.has(Fault::Lost) && request(event).is_some_and(|request| request.0 % ONE_IN == ONE_IN / 2)
    };
    loop {
        let at = cluster.next_due().map_or(to, |due| due.min(to));
        let span = u128::from(at.since(cluster.now()).0);
        let live: usize = cluster.replicas().map(Replica::live).sum();
        let running: usize = cluster.replicas().map(Replica::running).sum();
        counted.system += live as u128 * span;
        counted.queue += (live - running) as u128 * span;
        cluster.advance(at);
        while let Some(event) = cluster.poll() {
            if !lost(&event) {
                ledger.enter(&event, cluster.now());
            }
        }
        if at == to {
            return;
        }
    }
}

/// `L = lambda W` over a run that ends empty: no sample, so nothing is left to chance.
///
/// Little 1961; over a finite time that begins and ends empty it is arithmetic (Jewell 1967).
fn little() -> Law {
    let subjects = ["little.system", "little.queue", "books.completed"].map(exact);
    let law = Law::new(subjects, |bench| {
        let requests = bench.requests(160_000);
        let rate = 0.7 * f64::from(2 * WORKERS) / SERVICE;
        let workload = input::replies(bench, Arrivals::Poisson { rate }, requests);
        let mut cluster = by_replies(WORKERS, 2).routed(Strategy::TwoChoices).cluster(bench);
        let (mut ledger, mut counted) = (Ledger::new(WORKERS, requests as usize), Counted::default());
        let mut chain = ChainBuilder::new();
        for (number, request) in (0..).zip(workload.requests()) {
            advance(bench, &mut cluster, &mut ledger, &mut counted, request.at);
            workload.chain(request, &mut chain);
            let (id, prompt, output) = (RequestId(number), request.prompt, request.output);
            ledger.arrived(id, request.at, request.at, prompt, output);
            let (session, pieces) = (request.session, chain.pieces());
            cluster.arrive(&Arrival { request: id, session, pieces, prompt, output, api: Api::Completions });
        }
        while let Some(at) = cluster.next_due() {
            advance(bench, &mut cluster, &mut ledger, &mut counted, at);
        }
        ledger.close(cluster.now());
        let lasted = cluster.now().0 as f64;
        let waited = |sum: u128, record: &sim::ledger::Record| {
            sum + record.admitted.map_or(0, |admitted| u128::from(admitted.since(record.arrived).0))
        };
        let waited = ledger.records().iter().fold(0, waited);
        let completed = ledger.records().iter().filter(|record| record.status == Status::Completed).count();
        vec![
            Seen { expected: counted.system as f64 / lasted, simulated: ledger.residence() as f64 / lasted },
            Seen { expected: counted.queue as f64 / lasted, simulated: waited as f64 / lasted },
            Seen { expected: f64::from(requests), simulated: completed as f64 },
        ]
    });
    law.times(2)
}

pub(super) fn laws() -> Vec<Law> {
    vec![little()]
}
