//! `--explain-request` and `--strategy`, from outside.

use super::SAMPLE;
use crate::support::{Folder, podlab, project, said};
use router::Strategy;
use serde_json::Value;

/// What `podlab simulate SAMPLE arguments...` printed, said, and its exit code.
fn simulate(arguments: &[&str]) -> Option<(String, String, i32)> {
    let mut command = podlab()?;
    command.arg("simulate").arg(project(SAMPLE)).args(arguments);
    Some(said(&command.output().expect("it runs")))
}

fn refuses(arguments: &[&str], words: &[&str]) {
    let Some((stdout, stderr, status)) = simulate(arguments) else { return };
    assert_eq!((status, stdout.as_str()), (2, ""), "{arguments:?}: {stderr}");
    assert!(words.iter().all(|word| stderr.contains(word)), "{arguments:?} should say {words:?}:\n{stderr}");
}

#[test]
fn nothing_but_the_explanation_is_printed() {
    let arguments = ["--requests", "30", "--replicas", "2", "--strategy", "kvaware,random", "--seed", "1,2"];
    let with = |more: &[&str]| simulate(&[&arguments, more].concat());
    let Some((text, stderr, status)) = with(&["--explain-request", "29,3"]) else { return };
    assert_eq!((status, stderr.as_str()), (0, ""));
    let heads: Vec<&str> = text.lines().filter(|line| line.starts_with("request ")).collect();
    let runs = ["kvaware · seed 1", "kvaware · seed 2", "random · seed 1", "random · seed 2"];
    let expected = runs.iter().flat_map(|run| ["request 29 · ", "request 3 · "].map(|request| (request, *run)));
    for (head, (request, run)) in heads.iter().zip(expected) {
        assert!(head.starts_with(request) && head.ends_with(run), "{head}");
    }
    assert_eq!(heads.len(), 8);
    assert!(text.starts_with("request 29") && !text.contains("$/1K"), "{text}");
    let Some((json, _, status)) = with(&["--explain-request", "29,3", "-o", "json"]) else { return };
    let json: Value = serde_json::from_str(&json).expect("it is JSON and nothing else");
    assert_eq!(status, 0);
    assert_eq!(json.as_object().expect("one object").keys().collect::<Vec<_>>(), ["explanations"]);
    let told: Vec<(&str, u64, u64)> = json["explanations"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|one| {
            let number = |value: &Value| value.as_u64().expect("a number");
            let strategy = one["run"]["strategy"].as_str().expect("a name");
            (strategy, number(&one["run"]["seed"]), number(&one["request"]["request"]))
        })
        .collect();
    let kvaware = [("kvaware", 1, 29), ("kvaware", 1, 3), ("kvaware", 2, 29), ("kvaware", 2, 3)];
    assert_eq!(told, [kvaware, kvaware.map(|(_, seed, request)| ("random", seed, request))].concat());
    // Being asked changes nothing.
    let (Some((_, _, plain)), Some((again, _, _))) = (with(&[]), with(&["--explain-request", "29,3"])) else { return };
    assert_eq!((plain, again), (0, text));
}

#[test]
fn a_folder_is_written_all_the_same() {
    let folder = Folder::new("explain-out");
    let out = folder.path("run");
    let out = out.to_str().expect("its name is text");
    let Some((stdout, stderr, status)) = simulate(&["--requests", "5", "--explain-request", "4", "--out", out]) else {
        return;
    };
    assert_eq!(status, 0, "{stderr}");
    let text = std::fs::read_to_string(folder.path("run/requests.jsonl")).expect("it was written");
    let line: Value = serde_json::from_str(text.lines().last().expect("there are five")).expect("it is JSON");
    let decision = format!(
        "worker {}, {}: ",
        line["worker"].as_u64().expect("a number"),
        line["reason"].as_str().expect("a name")
    );
    assert!(stdout.contains(&decision), "{stdout} and {line}");
}

#[test]
fn wrong_numbers_are_usage_errors() {
    refuses(&["--explain-request", "700"], &["--explain-request 700", "700 requests", "from 0 to 699"]);
    refuses(&["--requests", "1", "--explain-request", "0,1"], &["--explain-request 1", "from 0 to 0"]);
    refuses(&["--explain-request", "3,3"], &["--explain-request: 3 is given twice"]);
    refuses(&["--explain-request", "-1"], &["--explain-request"]);
    refuses(&["--explain-request", "x"], &["a whole number is expected"]);
    refuses(&["--explain-request", ""], &["--explain-request"]);
    refuses(&["--explain-request", "1", "-o", "csv"], &["--explain-request", "table or json"]);
}

#[test]
fn names_of_strategies() {
    let run = |names: &str| {
        let (stdout, stderr, status) = simulate(&["--requests", "2", "--strategy", names, "-o", "json"])?;
        assert_eq!(status, 0, "{names}: {stderr}");
        let json: Value = serde_json::from_str(&stdout).expect("it is JSON");
        let runs = json["runs"].as_array().expect("a list").iter();
        Some(runs.map(|run| run["strategy"].as_str().expect("a name").to_owned()).collect::<Vec<_>>())
    };
    let Some(all) = run("all") else { return };
    assert_eq!(all, Strategy::ALL.map(|strategy| strategy.as_str().to_owned()));
    let Some(four) = run("p2c,hyperpod") else { return };
    assert_eq!(four, ["p2c", "roundrobin", "prefixaware", "kvaware", "session"]);
    refuses(&["--strategy", "all,kvaware"], &["--strategy: all is several strategies, kvaware among them"]);
    refuses(&["--strategy", "p2c, p2c"], &["--strategy: p2c is given twice"]);
    refuses(&["--strategy", "kvaware++"], &["did you mean \"kvaware+\"?", "predicted-ttft, all, hyperpod"]);
    for shell in ["simulate", "serve"] {
        for flag in ["--help", "-h"] {
            let Some(mut command) = podlab() else { return };
            let (stdout, _, status) = said(&command.args([shell, flag]).output().expect("it runs"));
            assert_eq!(status, 0);
            for strategy in Strategy::ALL {
                assert!(stdout.contains(strategy.as_str()), "{shell} {flag} should name {strategy}:\n{stdout}");
            }
            assert_eq!(stdout.contains("hyperpod"), shell == "simulate", "a server has one strategy");
        }
        let Some(mut command) = podlab() else { return };
        let output = command.arg(shell).arg(project(SAMPLE)).args(["--strategy", "leastloaded"]).output();
        let (_, stderr, status) = said(&output.expect("it runs"));
        assert_eq!(status, 2, "{stderr}");
        assert!(stderr.contains("did you mean \"least-loaded\"?"), "{shell}: {stderr}");
    }
    let Some(mut command) = podlab() else { return };
    let output = command.arg("serve").arg(project(SAMPLE)).args(["--strategy", "all"]).output();
    let (_, stderr, status) = said(&output.expect("it runs"));
    assert_eq!(status, 2, "{stderr}");
}
