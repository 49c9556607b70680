//! Real clients against the served endpoint: the binary, a socket, and programs that podlab did not write.

use crate::support::{Folder, podlab, project, said, skipped};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

/// `podlab serve` on a free port; killed when it goes out of scope.
struct Served {
    child: Child,
    url: String,
}

impl Served {
    fn start(arguments: &[&str]) -> Option<Self> {
        Self::with_keys(arguments, None)
    }

    /// What checks signatures with these.
    fn with_keys(arguments: &[&str], keys: Option<[&str; 2]>) -> Option<Self> {
        let mut command = podlab()?;
        for (name, place) in [("AWS_ACCESS_KEY_ID", 0), ("AWS_SECRET_ACCESS_KEY", 1)] {
            match keys {
                Some(keys) => command.env(name, keys[place]),
                None => command.env_remove(name),
            };
        }
        command.env_remove("AWS_SESSION_TOKEN");
        command.arg("serve").arg(project("driver/examples/aws-blog-70b.yaml")).args(["--listen", "127.0.0.1:0"]);
        let mut child = command.args(arguments).stderr(Stdio::piped()).spawn().expect("it starts");
        let stderr = child.stderr.take().expect("it is piped");
        let line = BufReader::new(stderr)
            .lines()
            .map_while(Result::ok)
            .find(|line| line.starts_with("serving "))
            .expect("it says where it serves");
        let address = line.split("http://").nth(1).and_then(|rest| rest.split('/').next()).expect("an address");
        Some(Self { child, url: format!("http://{address}") })
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_openai_client_is_content() {
    let Some(python) = std::env::var_os("PODLAB_PYTHON") else {
        skipped("PODLAB_PYTHON names no interpreter with the openai package; run tests/run.sh");
        return;
    };
    let Some(served) = Served::start(&["--time-scale", "5", "--strategy", "roundrobin"]) else { return };
    let script = project("tests/clients/openai_client.py");
    let output = Command::new(python).arg(script).arg(&served.url).output().expect("it runs");
    let (stdout, stderr, status) = said(&output);
    println!("{stdout}");
    assert_eq!(status, 0, "{stdout}\n{stderr}");
    let last = stdout.lines().last().unwrap_or_default();
    assert!(last.ends_with(" 0 failed") && !last.starts_with("0 passed"), "{last}");
}

const KEYS: [&str; 2] = ["AKIDPODLAB", "secret"];
/// `endpointName` of the endpoint file.
const NAME: &str = "llama-70b-endpoint";

/// A program with those keys and nothing else of AWS around it.
fn signing(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("AWS_")) {
        command.env_remove(name);
    }
    let nowhere = "/nonexistent";
    command.env("AWS_ACCESS_KEY_ID", KEYS[0]).env("AWS_SECRET_ACCESS_KEY", KEYS[1]);
    command.env("AWS_CONFIG_FILE", nowhere).env("AWS_SHARED_CREDENTIALS_FILE", nowhere);
    command.env("AWS_EC2_METADATA_DISABLED", "true").env("AWS_DEFAULT_REGION", "us-east-2");
    command
}

#[test]
fn boto3_and_the_aws_cli_are_content() {
    let Some(python) = std::env::var_os("PODLAB_PYTHON") else {
        skipped("PODLAB_PYTHON names no interpreter with boto3; run tests/run.sh");
        return;
    };
    let Some(served) = Served::with_keys(&["--time-scale", "5", "--strategy", "session"], Some(KEYS)) else { return };
    let script = project("tests/clients/sagemaker_client.py");
    let output = signing(&python).arg(script).args([&served.url, NAME]).output().expect("it runs");
    let (stdout, stderr, status) = said(&output);
    println!("{stdout}");
    assert_eq!(status, 0, "{stdout}\n{stderr}");
    assert!(stdout.lines().last().is_some_and(|last| last.ends_with(" 0 failed") && !last.starts_with("0 passed")));
    let folder = Folder::new("aws-cli");
    let (asked, answer) = (folder.file("ask.json", r#"{"prompt": "hi", "max_tokens": 3}"#), folder.path("answer.json"));
    let mut cli = signing(&python);
    cli.args(["-m", "awscli", "sagemaker-runtime", "invoke-endpoint", "--endpoint-url", &served.url]);
    cli.args(["--endpoint-name", NAME, "--content-type", "application/json", "--body"]);
    cli.arg(format!("fileb://{}", asked.display())).arg(&answer);
    let (_, stderr, status) = said(&cli.output().expect("it runs"));
    assert_eq!(status, 0, "{stderr}");
    let answer: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(answer).expect("it is there")).expect("JSON");
    assert_eq!(answer["usage"]["completion_tokens"], 3, "{answer:#}");
}

#[test]
fn podlabs_own_client_signs_for_it() {
    let Some(served) = Served::with_keys(&["--time-scale", "5"], Some(KEYS)) else { return };
    let Some(binary) = podlab() else { return };
    let target = format!("sagemaker://{NAME}?region=us-east-2");
    for (secret, expected) in [(KEYS[1], 0), ("wrong", 4)] {
        let mut command = signing(binary.get_program());
        command.env("AWS_ENDPOINT_URL", &served.url).env("AWS_SECRET_ACCESS_KEY", secret);
        command.args(["invoke", "--target", &target, "--max-tokens", "4", "-o", "json", "hello"]);
        let (stdout, stderr, status) = said(&command.output().expect("it runs"));
        assert_eq!(status, expected, "{stderr}");
        let answer: serde_json::Value = serde_json::from_str(&stdout).expect("JSON");
        if expected == 0 {
            assert_eq!((&answer["output_tokens"], &answer["error"]), (&4.into(), &serde_json::Value::Null), "{answer}");
        } else {
            assert_eq!(answer["error"], "signature", "{answer}");
        }
    }
}

#[test]
fn curl_sees_tokens_as_they_come() {
    let Some(served) = Served::start(&[]) else { return };
    let body = r#"{"prompt": "Once upon a time", "max_tokens": 3, "stream": true}"#;
    let url = format!("{}/v1/completions", served.url);
    let mut command = Command::new("curl");
    command.args(["-sN", "--max-time", "20", "-H", "content-type: application/json", "-d", body, &url]);
    let Ok(output) = command.output() else {
        skipped("no curl");
        return;
    };
    let (stdout, stderr, status) = said(&output);
    assert_eq!(status, 0, "{stderr}");
    let events: Vec<&str> = stdout.split("\n\n").filter(|event| !event.is_empty()).collect();
    assert_eq!(events.len(), 4, "{stdout}");
    assert!(events.iter().all(|event| event.starts_with("data: ")), "{stdout}");
    assert_eq!(events.last(), Some(&"data: [DONE]"));
}

#[test]
fn a_port_in_use_is_said_clearly() {
    let Some(served) = Served::start(&[]) else { return };
    let Some(mut second) = podlab() else { return };
    let address = served.url.trim_start_matches("http://");
    second.arg("serve").arg(project("driver/examples/aws-blog-70b.yaml")).args(["--listen", address]);
    let (_, stderr, status) = said(&second.output().expect("it runs"));
    assert_eq!(status, 1, "{stderr}");
    assert!(stderr.contains("name another address, or port 0"), "{stderr}");
}

#[test]
fn a_second_interrupt_stops_at_once() {
    let Some(mut served) = Served::start(&[]) else { return };
    let body = r#"{"prompt": "Once upon a time", "max_tokens": 5000, "stream": true}"#;
    let url = format!("{}/v1/completions", served.url);
    let client =
        Command::new("curl").args(["-sN", "--max-time", "60", "-d", body, &url]).stdout(Stdio::piped()).spawn();
    let Ok(mut client) = client else {
        skipped("no curl");
        return;
    };
    // Its first event says that the request is in flight.
    let mut events = BufReader::new(client.stdout.take().expect("it is piped"));
    let mut line = String::new();
    events.read_line(&mut line).expect("a line comes");
    assert!(line.starts_with("data: "), "{line}");
    let interrupt = |child: &Child| Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    interrupt(&served.child).expect("kill runs");
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert!(served.child.try_wait().expect("it can be asked").is_none(), "what is in flight may finish");
    interrupt(&served.child).expect("kill runs");
    let asked = std::time::Instant::now();
    let status = served.child.wait().expect("it ends");
    assert_eq!(status.code(), Some(130));
    assert!(asked.elapsed().as_secs() < 5, "at once");
    let _ = client.kill();
    let _ = client.wait();
}
