//! Results of other tools, written by hand as their documentation has them.

use super::{compare, figure, run, simulate};
use crate::support::Folder;
use serde_json::{Value, json};

/// A result of `vllm bench serve --save-result`: keys of `vllm/benchmarks/serve.py`.
fn vllm() -> Value {
    json!({
        "date": "20261120-101010", "backend": "vllm", "model_id": "m", "tokenizer_id": "m", "num_prompts": 3,
        "request_rate": "inf", "burstiness": 1.0, "max_concurrency": 20,
        "duration": 2.0, "completed": 2, "failed": 1, "total_input_tokens": 300, "total_output_tokens": 7,
        "request_throughput": 1.0, "request_goodput": null, "output_throughput": 3.5, "total_token_throughput": 153.5,
        "mean_ttft_ms": 150.0, "median_ttft_ms": 150.0, "std_ttft_ms": 50.0, "p99_ttft_ms": 199.0,
        "mean_tpot_ms": 15.0, "median_tpot_ms": 15.0, "std_tpot_ms": 5.0, "p99_tpot_ms": 19.9
    })
}

/// The same with `--save-detailed`; times in seconds.
fn detailed() -> Value {
    let mut result = vllm();
    let lists = json!({
        "input_lens": [100, 200, 50], "output_lens": [3, 4, 0], "ttfts": [0.1, 0.2, 0.0],
        "itls": [[0.01, 0.01], [0.02, 0.02, 0.02], []], "start_times": [5.0, 5.5, 6.0],
        "generated_texts": ["a", "b", ""], "errors": ["", "", "503"]
    });
    result.as_object_mut().expect("it is one").extend(lists.as_object().expect("it is one").clone());
    result
}

#[test]
fn a_result_of_vllm_is_read() {
    let folder = Folder::new("compare-vllm");
    folder.file("plain.json", &vllm().to_string());
    folder.file("detailed.json", &serde_json::to_string_pretty(&detailed()).expect("it is JSON"));
    let Some((comparison, status)) = compare(&folder, "plain.json detailed.json") else { return };
    assert_eq!(status, 0);
    let b = |key: &str| figure(&comparison, key)["b"].as_f64().unwrap_or_else(|| panic!("{key} is unknown"));
    // What it says itself, then what its lists say: of 100 and 200 ms the P90 is 190; E2EL are 120 and 260 ms.
    for (key, expected) in [
        ("mean_ttft_ms", 150.0),
        ("p50_ttft_ms", 150.0),
        ("p99_ttft_ms", 199.0),
        ("p90_ttft_ms", 190.0),
        ("p90_tpot_ms", 19.0),
        ("mean_e2el_ms", 190.0),
        ("p50_e2el_ms", 190.0),
        ("mean_itl_ms", 16.0),
        ("p50_itl_ms", 20.0),
        ("request_throughput", 1.0),
        ("output_throughput", 3.5),
        ("failed_share", 1.0 / 3.0),
    ] {
        assert!((b(key) - expected).abs() < 1e-9, "{key}: {} and not {expected}", b(key));
    }
    assert_eq!(figure(&comparison, "p90_ttft_ms")["a"], Value::Null, "the plain one does not tell it");
    assert_eq!(comparison["pairs"][0]["by"]["method"], "none");
    assert_eq!(comparison["sources"][0]["kind"], "measured");
    assert_eq!(comparison["pairs"][0]["configuration"], json!([]));
    // With itself, request by request.
    let Some((comparison, _)) = compare(&folder, "detailed.json detailed.json") else { return };
    assert_eq!(comparison["pairs"][0]["by"], json!({"method": "paired", "requests": 3}));
    assert_eq!(figure(&comparison, "p90_ttft_ms")["interval"], json!({"low": 0.0, "high": 0.0}));
}

/// A record of aiperf.
fn record(session: u64, start_ms: u64, ttft: f64, latency: f64, more: &Value) -> Value {
    let start = 1_759_813_207_000_000_000 + start_ms * 1_000_000;
    let mut record = json!({
        "metadata": {
            "session_num": session, "conversation_id": "c", "turn_index": 0, "request_start_ns": start,
            "request_end_ns": start + (latency * 1e6) as u64, "worker_id": "worker_1", "benchmark_phase": "profiling",
            "was_cancelled": false
        },
        "metrics": {
            "time_to_first_token": {"value": ttft, "unit": "ms"}, "request_latency": {"value": latency, "unit": "ms"},
            "inter_token_latency": {"value": (latency - ttft) / 4.0, "unit": "ms"},
            "inter_chunk_latency": {"value": [(latency - ttft) / 2.0, (latency - ttft) / 2.0], "unit": "ms"},
            "input_sequence_length": {"value": 100, "unit": "tokens"}, "output_sequence_length": {"value": 5, "unit": "tokens"},
            "usage_prompt_cache_read_tokens": {"value": 25, "unit": "tokens"}
        },
        "error": null
    });
    for (key, value) in more.as_object().into_iter().flatten() {
        for (name, value) in value.as_object().into_iter().flatten() {
            record[key][name] = value.clone();
        }
    }
    record
}

#[test]
fn records_of_aiperf_are_read() {
    let folder = Folder::new("compare-aiperf");
    let records = [
        record(9, 0, 5000.0, 9000.0, &json!({"metadata": {"benchmark_phase": "warmup"}})),
        // Who ended first stands first.
        record(1, 600, 40.0, 80.0, &json!({})),
        record(
            0,
            500,
            0.02,
            0.1,
            &json!({"metrics": {"time_to_first_token": {"value": 0.02, "unit": "s"},
                                                      "request_latency": {"value": 100_000.0, "unit": "us"},
                                                      "inter_token_latency": {"value": 20.0, "unit": "ms"},
                                                      "inter_chunk_latency": {"value": [40.0, 40.0], "unit": "ms"}}}),
        ),
        record(2, 1400, 60.0, 100.0, &json!({"error": {"code": 500, "type": "x", "message": "y"}})),
    ];
    let mut failed = records[3].clone();
    failed["metrics"] = json!({"error_isl": {"value": 100, "unit": "tokens"}});
    let lines: String = records[..3].iter().chain([&failed]).map(|record| format!("{record}\n")).collect();
    folder.file("profile_export.jsonl", &lines);
    let Some((comparison, _)) = compare(&folder, "profile_export.jsonl profile_export.jsonl") else { return };
    let a = |key: &str| figure(&comparison, key)["a"].as_f64().unwrap_or_else(|| panic!("{key} is unknown"));
    // TTFT of 20 and 40 ms, E2EL of 100 and 80, TPOT of 20 and 10; the window is from 500 to 1,500 ms.
    for (key, expected) in [
        ("mean_ttft_ms", 30.0),
        ("p90_ttft_ms", 38.0),
        ("mean_e2el_ms", 90.0),
        ("mean_tpot_ms", 15.0),
        ("mean_itl_ms", 30.0),
        ("request_throughput", 2.0),
        ("output_throughput", 10.0),
        ("total_token_throughput", 210.0),
        ("hit_rate.total", 0.25),
        ("failed_share", 1.0 / 3.0),
    ] {
        assert!((a(key) - expected).abs() < 1e-9, "{key}: {} and not {expected}", a(key));
    }
    assert_eq!(comparison["pairs"][0]["by"], json!({"method": "paired", "requests": 3}), "warm-up is left out");
}

#[test]
fn a_simulated_run_is_held_against_a_measured_one() {
    let folder = Folder::new("compare-tools-simulated");
    if simulate(&folder, "simulated", "--requests 3").is_none() {
        return;
    }
    folder.file("measured.json", &detailed().to_string());
    let Some((comparison, status)) = compare(&folder, "simulated measured.json --agree --tolerance ttft=1%") else {
        return;
    };
    assert_eq!(status, 99);
    let pair = &comparison["pairs"][0];
    assert_eq!(pair["configuration"][0], json!({"setting": "times", "a": "simulated", "b": "measured"}));
    assert_eq!(pair["by"]["because"], "3 of 3 have other lengths");
}

#[test]
fn what_no_tool_wrote_is_refused() {
    let folder = Folder::new("compare-tools-bad");
    folder.file("good.json", &vllm().to_string());
    let mut uneven = detailed();
    uneven["ttfts"] = json!([0.1]);
    folder.file("uneven.json", &uneven.to_string());
    folder.file("two.json", &format!("{}\n{}\n", vllm(), vllm()));
    folder.file("other.json", "{\"a\": 1}");
    folder.file("text.txt", "hello");
    folder.file(
        "unit.jsonl",
        &record(0, 0, 1.0, 2.0, &json!({"metrics": {"request_latency": {"value": 1, "unit": "days"}}})).to_string(),
    );
    folder.file("cut.jsonl", &format!("{}\n{{\"metadata\"", record(0, 0, 1.0, 2.0, &json!({}))));
    for (name, words) in [
        ("uneven.json", "ttfts has 1 entries, and input_lens has 3"),
        ("two.json", "several results"),
        ("other.json", "neither a result of vllm"),
        ("text.txt", "neither a result of vllm"),
        ("unit.jsonl", "request_latency is in days"),
        ("cut.jsonl", "line 2: "),
    ] {
        let Some((_, stderr, status)) = run(&folder, &["compare", "good.json", name]) else { return };
        assert_eq!(status, 3, "{name}: {stderr}");
        assert!(stderr.contains(name) && stderr.contains(words), "{name}: {stderr}");
    }
}
