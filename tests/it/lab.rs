//! Settings: the lab file, `--set`, annotations; and who is told where one does not fit.

use crate::support::{Folder, podlab, project, said};
use driver::lab::settings::SETTINGS;
use driver::lab::{Lab, file, units};
use std::path::Path;

mod tiers; // what the settings of L1 and L2 come to
mod schema; // what editors check a lab file by
mod workloads; // those of the generated workloads

const SAMPLE: &str = "driver/examples/aws-blog-70b.yaml";

/// Runs ten requests of `endpoint` with these arguments: what was printed, what was said, the exit code.
fn simulate(endpoint: &Path, arguments: &[&str]) -> Option<(String, String, i32)> {
    let mut command = podlab()?;
    command.arg("simulate").arg(endpoint).args(["--requests", "10", "-o", "json"]).args(arguments);
    Some(said(&command.output().expect("it runs")))
}

/// Expects exit code `code` and one line that says `words`.
fn refuses(endpoint: &Path, arguments: &[&str], code: i32, words: &[&str]) {
    let Some((stdout, stderr, status)) = simulate(endpoint, arguments) else { return };
    assert_eq!((status, stdout.as_str()), (code, ""), "{arguments:?}: {stderr}");
    let errors: Vec<&str> = stderr.lines().filter(|line| line.starts_with("error: ")).collect();
    assert_eq!(errors.len(), 1, "{arguments:?}: {stderr}");
    for word in words {
        assert!(errors[0].contains(word), "{arguments:?} should say {word:?}:\n{stderr}");
    }
}

/// Reads a lab file of this text and compares its problems, one a line.
fn problems(text: &str, expected: &[&str]) {
    let error = file::parse(text, "podlab.yaml").expect_err(text);
    let lines: Vec<&str> = error.lines().collect();
    assert_eq!(lines.len(), expected.len(), "{text}\n{error}");
    for (line, expected) in lines.iter().zip(expected) {
        assert!(line.starts_with(expected), "{text}\nsays {line}\nnot {expected}");
        for word in ["Options", "DuplicateKeyPolicy", "from_str", "-->", "^"] {
            assert!(!line.contains(word), "{line} speaks of {word}");
        }
    }
}

#[test]
fn a_lab_file_sets_by_sections_and_by_dotted_names() {
    let text = "docqa:\n  document_tokens: [1024, 2Ki]\nengine.async_scheduling: yes\nprice: {usd_per_hour: 1e2}\n";
    let axes = file::parse(text, "podlab.yaml").expect("it is valid");
    let told: Vec<(&str, String)> = axes.iter().map(|axis| (axis.key.as_str(), axis.values.join(" "))).collect();
    let expected = [
        ("docqa.document_tokens", "1024 2Ki".to_owned()),
        ("engine.async_scheduling", "true".to_owned()),
        ("price.usd_per_hour", "1e2".to_owned()),
    ];
    assert_eq!(told, expected);
    for empty in ["", "# nothing\n", "{}\n"] {
        assert_eq!(file::parse(empty, "podlab.yaml"), Ok(vec![]), "{empty:?}");
    }
}

#[test]
fn every_problem_of_a_lab_file_has_its_line_and_its_setting() {
    let text = "engine:\n  hosts: 1ms\n  host_overhead: soon\ndocqa.documents: [1, 0]\n";
    problems(
        text,
        &[
            "podlab.yaml:2:3: engine.hosts: there is no such setting",
            "podlab.yaml:3:18: engine.host_overhead: \"soon\" does not begin with a number; it takes a time",
            "podlab.yaml:4:22: docqa.documents: 0 lies outside 1",
        ],
    );
    problems(
        "engine.max_num_seqs: 4\nengine: {max_num_seqs: 9}\n",
        &["podlab.yaml:2:10: engine.max_num_seqs: given twice, first in line 1; keep one of them"],
    );
    problems(
        "engine:\n  max_num_seqs: 4\n  max_num_seqs: 9\n",
        &["podlab.yaml:3:3: engine.max_num_seqs: this field is given twice"],
    );
    problems("docqa.users: [4, 4]\n", &["podlab.yaml:1:18: docqa.users: 4 is given twice"]);
    problems("docqa.users: []\n", &["podlab.yaml:1:14: docqa.users: a list is neither"]);
    problems("docqa.users:\n", &["podlab.yaml:1:12: docqa.users: an empty value (null) is neither"]);
    problems("docqa.users: ''\n", &["podlab.yaml:1:14: docqa.users: a value is missing"]);
    problems("- 1\n", &["podlab.yaml:1:1: a lab file is a map of settings"]);
    problems("docqa.users: 1\n---\ndocqa.users: 2\n", &["podlab.yaml:3:1: a second document"]);
    problems("a: [", &["podlab.yaml:1:4: not valid YAML"]);
}

#[test]
fn stronger_settings_replace_weaker_ones() {
    let folder = Folder::new("lab-file");
    let lab = folder.file("podlab.yaml", "docqa:\n  document_tokens: [1024, 2048]\nengine.host_overhead: 2ms\n");
    let lab = lab.to_str().expect("the path is UTF-8");
    let arguments = ["--lab", lab, "--set", "engine.host_overhead=3ms"];
    let Some((stdout, stderr, status)) = simulate(&project(SAMPLE), &arguments) else { return };
    assert_eq!(status, 0, "{stderr}");
    let result: serde_json::Value = serde_json::from_str(&stdout).expect("it is JSON");
    let settings = |run: usize| result["runs"][run]["settings"].clone();
    assert_eq!(settings(0)["docqa.document_tokens"], "1024");
    assert_eq!(settings(1)["docqa.document_tokens"], "2048");
    assert_eq!(settings(1)["engine.host_overhead"], "3ms");
}

#[test]
fn set_takes_each_setting_and_each_value_once() {
    let sample = project(SAMPLE);
    let set = |values: &[&str], words: &[&str]| {
        let arguments: Vec<&str> = values.iter().flat_map(|value| ["--set", value]).collect();
        refuses(&sample, &arguments, 2, words);
    };
    set(&["docqa.users=1", "docqa.users=2"], &["--set docqa.users=2: docqa.users is given twice", "=V1,V2"]);
    set(&["docqa.users=1,2,1"], &["1 is given twice"]);
    set(&["api.latency=1ms,1000us"], &["1000us is the same as 1ms"]);
    set(&["docqa.users="], &["--set docqa.users=: a value is missing; it takes a count"]);
    set(&["docqa.users=1,"], &["a value is missing"]);
    set(&["=1"], &["there is no such setting"]);
}

/// What holds for a lab file holds for annotations: axes, units, suggestions.
#[test]
fn annotations_are_settings_too() {
    let folder = Folder::new("annotations");
    let text = std::fs::read_to_string(project(SAMPLE)).expect("it is there");
    let with = |annotation: &str| {
        let text = text.replacen("metadata:\n", &format!("metadata:\n  annotations:\n    {annotation}\n"), 1);
        folder.file("endpoint.yaml", &text)
    };
    let good = with("podlab.dev/docqa.document_tokens: 1Ki,2Ki");
    let Some((stdout, stderr, status)) = simulate(&good, &["--set", "api.latency=0.001s,2ms"]) else { return };
    assert_eq!(status, 0, "{stderr}");
    let result: serde_json::Value = serde_json::from_str(&stdout).expect("it is JSON");
    let settings: Vec<String> =
        result["runs"].as_array().expect("a list").iter().map(|run| run["settings"].to_string()).collect();
    let said = |tokens: u32, latency: &str| {
        format!("{{\"api.latency\":\"{latency}\",\"docqa.document_tokens\":\"{tokens}\"}}")
    };
    assert_eq!(settings, [said(1024, "1ms"), said(1024, "2ms"), said(2048, "1ms"), said(2048, "2ms")]);
    let place = "endpoint.yaml:7: metadata.annotations[\"podlab.dev/";
    refuses(&with("podlab.dev/docqa.document_token: '1'"), &[], 3, &[place, "did you mean \"docqa.document_tokens\"?"]);
    refuses(&with("podlab.dev/api.latency: '1'"), &[], 3, &[place, "needs a unit"]);
    refuses(&with("podlab.dev/api.latency: 1ms,1000us"), &[], 3, &[place, "1000us is the same as 1ms"]);
}

/// What is so anyway makes no run different, unless it is one of several values. A way to the engine that is set is told: a
/// hardware profile would know another.
#[test]
fn settings_are_told_by_what_they_change() {
    let told = |set: &[&str]| -> Option<Vec<String>> {
        let arguments: Vec<&str> = set.iter().flat_map(|value| ["--set", value]).collect();
        let (stdout, stderr, status) = simulate(&project(SAMPLE), &arguments)?;
        assert_eq!(status, 0, "{stderr}");
        let result: serde_json::Value = serde_json::from_str(&stdout).expect("it is JSON");
        Some(result["runs"].as_array().expect("a list").iter().map(|run| run["settings"].to_string()).collect())
    };
    for (set, expected) in [
        (&["fleet.retries=1"] as &[&str], vec!["{}"]),
        (&["api.latency=5000us", "l1.bytes=5GiB"], vec![r#"{"api.latency":"5ms","l1.bytes":"5GiB"}"#]),
        (&["api.latency=5000us,1min"], vec![r#"{"api.latency":"5ms"}"#, r#"{"api.latency":"60s"}"#]),
        (&["l1.bytes=1610612736B", "l2.nic=400Gbit/s"], vec![r#"{"l1.bytes":"1.5GiB","l2.nic":"50GB/s"}"#]),
        (&["router.cache_events=on", "router.audit=on"], vec![r#"{"router.audit":"true"}"#]),
    ] {
        let Some(told) = told(set) else { return };
        assert_eq!(told, expected, "{set:?}");
    }
}

#[test]
fn values_that_clash_are_blamed_on_those_who_gave_them() {
    let sample = project(SAMPLE);
    let set = |values: &[&str], words: &[&str]| {
        let arguments: Vec<&str> = values.iter().flat_map(|value| ["--set", value]).collect();
        refuses(&sample, &arguments, 2, words);
    };
    set(&["model.name=gpt-5"], &["error: --set model.name=gpt-5: model.name", "not known", "Llama-3.1-70B"]);
    set(&["engine.block_size=1"], &["error: --set engine.block_size=1: failed to deploy", "power of two"]);
    set(&["engine.num_gpu_blocks=10"], &["--set engine.num_gpu_blocks=10", "131072 takes 8192 blocks"]);
    set(&["engine.chunked_prefill=false"], &["--set engine.chunked_prefill=false", "chunked prefill"]);
    set(&["engine.gpu_memory_utilization=0.1"], &["weights and working memory take"]);
    // Both are to blame, and no third one is.
    set(
        &["engine.max_num_batched_tokens=16", "docqa.users=7", "engine.max_num_seqs=17"],
        &["error: --set engine.max_num_batched_tokens=16, --set engine.max_num_seqs=17: failed to deploy"],
    );
    set(&["docqa.document_tokens=4294967295"], &["--set docqa.document_tokens=4294967295: docqa"]);

    let folder = Folder::new("blame");
    let lab = folder.file("podlab.yaml", "api.latency: 1ms\nengine:\n  block_size: 1\n");
    let lab = lab.to_str().expect("the path is UTF-8");
    refuses(&sample, &["--lab", lab], 3, &["podlab.yaml:3:3: engine.block_size: failed to deploy"]);

    let text = std::fs::read_to_string(&sample).expect("it is there");
    let text = text.replacen("metadata:\n", "metadata:\n  annotations:\n    podlab.dev/model.name: gpt-5\n", 1);
    let annotated = folder.file("endpoint.yaml", &text);
    refuses(&annotated, &[], 3, &["endpoint.yaml:7: metadata.annotations[\"podlab.dev/model.name\"]: model.name"]);
    // What the file itself gets wrong stays its own fault.
    let broken = folder.file("endpoint.yaml", &text.replace("p5.48xlarge", "p5.1xlarge").replace("gpt-5", "Qwen2-7B"));
    refuses(&broken, &["--set", "docqa.users=7"], 3, &["error: ", "endpoint.yaml:", "not in the catalogue"]);
}

#[test]
fn numbers_are_read_as_floats_are_written() {
    for (text, value) in [("1e2", 100.0), ("1E+2", 100.0), ("2.5e-1", 0.25), ("98.32", 98.32), (".5", 0.5)] {
        assert_eq!(units::number(text, (0.0, 1e6)), Ok(value), "{text}");
    }
    for text in ["1e", "1e+", "e2", "1e400", "1x2", "nan", "-1"] {
        assert!(units::number(text, (0.0, 1e6)).is_err(), "{text}");
    }
    assert_eq!(units::count("1e3", 1), Ok(1000));
    assert_eq!(units::span("1e-3s"), units::span("1ms"));
}

#[test]
fn sizes_and_bandwidths_have_units() {
    let sizes = [
        ("1B", 1),
        ("0.5B", 1),
        ("2kB", 2_000),
        ("64MiB", 64 << 20),
        ("5GiB", 5 << 30),
        ("5GB", 5_000_000_000),
        ("75 GB", 75_000_000_000),
        ("0.5GiB", 1 << 29),
        ("1e3MB", 1_000_000_000),
        ("1024TiB", 1 << 50),
    ];
    for (text, bytes) in sizes {
        assert_eq!(units::bytes(text), Ok(bytes), "{text}");
    }
    for text in ["5", "0GiB", "0.4B", "1025TiB", "5Gi", "5GiB/s", "5gb", "5Gb", "-5GiB", "GiB", "", "5GBit"] {
        assert!(units::bytes(text).is_err(), "{text}");
    }
    let any = (1e6, 1e12);
    let rates = [("25GB/s", 25e9), ("400Gbit/s", 50e9), ("1GiB/s", 1_073_741_824.0), ("1MB/s", 1e6), ("1TB/s", 1e12)];
    for (text, rate) in rates {
        assert_eq!(units::bandwidth(text, any), Ok(rate), "{text}");
    }
    for text in ["25GB", "25", "25Gbps", "25Gb/s", "0.9MB/s", "1.1TB/s", "0GB/s", "25GB / s", "400Gbit"] {
        assert!(units::bandwidth(text, any).is_err(), "{text}");
    }
    assert_eq!(units::permille("0.05", 1), Ok(50));
    assert_eq!(units::permille("0.29", 1), Ok(290));
    assert_eq!((units::permille("1", 1), units::permille("0.001", 1)), (Ok(1000), Ok(1)));
    for text in ["0", "0.0005", "0.0015", "1.001", "80 %", "0.9s"] {
        assert!(units::permille(text, 1).is_err(), "{text}");
    }
}

/// A setting, values at the edges of what it takes, and values just beyond with a word of the refusal.
type Edges = (&'static str, &'static [&'static str], &'static [(&'static str, &'static str)]);

/// Settings of the lower tiers.
const TIERS: &[Edges] = &[
    ("tiers.chunk_tokens", &["1", "256", "4294967295"], &[("0", "lies outside 1"), ("1.5", "not a whole number")]),
    (
        "tiers.load",
        &["blocking", "overlapped", "layerwise"],
        &[("async", "is not one of"), ("layerwize", "did you mean")],
    ),
    ("tiers.store", &["blocking", "overlapped"], &[("layerwise", "is not one of blocking, overlapped")]),
    ("tiers.choice", &["always", "never", "cost"], &[("costs", "did you mean \"cost\"?")]),
    ("tiers.save_unfull_chunk", &["true", "off"], &[("1", "neither true nor false")]),
    ("tiers.save_decode_cache", &["on", "false"], &[("yes", "neither true nor false")]),
    ("tiers.min_retrieve_tokens", &["0", "2Ki"], &[("-1", "negative")]),
    (
        "tiers.deadline",
        &["0.001ns", "1ms", "1h"],
        &[("0", "above 0"), ("1", "needs a unit"), ("61min", "longer than an hour")],
    ),
    ("tiers.deadline_per_1k", &["0", "250ms"], &[("250", "needs a unit")]),
    (
        "l1.bytes",
        &["1B", "5GiB", "75GB", "1024TiB"],
        &[("5", "needs a unit"), ("0GiB", "lies outside"), ("5GB/s", "no unit")],
    ),
    ("l1.scope", &["rank", "worker"], &[("node", "is not one of rank, worker")]),
    ("l1.eviction", &["lru", "s3fifo", "arc", "fifo", "lfu"], &[("mru", "is not one of lru, s3fifo, arc, fifo, lfu")]),
    ("l1.watermark", &["0.001", "1"], &[("0", "lies outside"), ("1.1", "lies outside"), ("0.0005", "lies outside")]),
    ("l1.evict", &["0.001", "1"], &[("0", "lies outside"), ("0.1005", "finer than a thousandth")]),
    ("l1.bandwidth", &["1MB/s", "1TB/s", "200Gbit/s"], &[("25GB", "no unit of bandwidth"), ("2TB/s", "lies outside")]),
    ("l2.backend", &["tieredstorage", "redis"], &[("Redis", "did you mean \"redis\"?")]),
    ("l2.bytes", &["64MiB", "75GB"], &[("75gb", "no unit of bytes")]),
    ("l2.eviction", &["lru", "s3fifo", "arc", "fifo", "lfu"], &[("s4fifo", "did you mean \"s3fifo\"?")]),
    ("l2.bandwidth", &["1MB/s", "25Gbit/s"], &[("0.1MB/s", "lies outside")]),
    ("l2.nic", &["3200Gbit/s"], &[("3200Gbps", "no unit of bandwidth")]),
    ("l2.latency", &["0", "0.5ms"], &[("1", "needs a unit")]),
    ("l2.miss_wait", &["0", "1s", "5s"], &[("5001ms", "longer than 5 s")]),
    ("l2.probe", &["sequential", "batched"], &[("parallel", "is not one of")]),
    ("l2.in_flight", &["1", "100"], &[("0", "lies outside 1")]),
    ("l2.lease_ttl", &["1ms", "30s"], &[("0", "above 0")]),
    ("l2.put_ttl", &["1ms", "30s"], &[("0", "above 0")]),
    ("l2.silence", &["20ms", "5s"], &[("0", "above 0")]),
    ("l2.breaker_failures", &["1", "10"], &[("0", "lies outside 1")]),
    ("l2.breaker_probe", &["100ms", "5s"], &[("0", "above 0")]),
    ("l2.watermark", &["0.001", "0.9", "1"], &[("0", "lies outside")]),
    ("l2.evict", &["0.05", "1"], &[("2", "lies outside")]),
    ("l2.ttl", &["none", "10min"], &[("0", "above 0"), ("never", "does not begin with a number")]),
];

#[test]
fn settings_of_the_tiers_at_their_edges() {
    edges_are_kept(TIERS, &["tiers", "l1", "l2"]);
}

#[test]
fn each_setting_of_the_tiers_changes_one_thing() {
    each_changes_one_thing(TIERS);
}

/// Asserts that these are all the settings of `sections`, and that each takes what is good and refuses what is bad.
fn edges_are_kept(edges: &[Edges], sections: &[&str]) {
    let among = |key: &str| key.split_once('.').is_some_and(|(section, _)| sections.contains(&section));
    let listed: Vec<&str> = SETTINGS.iter().map(|setting| setting.key).filter(|key| among(key)).collect();
    assert_eq!(edges.iter().map(|(key, ..)| *key).collect::<Vec<_>>(), listed, "every setting is tried");
    for (key, good, bad) in edges {
        for value in *good {
            let mut lab = Lab::default();
            assert_eq!(lab.set(key, value), Ok(()), "{key}={value}");
            let described = lab.describe();
            if *value == "none" {
                assert_eq!(lab, Lab::default());
                continue;
            }
            // What a lab says of itself gives it again.
            let said = &described[*key];
            let text = said.as_str().map_or_else(|| said.to_string(), str::to_owned);
            let mut again = Lab::default();
            assert_eq!(again.set(key, &text), Ok(()), "{key}={text}");
            assert_eq!(again, lab, "{key}={value} is told as {text}");
        }
        for (value, word) in *bad {
            let problem = Lab::default().set(key, value).expect_err(value);
            assert!(problem.contains(word), "{key}={value} should say {word:?}:\n{problem}");
            assert!(problem.starts_with(&format!("{key}: ")) && problem.contains("; it takes a "), "{problem}");
        }
    }
}

/// Asserts that each has an effect, and on itself alone.
fn each_changes_one_thing(edges: &[Edges]) {
    let lab = |set: &[(&str, &str)]| {
        let mut lab = Lab::default();
        for (key, value) in set {
            lab.set(key, value).expect(value);
        }
        lab.describe()
    };
    let defaults = lab(&[]);
    for (key, good, _) in edges {
        let different = good.iter().filter(|value| **value != "none");
        let changed: Vec<_> = different.map(|value| lab(&[(key, value)])).filter(|set| *set != defaults).collect();
        assert!(!changed.is_empty(), "{key} has no effect");
        for set in changed {
            let keys = set.as_object().expect("it is an object").iter();
            let others: Vec<&String> =
                keys.filter(|(name, value)| **value != defaults[*name]).map(|(name, _)| name).collect();
            assert_eq!(others, [key], "{key} sets itself alone");
        }
    }
}
