//! Users who wait for their replies: what one server gives them, and what no server can.

use super::super::check::Relation;
use super::fault::Fault;
use super::input::{self, REPLY};
use super::law::{Bench, Law, Seen, Subject, by_chance, exact};
use super::queues::{SERVICE, TOKEN};
use super::stage::Stage;
use kvcache::{Span, Time, Tokens};
use sim::cost::linear::Linear;
use sim::ledger::Ledger;
use sim::theory::closed;
use sim::workload::{Arrivals, Pacing, Segment, Workload};

/// Mean think time: ten services.
const THINK: Span = Span::from_millis(1000);
const LATENCY: Span = Span::from_millis(20);

/// Users as they say they are, and as they are.
fn users(bench: &Bench, users: u32) -> [Arrivals; 2] {
    let really = if bench.has(Fault::Think) { Span(THINK.0 / 100 * 105) } else { THINK };
    [THINK, really].map(|think| Arrivals::Users { users, think })
}

/// One worker with one seat, whose service is by the reply.
fn one_server() -> Stage {
    Stage { latency: LATENCY, ..Stage::queues(1, 1, Linear { per_pass: TOKEN, ..Linear::default() }) }
}

fn ends(ledger: &Ledger) -> Vec<Time> {
    let mut ends: Vec<Time> = ledger.records().iter().filter_map(|record| record.last_token).collect();
    ends.sort_unstable();
    ends
}

/// Requests per second of exponential users and services, between two ends far from the run's. The latency of the way is a
/// part of thinking, and its spread makes no difference there (insensitivity of a delay).
fn repairman() -> Law {
    const USERS: u32 = 10;
    const WARM_UP: usize = 500;
    let expected = closed::throughput(USERS, SERVICE, (THINK + LATENCY).as_secs_f64());
    Law::new([by_chance("closed.throughput")], move |bench| {
        let [_, really] = users(bench, USERS);
        let requests = 1_000 + bench.requests(64_000);
        let ends = ends(&one_server().serve(bench, &input::replies(bench, really, requests)));
        let (from, to) = (WARM_UP, ends.len() * 85 / 100);
        let simulated = (to - from) as f64 / ends[to].since(ends[from]).as_secs_f64();
        vec![Seen { expected, simulated }]
    })
}

/// `N = X (R + Z)`: each user is always either thinking or waiting, so that what they say they thought and what the ledger says
/// they waited add up to the time they were there. To the picosecond.
fn response_law() -> Law {
    const USERS: u32 = 10;
    let law = Law::new([exact("closed.response_law")], |bench| {
        let [said, really] = users(bench, USERS);
        let requests = bench.requests(16_000) / USERS * USERS;
        let workload = input::replies(bench, really, requests);
        let ledger = one_server().serve(bench, &workload);
        let thoughts: f64 = thinks(&input::replies(bench, said, requests)).map(Span::as_secs_f64).sum();
        let (mut waited, mut there) = (0.0, vec![Time::ZERO; USERS as usize]);
        for (number, record) in ledger.records().iter().enumerate() {
            let ended = record.last_token.expect("it was served");
            waited += ended.since(record.sent).as_secs_f64();
            let user = &mut there[ledger.place(number) % USERS as usize];
            *user = ended.max(*user);
        }
        let there: f64 = there.into_iter().map(|at| Span(at.0).as_secs_f64()).sum();
        let users = f64::from(USERS);
        // X = requests / (time there / users), R + Z = (waited + thoughts) / requests.
        vec![Seen { expected: users, simulated: (waited + thoughts) / there * users }]
    });
    law.times(4)
}

/// The time before each request in which its user thinks.
fn thinks(workload: &Workload) -> impl Iterator<Item = Span> {
    let requests = workload.requests().iter().zip(workload.turns());
    requests.map(|(request, turn)| if turn.after.is_some() { turn.think } else { Span(request.at.0) })
}

/// Equal prompts: no more than the bound, which one user reaches and forty nearly do.
fn bounds() -> Law {
    let subjects = vec![
        exact("closed.one_user"),
        Subject { name: "closed.at_most_1_over_demand", relation: Relation::AtMost, is_exact: true },
    ];
    let law = Law::new(subjects, |bench| {
        let stage = Stage::queues(1, 1, Linear { per_token: TOKEN, ..Linear::default() });
        let seen = |count: u32| {
            let [said, really] = users(bench, count);
            let requests = bench.requests(16_000) / count * count;
            let ends = ends(&stage.serve(bench, &input::equal_prompts(bench, really, requests, REPLY)));
            let as_said = input::equal_prompts(bench, said, requests, REPLY);
            let think = thinks(&as_said).map(Span::as_secs_f64).sum::<f64>() / f64::from(requests);
            let simulated = f64::from(requests) / Span(ends[ends.len() - 1].0).as_secs_f64();
            Seen { expected: closed::bound(count, SERVICE, think), simulated }
        };
        vec![seen(1), seen(40)]
    });
    law.times(4)
}

/// Eight always in flight, with eight seats, passes that are longer for each token, and replies of one length: all tokens come
/// eight at a time, a pass of eight apart.
fn batch() -> Law {
    const SEATS: u32 = 8;
    let (per_pass, per_token) = (Span::from_millis(10), Span::from_millis(1));
    let law = Law::new([exact("batch.throughput")], move |bench| {
        let stage = Stage::queues(1, SEATS, Linear { per_pass, per_token, ..Linear::default() });
        let (requests, output) = (bench.requests(1_600), Tokens(500));
        let mut workload = Workload::new(Pacing::Closed { concurrency: SEATS });
        for id in 0..u64::from(requests) {
            workload.push(Time::ZERO, None, &[Segment { id, tokens: Tokens(1) }], output);
        }
        let ends = ends(&stage.serve(bench, &workload));
        let expected = f64::from(SEATS) / (per_pass + per_token * u64::from(SEATS)).as_secs_f64();
        let tokens = f64::from(requests) * f64::from(output.0);
        vec![Seen { expected, simulated: tokens / Span(ends[ends.len() - 1].0).as_secs_f64() }]
    });
    law.times(1)
}

pub(super) fn laws() -> Vec<Law> {
    vec![repairman(), response_law(), bounds(), batch()]
}
