//! The server of known truth, in a process of its own.

use crate::support::{podlab, said};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

/// A running server, which goes when this does.
pub(super) struct Mock {
    process: Child,
    address: String,
}

impl Mock {
    pub(super) fn start(flags: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_podlab-mock"));
        let mut process = command.args(flags).stdout(Stdio::piped()).spawn().expect("the mock runs");
        let mut address = String::new();
        let stdout = process.stdout.take().expect("it is piped");
        BufReader::new(stdout).read_line(&mut address).expect("it says where it listens");
        Self { process, address: address.trim().to_owned() }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What it really did.
    pub(super) fn stats(&self) -> Value {
        let mut stream = TcpStream::connect(&self.address).expect("it listens");
        write!(stream, "GET /stats HTTP/1.1\r\nhost: mock\r\n\r\n").expect("it reads");
        stream.shutdown(std::net::Shutdown::Write).expect("it is open");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        let body = answer.split("\r\n\r\n").nth(1).expect("a body");
        serde_json::from_str(body).expect("an object")
    }
}

impl Drop for Mock {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What `podlab` prints as JSON, what it says beside it, and its exit code; `None`: there is no binary to run.
pub(super) fn bench(flags: &[&str]) -> Option<(Value, String, i32)> {
    let mut command = podlab()?;
    let output = command.arg("bench").args(flags).args(["-o", "json", "--quiet"]).output().expect("it runs");
    let (stdout, stderr, code) = said(&output);
    let value = if stdout.is_empty() { Value::Null } else { serde_json::from_str(&stdout).expect("it prints JSON") };
    Some((value, stderr, code))
}

/// A figure.
pub(super) fn figure(of: &Value, key: &str) -> f64 {
    of[key].as_f64().unwrap_or_else(|| panic!("{key} is {} in {of:#}", of[key]))
}
