//! What goes wrong: each its own class, none of it in a latency, nothing sent twice.

use super::mock::{Mock, bench, figure};
use crate::support::{podlab, said};
use serde_json::Value;

/// A run of 20 requests of which every `every`-th from the third on has a fault.
fn run(fault: &str, more: &[&str]) -> Option<(Value, Value, String, i32)> {
    let mock = Mock::start(&["--ttft-ms", "5", "--itl-ms", "1", "--tokens", "4", "--fault", fault]);
    let flags = ["--requests", "20", "--concurrency", "4", "--prompt-tokens", "16", "--max-tokens", "4"];
    let (summary, said, code) = bench(&[&["--target", &mock.url()], &flags[..], more].concat())?;
    Some((summary, mock.stats(), said, code))
}

#[test]
fn each_failure_has_its_class() {
    let faults = [
        ("status500", "http_500"),
        ("status429", "http_429"),
        ("cut", "cut"),
        ("close", "closed"),
        ("no_done", "no_done"),
        ("empty", "no_content"),
        ("bad_event", "bad_event"),
        ("error_event", "stream_error"),
    ];
    for (fault, class) in faults {
        let Some((summary, stats, said, code)) = run(&format!("{fault}:4"), &[]) else { return };
        assert_eq!(code, 0, "{fault}: {said}");
        let errors = &summary["errors"];
        // 22 requests with the two that size prompts: numbers 4, 8 .. 20 have the fault.
        assert_eq!(errors[class], 5, "{fault}: {errors}");
        assert_eq!(errors.as_object().map(serde_json::Map::len), Some(1), "{fault}: {errors}");
        assert_eq!((&summary["completed"], &summary["failed"]), (&15.into(), &5.into()), "{fault}");
        assert_eq!(stats["requests"], 22, "{fault}: nothing is sent twice");
        assert_eq!(summary["output_tokens"], 60, "{fault}: of those that completed");
        assert!(figure(&summary, "p99_ttft_ms") < 500.0);
    }
}

#[test]
fn a_request_that_hangs_times_out() {
    let Some((summary, _, said, code)) = run("hang:10", &["--timeout", "0.5"]) else { return };
    assert_eq!((&summary["errors"]["timeout"], code), (&2.into(), 0), "{said}");
    assert!(figure(&summary, "p99_e2el_ms") < 400.0, "a timeout is no latency");
}

#[test]
fn too_many_failures_stop_the_run() {
    let mock = Mock::start(&["--ttft-ms", "5", "--itl-ms", "1", "--tokens", "2", "--fault", "status500:1"]);
    let flags = ["--requests", "500", "--concurrency", "4", "--prompt-tokens", "16"];
    let Some((summary, said, code)) = bench(&[&["--target", &mock.url()], &flags[..]].concat()) else { return };
    assert_eq!(code, 4, "{said}");
    assert!(figure(&summary, "failed") < 40.0, "it goes no further");
    assert!(said.contains("http_500"), "{said}");
}

#[test]
fn nobody_there_is_exit_code_4() {
    let Some(mut command) = podlab() else { return };
    let output = command.args(["bench", "--target", "http://127.0.0.1:1"]).output().expect("it runs");
    let (_, stderr, code) = said(&output);
    assert_eq!(code, 4);
    assert!(stderr.starts_with("error: --target http://127.0.0.1:1: "), "{stderr}");
}

#[test]
fn a_target_that_is_none_is_refused_with_the_remedy() {
    let refused = [
        ("ftp://x", "http:// or https://"),
        ("http://x:port", "no port"),
        ("sagemaker://a b?region=x", "63 letters"),
        ("sagemaker://a?zone=x", "only region=NAME"),
    ];
    for (target, remedy) in refused {
        let Some(mut command) = podlab() else { return };
        let output = command.args(["bench", "--target", target]).output().expect("it runs");
        let (_, stderr, code) = said(&output);
        assert_eq!(code, 2, "{target}: {stderr}");
        assert!(stderr.contains(remedy), "{target}: {stderr}");
    }
}

/// Ctrl-C keeps what was measured.
#[test]
fn an_interrupted_run_is_kept() {
    let mock = Mock::start(&["--ttft-ms", "20", "--itl-ms", "5", "--tokens", "4"]);
    let Some(mut command) = podlab() else { return };
    let flags = ["--requests", "100000", "--concurrency", "4", "--prompt-tokens", "16", "-o", "json", "--quiet"];
    let process = command
        .args(["bench", "--target", &mock.url()])
        .args(flags)
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("it runs");
    while figure(&mock.stats(), "requests") < 30.0 {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let id = process.id().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &id]).status().expect("kill runs").success());
    let (stdout, stderr, code) = said(&process.wait_with_output().expect("it ends"));
    assert_eq!(code, 130, "{stderr}");
    let summary: Value = serde_json::from_str(&stdout).expect("the figures are printed");
    assert!(figure(&summary, "completed") >= 20.0);
    assert_eq!(summary["errors"]["interrupted"], 4, "those in flight");
    assert_eq!(summary["unfinished"], 4);
}

#[test]
fn invoke_streams_a_reply_and_says_how_long_it_took() {
    let mock = Mock::start(&["--ttft-ms", "20", "--itl-ms", "5", "--tokens", "4", "--cached-tokens", "2"]);
    let Some(mut command) = podlab() else { return };
    let output = command.args(["invoke", "--target", &mock.url(), "Hello there"]).output().expect("it runs");
    let (stdout, stderr, code) = said(&output);
    assert_eq!((stdout.as_str(), code), ("tok tok tok tok \n", 0), "{stderr}");
    for part in ["TTFT 2", "reply 4 tokens", "of which cached 2", "worker unknown"] {
        assert!(stderr.contains(part), "{part}: {stderr}");
    }
}
