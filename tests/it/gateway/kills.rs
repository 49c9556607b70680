//! Real processes, killed: goals R2 and R3.

use super::world::Gateway;
use crate::emulate::raw::{Call, Response, call};
use driver::gateway::{self, Settings};
use router::{HealthConfig, RetryConfig, RouterConfig, Strategy};
use sim::streams::Streams;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tokio::time::sleep;

/// A worker in a process of its own: 40 ms to the first token, 3 ms between tokens.
struct Process {
    child: Child,
    address: SocketAddr,
}

impl Process {
    fn at(address: &str) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_podlab-mock"));
        command.args(["--listen", address, "--ttft-ms", "40", "--itl-ms", "3", "--tokens", "60"]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it is built");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("it tells where it listens");
        Self { child, address: line.trim().parse().expect("an address") }
    }

    /// SIGKILL: the kernel closes its sockets.
    fn kill(&mut self) {
        self.child.kill().expect("it is ours");
        self.child.wait().expect("it is ours");
    }

    /// Another one in its place.
    fn replace(&mut self) {
        *self = Self::at(&self.address.to_string());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn before(processes: &[&Process]) -> Gateway {
    let workers: Vec<_> = processes
        .iter()
        .map(|process| gateway::worker(&format!("http://{}", process.address)).expect("on loopback"))
        .collect();
    let count = u16::try_from(workers.len()).expect("few");
    // Nobody is left alone: whoever was killed shall be sent the next request, too.
    let health = HealthConfig { failures: u32::MAX, ..HealthConfig::default() };
    let retries = RetryConfig { percent: 100, ..RetryConfig::default() };
    let router = RouterConfig::new(Strategy::RoundRobin, count);
    Gateway::new(Settings { health, retries, ..Settings::new(workers, router) }).await
}

const ASK: &str = "{\"prompt\":\"hello\",\"max_tokens\":60,\"stream\":true}";

fn is_whole(got: &Response) -> bool {
    got.status == 200 && got.body.ends_with("data: [DONE]\n\n") && !got.body.contains("\"error\"")
}

/// R2: 100 kills before the first byte. Every request is answered in full by the other worker, after one more attempt, hardly later.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_killed_before_the_first_byte_is_not_noticed() {
    let (mut victim, other) = (Process::at("127.0.0.1:0"), Process::at("127.0.0.1:0"));
    let gateway = before(&[&victim, &other]).await;
    let address = gateway.address;
    let usual = Instant::now();
    assert!(is_whole(&call(address, "POST", "/v1/completions", ASK).await));
    let usual = usual.elapsed();
    let mut draws = Streams::new(1).named("kills");
    let (mut late, mut hit) = (Vec::new(), 0);
    while hit < 100 {
        // One of the two goes to each worker.
        let began = Instant::now();
        let calls = [0, 1].map(|_| tokio::spawn(async move { call(address, "POST", "/v1/completions", ASK).await }));
        sleep(Duration::from_millis(5 + draws.below(25))).await;
        victim.kill();
        let mut workers = Vec::new();
        for one in calls {
            let got = one.await.expect("it is answered");
            assert!(is_whole(&got), "{got:?}");
            workers.push(got.header("x-podlab-worker").map(str::to_owned));
        }
        // Both from the other worker: one of them was sent to the victim first, and lost it there.
        hit += usize::from(workers.iter().all(|worker| worker.as_deref() == Some("1")));
        late.push(began.elapsed().saturating_sub(usual));
        victim.replace();
    }
    late.sort();
    let p99 = late[late.len() * 99 / 100];
    println!("{hit} kills of {}: {:?} later (p50), {p99:?} (p99) than {usual:?}", late.len(), late[late.len() / 2]);
    assert!(p99 < Duration::from_millis(500), "{p99:?}");
}

/// R3: 100 kills in the middle of streams. Each ends within a second, in an error event, and in no `[DONE]`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_killed_in_a_stream_is_not_silent() {
    let mut victim = Process::at("127.0.0.1:0");
    let gateway = before(&[&victim]).await;
    let mut draws = Streams::new(2).named("kills");
    for kill in 0..100 {
        let mut stream = Call::send(gateway.address, "POST", "/v1/completions", ASK).await;
        stream.wait_for("data: ").await;
        sleep(Duration::from_millis(draws.below(120))).await;
        victim.kill();
        let killed = Instant::now();
        let got = stream.response().await;
        assert!(killed.elapsed() < Duration::from_secs(1), "kill {kill}: {:?}", killed.elapsed());
        let events = got.events();
        let (last, tokens) = events.split_last().expect("there was one");
        let error: serde_json::Value = serde_json::from_str(last).unwrap_or_else(|_| panic!("kill {kill}: {last}"));
        assert_eq!(error["error"]["code"], 502, "kill {kill}: {last}");
        for token in tokens {
            let token: serde_json::Value = serde_json::from_str(token).expect("a whole event");
            assert!(token["choices"].is_array(), "kill {kill}: {token}");
        }
        victim.replace();
    }
    let metrics = call(gateway.address, "GET", "/metrics", "").await.body;
    assert!(metrics.contains("{worker=\"0\",outcome=\"failed\"} 100\n"), "{metrics}");
}
