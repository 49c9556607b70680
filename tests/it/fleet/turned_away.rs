//! Closed loops whose users are refused: when the next request comes.

use super::by_hand::{at, cluster, config, crash, micros, workload};
use crate::support::{podlab, project, said};
use kvcache::{Span, Time};
use router::{Api, Strategy};
use serde_json::Value;
use sim::cluster::{Cluster, RequestLimits};
use sim::extent::Extent;
use sim::fleet::{Fleet, What};
use sim::ledger::{Ledger, Status};
use sim::simulate::{Path, simulate_within};
use sim::workload::{Pacing, Turn, Workload};

const LONG: Span = micros(50_000);

fn run(workload: &Workload, cluster: Cluster, schedule: &[(u64, What)], pause: Span) -> Ledger {
    let mut cluster = cluster.with_present(1);
    let mut fleet = Fleet::new(config(1, schedule));
    let path = Path { latency: Span::ZERO, api: Api::Completions, names_session: false };
    let extent = Extent { pause, ..Extent::default() };
    let ledger = simulate_within(workload, &mut cluster, Some(&mut fleet), path, extent, |_| ()).expect("it ends");
    ledger.check();
    ledger
}

fn sent(ledger: &Ledger) -> Vec<(Time, Status)> {
    ledger.records().iter().map(|record| (record.sent, record.status)).collect()
}

fn one_seat() -> Cluster {
    let limits = RequestLimits { concurrent: 1, queue: Some(0), status: 429 };
    cluster(1, Strategy::RoundRobin).with_limits(Some(limits))
}

#[test]
fn whoever_gets_429_waits_before_the_next_request() {
    // Two users, one seat: the second is refused at once and comes again after 50 ms. The first sends at once, prompts of 600 tokens and
    // fewer, which take 7 ms and less.
    let requests: Vec<_> = (0..10).map(|id| (0, id, 600 - id as u32, 1)).collect();
    let closed = workload(&requests).paced(Pacing::Closed { concurrency: 2 });
    let ledger = run(&closed, one_seat(), &[], LONG);
    let expected = [0, 0, 7_000, 13_980, 20_950, 27_910, 34_860, 41_800, 48_730, 50_000];
    let (times, statuses): (Vec<_>, Vec<_>) = sent(&ledger).into_iter().unzip();
    assert_eq!(times, expected.map(at));
    let refused: Vec<_> = (0..10).filter(|number| statuses[*number] == Status::Refused).collect();
    assert_eq!(refused, [1, 9], "the other user works then, too");
    let in_order =
        ledger.records().iter().zip(closed.requests()).all(|(record, listed)| record.prompt == listed.prompt);
    assert!(
        in_order && (0..10).all(|number| ledger.place(number) == number),
        "who comes first has the next request of the list"
    );
    // Without a pause all the rest is refused on the spot.
    let ledger = run(&closed, one_seat(), &[], Span::ZERO);
    assert!(sent(&ledger)[1..].iter().all(|told| *told == (Time::ZERO, Status::Refused)));
}

#[test]
fn whoever_finds_nobody_waits_too() {
    // The only worker is away from 2 to 102 ms: the request it had is refused at 2 ms, the next ones at 52 and 102 ms.
    let requests: Vec<_> = (0..3).map(|id| (0, id, 600, 1)).collect();
    let closed = workload(&requests).paced(Pacing::Closed { concurrency: 1 });
    let ledger = run(&closed, cluster(1, Strategy::RoundRobin), &[(2_000, crash(0, 99_000))], LONG);
    let expected = [(at(0), Status::Refused), (at(52_000), Status::Refused), (at(102_000), Status::Completed)];
    assert_eq!(sent(&ledger), expected);
}

#[test]
fn a_think_time_is_no_shorter_for_it_and_no_longer() {
    let requests: Vec<_> = (0..4).map(|id| (0, id, 600, 1)).collect();
    for (think, next) in [(10_000, 50_000), (80_000, 80_000)] {
        let think = micros(think);
        // Requests 0 and 1 are first turns; 2 waits for 0, and 3 for 1, which is refused.
        let turns = [None, None, Some(0), Some(1)].map(|after| Turn { after, think, gap: Span::ZERO });
        let ledger = run(&workload(&requests).in_turns(turns.to_vec()), one_seat(), &[], LONG);
        let told = sent(&ledger);
        assert_eq!(told[1], (Time::ZERO, Status::Refused));
        let (after_reply, after_refusal) = (at(7_000) + think, at(next));
        assert_eq!(told[2].0, after_reply.min(after_refusal));
        assert_eq!(told[3].0, after_reply.max(after_refusal));
    }
}

#[test]
fn whoever_is_told_that_it_is_too_long_goes_on_at_once() {
    let closed = workload(&[(0, 1, 5_000, 1), (0, 2, 600, 1)]).paced(Pacing::Closed { concurrency: 1 });
    let ledger = run(&closed, cluster(1, Strategy::RoundRobin), &[], LONG);
    assert_eq!(sent(&ledger), [(Time::ZERO, Status::Refused), (Time::ZERO, Status::Completed)]);
}

/// `podlab simulate`'s answer, what it said besides, and its exit code.
fn simulate(arguments: &[&str]) -> Option<(String, String, i32)> {
    let mut command = podlab()?;
    let endpoint = project("driver/examples/aws-blog-70b.yaml");
    command.arg("simulate").arg(endpoint).args(["--cache", "l0", "-o", "json"]).args(arguments);
    Some(said(&command.output().expect("it runs")))
}

const LIMITED: [&str; 12] = [
    "--workload",
    "unrelated",
    "--concurrency",
    "40",
    "--replicas",
    "1",
    "--set",
    "fleet.max_concurrent_requests=4",
    "--set",
    "fleet.max_queue_size=4",
    "--duration",
    "60s",
];

#[test]
fn a_run_that_lasts_is_no_storm_of_refusals() {
    let Some((stdout, stderr, status)) = simulate(&LIMITED) else { return };
    assert_eq!(status, 0, "{stderr}");
    let told: Value = serde_json::from_str(&stdout).expect("it is JSON");
    let run = &told["runs"][0];
    // 32 users are always away: none sends more often than every 1.5 s.
    let refused = run["refused"].as_u64().expect("it is a number");
    assert!((40..=40 * 41).contains(&refused), "{refused} are refused");
    let open = ["--workload", "unrelated", "--rate", "5", "--requests", "5", "--set", "arrivals.refused_pause=1s"];
    let (_, stderr, _) = simulate(&open).expect("it ran before");
    assert!(stderr.contains("--set arrivals.refused_pause: nothing in this run reads it"), "{stderr}");
}
