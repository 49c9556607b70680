//! A client that was late says so, and `--strict` makes that a failure.

use super::mock::{Mock, figure};
use crate::support::{podlab, said};
use serde_json::Value;
use std::process::{Command, Stdio};
use std::time::Duration;

/// 200 requests in a second, during which the client is stopped for 0.3 s.
fn stopped_for_a_while(more: &[&str]) -> Option<(Value, String, i32)> {
    let mock = Mock::start(&["--ttft-ms", "5", "--itl-ms", "1", "--tokens", "2"]);
    let flags = ["--requests", "200", "--rate", "200", "--prompt-tokens", "16", "-o", "json", "--quiet"];
    let mut command = podlab()?;
    command.args(["bench", "--target", &mock.url()]).args(flags).args(more);
    let process = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
    while figure(&mock.stats(), "requests") < 50.0 {
        std::thread::sleep(Duration::from_millis(5));
    }
    let id = process.id().to_string();
    let signal = |name: &str| assert!(Command::new("kill").args([name, &id]).status().expect("kill runs").success());
    signal("-STOP");
    std::thread::sleep(Duration::from_millis(300));
    signal("-CONT");
    let (stdout, stderr, code) = said(&process.wait_with_output().expect("it ends"));
    Some((serde_json::from_str(&stdout).expect("JSON"), stderr, code))
}

#[test]
fn a_late_client_says_so() {
    for (more, expected) in [(&[][..], 0), (&["--strict"][..], 99)] {
        let Some((summary, stderr, code)) = stopped_for_a_while(more) else { return };
        let client = &summary["client"];
        assert_eq!((code, &client["verdict"]), (expected, &"client_limited".into()), "{client} {stderr}");
        assert!(figure(client, "schedule_lag_max_ms") > 200.0, "{client}");
        let why = client["why"][0].as_str().unwrap_or_default();
        assert!(why.starts_with("requests were sent up to "), "{client}");
        // Whoever waited from when it should have been sent waited longer than its server took.
        assert!(figure(&summary, "p99_ttft_incl_queue_ms") > figure(&summary, "p99_ttft_ms") + 100.0, "{summary:#}");
        assert_eq!((&summary["completed"], &summary["errors"]), (&200.into(), &serde_json::json!({})));
    }
}
