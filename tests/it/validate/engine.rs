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
    assert_eq!(folder.names_below("run"), ["checks.json", "observations.jsonl", "run.json"]);
    let run: Value =
        serde_json::from_str(&fs::read_to_string(out.join("run.json")).expect("it is there")).expect("JSON");
    assert_eq!(run["settings"]["fitted"], serde_json::json!([]));
    let settings = &run["settings"]["pairs"][0];
    assert_eq!((&settings["kv_blocks"], &settings["host_overhead_ms"]), (&2587.into(), &0.0.into()));
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
    let cases: [(&str, Spoil, &str); 9] = [
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
