//! A run folder gives back the factors that made it.

use super::{TRUE, TRUTH, calibrate, refused, simulated, within};
use crate::support::Folder;

/// The run's own factors lie within the intervals, and those that one run cannot tell are said to be untold.
#[test]
fn a_run_gives_back_what_made_it() {
    let folder = Folder::new("calibrate-run");
    let load = ["--rate", "0.3", "--requests", "200", "--set", "unrelated.prompt_tokens=1000"];
    let load = [&load[..], &["--set", "unrelated.spread=1.5"]].concat();
    if simulated(&folder, TRUTH, &load).is_none() {
        return;
    }
    let Some(profile) = calibrate(&folder.path("run"), &[]) else { return };
    within(&profile, &TRUE, 1.5);
    for untold in ["weight_read", "all_reduce_us_per_rank", "prompt_per_layer_us", "per_sequence_us"] {
        assert!(profile["factors"][untold]["low"].is_null(), "{untold}: {}", profile["factors"][untold]);
    }
    for kind in ["ttft", "tpot"] {
        let held = profile["errors"][kind]["held_out"].as_f64().expect("groups were left out");
        assert!(held < 0.03, "{kind} is off by {held}");
    }
    assert_eq!(profile["gpu"], "H100");
    assert_eq!(profile["grid"]["tensor_parallel"], serde_json::json!([8]));
}

#[test]
fn a_run_that_tells_nothing_is_refused() {
    let folder = Folder::new("calibrate-refused");
    let Some(_) = simulated(&folder, TRUTH, &["--rate", "1", "--requests", "20"]) else { return };
    let run = folder.path("run");
    let run = run.to_str().expect("a path in UTF-8");
    refused(&["calibrate", run], 3, &["requests.jsonl: 20 completed requests are too few", "are needed"]);
    refused(&["calibrate", run, "--profile", "x"], 2, &["--profile chooses rows of a table"]);
    let lines = std::fs::read_to_string(folder.path("run/requests.jsonl")).expect("it was written");
    let cached = lines.replace("\"cached_tokens\":0", "\"cached_tokens\":500");
    std::fs::write(folder.path("run/requests.jsonl"), cached).expect("it can be written");
    refused(&["calibrate", run], 3, &["of its prompts were found in caches", "--cache none"]);
    std::fs::write(folder.path("run/requests.jsonl"), "{}\n").expect("it can be written");
    refused(&["calibrate", run], 3, &["requests.jsonl:1: missing field `status`"]);
    std::fs::write(folder.path("run/run.json"), "{}").expect("it can be written");
    refused(&["calibrate", run], 3, &["run.json", "inputs"]);
    refused(&["calibrate", folder.path("nothing").to_str().expect("UTF-8")], 3, &["neither a table"]);
}
