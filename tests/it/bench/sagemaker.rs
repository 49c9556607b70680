//! SageMaker: classes of failure, frames cut anywhere on the wire, and a signature that botocore recomputes.

use super::mock::{Mock, figure};
use crate::support::{Folder, podlab, project, said, skipped};
use driver::aws::sigv4::{Credentials, Scope, authorization};
use serde_json::Value;
use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};

fn measured(mock: &Mock, more: &[&str]) -> Option<(Value, String, i32)> {
    let mut command = podlab()?;
    let flags = [
        "--requests",
        "20",
        "--concurrency",
        "4",
        "--prompt-tokens",
        "16",
        "--max-tokens",
        "4",
        "-o",
        "json",
        "--quiet",
    ];
    let output = command
        .args(["bench", "--target", "sagemaker://demo?region=us-east-2"])
        .args(flags)
        .args(more)
        .env("AWS_ENDPOINT_URL", mock.url())
        .env("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
        .env("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
        .output()
        .expect("it runs");
    let (stdout, stderr, code) = said(&output);
    let value = if stdout.is_empty() { Value::Null } else { serde_json::from_str(&stdout).expect("JSON") };
    Some((value, stderr, code))
}

/// AWS's published example of Signature Version 4 (the test suite's `post-header-key-sort`).
#[test]
fn the_published_example_has_its_signature() {
    let credentials = Credentials {
        access_key: "AKIDEXAMPLE".to_owned(),
        secret_key: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_owned(),
        session_token: None,
    };
    let scope = Scope { moment: "20150830T123600Z", region: "us-east-1", service: "service" };
    let headers = [("host", "example.amazonaws.com"), ("my-header1", "value1"), ("x-amz-date", "20150830T123600Z")];
    let header = authorization(&credentials, scope, "/", &headers, b"");
    assert!(header.ends_with("Signature=c5410059b04c1ee005303aed430f6e6645f61f4dc9e1461ec8f8916fdf18852c"), "{header}");
}

#[test]
fn a_stream_cut_anywhere_is_read_whole() {
    for write in ["1", "11", "1000"] {
        let mock = Mock::start(&["--ttft-ms", "5", "--itl-ms", "1", "--tokens", "4", "--part", "7", "--write", write]);
        let Some((summary, stderr, code)) = measured(&mock, &[]) else { return };
        assert_eq!(code, 0, "{stderr}");
        assert_eq!((&summary["completed"], &summary["output_tokens"]), (&20.into(), &80.into()), "writes of {write}");
        assert!(figure(&summary, "p50_ttft_ms") >= 5.0);
    }
}

#[test]
fn each_failure_has_its_class() {
    let faults = [
        ("throttled", "throttled"),
        ("expired", "expired_token"),
        ("signature", "signature"),
        ("model_error", "model_error"),
        ("model_timeout", "model_timeout"),
        ("model_stream_error", "model_stream_error"),
        ("stream_timeout", "model_timeout"),
        ("internal_stream_failure", "internal_stream_failure"),
        ("inside_frame", "cut_in_frame"),
        ("cut", "cut"),
        ("bad_crc", "bad_frame"),
        ("no_done", "no_done"),
    ];
    for (fault, class) in faults {
        let mock = Mock::start(&["--ttft-ms", "2", "--itl-ms", "1", "--tokens", "4", "--fault", &format!("{fault}:4")]);
        let Some((summary, stderr, code)) = measured(&mock, &[]) else { return };
        assert_eq!(code, 0, "{fault}: {stderr}");
        assert_eq!(summary["errors"], serde_json::json!({ class: 5 }), "{fault}");
        assert_eq!(summary["completed"], 15, "{fault}");
    }
}

#[test]
fn a_signature_is_checked() {
    let secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
    for (keys, right) in [
        (format!("AKIDEXAMPLE:{secret}"), true),
        ("AKIDEXAMPLE:another".to_owned(), false),
        (format!("AKIDOTHER:{secret}"), false),
    ] {
        let mock = Mock::start(&["--ttft-ms", "2", "--itl-ms", "1", "--tokens", "2", "--keys", &keys]);
        let Some((summary, stderr, code)) = measured(&mock, &["--no-calibration"]) else { return };
        if right {
            assert_eq!((code, &summary["completed"]), (0, &20.into()), "{stderr}");
        } else {
            assert_eq!(code, 4, "{stderr}");
            assert!(stderr.contains("signature"), "{stderr}");
        }
    }
}

#[test]
fn a_whole_reply_has_no_first_token() {
    let mock = Mock::start(&["--ttft-ms", "5", "--itl-ms", "1", "--tokens", "4"]);
    let Some((summary, stderr, code)) = measured(&mock, &["--no-stream"]) else { return };
    assert_eq!(code, 0, "{stderr}");
    assert_eq!((&summary["completed"], &summary["mean_ttft_ms"]), (&20.into(), &Value::Null));
    assert!(figure(&summary, "mean_e2el_ms") >= 8.0);
}

/// The listener in Python, which goes when this does.
struct Listener {
    process: Child,
    url: String,
}

impl Listener {
    fn start() -> Option<(Self, OsString)> {
        let python = std::env::var_os("PODLAB_PYTHON").unwrap_or_else(|| "python3".into());
        let has = Command::new(&python).args(["-c", "import boto3"]).stderr(Stdio::null()).status();
        if !has.is_ok_and(|status| status.success()) {
            skipped("PODLAB_PYTHON names no interpreter with boto3; run tests/run.sh");
            return None;
        }
        let script = project("tests/clients/sagemaker_listener.py");
        let mut process =
            Command::new(&python).arg(script).arg("serve").stdout(Stdio::piped()).spawn().expect("it runs");
        let mut port = String::new();
        let stdout = process.stdout.take().expect("it is piped");
        BufReader::new(stdout).read_line(&mut port).expect("it says its port");
        Some((Self { process, url: format!("http://127.0.0.1:{}", port.trim()) }, python))
    }

    fn invoke(&self, secret: &str, more: &[&str]) -> Option<(Value, String, i32)> {
        let output = podlab()?
            .args(["invoke", "--target", "sagemaker://demo", "-o", "json", "Hello"])
            .args(more)
            .env("AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME", &self.url)
            .env("AWS_REGION", "us-east-2")
            .env("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
            .env("AWS_SECRET_ACCESS_KEY", secret)
            .env("AWS_SESSION_TOKEN", "a/session+token==")
            .output()
            .expect("it runs");
        let (stdout, stderr, code) = said(&output);
        Some((serde_json::from_str(&stdout).unwrap_or_default(), stderr, code))
    }

    /// What the AWS CLI, which has no stream command, writes into its file.
    fn cli(&self, python: &OsString, secret: &str) -> Value {
        let folder = Folder::new("bench-aws-cli");
        let answer = folder.file("answer.json", "");
        let output = Command::new(python)
            .args(["-m", "awscli", "sagemaker-runtime", "invoke-endpoint", "--endpoint-name", "demo"])
            .args(["--content-type", "application/json", "--body", r#"{"messages":[]}"#])
            .args(["--endpoint-url", &self.url, "--region", "us-east-2"])
            .arg(&answer)
            .env("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
            .env("AWS_SECRET_ACCESS_KEY", secret)
            .env("AWS_SESSION_TOKEN", "a/session+token==")
            .output()
            .expect("it runs");
        let (_, stderr, code) = said(&output);
        assert_eq!(code, 0, "{stderr}");
        serde_json::from_str(&std::fs::read_to_string(answer).expect("it is there")).expect("JSON")
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// botocore recomputes podlab's signature, and boto3 and the AWS CLI hear the same from the same listener.
#[test]
fn boto3_and_the_aws_cli_hear_the_same() {
    let Some((listener, python)) = Listener::start() else { return };
    let secret = "secret/with+signs=";
    let Some((streamed, stderr, code)) = listener.invoke(secret, &["--prefix-aware-id", "--sagemaker-session-id"])
    else {
        return;
    };
    assert_eq!(code, 0, "{stderr}");
    let script = project("tests/clients/sagemaker_listener.py");
    let theirs = Command::new(&python).arg(script).args(["invoke", &listener.url]).output().expect("it runs");
    let (stdout, stderr, code) = said(&theirs);
    assert_eq!(code, 0, "{stderr}");
    let theirs: Value = serde_json::from_str(&stdout).expect("JSON");
    assert_eq!(streamed["text"], theirs["text"]);
    assert_eq!(streamed["text"], "Hello, w\u{f6}rld");
    assert_eq!(streamed["prompt_tokens"], theirs["usage"]["prompt_tokens"]);
    assert_eq!(streamed["cached_tokens"], theirs["usage"]["prompt_tokens_details"]["cached_tokens"]);
    assert_eq!((&streamed["worker"], &theirs["variant"]), (&"AllTraffic".into(), &"AllTraffic".into()));
    let (whole, stderr, code) = listener.invoke(secret, &["--no-stream"]).expect("it ran before");
    assert_eq!((code, &whole["text"], &whole["ttft_ms"]), (0, &streamed["text"], &Value::Null), "{stderr}");
    let theirs = &theirs["whole"];
    assert_eq!((&whole["text"], &whole["prompt_tokens"]), (&theirs["text"], &theirs["usage"]["prompt_tokens"]));
    let by_cli = listener.cli(&python, secret);
    assert_eq!(by_cli["choices"][0]["message"]["content"], whole["text"]);
    assert_eq!(by_cli["usage"]["prompt_tokens_details"]["cached_tokens"], whole["cached_tokens"]);
    let (wrong, stderr, code) = listener.invoke("another secret", &[]).expect("it ran before");
    assert_eq!((code, &wrong["error"]), (4, &"signature".into()), "{stderr}");
}

const KEYS: &str = r#"{"AccessKeyId":"AKIDEXAMPLE","SecretAccessKey":"secret/with+signs=","Token":"a/session+token==","Expiration":"2099-01-01T00:00:00Z"}"#;

/// Something that is asked for a line and a header each time, and answers; whatever else it is asked is not found.
fn agent(asked_for: &'static [(&'static str, &'static str, &'static str)]) -> String {
    let agent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", agent.local_addr().expect("an address"));
    std::thread::spawn(move || {
        for stream in agent.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut asked = [0; 1024];
            let length = stream.read(&mut asked).unwrap_or_default();
            let asked = String::from_utf8_lossy(&asked[..length]);
            let known = asked_for.iter().find(|(line, header, _)| {
                asked.starts_with(&format!("{line} HTTP/1.1\r\n")) && asked.contains(&format!("\r\n{header}\r\n"))
            });
            let (status, body) = known.map_or((404, ""), |(_, _, body)| (200, *body));
            let length = body.len();
            // A client that has gone needs no answer.
            let _ =
                write!(stream, "HTTP/1.1 {status} X\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}");
        }
    });
    url
}

const CONFIG: &str = "\
[default]
region = eu-west-1
[profile asked]
region = us-east-2
credential_process = echo '{\"Version\":1,\"AccessKeyId\":\"AKIDEXAMPLE\",\"SecretAccessKey\":\"secret/with+signs=\",\"SessionToken\":\"a/session+token==\"}'
[profile kept]
region = us-east-2
[profile single-sign-on]
region = us-east-2
sso_start_url = https://example.awsapps.com/start
";

const KEPT: &str = "\
# a comment
[kept]
aws_access_key_id = AKIDEXAMPLE
aws_secret_access_key=secret/with+signs=
aws_session_token = a/session+token==
";

/// Files, processes and containers, as the AWS CLI looks for them; what it resolves by other services is left to it, and said.
#[test]
fn credentials_are_found_where_the_cli_finds_them() {
    let Some((listener, _)) = Listener::start() else { return };
    let folder = Folder::new("bench-credentials");
    let (config, kept) = (folder.file("config", CONFIG), folder.file("credentials", KEPT));
    let invoke = |profile: &str, more: &[(&str, &str)]| {
        let mut command = podlab()?;
        command.args(["invoke", "--target", "sagemaker://demo", "-o", "json", "Hello"]).env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("AWS_EC2_METADATA_DISABLED", "true");
        command.env("AWS_ENDPOINT_URL", &listener.url).env("AWS_CONFIG_FILE", &config);
        command.env("AWS_SHARED_CREDENTIALS_FILE", &kept).env("AWS_PROFILE", profile).envs(more.iter().copied());
        Some(said(&command.output().expect("it runs")))
    };
    for profile in ["asked", "kept"] {
        let Some((stdout, stderr, code)) = invoke(profile, &[]) else { return };
        assert_eq!(code, 0, "{profile}: {stdout} {stderr}");
    }
    let url = format!("{}/v1/credentials", agent(&[("GET /v1/credentials", "authorization: let-me-in", KEYS)]));
    let told =
        [("AWS_CONTAINER_CREDENTIALS_FULL_URI", url.as_str()), ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "let-me-in")];
    let (stdout, stderr, code) =
        invoke("default", &[told[0], told[1], ("AWS_REGION", "us-east-2")]).expect("it ran before");
    assert_eq!(code, 0, "container: {stdout} {stderr}");
    // An instance: a token first, then its role, then the role's keys.
    let url = agent(&[
        ("PUT /latest/api/token", "x-aws-ec2-metadata-token-ttl-seconds: 300", "a token"),
        ("GET /latest/meta-data/iam/security-credentials/", "x-aws-ec2-metadata-token: a token", "a-role"),
        ("GET /latest/meta-data/iam/security-credentials/a-role", "x-aws-ec2-metadata-token: a token", KEYS),
    ]);
    let instance = [
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT", url.as_str()),
        ("AWS_EC2_METADATA_DISABLED", "false"),
        ("AWS_REGION", "us-east-2"),
    ];
    let (stdout, stderr, code) = invoke("default", &instance).expect("it ran before");
    assert_eq!(code, 0, "instance: {stdout} {stderr}");
    for (profile, remedy) in
        [("single-sign-on", "export-credentials --profile single-sign-on"), ("default", "no AWS credentials")]
    {
        let (_, stderr, code) = invoke(profile, &[]).expect("it ran before");
        assert_eq!(code, 3, "{profile}: {stderr}");
        assert!(stderr.contains(remedy), "{profile}: {stderr}");
    }
}
