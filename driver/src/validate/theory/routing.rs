//! A queue at each worker: by turns, at random, the better of two, the shortest.

use super::super::check::Relation;
use super::input;
use super::law::{Bench, Law, Seen, Subject, by_chance};
use super::queues::{SERVICE, by_replies, mean, of_reply, settled};
use kvcache::Time;
use router::Strategy;
use sim::ledger::Record;
use sim::theory::{balance, queue};
use sim::workload::Arrivals;

const RHO: f64 = 0.7;
/// Workers of which two are drawn: so many that the limit of infinitely many is off by less than a thousandth.
const MANY: u16 = 1000;

fn poisson(workers: u16) -> Arrivals {
    Arrivals::Poisson { rate: RHO * f64::from(workers) / SERVICE }
}

/// The mean wait where each of four workers has a queue.
fn split(name: &'static str, strategy: Strategy, expected: f64) -> Law {
    const WORKERS: u16 = 4;
    const WARM_UP: u32 = 2_000;
    Law::new([by_chance(name)], move |bench| {
        let workload = input::replies(bench, poisson(WORKERS), WARM_UP + bench.requests(96_000));
        let waits = by_replies(WORKERS, 1).routed(strategy).waits(bench, &workload, of_reply);
        vec![Seen { expected, simulated: mean(settled(&waits, WARM_UP)) }]
    })
}

/// The share of workers that have at least so many requests, on average over the time from `from` to `to`; index 0: one.
fn tails<const JOBS: usize>(records: &[Record], workers: u16, from: Time, to: Time) -> [f64; JOBS] {
    let mut changes: Vec<(Time, bool, usize)> = Vec::with_capacity(2 * records.len());
    for record in records {
        let worker = record.worker.expect("nothing is refused here").index();
        changes.push((record.arrived, true, worker));
        changes.push((record.last_token.expect("it was served"), false, worker));
    }
    changes.sort_unstable();
    let (mut present, mut shares) = (vec![0_usize; usize::from(workers)], [0.0; JOBS]);
    let (mut having, mut at) = ([0_u32; JOBS], from);
    for (when, comes, worker) in changes {
        let until = when.clamp(from, to);
        let span = until.since(at).as_secs_f64();
        for (share, count) in shares.iter_mut().zip(having) {
            *share += span * f64::from(count);
        }
        at = until;
        let jobs = &mut present[worker];
        if !comes {
            *jobs -= 1;
        }
        if let Some(count) = having.get_mut(*jobs) {
            *count = if comes { *count + 1 } else { *count - 1 };
        }
        if comes {
            *jobs += 1;
        }
    }
    shares.map(|share| share / (to.since(from).as_secs_f64() * f64::from(workers)))
}

/// The better of two.
fn two_choices() -> Law {
    const WARM_UP: u32 = 12_000;
    let names =
        ["two_choices.response", "two_choices.one_or_more", "two_choices.two_or_more", "two_choices.three_or_more"];
    let law = Law::new(names.map(by_chance), |bench| {
        let workload = input::replies(bench, poisson(MANY), WARM_UP + bench.requests(64_000));
        let ledger = by_replies(MANY, 1).routed(Strategy::TwoChoices).serve(bench, &workload);
        let records = ledger.records();
        let took = |record: &Record| record.last_token.expect("it was served").since(record.arrived).as_secs_f64();
        let responses: Vec<f64> = records[WARM_UP as usize..].iter().map(took).collect();
        let (from, to) = (records[WARM_UP as usize].arrived, records[records.len() - 1].arrived);
        let shares: [f64; 3] = tails(records, MANY, from, to);
        let mut seen = vec![Seen { expected: balance::response(RHO, 2) * SERVICE, simulated: mean(&responses) }];
        seen.extend(
            (1..).zip(shares).map(|(jobs, simulated)| Seen { expected: balance::tail(RHO, 2, jobs), simulated }),
        );
        seen
    });
    law.times(32)
}

/// On the same requests: the shortest queue is no worse than the better of two, which is no worse than chance; and no better
/// than one queue for all.
fn order() -> Law {
    const WORKERS: u16 = 16;
    const WARM_UP: u32 = 4_000;
    let at_most = |name| Subject { name, relation: Relation::AtMost, is_exact: true };
    let subjects = vec![
        at_most("order.shortest_at_most_two_choices"),
        at_most("order.two_choices_at_most_random"),
        Subject { name: "order.shortest_at_least_one_queue", relation: Relation::AtLeast, is_exact: false },
    ];
    let one_queue = queue::wait_m_m_k(WORKERS.into(), RHO * f64::from(WORKERS) / SERVICE, SERVICE);
    let law = Law::new(subjects, move |bench: &Bench| {
        let workload = input::replies(bench, poisson(WORKERS), WARM_UP + bench.requests(64_000));
        let wait = |strategy| {
            let waits = by_replies(WORKERS, 1).routed(strategy).waits(bench, &workload, of_reply);
            mean(settled(&waits, WARM_UP))
        };
        let [shortest, two, random] = [Strategy::LeastLoaded, Strategy::TwoChoices, Strategy::Random].map(wait);
        vec![
            Seen { expected: two, simulated: shortest },
            Seen { expected: random, simulated: two },
            // Compared as times in the system: the waits themselves are short.
            Seen { expected: one_queue + SERVICE, simulated: shortest + SERVICE },
        ]
    });
    law.times(32)
}

pub(super) fn laws() -> Vec<Law> {
    const WORKERS: u32 = 4;
    let rate = RHO / SERVICE;
    vec![
        split("round_robin.4_workers", Strategy::RoundRobin, queue::wait_e_k_m_1(WORKERS, rate, SERVICE)),
        split("random.4_workers", Strategy::Random, queue::wait_m_m_k(1, rate, SERVICE)),
        two_choices(),
        order(),
    ]
}
