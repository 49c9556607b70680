//! Measured runs explain themselves: what the server tells beside its tokens becomes the parts of a gap.

use super::mock::{Mock, bench, figure};
use crate::support::{Folder, podlab, project, said};
use serde_json::Value;
use std::fs;

/// The parts of the gap of mean TTFT: name, first, second.
fn parts(folders: [&str; 2]) -> Option<Vec<(String, Value, Value)>> {
    let flags = ["--explain", "--tolerance", "none", "-o", "json"];
    let output = podlab()?.arg("compare").args(folders).args(flags).output().expect("it runs");
    let (stdout, stderr, code) = said(&output);
    assert_eq!(code, 0, "{stderr}");
    let comparison: Value = serde_json::from_str(&stdout).expect("JSON");
    let gap = &comparison["pairs"][0]["explained"][0];
    let parts = gap["parts"].as_array().expect("parts").iter().map(|part| {
        let name = part["part"].as_str().unwrap_or("unexplained").to_owned();
        (name, part["a"].clone(), part["b"].clone())
    });
    Some(parts.collect())
}

#[test]
fn an_emulated_cluster_tells_where_its_time_went() {
    let folder = Folder::new("bench-explained");
    let file = project("driver/examples/aws-blog-70b.yaml");
    let file = file.to_str().expect("a path of ASCII");
    let flags = ["--requests", "60", "--concurrency", "6", "--replicas", "2", "--cache", "l0+l1", "--ramp", "2s"];
    let flags = [&flags[..], &["--set", "docqa.documents=8", "--set", "docqa.answer_tokens=30"]].concat();
    let (simulated, measured) = (folder.path("simulated"), folder.path("measured"));
    let [simulated, measured] = [&simulated, &measured].map(|path| path.to_str().expect("a path of ASCII"));
    let Some(mut command) = podlab() else { return };
    let output = command.args(["simulate", file, "--out", simulated]).args(&flags).output().expect("it runs");
    assert_eq!(said(&output).2, 0, "{}", said(&output).1);
    let target = format!("emulate:{file}");
    let asked = [&["--target", &target, "--out", measured], &flags[..]].concat();
    let Some((summary, stderr, code)) = bench(&asked) else { return };
    assert_eq!(code, 0, "{stderr}");
    // By tier, as its requests say it.
    let tiers = ["l0", "l1"].map(|tier| figure(&summary["hit_rate"], tier));
    assert_eq!(summary["hit_rate"]["l2"], Value::Null, "there is none");
    let total = figure(&summary["hit_rate"], "total");
    assert!(total > 0.2 && (tiers.iter().sum::<f64>() - total).abs() < 1e-9, "{tiers:?} of {total}");
    let lines = fs::read_to_string(folder.path("measured").join("requests.jsonl")).expect("it is there");
    let keys = ["api", "line", "kv_wait", "budget_wait", "tiers", "compute"];
    for line in lines.lines() {
        let row: Value = serde_json::from_str(line).expect("JSON");
        let sum: f64 = keys.iter().map(|key| figure(&row, &format!("ttft_{key}_ms"))).sum();
        assert!((sum - figure(&row, "ttft_ms")).abs() < 1e-6, "parts add up: {row:#}");
        assert_eq!(row["ttft_client_ms"], Value::Null, "nobody knows it");
        assert!(figure(&row, "ttft_api_ms") >= 5.0, "the modelled way takes 5 ms: {row:#}");
    }
    // Nothing is left unexplained, and what the engines did is what the simulated ones did.
    let Some(parts) = parts([simulated, measured]) else { return };
    let of = |name: &str| parts.iter().find(|(part, ..)| part == name).unwrap_or_else(|| panic!("{name}: {parts:?}"));
    for name in ["queue", "prefill", "cache_load"] {
        let (_, a, b) = of(name);
        let (a, b) = (a.as_f64().expect("told"), b.as_f64().expect("told"));
        assert!((a - b).abs() < 0.1 * (a + b) + 3.0, "{name}: {a} ms simulated, {b} ms measured");
    }
    assert!(of("prefill").2.as_f64() > Some(20.0), "{parts:?}");
    assert!(parts.iter().all(|(name, ..)| name != "unexplained"), "{parts:?}");
}

/// The page of a measured run is there, and made of the files beside it alone.
#[test]
fn a_measured_run_has_its_page() {
    let folder = Folder::new("bench-page");
    let mock = Mock::start(&["--ttft-ms", "10", "--itl-ms", "1", "--tokens", "4"]);
    let out = folder.path("run");
    let out = out.to_str().expect("a path of ASCII");
    let flags = ["--requests", "30", "--concurrency", "5", "--prompt-tokens", "64", "--out", out];
    let Some((_, stderr, code)) = bench(&[&["--target", &mock.url()], &flags[..]].concat()) else { return };
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(folder.names_below("run"), ["report.html", "requests.jsonl", "run.json", "summary.json"]);
    let page = fs::read(folder.path("run").join("report.html")).expect("it is there");
    let text = String::from_utf8_lossy(&page);
    for told in ["<code>client_", "What prefix caching did", "vllm:prefix_cache_hits", "Can routing matter?"] {
        assert!(text.contains(told), "{told}");
    }
    let Some(mut command) = podlab() else { return };
    let (_, stderr, code) = said(&command.args(["report", out]).output().expect("it runs"));
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(fs::read(folder.path("run").join("report.html")).expect("it is there"), page);
}

/// vLLM tells means of its own: of the mock's times to first token, two fifths were waiting.
#[test]
fn a_servers_own_means_explain_what_requests_do_not_tell() {
    let folder = Folder::new("bench-server-times");
    let mut paths = Vec::new();
    for ttft in ["50", "100"] {
        let mock = Mock::start(&["--ttft-ms", ttft, "--itl-ms", "1", "--tokens", "2"]);
        let out = folder.path(ttft).to_str().expect("a path of ASCII").to_owned();
        let flags = ["--requests", "40", "--concurrency", "4", "--prompt-tokens", "64", "--out", &out];
        let Some((summary, stderr, code)) = bench(&[&["--target", &mock.url()], &flags[..]].concat()) else { return };
        assert_eq!(code, 0, "{stderr}");
        // Without the two calls that sized the prompts.
        assert_eq!(summary["server_times"]["requests"], 40.0, "{:#}", summary["server_times"]);
        assert_eq!(summary["server_times"]["decode_ms"], Value::Null, "it does not tell");
        paths.push(out);
    }
    let Some(parts) = parts([&paths[0], &paths[1]]) else { return };
    for (name, share) in [("queue", 0.4), ("prefill", 0.6)] {
        let (_, a, b) = parts.iter().find(|(part, ..)| part == name).expect("it is told");
        let gap = b.as_f64().expect("told") - a.as_f64().expect("told");
        assert!((gap - 50.0 * share).abs() < 5.0, "{name}: {gap} ms of 50, {parts:?}");
    }
    let way = parts.iter().find(|(part, ..)| part == "network").expect("it is told");
    assert!(way.1.as_f64().is_some_and(|ms| ms.abs() < 10.0), "{way:?}");
}
