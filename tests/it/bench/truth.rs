//! What is measured against a server that knows the truth.

use super::mock::{Mock, bench, figure};
use crate::support::Folder;
use serde_json::Value;

/// Bounds in milliseconds are those of a quiet machine; `cargo test` shares it with whatever else runs.
const P50_MS: f64 = 3.0;
const P99_MS: f64 = 15.0;

#[test]
fn latencies_are_the_servers() {
    let mock = Mock::start(&[]);
    let flags = ["--concurrency", "20", "--requests", "200", "--prompt-tokens", "128", "--max-tokens", "32"];
    let Some((summary, said, code)) = bench(&[&["--target", &mock.url()], &flags[..]].concat()) else { return };
    assert_eq!(code, 0, "{said}");
    let truth = mock.stats();
    for (percentile, bound) in [("p50", P50_MS), ("p99", P99_MS)] {
        let off = figure(&summary, &format!("{percentile}_ttft_ms")) - figure(&truth, &format!("ttft_{percentile}_ms"));
        // A machine that others keep busy is late for its own heartbeat, too.
        let bound = bound + 3.0 * figure(&summary["client"], "event_loop_lag_p99_ms");
        assert!((-0.5..bound).contains(&off), "{percentile} is {off} ms off, more than {bound}");
    }
    // The server takes 360 ms for each of 20 at a time, and no window makes more of it.
    let steady = figure(&summary["steady_state"], "request_throughput");
    assert!((30.0..56.5).contains(&steady), "{steady} requests per second while all slots are full");
    let span = figure(&truth, "span_p50_ms") / 31.0;
    assert!((figure(&summary, "p50_tpot_ms") - span).abs() < 0.5);
    assert!((figure(&summary, "mean_itl_ms") - span).abs() < 0.5);
    assert_eq!((&summary["completed"], &summary["failed"]), (&200.into(), &0.into()));
    assert_eq!(summary["output_tokens"], 6400, "by the server's usage");
    assert_eq!(summary["counted_by_events"], 0);
    assert_eq!(truth["max_in_flight"], 20);
    assert_eq!(truth["requests"], 202, "two calls to size prompts, and each request once");
    assert_eq!(summary["client"]["connections_opened"], 20, "all are kept alive");
    // The server's words are not known to it as a cache: unknown is not zero.
    assert_eq!((&summary["hit_rate"]["total"], &summary["cached_tokens"]), (&Value::Null, &Value::Null));
    assert_eq!(summary["cost_per_1k_tokens"]["total"], Value::Null);
}

#[test]
fn the_role_chunk_is_no_token_and_prompts_have_their_length() {
    let mock = Mock::start(&["--ttft-ms", "30", "--itl-ms", "5", "--tokens", "4"]);
    let flags = ["--requests", "10", "--concurrency", "2", "--prompt-tokens", "200", "--max-tokens", "4"];
    let Some((summary, said, code)) = bench(&[&["--target", &mock.url()], &flags[..]].concat()) else { return };
    assert_eq!(code, 0, "{said}");
    assert!(figure(&summary, "p50_ttft_ms") >= 30.0);
    assert!(figure(&summary, "p50_ttfb_ms") < 20.0, "the role chunk comes at once");
    let mean = figure(&summary, "prompt_tokens") / 10.0;
    assert!((mean - 200.0).abs() <= 2.0, "prompts have {mean} tokens");
}

/// Slow replies do not delay what an open loop sends; latency counts from the scheduled moment.
#[test]
fn an_open_loop_is_not_held_up_by_its_replies() {
    let mock = Mock::start(&["--ttft-ms", "300", "--itl-ms", "1", "--tokens", "2"]);
    let flags = ["--rate", "100", "--requests", "100", "--prompt-tokens", "32", "--max-tokens", "2"];
    let Some((summary, said, code)) = bench(&[&["--target", &mock.url()], &flags[..]].concat()) else { return };
    assert_eq!(code, 0, "{said}");
    let rate = figure(&summary["client"], "achieved_rate");
    assert!((60.0..160.0).contains(&rate), "{rate} requests per second");
    assert!(figure(&mock.stats(), "max_in_flight") >= 20.0, "requests pile up");
    assert!(figure(&summary, "p50_ttft_incl_queue_ms") >= figure(&summary, "p50_ttft_ms"));
}

#[test]
fn a_run_is_a_folder_that_names_each_request() {
    let mock = Mock::start(&["--ttft-ms", "5", "--itl-ms", "1", "--tokens", "3", "--cached-tokens", "16"]);
    let folder = Folder::new("bench-folder");
    let out = folder.path("run");
    let out = out.to_str().expect("a path of ASCII");
    let flags = [
        "--requests",
        "30",
        "--concurrency",
        "5",
        "--prompt-tokens",
        "64",
        "--set",
        "docqa.documents=4",
        "--warmup",
        "10",
        "--usd-per-hour",
        "36",
        "--out",
        out,
    ];
    let Some((summary, said, code)) = bench(&[&["--target", &mock.url()], &flags[..]].concat()) else { return };
    assert_eq!(code, 0, "{said}");
    assert_eq!(folder.names_below("run"), ["report.html", "requests.jsonl", "run.json", "summary.json"]);
    let read = |name: &str| std::fs::read_to_string(folder.path("run").join(name)).expect("it is there");
    assert_eq!(serde_json::from_str::<Value>(&read("summary.json")).expect("JSON"), summary);
    let lines: Vec<Value> =
        read("requests.jsonl").lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(lines.len(), 30);
    assert!(lines.iter().enumerate().all(|(number, line)| line["request"] == number));
    assert_eq!(lines.iter().filter(|line| line["measured"] == false).count(), 10);
    assert_eq!((&summary["warmup_requests"], &summary["requests"]), (&10.into(), &20.into()));
    let measured: Vec<&Value> = lines.iter().filter(|line| line["measured"] == true).collect();
    let mean = measured.iter().map(|line| figure(line, "ttft_ms")).sum::<f64>() / 20.0;
    assert!((mean - figure(&summary, "mean_ttft_ms")).abs() < 1e-6, "the figures are of the lines");
    let prompts: f64 = measured.iter().map(|line| figure(line, "prompt_tokens")).sum();
    assert!((figure(&summary["hit_rate"], "total") - 20.0 * 16.0 / prompts).abs() < 1e-9);
    // Two calls size prompts before the phase begins: they are not in its delta. Requests before the cut are.
    let delta = &summary["cache"]["server_metrics"]["run"][0];
    let all: f64 = lines.iter().map(|line| figure(line, "prompt_tokens")).sum();
    assert_eq!((figure(delta, "queries"), figure(delta, "hits")), (all, 30.0 * 16.0), "{delta}");
    // A cent per second.
    let cost = 0.01 * figure(&summary, "makespan_s") / (prompts + 60.0) * 1000.0;
    assert!((figure(&summary["cost_per_1k_tokens"], "total") - cost).abs() < 1e-9);
    assert!(lines.iter().any(|line| line["prefix"] == "warm") && lines.iter().any(|line| line["prefix"] == "cold"));
}

#[test]
fn cold_and_warm_are_phases_of_their_own() {
    let mock = Mock::start(&["--ttft-ms", "5", "--itl-ms", "1", "--tokens", "2"]);
    let flags = ["--workload", "cold-warm", "--requests", "40", "--concurrency", "10", "--prompt-tokens", "64"];
    let Some((summary, said, code)) = bench(&[&["--target", &mock.url()], &flags[..]].concat()) else { return };
    assert_eq!(code, 0, "{said}");
    let cache = &summary["cache"];
    let count = |of: &Value| of["requests"].as_u64();
    for prefix in ["same_prefix", "different_prefix"] {
        assert_eq!((count(&cache[prefix]["first"]), count(&cache[prefix]["again"])), (Some(10), Some(10)));
    }
    // Ten different ones and the first of the same are cold; nine came before that one's first token; the rest is warm.
    assert_eq!([&cache["cold"], &cache["concurrent"], &cache["warm"]].map(count), [Some(11), Some(9), Some(20)]);
    // A server that has no cache gains nothing: its interval holds zero, or nearly.
    let gain = &cache["warm_against_cold"];
    // Cold ones are of the opening phases, and a machine that others keep busy is late by its own measure.
    let late = figure(&summary["client"], "event_loop_lag_p99_ms");
    assert!(figure(gain, "mean_ttft_ms").abs() < 5.0 + 3.0 * late, "{gain}, and the client is {late} ms late");
    assert_eq!(summary["routing"]["can_matter"], "unknown", "nobody says who answered");
}
