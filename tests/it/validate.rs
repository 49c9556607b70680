//! `podlab validate theory`: the laws hold, and each check can fail.

mod engine; // ... and `podlab validate engine`
mod curves; // areas between curves

use crate::support::{Folder, podlab, said};
use std::collections::{BTreeMap, BTreeSet};

/// The names of the checks, those that fell short, and the exit code.
fn checks(arguments: &[&str]) -> Option<(BTreeSet<String>, BTreeSet<String>, i32)> {
    let mut command = podlab()?;
    command.args(["validate", "theory", "--quick", "-o", "json"]).args(arguments);
    let (stdout, stderr, status) = said(&command.output().expect("it runs"));
    let told: serde_json::Value = serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error}: {stderr}"));
    let checks = told["checks"].as_array().expect("a list of checks");
    let name = |check: &serde_json::Value| check["name"].as_str().expect("a check has a name").to_owned();
    for check in checks {
        for key in ["expected", "simulated", "error", "tolerance"] {
            assert!(check[key].is_number(), "{key} of {check}");
        }
        assert!(check["ok"].is_boolean(), "a verdict: {check}");
    }
    let short = checks.iter().filter(|check| check["ok"] == false).map(name).collect();
    Some((checks.iter().map(name).collect(), short, status))
}

#[test]
fn every_law_holds() {
    let folder = Folder::new("validate-theory");
    let out = folder.path("run");
    let Some((all, short, status)) = checks(&["--out", out.to_str().expect("a path in UTF-8")]) else { return };
    assert_eq!((short, status), (BTreeSet::new(), 0));
    assert!(all.len() >= 40, "{all:?}");
    for law in [
        "m_m_1",
        "m_d_1",
        "m_g_1",
        "erlang_c",
        "round_robin",
        "two_choices",
        "order",
        "link",
        "closed",
        "che",
        "ttl",
        "mattson",
        "compulsory",
        "little",
    ] {
        assert!(all.iter().any(|name| name.starts_with(law)), "{law} is checked");
    }
    assert_eq!(folder.names_below("run"), ["checks.json", "observations.jsonl", "report.html", "run.json"]);
}

/// Some faults, and checks that are there to catch them; others may.
const FAULTS: [(&str, &[&str]); 10] = [
    ("service+5%", &["m_d_1.rho_0.5", "m_g_1.two_lengths", "batch.throughput", "link.sharing.short"]),
    ("service-5%", &["closed.at_most_1_over_demand", "order.shortest_at_least_one_queue"]),
    ("idle", &["m_m_1.rho_0.5", "m_m_1.rho_0.7", "round_robin.4_workers"]),
    ("latency", &["m_d_1.rho_0.5", "erlang_c.4_seats.wait", "erlang_c.8_seats.waiting"]),
    ("lost", &["books.completed", "little.system", "little.queue"]),
    ("capacity-5%", &["che.l0.zipf_0.8", "che.l0.zipf_1.0", "mattson.l0.distances"]),
    ("ttl+5%", &["ttl.renewed.half", "ttl.renewed.twice", "ttl.written.half", "ttl.written.twice"]),
    ("eviction", &["mattson.l1.distances", "mattson.l1.inclusion", "ttl.renewed.half"]),
    ("routing", &["order.two_choices_at_most_random", "compulsory.affinity"]),
    ("think+5%", &["closed.throughput", "closed.response_law", "closed.one_user"]),
];

/// Each check falls short of something, and each fault is caught.
#[test]
fn each_check_can_fail() {
    let Some(mut command) = podlab() else { return };
    command.args(["validate", "theory", "--quick", "--faults"]);
    let (stdout, stderr, status) = said(&command.output().expect("it runs"));
    assert_eq!((stderr.as_str(), status), ("", 0), "{stdout}");
    let caught: BTreeMap<&str, Vec<&str>> = stdout
        .lines()
        .map(|line| line.split_once(' ').expect("a check and its faults"))
        .map(|(check, faults)| (check, faults.trim().split(", ").filter(|fault| !fault.is_empty()).collect()))
        .collect();
    assert!(caught.len() >= 40 && caught.values().all(|faults| !faults.is_empty()), "{caught:?}");
    for (fault, checks) in FAULTS {
        for check in checks {
            assert!(caught[check].contains(&fault), "{check} catches {fault}, not only {:?}", caught[check]);
        }
    }
}

/// A fault makes the command itself fall short.
#[test]
fn a_fault_is_told_by_the_exit_code() {
    let Some((all, short, status)) = checks(&["--fault", "lost", "--only", "books,little"]) else { return };
    assert_eq!((short, status), (all, 99));
}

#[test]
fn names_that_nobody_knows_are_refused() {
    for (arguments, word) in [
        (["--only", "m_m_2"], "m_m_2"),
        (["--fault", "gremlins"], "service+5%"),
        (["--threads", "0"], "a whole number from 1 to 1024 is expected"),
        (["--seed", "x"], "a whole number is expected"),
    ] {
        let Some(mut command) = podlab() else { return };
        let (stdout, stderr, status) =
            said(&command.args(["validate", "theory"]).args(arguments).output().expect("it runs"));
        assert_eq!((stdout.as_str(), status), ("", 2), "{stderr}");
        assert!(stderr.contains(word), "{stderr}");
    }
}
