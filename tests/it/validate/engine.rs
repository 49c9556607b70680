//! `podlab validate engine`: a real run is predicted from kernels measured on its GPU, and each check can fail.

use crate::support::{Folder, data, podlab, said};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

const PAIR: &str = "calibration/rtx4090-llama-3.1-8b";
const TABLES: [&str; 3] = ["dense.csv", "attention.csv", "per_sequence.csv"];
const FILES: [&str; 7] =
    ["dense.csv", "attention.csv", "per_sequence.csv", "meta.yaml", "meta.json", "requests.jsonl", "timeseries.csv"];

const ALL: [&str; 10] = [
    "engine.mean_ttft",
    "engine.mean_tpot",
    "engine.mean_e2e",
    "engine.p99_ttft",
    "engine.p99_tpot",
    "engine.p99_e2e",
    "engine.scheduled_to_first",
    "engine.area_running",
    "engine.area_waiting",
    "engine.area_kv_use",
];

/// What the command says of a folder: its checks, those that fell short, and the exit code.
fn checks(of: &Path, more: &[&str]) -> Option<(Value, BTreeSet<String>, i32)> {
    let mut command = podlab()?;
    command.args(["validate", "engine", "--quick", "-o", "json", "--data"]).arg(of).args(more);
    let (stdout, stderr, status) = said(&command.output().expect("it runs"));
    let told: Value = serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error}: {stderr}"));
    let short = told["checks"].as_array().expect("a list of checks").iter().filter(|check| check["ok"] == false);
    let short = short.map(|check| check["name"].as_str().expect("a name").to_owned()).collect();
    Some((told, short, status))
}

/// A copy of the pair, one file of which is written anew.
fn spoilt(folder: &Folder, name: &str, file: &str, spoil: impl Fn(&str) -> String) -> Option<std::path::PathBuf> {
    let pair = data(PAIR)?;
    let copy = folder.path(name);
    fs::create_dir_all(&copy).expect("a folder");
    for each in FILES {
        let text = fs::read_to_string(pair.join(each)).expect("it is there");
        fs::write(copy.join(each), if each == file { spoil(&text) } else { text }).expect("it is written");
    }
    Some(copy)
}

/// Every time of a table, so many times as long.
fn slower(text: &str, factor: f64) -> String {
    let mut lines = text.lines();
    let mut all = format!("{}\n", lines.next().expect("names"));
    for line in lines {
        let (before, time) = line.rsplit_once(',').expect("a time");
        all.push_str(&format!("{before},{}\n", time.parse::<f64>().expect("a number") * factor));
    }
    all
}

#[test]
fn a_real_run_is_predicted_with_nothing_fitted() {
    let Some(pair) = data(PAIR) else { return };
    let folder = Folder::new("validate-engine");
    let out = folder.path("run");
    let Some((told, short, status)) = checks(&pair, &["--out", out.to_str().expect("UTF-8")]) else { return };
    assert_eq!((short, status), (BTreeSet::new(), 0), "{told}");
    let names: Vec<&str> =
        told["checks"].as_array().expect("checks").iter().filter_map(|check| check["name"].as_str()).collect();
    assert_eq!(names, ALL);
    // The run's own figures, as its authors publish them: 65.46 s, 32.4 ms, 86.58 s.
    for (check, known) in told["checks"].as_array().expect("checks").iter().zip([65.46, 0.032_4, 86.58]) {
        let expected = check["expected"].as_f64().expect("a number");
        assert!((expected / known - 1.0).abs() < 2e-3, "{check}");
        let simulated = check["simulated"].as_f64().expect("a number");
        assert!((check["error"].as_f64().expect("a number") - (simulated / expected - 1.0)).abs() < 1e-12, "{check}");
    }
    assert_eq!(folder.names_below("run"), ["checks.json", "observations.jsonl", "report.html", "run.json"]);
    let run: Value =
        serde_json::from_str(&fs::read_to_string(out.join("run.json")).expect("it is there")).expect("JSON");
    assert_eq!(run["settings"]["fitted"], serde_json::json!([]));
    let settings = &run["settings"]["pairs"][0];
    assert_eq!((&settings["kv_blocks"], &settings["host_overhead_ms"]), (&2587.into(), &1.0.into()));
    let lines = fs::read_to_string(out.join("observations.jsonl")).expect("it is there");
    assert_eq!(lines.lines().filter(|line| line.contains("\"request\"")).count(), 300);
    assert!(lines.lines().count() > 450, "and the series");
    // Given the folder above, it is found.
    let (above, ..) = checks(&data("").expect("there"), &[]).expect("there is a binary");
    assert_eq!(above, told);
}

/// Kernels or memory that are not this card's are noticed, each check by at least one of them.
#[test]
fn each_check_can_fail() {
    let folder = Folder::new("validate-engine-spoilt");
    let mut caught = BTreeSet::new();
    let slower_by = |percent: f64| move |text: &str| slower(text, 1.0 + percent / 100.0);
    let mut tell = |name: &str, file: &str, spoil: &dyn Fn(&str) -> String, least: &[&str]| {
        let Some(copy) = spoilt(&folder, name, file, spoil) else { return };
        let Some((told, short, status)) = checks(&copy, &[]) else { return };
        assert_eq!(status, 99, "{name}: {told}");
        for check in least {
            assert!(short.contains(*check), "{name} is caught by {check}, not only {short:?}");
        }
        caught.extend(short);
    };
    tell("dense", TABLES[0], &slower_by(5.0), &["engine.mean_tpot", "engine.mean_e2e", "engine.mean_ttft"]);
    tell(
        "quick",
        TABLES[0],
        &slower_by(-15.0),
        &["engine.scheduled_to_first", "engine.p99_tpot", "engine.area_running"],
    );
    tell("attention", TABLES[1], &slower_by(60.0), &["engine.mean_tpot", "engine.p99_e2e", "engine.p99_ttft"]);
    let fewer = |text: &str| text.replace("\"num_gpu_blocks\": 2588", "\"num_gpu_blocks\": 2200");
    tell("blocks", "meta.json", &fewer, &["engine.area_kv_use", "engine.area_waiting"]);
    let all: BTreeSet<String> = ALL.iter().map(|name| (*name).to_owned()).collect();
    if !caught.is_empty() {
        assert_eq!(caught, all, "each check falls short of something");
    }
}

/// The first mistake is named with its file and line.
#[test]
fn wrong_files_are_refused_by_name_and_line() {
    type Spoil = fn(&str) -> String;
    let cases: [(&str, Spoil, &str); 17] = [
        ("dense.csv", |text| text.replacen(",1,2.592", ",1,fast", 1), "dense.csv:2: time_us: \"fast\" is not a number"),
        ("attention.csv", |text| text.replacen("n_decode", "decoders", 1), "attention.csv:1: no column \"n_decode\""),
        ("attention.csv", |text| text.lines().next().unwrap_or_default().to_owned(), "no row measures attention"),
        ("per_sequence.csv", |text| format!("{text}sampler,1\n"), "2 values under 3 names"),
        (
            "meta.yaml",
            |text| text.replace("meta-llama/Llama-3.1-8B", "meta-llama/Llama-9"),
            "\"meta-llama/Llama-9\" is not known",
        ),
        ("meta.yaml", |text| text.replace("[1]", "[2]"), "lacks the all-reduces"),
        ("dense.csv", |text| text.replace("act_fn", "new_fn"), "\"new_fn\" is no part of a model"),
        ("dense.csv", |text| text.replace("o_proj", "act_fn2"), "\"act_fn2\" is no part of a model"),
        (
            "meta.json",
            |text| text.replace("\"quantization\": null", "\"quantization\": \"fp8\""),
            "quantization: fp8 is not predicted",
        ),
        ("meta.json", |text| text.replace("\"policy\": \"fcfs\"", "\"policy\": \"priority\""), "policy: priority"),
        (
            "meta.json",
            |text| text.replace("\"cudagraph_mode\": [", "\"cudagraph_mode\": [7, "),
            "cudagraph_mode: [7,2,1] is not a mode",
        ),
        (
            "meta.json",
            |text| text.replace("\"block_size\": 16", "\"block_size\": 0"),
            "kv_cache.block_size: must be at least 1",
        ),
        ("meta.json", |text| text.replace("496Z\"", "496\""), "is no moment with a time zone"),
        ("timeseries.csv", |text| text.replacen("2.0,9045", "0.5,9045", 1), "t does not rise"),
        ("meta.json", |text| text.replacen('{', "", 1), "meta.json: "),
        (
            "requests.jsonl",
            |text| text.replacen("\"scheduled_ts\": 27536.", "\"scheduled_ts\": 99999.", 1),
            "requests.jsonl:1: queued_ts, scheduled_ts",
        ),
        ("timeseries.csv", |text| text.replacen("waiting", "queue", 1), "timeseries.csv:1: no column \"waiting\""),
    ];
    let folder = Folder::new("validate-engine-wrong");
    for (number, (file, spoil, words)) in cases.into_iter().enumerate() {
        let Some(copy) = spoilt(&folder, &number.to_string(), file, spoil) else { return };
        let Some(mut command) = podlab() else { return };
        let (stdout, stderr, status) =
            said(&command.args(["validate", "engine", "--data"]).arg(&copy).output().expect("it runs"));
        assert_eq!((stdout.as_str(), status), ("", 3), "{stderr}");
        assert!(stderr.contains(words), "{words}: {stderr}");
    }
    let Some(mut command) = podlab() else { return };
    let empty = folder.path("nothing");
    fs::create_dir_all(&empty).expect("a folder");
    let (_, stderr, status) =
        said(&command.args(["validate", "engine", "--data"]).arg(&empty).output().expect("it runs"));
    assert_eq!(status, 2, "{stderr}");
    assert!(stderr.contains("no folder there holds both a profile"), "{stderr}");
}

/// What a recording does not say is taken from the engine's defaults and the device's memory, and told.
#[test]
fn what_is_not_recorded_is_assumed_aloud() {
    let folder = Folder::new("validate-engine-less");
    let without = |keys: &'static [&'static str]| {
        move |text: &str| {
            let mut meta: Value = serde_json::from_str(text).expect("JSON");
            for key in keys {
                let (section, name) = key.split_once('/').unwrap_or(("", key));
                let section = if section.is_empty() { &mut meta } else { &mut meta[section] };
                section.as_object_mut().expect("an object").remove(name);
            }
            meta.to_string()
        }
    };
    let tell = |name: &str, keys: &'static [&'static str], words: &[&str]| {
        let Some(copy) = spoilt(&folder, name, "meta.json", without(keys)) else { return };
        let Some(mut command) = podlab() else { return };
        let (stdout, stderr, _) =
            said(&command.args(["validate", "engine", "--data"]).arg(&copy).output().expect("it runs"));
        assert!(stdout.contains("engine.mean_ttft"), "{stdout}{stderr}");
        for word in words {
            assert!(stdout.contains(word), "{word}: {stdout}");
        }
    };
    tell("blocks", &["kv_cache"], &["KV blocks, which the device's memory leaves", "block_size 16"]);
    tell("config", &["resolved_config"], &["async_scheduling true", "CUDA graphs", "captured for up to 512 tokens"]);
    tell("hardware", &["hardware", "started_at"], &["300 requests on a GPU"]);
    let Some(copy) = spoilt(&folder, "series", "meta.json", str::to_owned) else { return };
    fs::remove_file(copy.join("timeseries.csv")).expect("it was there");
    let Some((told, short, status)) = checks(&copy, &[]) else { return };
    assert_eq!((short, status), (BTreeSet::new(), 0), "{told}");
    assert_eq!(told["checks"].as_array().map(Vec::len), Some(7), "no curves");
}

/// Rows that an engine cannot run are left out by profilers; one that failed may be missing anywhere. Tables of later profilers
/// name what a chunk sees otherwise.
#[test]
fn other_grids_are_read() {
    let folder = Folder::new("validate-engine-grids");
    let table = |name: &str, spoil: &dyn Fn(&str) -> String| {
        let copy = spoilt(&folder, name, "attention.csv", spoil)?;
        let (told, _, _) = checks(&copy, &[])?;
        told["checks"][1]["simulated"].as_f64()
    };
    let Some(whole) = table("whole", &str::to_owned) else { return };
    let keep = |of: &'static dyn Fn(u64, u64, u64, u64) -> bool| {
        move |text: &str| {
            let rows = text.lines().enumerate().filter(|(number, line)| {
                let cells: Vec<u64> = line.split(',').take(4).filter_map(|cell| cell.parse().ok()).collect();
                *number == 0 || of(cells[0], cells[1], cells[2], cells[3])
            });
            rows.map(|(_, line)| format!("{line}\n")).collect::<String>()
        }
    };
    let near = |tpot: Option<f64>, within: f64, what: &str| {
        let tpot = tpot.expect("it is predicted");
        assert!((tpot / whole - 1.0).abs() < within, "{what}: {tpot} {whole}");
    };
    near(
        table("one-row", &keep(&|chunk, _, decoders, context| (chunk, decoders, context) != (0, 16, 1_024))),
        0.01,
        "one row",
    );
    near(table("memory", &keep(&|_, _, decoders, context| decoders * context < 1_000_000)), 0.02, "what would not fit");
    near(table("length", &keep(&|chunk, cached, _, _| chunk + cached < 16_384)), 0.005, "longer than the model");
    let renamed = |text: &str| {
        let rows = text.lines().enumerate().map(|(number, line)| {
            if number == 0 {
                return "layer,prefill_chunk,prefill_key,n_decode,kv_decode,decode_q_len,time_us\n".to_owned();
            }
            let cells: Vec<&str> = line.split(',').collect();
            let [chunk, cached] = [cells[0], cells[1]].map(|cell| cell.parse::<f64>().expect("a number"));
            format!("attention,{chunk},{},{},{},1,{}\n", cached + chunk / 2.0, cells[2], cells[3], cells[4])
        });
        rows.chain(["indexer,16,24,0,0,1,9.5\n".to_owned(), "attention,16,24,1,16,4,99\n".to_owned()])
            .collect::<String>()
    };
    near(table("later", &renamed), 1e-9, "the same under later names");
}
