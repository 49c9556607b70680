//! Several runs in a source: which is compared with which.

use super::{by_hand, compare, figure, is_there, run, simulate};
use crate::support::Folder;
use serde_json::{Value, json};

fn set(folder: &Folder, name: &str, runs: &[(&str, u64, f64)]) {
    std::fs::create_dir(folder.path(name)).expect("it can be made");
    for (place, (strategy, seed, ttft)) in runs.iter().enumerate() {
        let run = format!("{name}/{place}");
        by_hand(folder, &run, &json!({"mean_ttft_ms": ttft, "completed": 1, "failed": 0}), &[]);
        let made = json!({"clock": "virtual", "strategy": strategy, "seed": seed, "settings": {}});
        folder.file(&format!("{run}/run.json"), &made.to_string());
    }
}

#[test]
fn seeds_are_paired_and_their_interval_is_students() {
    let folder = Folder::new("compare-seeds");
    set(&folder, "a", &[("x", 1, 10.0), ("x", 2, 20.0), ("x", 3, 60.0)]);
    set(&folder, "b", &[("y", 3, 63.0), ("y", 1, 11.0), ("y", 2, 22.0), ("y", 4, 5.0)]);
    let Some((comparison, _)) = compare(&folder, "a b") else { return };
    assert_eq!(comparison["pairs"].as_array().map(Vec::len), Some(1));
    assert_eq!(comparison["pairs"][0]["by"], json!({"method": "seeds", "seeds": 3}));
    let ttft = figure(&comparison, "mean_ttft_ms");
    assert_eq!((&ttft["a"], &ttft["b"], &ttft["difference"]), (&json!(30.0), &json!(32.0), &json!(2.0)));
    // Differences of 1, 2 and 3: deviation 1, and Student's t of 2 degrees of freedom is 4.3027.
    let half = 4.302_652_73 / 3_f64.sqrt();
    let end = |end: &str| ttft["interval"][end].as_f64().expect("it is known");
    assert!((end("low") - (2.0 - half)).abs() < 1e-6 && (end("high") - (2.0 + half)).abs() < 1e-6, "{ttft}");
    let strategy = json!([{"setting": "strategy", "a": "x", "b": "y"}]);
    assert_eq!(comparison["pairs"][0]["configuration"], strategy, "the seeds are no difference");
    assert_eq!(comparison["unmatched"], json!(["only in B, so not compared: seed 4"]));
}

#[test]
fn two_seeds_are_two_comparisons() {
    let folder = Folder::new("compare-two-seeds");
    set(&folder, "a", &[("x", 1, 10.0), ("x", 2, 20.0)]);
    set(&folder, "b", &[("x", 1, 11.0), ("x", 2, 22.0)]);
    let Some((comparison, _)) = compare(&folder, "a b --tolerance none") else { return };
    let cases: Vec<&Value> = comparison["pairs"].as_array().into_iter().flatten().map(|pair| &pair["case"]).collect();
    assert_eq!(cases, ["seed 1", "seed 2"]);
}

#[test]
fn what_is_not_clear_is_refused_with_a_remedy() {
    let folder = Folder::new("compare-unclear");
    set(&folder, "one", &[("z", 1, 10.0)]);
    set(&folder, "two", &[("x", 1, 10.0), ("y", 1, 20.0)]);
    set(&folder, "same", &[("x", 1, 10.0), ("x", 1, 11.0), ("y", 1, 20.0)]);
    for (arguments, words) in [
        (["one", "two"], "have no case in common: one has strategy z, the other strategy x; strategy y"),
        (["two", "same"], "same: 0 and 1 are one case"),
    ] {
        let Some((_, stderr, status)) = run(&folder, &["compare", arguments[0], arguments[1]]) else { return };
        assert_eq!(status, 3, "{stderr}");
        assert!(stderr.contains(words) && stderr.contains("name the folder"), "{stderr}");
    }
    // What names one run is no longer unclear.
    let Some((comparison, _)) = compare(&folder, "one two/1 --tolerance none") else { return };
    assert_eq!(figure(&comparison, "mean_ttft_ms")["difference"], 10.0);
}

#[test]
fn simulated_matrices_and_sweeps_are_matched() {
    let folder = Folder::new("compare-matrices");
    let matrix = "--requests 40 --strategy roundrobin,kvaware --seed 1..3";
    if simulate(&folder, "base", matrix).is_none() {
        return;
    }
    let slow = format!("{matrix} --set api.latency=9ms");
    simulate(&folder, "slow", &slow).expect("it ran before");
    let sample = std::fs::canonicalize(crate::support::project(super::SAMPLE)).expect("it is there");
    let sweep = format!("sweep {} {matrix} --out grid", sample.display());
    let Some((_, stderr, status)) = run(&folder, &sweep.split_whitespace().collect::<Vec<_>>()) else { return };
    assert_eq!(status, 0, "{stderr}");
    assert!(is_there(&folder, "grid/sweep.json"));

    let Some((comparison, _)) = compare(&folder, "base slow --tolerance none") else { return };
    let pairs = comparison["pairs"].as_array().expect("there are pairs");
    let cases: Vec<&str> = pairs.iter().filter_map(|pair| pair["case"].as_str()).collect();
    assert_eq!(cases, ["strategy roundrobin", "strategy kvaware"]);
    for pair in pairs {
        assert_eq!(pair["by"], json!({"method": "seeds", "seeds": 3}));
        assert_eq!(pair["configuration"][0], json!({"setting": "api.latency", "a": null, "b": "9ms"}));
        let network = &pair["explained"][0]["parts"][3];
        assert_eq!((&network["part"], &network["gap"]), (&json!("network"), &json!(4.0)));
    }
    // The runs of a sweep are the same, though their requests were not kept.
    let Some((comparison, status)) = compare(&folder, "base grid --agree --tolerance 0%") else { return };
    assert_eq!((status, &comparison["pass"]), (0, &json!(true)));
    assert_eq!(comparison["pairs"].as_array().map(Vec::len), Some(2));
}

#[test]
fn more_than_two_stand_in_one_table() {
    let folder = Folder::new("compare-several");
    for name in ["a", "b", "c", "d", "e"] {
        let ttft = f64::from(name.as_bytes()[0]);
        by_hand(
            &folder,
            name,
            &json!({"mean_ttft_ms": ttft, "completed": 2, "failed": 0}),
            &[(9, 9, ttft), (9, 9, ttft)],
        );
    }
    for others in [&["b", "c"] as &[&str], &["b", "c", "d"], &["b", "c", "d", "e"]] {
        let arguments: Vec<&str> = ["compare", "a"].into_iter().chain(others.iter().copied()).collect();
        let Some((stdout, _, status)) = run(&folder, &arguments) else { return };
        assert_eq!(status, 0, "{stdout}");
        let row = stdout.lines().find(|line| line.contains("TTFT mean")).expect("it is there");
        assert!(row.contains("97.0") && row.contains("98.0") && row.contains("99.0"), "{row}");
        assert!(stdout.lines().all(|line| line.chars().count() <= 120), "{stdout}");
    }
}

#[test]
fn large_numbers_stay_within_the_screen() {
    let folder = Folder::new("compare-wide");
    for (name, scale) in [("a", 1e5), ("b", 1.7e6), ("c", 2.3e7)] {
        let figures = ["mean", "p50", "p90", "p95", "p99"].map(|part| (format!("{part}_e2el_ms"), json!(scale * 1.5)));
        let mut summary =
            json!({"mean_ttft_ms": scale, "total_token_throughput": scale * 7.0, "completed": 2, "failed": 0});
        summary.as_object_mut().expect("it is one").extend(figures);
        by_hand(&folder, name, &summary, &[(9, 9, scale * 0.5), (9, 9, scale * 1.5)]);
    }
    for others in [&["b"] as &[&str], &["b", "c"]] {
        let arguments: Vec<&str> = ["compare", "a"].into_iter().chain(others.iter().copied()).collect();
        let Some((stdout, _, _)) = run(&folder, &arguments) else { return };
        assert!(stdout.contains("1,700,000"), "{stdout}");
        assert!(stdout.lines().all(|line| line.chars().count() <= 120), "{stdout}");
    }
}

#[test]
fn of_many_cases_there_is_an_overview_behind_what_differs_in_all() {
    let folder = Folder::new("compare-overview");
    let strategies = ["r", "s", "t", "u", "v", "w", "x"];
    for (name, scale) in [("a", 10.0), ("b", 20.0)] {
        let runs: Vec<(&str, u64, f64)> = strategies.iter().map(|strategy| (*strategy, 0, scale)).collect();
        set(&folder, name, &runs);
    }
    for (place, strategy) in strategies.iter().enumerate() {
        let lab = json!({"api.latency": "9ms", "engine.block_size": place / 6});
        let made = json!({"clock": "virtual", "strategy": strategy, "seed": 0, "settings": {}, "lab": lab});
        folder.file(&format!("b/{place}/run.json"), &made.to_string());
    }
    let Some((stdout, _, status)) = run(&folder, &["compare", "a", "b"]) else { return };
    assert_eq!(status, 99, "{stdout}");
    let place = |text: &str| stdout.find(text).unwrap_or_else(|| panic!("{text} is missing:\n{stdout}"));
    assert!(place("api.latency") < place("strategy r") && place("strategy r") < place("strategy x"));
    assert!(!stdout.contains("engine.block_size"), "that is not the same in all");
    assert_eq!(stdout.matches("+100.0 %").count(), 7 + 4, "a row for each, and the first four in the verdict");
}
