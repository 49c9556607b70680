//! What a served endpoint's tiers do, from outside.

use crate::support::{podlab, project};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Stdio};
use std::time::Duration;

/// A server that goes away with the test.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Asks for one token after `prompt`: the tokens that were found in a cache, and by which worker.
fn ask(address: &str, prompt: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("it is a socket");
    let body = serde_json::json!({ "prompt": prompt, "max_tokens": 1 }).to_string();
    let head =
        "POST /v1/completions HTTP/1.1\r\nhost: podlab\r\nconnection: close\r\ncontent-type: application/json\r\n";
    write!(stream, "{head}content-length: {}\r\n\r\n{body}", body.len()).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers in time");
    let header = |name: &str| {
        let line = answer.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("no {name} in {answer}")).trim().to_owned()
    };
    (header("x-podlab-cached-tokens:"), header("x-podlab-worker:"))
}

#[test]
fn what_one_worker_stored_in_the_pool_another_finds() {
    let Some(mut command) = podlab() else { return };
    command.arg("serve").arg(project(super::SAMPLE)).args(["--listen", "127.0.0.1:0", "--strategy", "roundrobin"]);
    command.args(["--replicas", "2", "--time-scale", "20"]).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut server = Server(command.spawn().expect("it runs"));
    let stderr = BufReader::new(server.0.stderr.take().expect("it is piped"));
    let said = stderr.lines().map_while(Result::ok).find(|line| line.contains("on http://"));
    let said = said.expect("it says where it listens");
    let address = said.split_once("http://").and_then(|(_, rest)| rest.split_once("/v1")).expect("an address").0;
    // 2,000 tokens of four characters: seven chunks of 256.
    let prompt: String = (0..1000).map(|number| format!("{number:08}")).collect();
    assert_eq!(ask(address, &prompt), ("0".to_owned(), "0".to_owned()));
    // Ten modelled seconds: more than the 60 ms in which a daemon takes seven chunks of 84 MB.
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(ask(address, &prompt), ("1792".to_owned(), "1".to_owned()), "the worker is another one");
    // By now it is on that worker's device, in blocks of 16, all but the last token.
    ask(address, &prompt);
    assert_eq!(ask(address, &prompt), ("1984".to_owned(), "1".to_owned()));
}
