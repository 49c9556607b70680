//! Fleets that follow their load, and what that buys; crashes and slow nodes as routers meet them.

use crate::support::{podlab, project, said};
use serde_json::Value;

const SAMPLE: &str = "driver/examples/aws-blog-70b.yaml";

fn runs(arguments: &[&str]) -> Option<Vec<Value>> {
    let mut command = podlab()?;
    command.arg("simulate").arg(project(SAMPLE)).args(["--cache", "l0", "-o", "json"]).args(arguments);
    let (stdout, stderr, status) = said(&command.output().expect("it runs"));
    assert_eq!(status, 0, "{arguments:?}: {stderr}");
    let told: Value = serde_json::from_str(&stdout).expect("it is JSON");
    Some(told["runs"].as_array().expect("it has runs").clone())
}

fn figure(run: &Value, path: &str) -> f64 {
    let value = path.split('.').fold(run, |value, key| &value[key]);
    value.as_f64().unwrap_or_else(|| panic!("{path} is a number: {value}"))
}

fn count(run: &Value, path: &str) -> u64 {
    figure(run, path) as u64
}

/// 30 requests a second of which one worker serves some 10: a fleet that starts with one and follows its load.
const FOLLOWS: [&str; 10] = [
    "--workload",
    "shared-system",
    "--rate",
    "30",
    "--requests",
    "20000",
    "--replicas",
    "1",
    "--strategy",
    "least-loaded",
];

#[test]
fn a_fleet_that_follows_its_load_costs_less_than_one_that_is_always_there_and_serves_better_than_too_small_a_one() {
    let scaling = [
        "--set",
        "autoscaling.enabled=true",
        "--set",
        "autoscaling.metric=in_flight",
        "--set",
        "autoscaling.target=40",
        "--set",
        "autoscaling.max=7",
        "--set",
        "fleet.startup=60s",
    ];
    let Some(scaled) = runs(&[&FOLLOWS[..], &scaling].concat()) else { return };
    let alone = runs(&FOLLOWS).expect("it ran before");
    let always =
        runs(&[&FOLLOWS[..6], &["--replicas", "7", "--strategy", "least-loaded"]].concat()).expect("it ran before");
    let fleet = &scaled[0]["fleet"];
    let most = figure(fleet, "most_workers");
    println!("scaled: {fleet}");
    assert!(most > 1.0, "it grew");
    assert_eq!(fleet["timeline"][0], serde_json::json!([0.0, 1, 1]), "from one");
    assert!(
        alone[0]["fleet"].is_null() && always[0]["fleet"].is_null(),
        "nothing becomes of a fleet that stays as it is"
    );
    let cost = |run: &[Value]| figure(&run[0], "cost_per_1k_tokens.output_only");
    let p90 = |run: &[Value]| figure(&run[0], "p90_ttft_ms");
    println!("P90 TTFT alone {:.0}, scaled {:.0}, always {:.0} ms", p90(&alone), p90(&scaled), p90(&always));
    println!("$/1K alone {:.4}, scaled {:.4}, always {:.4}", cost(&alone), cost(&scaled), cost(&always));
    assert!(cost(&scaled) < cost(&always), "it is paid for as far as it is there");
    assert!(p90(&scaled) <= p90(&alone), "and serves better than one worker");
}

#[test]
fn a_slow_node_hurts_who_does_not_look_at_the_load() {
    let arguments = [
        "--workload",
        "shared-system",
        "--rate",
        "40",
        "--requests",
        "4000",
        "--strategy",
        "roundrobin,least-loaded",
        "--set",
        "fleet.events=none,0s slow 2 by 6",
    ];
    let Some(runs) = runs(&arguments) else { return };
    let p99 = |row: usize| figure(&runs[row], "p99_e2el_ms");
    println!("P99 E2EL: roundrobin {:.0} -> {:.0}, least-loaded {:.0} -> {:.0} ms", p99(0), p99(2), p99(1), p99(3));
    let (blind, sees) = (p99(2) / p99(0), p99(3) / p99(1));
    assert!(blind > 3.0, "every seventh request is at a node six times as slow: {blind}");
    assert!(sees < blind, "who sees its queue grow sends less there: {sees} against {blind}");
}

#[test]
fn a_crash_is_sent_around_and_the_same_on_every_machine() {
    let arguments = [
        "--workload",
        "docqa",
        "--rate",
        "20",
        "--requests",
        "2000",
        "--strategy",
        "prefixaware,kvaware,predicted-ttft",
        "--set",
        "fleet.events=20s crash 0 for 30s; 40s crash 1",
        "--seed",
        "1,2",
    ];
    let Some(first) = runs(&arguments) else { return };
    let again = runs(&[&arguments[..], &["--threads", "1"]].concat()).expect("it ran before");
    assert_eq!(first, again);
    for run in &first {
        let (completed, failed) = (count(run, "completed"), count(run, "failed"));
        assert_eq!(completed + failed, 2000);
        assert_eq!(count(run, "fleet.deaths"), 2);
        assert_eq!(count(run, "errored"), failed, "nothing else goes wrong");
        assert!(count(run, "fleet.sent_again") + failed >= 1, "somebody was there: {}", run["fleet"]);
    }
}

#[test]
fn limits_turn_away_what_is_too_much_and_so_keep_latencies_down() {
    let arguments = [
        "--workload",
        "shared-system",
        "--rate",
        "200",
        "--requests",
        "4000",
        "--replicas",
        "2",
        "--strategy",
        "roundrobin",
        "--set",
        "fleet.max_concurrent_requests=0,64",
        "--set",
        "fleet.max_queue_size=16",
    ];
    let Some(runs) = runs(&arguments) else { return };
    assert_eq!(count(&runs[0], "refused"), 0);
    let refused = count(&runs[1], "refused");
    assert!(refused > 0 && count(&runs[1], "completed") + refused == 4000);
    assert!(figure(&runs[1], "p99_ttft_ms") < figure(&runs[0], "p99_ttft_ms"), "who is let in waits less");
}
