//! Requests to an emulated endpoint, timed by their client, give back the factors that its passes last by.

use super::{H100, TRUE, TRUTH, calibrate, within};
use crate::support::{Folder, podlab, project, said, skipped};
use serde_json::Value;
use std::path::Path;

/// How late a machine may be, that what a client times still means something: the 90th percentile of what first tokens took on
/// the way beyond what the profile says, ms. A pass of decodes lasts 14 ms.
const LATE_MS: f64 = 6.0;

/// Measures an endpoint of one worker that a profile prices, by its client's own clock: light load, prompts of many lengths. The
/// mean and the 90th percentile of what the way took, by the server's account of the rest, ms.
fn measure(truth: &Path, out: &Path) -> Option<(f64, f64)> {
    let mut command = podlab()?;
    let target = format!("emulate:{}", project(H100).display());
    command.args(["bench", "--target", &target, "--hardware"]).arg(truth).arg("--out").arg(out);
    command.args(["--replicas", "1", "--strategy", "roundrobin", "--cache", "none", "--workload", "unrelated"]);
    for setting in ["unrelated.prompt_tokens=1000", "unrelated.spread=1.5", "unrelated.answer_tokens=20"] {
        command.args(["--set", setting]);
    }
    command.args(["--rate", "2.2", "--requests", "130", "--quiet"]);
    let (_, stderr, status) = said(&command.output().expect("it runs"));
    assert_eq!(status, 0, "{stderr}");
    let lines = std::fs::read_to_string(out.join("requests.jsonl")).expect("it was written");
    let way = |line: &str| {
        let line: Value = serde_json::from_str(line).expect("a line is an object");
        line["ttft_api_ms"].as_f64().expect("the server tells what each first token was spent on")
    };
    let mut way: Vec<f64> = lines.lines().map(way).collect();
    way.sort_by(f64::total_cmp);
    Some((way.iter().sum::<f64>() / way.len() as f64, way[way.len() * 9 / 10]))
}

/// Every factor's truth lies within its 95 % interval. Of the latency it is known to lie between what the profile says and what
/// the way took: what this machine adds is part of it to a client, but not the same for each request.
#[test]
fn an_emulated_run_gives_back_what_made_it() {
    let folder = Folder::new("calibrate-emulated");
    let truth = folder.file("truth.yaml", TRUTH);
    let run = folder.path("run");
    let Some((way, late)) = measure(&truth, &run) else { return };
    let meant = TRUE.iter().find(|(name, _)| *name == "api_latency_ms").expect("it is one of them").1;
    println!("the way took {way:.2} ms of {meant} in the mean, {late:.2} in the 90th percentile");
    if late - meant > LATE_MS {
        skipped(&format!("calibrating on a served run: one of ten first tokens comes {:.1} ms late", late - meant));
        return;
    }
    let Some(profile) = calibrate(&run, &[]) else { return };
    println!("{:#}", profile["factors"]);
    let (way_too, kernels): (Vec<_>, Vec<_>) = TRUE.into_iter().partition(|(name, _)| *name == "api_latency_ms");
    within(&profile, &kernels, 30.0);
    let nearest = |(name, least): (&'static str, f64)| {
        let low = profile["factors"][name]["low"].as_f64().unwrap_or(least);
        (name, low.clamp(least, way))
    };
    within(&profile, &way_too.into_iter().map(nearest).collect::<Vec<_>>(), 30.0);
    for (kind, most) in [("ttft", 0.10), ("tpot", 0.03)] {
        let held = profile["errors"][kind]["held_out"].as_f64().expect("groups were left out");
        assert!(held < most, "{kind} is off by {held}");
    }
}
