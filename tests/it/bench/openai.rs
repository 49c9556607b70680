//! The real `openai` client and podlab before one server: the same text, the same usage, the same failures.

use super::mock::Mock;
use crate::support::{podlab, project, said, skipped};
use serde_json::Value;
use std::process::Command;

/// So many streamed chats by the client; `None`, said, where there is none.
fn theirs(mock: &Mock, count: usize) -> Option<Vec<Value>> {
    let Some(python) = std::env::var_os("PODLAB_PYTHON") else {
        skipped("PODLAB_PYTHON names no interpreter with the openai package; run tests/run.sh");
        return None;
    };
    let script = project("tests/clients/openai_agrees.py");
    let output = Command::new(python).arg(script).args([mock.url(), count.to_string()]).output().expect("it runs");
    let (stdout, stderr, code) = said(&output);
    assert_eq!(code, 0, "{stderr}");
    Some(stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect())
}

fn ours(mock: &Mock) -> Option<(Value, String, i32)> {
    let mut command = podlab()?;
    let prompt = "Why is the sky blue?";
    let flags = ["--model", "mock", "--max-tokens", "4", "-o", "json", prompt];
    let output = command.args(["invoke", "--target", &mock.url()]).args(flags).output().expect("it runs");
    let (stdout, stderr, code) = said(&output);
    Some((serde_json::from_str(&stdout).expect("JSON"), stderr, code))
}

const LIKE: [&str; 8] = ["--ttft-ms", "2", "--itl-ms", "1", "--tokens", "4", "--cached-tokens", "3"];

#[test]
fn text_and_usage_are_the_same() {
    let mock = Mock::start(&LIKE);
    let Some(theirs) = theirs(&mock, 1) else { return };
    let Some((ours, stderr, code)) = ours(&mock) else { return };
    assert_eq!(code, 0, "{stderr}");
    assert_eq!((&ours["text"], &ours["text"]), (&theirs[0]["text"], &"tok tok tok tok ".into()));
    let usage = &theirs[0]["usage"];
    assert_eq!(ours["prompt_tokens"], usage["prompt_tokens"]);
    assert_eq!(ours["output_tokens"], usage["completion_tokens"]);
    assert_eq!(ours["cached_tokens"], usage["prompt_tokens_details"]["cached_tokens"]);
    assert_eq!((&theirs[0]["error"], &ours["error"]), (&Value::Null, &Value::Null));
}

/// What it raises, and what podlab calls it. Of a stream without its end it says nothing, which podlab does not imitate.
#[test]
fn failures_are_the_same() {
    let faults = [
        ("status500", "InternalServerError", Some(500), "http_500"),
        ("status429", "RateLimitError", Some(429), "http_429"),
        ("close", "APIConnectionError", None, "closed"),
        ("error_event", "APIError", None, "stream_error"),
        ("cut", "APIConnectionError", None, "cut"),
        ("no_done", "", None, "no_done"),
    ];
    for (fault, class, status, name) in faults {
        let mock = Mock::start(&[&LIKE[..], &["--fault", &format!("{fault}:1")]].concat());
        // The mock's first two requests succeed.
        let Some(theirs) = theirs(&mock, 3) else { return };
        assert_eq!(theirs[1]["error"], Value::Null, "{fault}");
        let Some((ours, stderr, code)) = ours(&mock) else { return };
        assert_eq!((code, &ours["error"]), (4, &name.into()), "{fault}: {stderr}");
        let heard = ours["text"].as_str().unwrap_or_default();
        assert_eq!(theirs[2]["text"], heard, "{fault}: what came before it");
        let error = &theirs[2]["error"];
        assert_eq!(error["class"].as_str().unwrap_or_default(), class, "{fault}: {error}");
        assert_eq!(error["status"].as_u64(), status, "{fault}: {error}");
    }
}
