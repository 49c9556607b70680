//! Real clients against the served endpoint: the binary, a socket, and programs that podlab did not write.

use crate::support::{podlab, project, said, skipped};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

/// `podlab serve` on a free port; killed when it goes out of scope.
struct Served {
    child: Child,
    url: String,
}

impl Served {
    fn start(arguments: &[&str]) -> Option<Self> {
        let mut command = podlab()?;
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
