//! Breakers of a fleet, each transition by hand.

use super::at;
use kvcache::{RequestId, WorkerId};
use router::{CircuitState, Health, HealthConfig, Outcome, Sent};
use std::collections::BTreeMap;

fn outcome(word: &str) -> Option<Outcome> {
    Some(match word {
        "ok" => Outcome::Answered,
        "4xx" => Outcome::ClientError,
        "busy" => Outcome::Busy,
        "cancelled" => Outcome::Cancelled,
        "failed" => Outcome::Failed,
        _ => return None,
    })
}

fn worker(word: &str) -> WorkerId {
    WorkerId(word.parse().expect("a worker's number"))
}

/// In words: `closed 3`, `open 10`, `half 7 40` (probe and when it is lost).
fn told(state: CircuitState) -> String {
    let seconds = |at: kvcache::Time| at.0 as f64 / 1e12;
    match state {
        CircuitState::Closed { failures } => format!("closed {failures}"),
        CircuitState::Open { until } => format!("open {}", seconds(until)),
        CircuitState::HalfOpen { probe, lost_at } => format!("half {} {}", probe.0, seconds(lost_at)),
    }
}

/// Plays a story to so many workers with the defaults. Each line begins with the time in seconds:
/// `send 1 7` sends request 7 to worker 1, `7 ok` ends it; `1 failed x5` sends five to worker 1 and ends them at once;
/// `out -> 0 2` says who is excluded, `state 1 -> open 10` what a breaker does.
fn check(workers: u16, story: &str) -> Health {
    let mut health = Health::new(HealthConfig::default(), workers);
    let mut under_way: BTreeMap<u64, Sent> = BTreeMap::new();
    for line in story.split(';').map(str::trim).filter(|line| !line.is_empty()) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let now = at(words[0].parse().expect("seconds"));
        match words[1..] {
            ["send", to, request] => {
                let request = request.parse().expect("a request's number");
                under_way.insert(request, health.sent(worker(to), RequestId(request), now));
            }
            ["out", "->", ..] => {
                let mut out = Vec::new();
                health.excluded(now, &mut out);
                let expected: Vec<_> = words[3..].iter().map(|word| worker(word)).collect();
                assert_eq!(out, expected, "{line}");
            }
            ["state", of, "->", ..] => assert_eq!(told(health.state(worker(of))), words[4..].join(" "), "{line}"),
            ["leave", who] => health.set_member(worker(who), false),
            ["join", who] => health.set_member(worker(who), true),
            ["refused", "->", count] => assert_eq!(health.counts().refused_ejections.to_string(), count, "{line}"),
            [request, end] => {
                let sent = under_way[&request.parse().expect("a request's number")];
                health.ended(sent, outcome(end).expect("an outcome"), now);
            }
            [to, end, times] => {
                for _ in 0..times.trim_start_matches('x').parse().expect("how often") {
                    let sent = health.sent(worker(to), RequestId(1_000_000), now);
                    health.ended(sent, outcome(end).expect("an outcome"), now);
                }
            }
            _ => panic!("no such line: {line}"),
        }
        health.check();
    }
    health
}

#[test]
fn five_failures_in_a_row_eject_a_worker_for_ten_seconds() {
    check(
        2,
        "0 1 failed x4; 0 out ->; 0 state 1 -> closed 4; 1 1 failed x1; 1 state 1 -> open 11; 1 out -> 1;
         10.999 out -> 1; 11 out ->; 11 state 1 -> open 11",
    );
    check(2, "0 1 failed x4; 0 1 ok x1; 0 state 1 -> closed 0; 0 1 failed x4; 0 out ->; 0 1 failed x1; 0 out -> 1");
}

#[test]
fn what_says_nothing_changes_nothing() {
    for neutral in ["4xx", "busy", "cancelled"] {
        // Neither towards open nor away from it.
        check(
            2,
            &format!(
                "0 1 {neutral} x100; 0 state 1 -> closed 0; 0 1 failed x4; 0 1 {neutral} x100;
            0 state 1 -> closed 4; 0 1 failed x1; 0 state 1 -> open 10; 0 out -> 1"
            ),
        );
    }
}

#[test]
fn one_probe_goes_through_at_a_time_and_closes_or_prolongs() {
    check(
        2,
        "0 1 failed x5; 12 out ->; 12 send 1 7; 12 out -> 1; 12 state 1 -> half 7 42; 13 7 ok; 13 out ->;
         13 state 1 -> closed 0; 13 1 failed x4; 13 out ->",
    );
    // 10 s, 20 s, 40 s, 60 s, 60 s; and 10 s again after an answer.
    check(
        2,
        "0 1 failed x5; 10 1 failed x1; 10 state 1 -> open 30; 29.9 out -> 1; 30 1 failed x1; 30 state 1 -> open 70;
         70 1 failed x1; 70 state 1 -> open 130; 130 1 failed x1; 130 state 1 -> open 190; 190 out ->; 200 1 ok x1;
         200 state 1 -> closed 0; 200 1 failed x5; 200 state 1 -> open 210",
    );
}

#[test]
fn a_probe_that_says_nothing_gives_its_place_to_the_next() {
    for neutral in ["4xx", "busy", "cancelled"] {
        let health = check(
            2,
            &format!(
                "0 1 failed x5; 10 send 1 7; 10 out -> 1; 11 7 {neutral}; 11 out ->;
            11 send 1 8; 11 out -> 1; 12 8 {neutral}; 12 1 ok x1; 12 state 1 -> closed 0"
            ),
        );
        assert_eq!(health.counts().probes, 3);
        // The span is the same as if it had not been sent.
        check(2, &format!("0 1 failed x5; 10 1 {neutral} x3; 11 1 failed x1; 11 state 1 -> open 31"));
        // The end of another request is not the probe's.
        check(2, &format!("0 1 failed x5; 10 send 1 7; 11 send 1 8; 12 8 {neutral}; 12 state 1 -> half 7 40"));
    }
}

#[test]
fn a_lost_probe_holds_nothing_up_and_counts_when_it_ends_after_all() {
    check(2, "0 1 failed x5; 10 send 1 7; 39.9 out -> 1; 40 out ->; 40 send 1 8; 40 out -> 1; 41 8 ok; 41 out ->");
    check(
        2,
        "0 1 failed x5; 10 send 1 7; 40 send 1 8; 50 7 ok; 50 state 1 -> closed 0; 51 8 failed; 51 state 1 -> closed 1",
    );
    check(
        2,
        "0 1 failed x5; 10 send 1 7; 40 send 1 8; 50 7 failed; 50 state 1 -> open 70; 51 8 ok; 51 state 1 -> open 70",
    );
    // It gives no place back that is another's by now.
    check(2, "0 1 failed x5; 10 send 1 7; 40 send 1 8; 50 7 cancelled; 50 out -> 1; 50 state 1 -> half 8 70");
    // Answers that take longer than a probe may: every probe is lost, and the first answer closes all the same.
    check(2, "0 1 failed x5; 10 send 1 1; 40 send 1 2; 70 send 1 3; 100 send 1 4; 105 1 ok; 105 state 1 -> closed 0");
}

#[test]
fn requests_from_before_an_ejection_say_nothing() {
    // A worker takes those with it that are in flight: the tenth failure is no news.
    let health = check(
        2,
        "0 send 1 1; 0 send 1 2; 0 send 1 3; 0 send 1 4; 1 1 failed x5; 2 1 failed; 3 2 ok; 3 state 1 -> open 11;
         11 send 1 7; 12 3 failed; 12 state 1 -> half 7 41; 13 7 ok; 14 4 failed; 14 state 1 -> closed 0",
    );
    assert_eq!(health.counts().stale_ends, 4);
}

#[test]
fn at_most_half_are_ejected_and_never_the_last() {
    check(1, "0 0 failed x5; 0 out ->; 0 refused -> 1; 0 0 failed x5; 0 refused -> 6; 0 state 0 -> closed 10");
    check(2, "0 0 failed x5; 0 1 failed x5; 0 out -> 0; 0 refused -> 1");
    check(3, "0 0 failed x5; 0 1 failed x5; 0 2 failed x5; 0 out -> 0; 0 refused -> 2");
    check(4, "0 3 failed x5; 1 1 failed x5; 2 0 failed x5; 2 2 failed x5; 2 out -> 1 3; 2 refused -> 2");
    // Who was refused is ejected by its next failure once there is room; an answer clears it.
    check(
        2,
        "0 0 failed x5; 0 1 failed x5; 10 0 ok x1; 10 out ->; 10 1 failed x1; 10 out -> 1; 10 state 1 -> open 20;
         20 1 ok x1; 20 0 failed x5; 21 1 failed x6; 21 1 ok x1; 21 state 1 -> closed 0; 21 out -> 0",
    );
    // Being half-open is being out.
    check(2, "0 0 failed x5; 10 send 0 7; 10 1 failed x5; 10 out -> 0; 10 refused -> 1; 11 7 failed; 11 out -> 0");
}

#[test]
fn members_leave_and_join_apart_from_ejection() {
    let health = check(
        3,
        "0 leave 1; 0 out -> 1; 0 join 1; 0 join 1; 0 out ->; 0 leave 0; 0 leave 1; 0 leave 2; 0 out -> 0 1 2",
    );
    assert_eq!((health.members(), health.ejected(), health.counts().ejections), (0, 0, 0));
    // Who leaves is nobody's half: of three, one may be ejected.
    check(4, "0 leave 3; 0 3 failed x9; 0 0 failed x5; 0 1 failed x5; 0 out -> 0 3; 0 refused -> 1");
    // Who joins is another process, and what the one before was sent says nothing of it.
    check(2, "0 1 failed x5; 0 leave 1; 0 join 1; 0 out ->; 0 state 1 -> closed 0");
    let health = check(2, "0 send 1 7; 0 leave 1; 0 7 failed; 0 join 1; 0 7 failed; 0 state 1 -> closed 0");
    assert_eq!(health.counts().stale_ends, 2);
    // Nor does what was sent to it while it was none.
    check(2, "0 leave 1; 0 send 1 7; 0 join 1; 0 7 failed; 0 state 1 -> closed 0");
}

#[test]
fn where_too_few_are_left_the_one_that_failed_longest_ago_is_let_in() {
    let health = check(
        4,
        "0 2 failed x5; 1 1 failed x5; 2 leave 0; 2 out -> 0 1; 2 state 2 -> closed 5; 3 leave 3; 3 out -> 0 1 3",
    );
    assert_eq!((health.counts().pardons, health.members(), health.ejected()), (1, 2, 1));
    // The only members are open: two of four are ejected, the others leave.
    check(4, "0 2 failed x5; 1 1 failed x5; 2 leave 0; 2 leave 3; 2 leave 2; 2 out -> 0 2 3; 2 state 1 -> closed 5");
    // By the last failure, which may be a probe's.
    check(4, "0 2 failed x5; 1 1 failed x5; 10 2 failed x1; 11 leave 0; 11 out -> 0 2; 11 state 1 -> closed 5");
    // A failure that is not news does not count.
    check(4, "0 send 2 7; 0 2 failed x5; 1 1 failed x5; 2 7 failed; 3 leave 0; 3 out -> 0 1");
    // It is ejected by its next failure when there is room again, from 10 s on.
    check(4, "0 2 failed x5; 1 1 failed x5; 2 leave 0; 3 join 0; 4 2 failed x1; 4 state 2 -> open 14; 4 out -> 1 2");
    // Its probe goes on, and now counts as anybody's request.
    check(4, "0 2 failed x5; 1 1 failed x5; 10 send 2 7; 10 leave 0; 11 7 ok; 11 state 2 -> closed 0");
}

#[test]
fn who_is_sent_a_request_while_excluded_is_judged_by_it() {
    check(2, "0 1 failed x5; 5 send 1 7; 5 state 1 -> half 7 35; 6 7 ok; 6 state 1 -> closed 0");
    check(2, "0 1 failed x5; 5 send 1 7; 6 7 failed; 6 state 1 -> open 26");
}

#[test]
fn other_settings_are_kept() {
    let second = kvcache::Span::from_secs(1);
    let config = HealthConfig { failures: 1, open: second, open_most: second * 3, probe_lost: second };
    let mut health = Health::new(config, 2);
    let mut fail = |seconds| {
        let sent = health.sent(WorkerId(0), RequestId(0), at(seconds));
        health.ended(sent, Outcome::Failed, at(seconds));
        told(health.state(WorkerId(0)))
    };
    assert_eq!([fail(0.0), fail(1.0), fail(3.0), fail(6.0)], ["open 1", "open 3", "open 6", "open 9"]);
    let _lost = health.sent(WorkerId(0), RequestId(0), at(9.0));
    assert!(!health.is_available(WorkerId(0), at(9.5)) && health.is_available(WorkerId(0), at(10.0)));
}
