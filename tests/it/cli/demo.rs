//! What `podlab demo` prints, and what a run's table says of where TTFT goes.

use super::{SAMPLE, refuses, simulate};
use crate::support::{Folder, podlab, project, said};
use serde_json::Value;

fn demo(arguments: &[&str]) -> Option<String> {
    let mut command = podlab()?;
    let (stdout, stderr, status) = said(&command.arg("demo").args(arguments).output().expect("it runs"));
    assert_eq!((status, stderr.as_str()), (0, ""));
    Some(stdout)
}

/// The figures of one case, a seed each.
fn of<'a>(runs: &'a [Value], document: &str, cache: &str, strategy: &str, key: &str) -> Vec<f64> {
    let is = |run: &&'a Value| {
        run["settings"]["docqa.document_tokens"] == document && run["cache"] == cache && run["strategy"] == strategy
    };
    runs.iter().filter(is).map(|run| run[key].as_f64().expect("it is a number")).collect()
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

#[test]
fn the_demo_says_what_its_runs_say() {
    let (Some(text), Some(json)) = (demo(&[]), demo(&["-o", "json"])) else { return };
    let json: Value = serde_json::from_str(&json).expect("it is JSON");
    let runs = json["runs"].as_array().expect("runs are listed");
    // Two contexts: none, and three tiers under four strategies; then two strategies twice. Ten seeds of each.
    assert_eq!(runs.len(), 10 * (2 * (1 + 3 * 4) + 2 * 2));
    assert!(runs.iter().all(|run| run["failed"] == 0 && run["replicas"] == 7));
    let sentences = text.split_whitespace().collect::<Vec<_>>().join(" ");
    for document in ["7168", "57344"] {
        let p90 = |cache, strategy| mean(&of(runs, document, cache, strategy, "p90_ttft_ms"));
        for (before, after, head) in [
            (
                p90("none", "roundrobin"),
                p90("l0", "roundrobin"),
                "Prefix caching alone (L0, round robin), against none",
            ),
            (p90("l0", "roundrobin"), p90("l0", "prefixaware"), "prefixaware, against round robin with L0"),
        ] {
            let percent = (after / before - 1.0) * 100.0;
            let digits = usize::from(percent.abs() < 9.5);
            let told = format!("P90 {percent:+.digits$} %");
            let place = sentences.match_indices(head).map(|(at, _)| &sentences[at..at + 300]);
            assert!(place.clone().any(|part| part.contains(&told)), "{document}: {head} should say {told}");
        }
    }
    // It is no validation, and says so.
    for words in ["simulated", "one of many", "nothing here is validated"] {
        assert!(sentences.contains(words), "{words}");
    }
    // Who is told to buy something under a strategy does so: the least mean of P50 and P90 are not both above.
    for line in text.lines() {
        assert!(line.chars().count() <= 150, "{line}");
        if line.starts_with(['│', '╞']) {
            assert!(line.chars().count() <= 120, "a table fits a terminal: {line}");
        }
    }
    let without_time =
        |text: &str| text.lines().filter(|line| !line.contains(" runs in ")).collect::<Vec<_>>().join("\n");
    assert_eq!(without_time(&text), without_time(&demo(&[]).expect("it ran before")), "the same again");
}

#[test]
fn a_single_run_tells_where_its_ttft_goes_and_several_do_so_when_asked() {
    let table = |arguments: &[&str]| -> Option<String> {
        let mut command = simulate()?;
        command.arg(project(SAMPLE)).args(["--cache", "l0", "--requests", "50"]).args(arguments);
        let (stdout, stderr, status) = said(&command.output().expect("it runs"));
        assert_eq!(status, 0, "{stderr}");
        Some(stdout)
    };
    let Some(single) = table(&["--strategy", "roundrobin"]) else { return };
    assert!(
        single.contains("Where TTFT goes: the mean of each part") && single.contains("The slowest tenth"),
        "{single}"
    );
    assert!(!single.contains("One seed"), "there is nothing to compare: {single}");
    let two = ["--strategy", "roundrobin,kvaware"];
    let Some(several) = table(&two) else { return };
    assert!(several.contains("--breakdown") && !several.contains("wait KV"), "{several}");
    assert!(several.contains("One seed: no claim is made about which strategy is better"), "{several}");
    let Some(asked) = table(&[&two as &[&str], &["--breakdown"]].concat()) else { return };
    assert!(asked.contains("roundrobin: the slowest tenth") && asked.contains("kvaware: the slowest tenth"), "{asked}");
    let Some(ten) = table(&[&two as &[&str], &["--seed", "1..10"]].concat()) else { return };
    assert!(ten.contains("Means of 10 seeds") && !ten.contains("One seed") && !ten.contains("few for a P90"), "{ten}");
    let Some(three) = table(&[&two as &[&str], &["--seed", "1..3", "--slo", "p90_ttft<2s"]].concat()) else { return };
    assert!(three.contains("3 seeds are few for a P90") && three.contains("3/3"), "{three}");
}

#[test]
fn every_line_of_a_run_says_what_its_ttft_was_spent_on() {
    let folder = Folder::new("parts");
    let Some(mut command) = simulate() else { return };
    let run = ["--cache", "l0", "--requests", "60", "--warmup", "10", "--concurrency", "30", "--out"];
    let output = command.arg(project(SAMPLE)).args(run).arg(folder.path("run")).output().expect("it runs");
    assert_eq!(said(&output).2, 0);
    let lines = std::fs::read_to_string(folder.path("run/requests.jsonl")).expect("it was written");
    for (number, line) in lines.lines().enumerate() {
        let line: Value = serde_json::from_str(line).expect("it is JSON");
        let of = |key: &str| line[key].as_f64().unwrap_or_else(|| panic!("{key}: {line}"));
        let parts =
            ["api", "line", "kv_wait", "budget_wait", "tiers", "compute"].map(|part| of(&format!("ttft_{part}_ms")));
        assert!((parts.iter().sum::<f64>() - of("ttft_ms")).abs() < 1e-6, "{line}");
        assert_eq!(line["measured"], number >= 10, "{line}");
        assert!(["hit", "partial", "miss"].contains(&line["class"].as_str().expect("it was admitted")), "{line}");
    }
    assert_eq!(lines.lines().count(), 60);
}

#[test]
fn what_no_extent_can_be_is_refused() {
    refuses(&["--warmup", "x"], 2, &["--warmup", "such as 200, 30s or 10%"]);
    refuses(&["--warmup", "100%"], 2, &["would leave nothing to measure"]);
    refuses(&["--warmup", "-5"], 2, &["is negative"]);
    refuses(&["--warmup", "5", "--set", "run.warmup=6"], 2, &["run.warmup is given twice"]);
    refuses(&["--duration", "0"], 2, &["--duration", "above 0"]);
    refuses(&["--duration", "10"], 2, &["needs a unit"]);
    refuses(&["--duration", "10s", "--requests", "5"], 2, &["keep one of them"]);
    refuses(&["--ramp", "5x"], 2, &["is no unit of time"]);
    refuses(&["--seed", "5..1"], 2, &["has no seed; write 1..5"]);
    refuses(&["--seed", "1..a"], 2, &["such as 1..10"]);
    refuses(&["--seed", "0..99999"], 2, &["more than 10000 seeds"]);
    refuses(&["--seed", "1..3,2"], 2, &["--seed: 2 is given twice"]);
}
