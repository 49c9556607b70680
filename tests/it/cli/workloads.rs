//! Generated workloads from the command line.

use super::{SAMPLE, refuses, simulate};
use crate::support::{project, said};
use serde_json::Value;

/// The runs of `podlab simulate SAMPLE --workload name arguments...`, and what was said besides.
fn runs(name: &str, arguments: &[&str]) -> Option<(Vec<Value>, String)> {
    let mut command = simulate()?;
    command.arg(project(SAMPLE)).args(["--workload", name, "-o", "json"]).args(arguments);
    let (stdout, stderr, status) = said(&command.output().expect("it runs"));
    assert_eq!(status, 0, "{name} {arguments:?}: {stderr}");
    let result: Value = serde_json::from_str(&stdout).expect("it is JSON");
    Some((result["runs"].as_array().expect("it is a list").clone(), stderr))
}

#[test]
fn each_generated_workload_completes_what_it_sends() {
    for name in ["docqa", "chat", "shared-system", "mixed", "unrelated", "code-review"] {
        for arguments in [&["--rate", "4,8"] as &[&str], &["--concurrency", "10,20"], &["--users", "5,30"]] {
            // One worker alone would be outrun, and that be told.
            let balanced = [arguments, &["--strategy", "least-loaded"]].concat();
            let Some((runs, stderr)) = runs(name, &balanced) else { return };
            assert_eq!((runs.len(), stderr.as_str()), (2, ""), "{name}");
            for run in runs {
                assert_eq!((&run["requests"], &run["completed"]), (&700.into(), &700.into()), "{name} {arguments:?}");
                assert_eq!(run["workload"], name);
            }
        }
        let Some((short, _)) = runs(name, &["--requests", "30"]) else { return };
        assert_eq!((&short[0]["completed"], &short[0]["concurrency"]), (&30.into(), &20.into()), "{name}");
    }
}

#[test]
fn settings_of_a_workload_are_an_axis() {
    let Some((runs, _)) = runs("chat", &["--set", "chat.turns=1,7", "--cache", "l0"]) else { return };
    let hits = |run: &Value| run["hit_rate"]["total"].as_f64().expect("prompts were looked up");
    assert!(hits(&runs[0]) < 0.01 && hits(&runs[1]) > 0.3, "{} {}", hits(&runs[0]), hits(&runs[1]));
}

#[test]
fn what_a_workload_cannot_be_is_blamed_on_its_settings() {
    let set = |name: &str, setting: &str, words: &[&str]| {
        refuses(&["--workload", name, "--set", setting], 2, words);
    };
    set("chat", "chat.turns=2k", &["--set chat.turns=2k: 2000 is more than 1000; it takes a count up to"]);
    set("chat", "chat.answer_tokens=1e9", &["error: --set chat.answer_tokens=1e9: chat: the system", "of a request"]);
    set("shared-system", "shared_system.system_tokens=4294967295", &["4294967295: shared-system: ", "of a request"]);
    set("mixed", "mixed.answer_tokens=4294967295", &["4294967295: mixed: ", "of a request"]);
    set("mixed", "mixed.long_share=0.8", &["error: --set mixed.long_share=0.8: mixed.long_share", "1.1 together"]);
    set("chat", "chat.turn=2", &["did you mean \"chat.turns\"?"]);
    let many = ["--workload", "docqa", "--set", "docqa.skew=1", "--set", "docqa.documents=1000001"];
    refuses(&many, 2, &["docqa.skew: the shares of 1000001 documents", "at most 1000000"]);
}
