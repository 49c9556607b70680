//! What was planned and did not happen.

use super::by_hand::{Run, at, cluster, config, crash, workload};
use crate::support::{podlab, project, said};
use kvcache::WorkerId;
use router::Strategy;
use sim::fleet::{Missed, Planned, What};

#[test]
fn events_that_find_nobody_or_come_too_late_are_known() {
    let slow = |worker| What::Slow { worker: WorkerId(worker), permille: 2000, lasts: None };
    // Worker 0 is down from 1 to 31 ms; there is no worker 1 before 2.5 ms, and it is down until 52.5 ms; all ends at 107 ms.
    let schedule = [
        (1_000, crash(0, 30_000)),
        (2_000, crash(0, 30_000)),
        (2_100, slow(1)),
        (2_200, slow(0)),
        (2_500, What::Replicas(2)),
        (3_000, crash(1, 1)),
        (200_000, What::Replicas(1)),
    ];
    let workload = workload(&[(0, 1, 600, 1), (100_000, 2, 600, 1)]);
    let run = Run::of(&workload, cluster(2, Strategy::RoundRobin), config(1, &schedule));
    let planned = |index: usize| Planned { at: at(schedule[index].0), what: schedule[index].1 };
    let expected = [(1, Missed::Nobody), (2, Missed::Nobody), (5, Missed::Nobody), (6, Missed::TooLate)];
    assert_eq!(run.missed, expected.map(|(index, missed)| (planned(index), missed)));
}

/// What `podlab simulate` says beside the figures.
fn warned(arguments: &[&str]) -> Option<String> {
    let mut command = podlab()?;
    let endpoint = project("driver/examples/aws-blog-70b.yaml");
    command.arg("simulate").arg(endpoint).args(["--cache", "l0", "--rate", "10", "--requests", "100"]).args(arguments);
    let (_, stderr, status) = said(&command.output().expect("it runs"));
    assert_eq!(status, 0, "{stderr}");
    Some(stderr)
}

#[test]
fn they_are_told() {
    let Some(stderr) = warned(&["--set", "fleet.events=1s crash 2; 2s crash 2 for 3s; 1h replicas 9"]) else { return };
    let lines: Vec<_> = stderr.lines().filter(|line| line.contains("fleet.events")).collect();
    let [nobody, late] = lines.as_slice() else { panic!("two lines: {stderr}") };
    assert!(nobody.ends_with("fleet.events: \"2s crash 2 for 3s\" nothing happened: that worker was not there then"));
    assert!(late.ends_with("fleet.events: \"3600s replicas 9\" did not happen: all requests had ended before"));
    let many: Vec<_> = (0..8).map(|hours| format!("{}h replicas 7", hours + 1)).collect();
    let stderr = warned(&["--set", &format!("fleet.events={}", many.join(";"))]).expect("it ran before");
    assert_eq!(stderr.lines().count(), 6, "{stderr}");
    assert!(stderr.ends_with("fleet.events: 3 more did not happen\n"), "{stderr}");
}

#[test]
fn settings_of_a_tier_that_is_not_there_are_told() {
    for (setting, tier) in [("l1.bytes=9GiB", "L1"), ("l2.latency=1ms", "L2"), ("tiers.choice=cost", "the tiers below")]
    {
        let Some(stderr) = warned(&["--set", setting]) else { return };
        let key = setting.split('=').next().expect("it has a key");
        assert!(stderr.starts_with(&format!("warning: --set {key}: nothing in this run reads it; it is of {tier}")));
        let both = warned(&["--set", setting, "--cache", "l0+l1+l2"]).expect("it ran before");
        assert_eq!(both, "", "one of the runs has it");
    }
}
