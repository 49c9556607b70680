//! Runs side by side: what is matched, how sure differences are, what passes.

use crate::support::{Folder, podlab, project, said};
use serde_json::{Value, json};
use std::path::Path;

mod statistics; // intervals, verdicts and tolerances, by hand
mod cases; // several runs in a source
mod parts; // where gaps lie
mod tools; // results of other tools

const SAMPLE: &str = "driver/examples/aws-blog-70b.yaml";

/// Runs `podlab` in `folder`: what was printed, what was said, the exit code.
fn run(folder: &Folder, arguments: &[&str]) -> Option<(String, String, i32)> {
    let output = podlab()?.current_dir(folder.path(".")).args(arguments).output();
    Some(said(&output.expect("it runs")))
}

/// Simulates the sample into `out`.
fn simulate(folder: &Folder, out: &str, arguments: &str) -> Option<()> {
    let sample = std::fs::canonicalize(project(SAMPLE)).expect("the sample is there");
    let sample = sample.display().to_string();
    let arguments = ["simulate", &sample, "--out", out].into_iter().chain(arguments.split_whitespace());
    let (_, stderr, status) = run(folder, &arguments.collect::<Vec<_>>())?;
    assert_eq!(status, 0, "{stderr}");
    Some(())
}

/// Compares, and gives the JSON and the exit code.
fn compare(folder: &Folder, arguments: &str) -> Option<(Value, i32)> {
    let arguments = ["compare"].into_iter().chain(arguments.split_whitespace()).chain(["-o", "json"]);
    let (stdout, stderr, status) = run(folder, &arguments.collect::<Vec<_>>())?;
    let value = serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error}: {stderr}"));
    Some((value, status))
}

/// A figure of the first pair.
fn figure<'a>(comparison: &'a Value, key: &str) -> &'a Value {
    let figures = comparison["pairs"][0]["figures"].as_array().expect("there are figures");
    figures.iter().find(|figure| figure["key"] == key).unwrap_or_else(|| panic!("there is no {key}"))
}

/// A run folder by hand: its figures, and its requests as (prompt, reply, TTFT in ms).
fn by_hand(folder: &Folder, name: &str, summary: &Value, requests: &[(u64, u64, f64)]) {
    std::fs::create_dir(folder.path(name)).expect("it can be made");
    folder.file(&format!("{name}/summary.json"), &summary.to_string());
    folder.file(
        &format!("{name}/run.json"),
        &json!({"podlab": "0.1.0", "clock": "wall", "target": "http://x"}).to_string(),
    );
    let line = |(number, (prompt, output, ttft)): (usize, &(u64, u64, f64))| {
        let request = json!({"request": number, "status": "completed", "prompt_tokens": prompt, "output_tokens": output,
                             "ttft_ms": ttft, "e2el_ms": ttft + 100.0});
        format!("{request}\n")
    };
    let lines: String = requests.iter().enumerate().map(line).collect();
    folder.file(&format!("{name}/requests.jsonl"), &lines);
}

#[test]
fn a_run_agrees_with_itself() {
    let folder = Folder::new("compare-same");
    if simulate(&folder, "a", "--requests 60").is_none() {
        return;
    }
    let Some((comparison, status)) = compare(&folder, "a a --agree --tolerance 0%") else { return };
    assert_eq!((status, &comparison["pass"]), (0, &json!(true)));
    let pair = &comparison["pairs"][0];
    assert_eq!(pair["configuration"], json!([]));
    assert_eq!(pair["by"], json!({"method": "paired", "requests": 60}));
    for figure in pair["figures"].as_array().expect("there are figures") {
        assert_eq!(figure["difference"], 0.0, "{figure}");
        let interval = &figure["interval"];
        assert!(interval.is_null() || *interval == json!({"low": 0.0, "high": 0.0}), "{figure}");
    }
}

#[test]
fn a_regression_is_named_and_ends_with_99() {
    let folder = Folder::new("compare-worse");
    for (out, strategy) in [("kvaware", "kvaware"), ("roundrobin", "roundrobin")] {
        if simulate(&folder, out, &format!("--strategy {strategy}")).is_none() {
            return;
        }
    }
    let Some((stdout, stderr, status)) = run(&folder, &["compare", "kvaware", "roundrobin"]) else { return };
    assert_eq!(status, 99, "{stdout}");
    assert!(stderr.contains("TTFT mean +") && stderr.contains("tolerance of 10 %"), "{stderr}");
    assert!(stdout.contains("Verdict: FAIL"), "{stdout}");
    let place = |text: &str| stdout.find(text).unwrap_or_else(|| panic!("{text} is missing:\n{stdout}"));
    assert!(place("setting that differs") < place("TTFT mean"), "what differs in the settings comes first");
    assert!(stdout.lines().all(|line| line.chars().count() <= 120), "{stdout}");

    let Some((comparison, status)) = compare(&folder, "kvaware roundrobin") else { return };
    assert_eq!((status, &comparison["pass"]), (99, &json!(false)));
    let expected = json!([{"setting": "strategy", "a": "kvaware", "b": "roundrobin"}]);
    assert_eq!(comparison["pairs"][0]["configuration"], expected, "told once, not again of the router");
    let summary: Value =
        serde_json::from_str(&std::fs::read_to_string(folder.path("roundrobin/summary.json")).expect("it was written"))
            .expect("it is JSON");
    for key in ["mean_ttft_ms", "p99_tpot_ms", "p90_e2el_ms", "output_throughput", "mean_itl_ms"] {
        assert_eq!(figure(&comparison, key)["b"], summary[key], "{key}");
    }
    assert_eq!(figure(&comparison, "hit_rate.total")["b"], summary["hit_rate"]["total"]);
    let ttft = figure(&comparison, "mean_ttft_ms");
    assert_eq!((&ttft["verdict"], &ttft["pass"], &ttft["unit"]), (&json!("regression"), &json!(false), &json!("ms")));

    // The other way round it is an improvement, unless the two should agree.
    let of = |arguments: &str| compare(&folder, arguments).map(|(_, status)| status);
    assert_eq!(of("roundrobin kvaware"), Some(0));
    assert_eq!(of("roundrobin kvaware --agree"), Some(99));
    assert_eq!(of("kvaware roundrobin --tolerance none"), Some(0));
    assert_eq!(of("kvaware roundrobin --tolerance 2000%"), Some(0));
    assert_eq!(of("kvaware roundrobin --tolerance hit_rate=1pt"), Some(0));
}

#[test]
fn the_same_runs_give_the_same_bytes() {
    let folder = Folder::new("compare-bytes");
    if simulate(&folder, "a", "--requests 40").and_then(|()| simulate(&folder, "b", "--requests 40 --seed 1")).is_none()
    {
        return;
    }
    let Some((first, ..)) = run(&folder, &["compare", "a", "b", "-o", "json"]) else { return };
    let Some((second, ..)) = run(&folder, &["compare", "a", "b", "-o", "json"]) else { return };
    assert!(first.contains("\"unpaired\""), "other seeds send other requests");
    assert_eq!(first, second);
}

#[test]
fn what_is_unknown_stays_unknown() {
    let folder = Folder::new("compare-unknown");
    let summary = json!({"mean_ttft_ms": 100.0, "p50_ttft_ms": null, "completed": 2, "requests": 2, "failed": 0});
    by_hand(&folder, "a", &summary, &[(10, 5, 90.0), (10, 5, 110.0)]);
    let summary = json!({"mean_ttft_ms": 100.0, "p50_ttft_ms": 7.0, "completed": 2, "failed": 0});
    by_hand(&folder, "b", &summary, &[(10, 5, 90.0), (10, 5, 110.0)]);
    let Some((comparison, status)) = compare(&folder, "a b") else { return };
    assert_eq!(status, 0);
    let median = figure(&comparison, "p50_ttft_ms");
    for key in ["a", "difference", "interval", "relative", "verdict", "pass"] {
        assert_eq!(median[key], Value::Null, "{key}");
    }
    assert_eq!(median["b"], 7.0);
    // A part of nothing is no number, and none of either is no row.
    assert_eq!(figure(&comparison, "failed_share")["relative"], Value::Null);
    let keys = comparison["pairs"][0]["figures"].as_array().expect("there are figures");
    assert!(keys.iter().all(|figure| figure["key"] != "hit_rate.total"), "{keys:?}");
    let Some((stdout, ..)) = run(&folder, &["compare", "a", "b"]) else { return };
    let row = stdout.lines().find(|line| line.contains("TTFT P50")).expect("it is there");
    assert_eq!(
        row.split_whitespace().collect::<Vec<_>>(),
        "│ TTFT P50 ms - 7.00 - - - - │".split(' ').collect::<Vec<_>>()
    );
}

#[test]
fn what_cannot_be_read_is_named() {
    let folder = Folder::new("compare-unread");
    by_hand(&folder, "good", &json!({"mean_ttft_ms": 1.0}), &[]);
    std::fs::create_dir(folder.path("empty")).expect("it can be made");
    by_hand(&folder, "cut", &json!({"mean_ttft_ms": 1.0}), &[]);
    folder.file("cut/requests.jsonl", "{\"request\": 0, \"status\": \"completed\"}\n{\"request\":");
    for (bad, words) in [("nowhere", "it is not there"), ("empty", "no run is there"), ("cut", "line 2: not a request")]
    {
        let Some((_, stderr, status)) = run(&folder, &["compare", "good", bad]) else { return };
        assert_eq!(status, 3, "{stderr}");
        assert!(stderr.contains(bad) && stderr.contains(words), "{bad}: {stderr}");
    }
    let Some((_, _, status)) = run(&folder, &["compare", "good"]) else { return };
    assert_eq!(status, 2, "one run is no comparison");
}

/// Whether a path is there.
fn is_there(folder: &Folder, name: &str) -> bool {
    Path::new(&folder.path(name)).exists()
}
