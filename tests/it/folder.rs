//! A run as a folder: whole or not at all, and with all it takes to run it again.

use crate::support::{Folder, podlab, project, said};
use serde_json::Value;
use std::path::Path;

const SAMPLE: &str = "driver/examples/aws-blog-70b.yaml";

/// Ten requests into `out`, from the working directory `from`: what was printed, what was said, the exit code.
fn simulate(from: &Path, out: &str, arguments: &[&str]) -> Option<(String, String, i32)> {
    let sample = std::fs::canonicalize(project(SAMPLE)).expect("the sample is there");
    let mut command = podlab()?;
    command.current_dir(from).arg("simulate").arg(sample).args(["--requests", "10", "--out", out]).args(arguments);
    Some(said(&command.output().expect("it runs")))
}

/// Expects exit code 2 before any work, with these words, and that nothing is left behind in `folder`.
fn refuses(folder: &Folder, out: &str, words: &str) {
    let before = folder.names();
    // A trace that is not there would be exit code 3: the folder is told first.
    let Some((stdout, stderr, status)) = simulate(&folder.path("."), out, &["--workload", "trace:nowhere.jsonl"])
    else {
        return;
    };
    assert_eq!((status, stdout.as_str()), (2, ""), "{out}: {stderr}");
    assert!(stderr.contains("--out") && stderr.contains(words), "{out} should say {words:?}:\n{stderr}");
    assert_eq!(folder.names(), before, "{out}: nothing is left behind");
}

fn files(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("it is there");
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("it can be read").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

const FILES: [&str; 4] = ["report.html", "requests.jsonl", "run.json", "summary.json"];

#[test]
fn a_run_folder_appears_whole_and_is_never_overwritten() {
    let folder = Folder::new("run-folder");
    let Some((_, stderr, status)) = simulate(&folder.path("."), "run", &[]) else { return };
    assert_eq!(status, 0, "{stderr}");
    assert_eq!((folder.names(), files(&folder.path("run"))), (vec!["run".to_owned()], FILES.map(str::to_owned).into()));
    let requests = std::fs::read_to_string(folder.path("run/requests.jsonl")).expect("it is there");
    assert_eq!(requests.lines().count(), 10);
    refuses(&folder, "run", "not an empty folder");
    refuses(&folder, ".", "not an empty folder");
}

#[test]
fn an_empty_folder_is_filled_where_it_is() {
    let folder = Folder::new("empty-folder");
    for name in ["here", "behind"] {
        std::fs::create_dir(folder.path(name)).expect("it can be made");
    }
    std::os::unix::fs::symlink("behind", folder.path("link")).expect("it can be made");
    for (from, out, filled) in
        [("here", ".", "here"), (".", "link", "behind"), (".", "new/below/run/", "new/below/run")]
    {
        let Some((_, stderr, status)) = simulate(&folder.path(from), out, &[]) else { return };
        assert_eq!(status, 0, "{out}: {stderr}");
        assert_eq!(files(&folder.path(filled)), FILES, "{out}");
    }
    assert!(folder.path("link").is_symlink(), "the link is still one");
    assert_eq!(folder.names(), ["behind", "here", "link", "new"]);
    assert_eq!(files(&folder.path("new/below")), ["run"]);
}

#[test]
fn several_runs_are_folders_below() {
    let folder = Folder::new("several-runs");
    let Some((_, stderr, status)) = simulate(&folder.path("."), ".", &["--seed", "1,2"]) else { return };
    assert_eq!(status, 0, "{stderr}");
    let mut names = folder.names();
    assert_eq!(names.pop().as_deref(), Some("report.html"), "one page for all");
    assert_eq!(names.len(), 2, "{names:?}");
    assert!(names.iter().all(|name| files(&folder.path(name)) == FILES), "{names:?}");
}

#[test]
fn what_cannot_be_written_is_told_before_the_work() {
    let folder = Folder::new("unwritable");
    folder.file("file", "");
    std::os::unix::fs::symlink("nowhere", folder.path("dangling")).expect("it can be made");
    refuses(&folder, "file", "exists and is not a folder");
    refuses(&folder, "file/x", "it cannot be a folder");
    refuses(&folder, "dangling", "symbolic link that leads nowhere");
    refuses(&folder, "new/..", "names no folder");
    refuses(&folder, "/proc/podlab/run", "cannot create /proc/podlab");
    refuses(&folder, "/proc/run", "cannot write into /proc");
    refuses(&folder, &format!("new/{}", "x".repeat(300)), "--out");
}

#[test]
fn a_command_that_fails_leaves_no_folder_behind() {
    let folder = Folder::new("failed");
    for arguments in [&["--workload", "docqs"] as &[&str], &["--set", "engine.block_size=1"]] {
        let Some((_, stderr, status)) = simulate(&folder.path("."), "new/below/run", arguments) else { return };
        assert_eq!(status, 2, "{stderr}");
        assert!(folder.names().is_empty(), "{arguments:?} left {:?}", folder.names());
    }
}

/// The `run.json` and `summary.json` of a run in `folder`.
fn written(folder: &Path) -> (Value, Value) {
    let read = |name: &str| {
        let text = std::fs::read_to_string(folder.join(name)).expect("it was written");
        serde_json::from_str(&text).expect("it is JSON")
    };
    (read("run.json"), read("summary.json"))
}

#[test]
fn run_json_says_all_that_a_run_was_made_from() {
    let folder = Folder::new("provenance");
    let line = r#"{"timestamp": 0, "input_length": 600, "output_length": 3, "hash_ids": [1, 2]}"#;
    let trace = folder.file("trace.jsonl", &format!("{line}\n"));
    folder.file("podlab.yaml", "engine.max_num_seqs: 9\n");
    let workload = format!("trace:{}", trace.display());
    let arguments = ["--workload", &workload, "--lab", "podlab.yaml", "--speedup", "2", "--seed", "7"];
    let arguments = [&arguments as &[&str], &["--set", "api.latency=1ms", "--strategy", "kvaware"]].concat();
    let Some((_, stderr, status)) = simulate(&folder.path("."), "run", &arguments) else { return };
    assert_eq!(status, 0, "{stderr}");
    let (run, summary) = written(&folder.path("run"));
    let inputs = &run["inputs"];
    assert_eq!(inputs["endpoint"]["text"], std::fs::read_to_string(project(SAMPLE)).expect("it is there"));
    assert_eq!(inputs["lab"]["text"], "engine.max_num_seqs: 9\n");
    assert_eq!(inputs["lab"]["path"], "podlab.yaml");
    // sha256sum of the two files.
    assert_eq!(inputs["lab"]["sha256"], "3637c5a885f283134863c818c85b1a3b00d0da2f9324b5e3c59b11d74fb10d70");
    assert_eq!(inputs["trace"]["sha256"], "59ede74246ee6f1947bf4a07adf5fe731d9e69ad345cab26416871b87149a6fe");
    assert!(inputs["trace"].get("text").is_none(), "a trace is too long to keep");
    for (key, value) in [("strategy", "kvaware"), ("cache", "l0+l1+l2"), ("podlab", "0.1.0"), ("workload", &workload)] {
        assert_eq!(run[key], value, "{key}");
    }
    let numbers = [("replicas", 7), ("seed", 7), ("requests", 1)];
    assert!(numbers.iter().all(|(key, value)| run[key] == *value), "{run}");
    assert_eq!((&run["speedup"], &run["rate"]), (&2.0.into(), &Value::Null));
    assert_eq!((&summary["speedup"], &summary["rate"]), (&2.0.into(), &Value::Null));
    assert!(run["command"].as_array().is_some_and(|words| words.contains(&"--speedup".into())));
    assert_eq!(run["lab"]["api.latency"], "1ms");
    let engine = ["reserve_full_isl", "chunked_prefill", "prefix_caching", "async_scheduling"];
    assert!(engine.iter().all(|key| run["engine"][key].is_boolean()), "{}", run["engine"]);
    assert_eq!((&run["engine"]["max_num_seqs"], &run["engine"]["duplicates"]), (&9.into(), &"keep".into()));
    assert!(run["engine"].get("long_prefill_token_threshold").is_some());
    let tiers = &run["engine"]["tiers"];
    // 8 x 5 GiB at 327,680 bytes a token.
    assert_eq!((&tiers["l1"]["tokens"], &tiers["chunk_tokens"]), (&131_072.into(), &256.into()), "{tiers}");
    assert_eq!((&tiers["load"], &tiers["choice"], &tiers["l2"]), (&"blocking".into(), &"always".into(), &true.into()));
    let pool = &run["transport"]["l2"];
    assert_eq!((&pool["backend"], &pool["shards"]), (&"tieredstorage".into(), &7.into()), "{pool}");
    assert_eq!((&pool["watermark"], &pool["ttl_ms"]), (&0.9.into(), &Value::Null), "{pool}");
    let deployment = &run["deployment"];
    assert_eq!((&deployment["dtype"], &deployment["quantization"]), (&"bfloat16".into(), &"none".into()));
    assert_eq!((&deployment["kv_cache_dtype"], &deployment["tensor_parallel_size"]), (&"auto".into(), &8.into()));
    assert_eq!((&run["router"]["strategy"], &run["router"]["seed"]), (&"kvaware".into(), &7.into()));
    let price = &run["price"];
    assert!(price["source"].is_string() && price["date"].is_string() && price["derived"].is_boolean(), "{price}");
}

#[test]
fn the_lab_of_run_json_is_a_lab_file_that_gives_the_run_again() {
    let folder = Folder::new("again");
    let set = "--set engine.block_size=32 --set api.latency=0.1ms --set price.usd_per_hour=1e2 --set docqa.users=3 \
               --set engine.duplicates=merge --set engine.async_scheduling=on --set router.chars_per_token=1.5 \
               --set tiers.choice=cost --set tiers.load=layerwise --set l1.bytes=1.5GiB --set l1.watermark=0.75 \
               --set l1.eviction=s3fifo --set l2.ttl=90s --set l2.nic=100Gbit/s --set l2.bytes=0.3TB";
    let Some((_, stderr, status)) = simulate(&folder.path("."), "first", &set.split_whitespace().collect::<Vec<_>>())
    else {
        return;
    };
    assert_eq!(status, 0, "{stderr}");
    let (first, summary) = written(&folder.path("first"));
    assert_eq!(first["price"]["source"], "price.usd_per_hour");
    assert_eq!((&first["price"]["date"], &first["price"]["derived"]), (&Value::Null, &false.into()));
    let mut lab = first["lab"].as_object().expect("it is an object").clone();
    let settings = driver::lab::settings::SETTINGS.iter().map(|setting| setting.key);
    assert_eq!(lab.keys().map(String::as_str).collect::<Vec<_>>(), settings.collect::<Vec<_>>(), "every setting");
    lab.retain(|_, value| !value.is_null());
    folder.file("podlab.yaml", &Value::Object(lab).to_string());
    let Some((_, stderr, status)) = simulate(&folder.path("."), "again", &["--lab", "podlab.yaml"]) else { return };
    assert_eq!(status, 0, "{stderr}");
    let (again, same) = written(&folder.path("again"));
    for part in ["lab", "deployment", "engine", "transport", "router", "path", "price"] {
        assert_eq!(first[part], again[part], "{part}");
    }
    let requests = |run: &str| std::fs::read(folder.path(run).join("requests.jsonl")).expect("it was written");
    assert_eq!(requests("first"), requests("again"));
    assert_eq!(summary, same, "to the settings that make a run different");
    assert_eq!(summary["settings"].as_object().map(serde_json::Map::len), Some(15), "{}", summary["settings"]);
    let bytes = |run: &str| std::fs::read(folder.path(run).join("summary.json")).expect("it was written");
    assert_eq!(bytes("first"), bytes("again"));
}

#[test]
fn each_request_says_which_tier_its_prompt_came_from() {
    let folder = Folder::new("requests-by-tier");
    let arguments = "--cache none,l0,l0+l1+l2 --replicas 1 --concurrency 1 --set docqa.documents=4 \
                     --set engine.num_gpu_blocks=8250 --set docqa.document_tokens=65536";
    let Some((_, stderr, status)) =
        simulate(&folder.path("."), "runs", &arguments.split_whitespace().collect::<Vec<_>>())
    else {
        return;
    };
    assert_eq!(status, 0, "{stderr}");
    let mut lower = 0;
    for (run, l0, below) in [
        ("001-prefixaware-none-1x-c1-seed0", false, false),
        ("002-prefixaware-l0-1x-c1-seed0", true, false),
        ("003-prefixaware-l0+l1+l2-1x-c1-seed0", true, true),
    ] {
        let text =
            std::fs::read_to_string(folder.path("runs").join(run).join("requests.jsonl")).expect("it was written");
        for line in text.lines() {
            let line: Value = serde_json::from_str(line).expect("it is JSON");
            let tokens = |key: &str| line[key].as_u64();
            let tiers = [tokens("cached_l0_tokens"), tokens("cached_l1_tokens"), tokens("cached_l2_tokens")];
            assert_eq!(tiers.map(|tokens| tokens.is_some()), [l0, below, below], "{run}: {line}");
            let found: u64 = tiers.into_iter().flatten().sum();
            assert_eq!(tokens("cached_tokens"), Some(found), "{run}: {line}");
            lower += tiers[1..].iter().flatten().sum::<u64>();
        }
    }
    assert!(lower > 0, "something came from below the device");
}
