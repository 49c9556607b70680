//! The judge of what podlab's workers publish: vLLM's own router, which sends prompts where their blocks are by that account alone.

use crate::emulate::raw::{Call, Response, call, request};
use crate::support::{podlab, project, skipped};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::sleep;

/// Blocks of a worker that requests can have: what the longest takes. One more is the engine's.
const BLOCKS: usize = 8192;

/// A process that is killed when it goes out of scope.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// `podlab serve --publish-kv-events` with one worker.
struct Worker {
    _process: Process,
    address: SocketAddr,
    events: String,
    replay: String,
}

impl Worker {
    fn start() -> Option<Self> {
        let mut command = podlab()?;
        command.arg("serve").arg(project("driver/examples/aws-blog-70b.yaml"));
        command.args(["--listen", "127.0.0.1:0", "--replicas", "1", "--time-scale", "1000"]);
        command.args(["--set", "engine.num_gpu_blocks=8193", "--publish-kv-events", "0,0"]);
        let mut child = command.stderr(Stdio::piped()).spawn().expect("it starts");
        let mut lines = BufReader::new(child.stderr.take().expect("it is piped")).lines().map_while(Result::ok);
        let process = Process(child);
        let told = lines.find(|line| line.contains("KV events on ")).expect("it says where it publishes");
        let place = |what: &str| {
            let rest = told.split(what).nth(1).expect("it is told");
            rest.split([',', ';']).next().expect("an address").to_owned()
        };
        let (events, replay) = (place("KV events on "), place("replay on "));
        let served = lines.find(|line| line.starts_with("serving ")).expect("it says where it serves");
        let address = served.split("http://").nth(1).and_then(|rest| rest.split('/').next()).expect("an address");
        Some(Self { _process: process, address: address.parse().expect("an address"), events, replay })
    }

    /// Requests that it has served.
    async fn served(&self) -> u64 {
        metric(self.address, "podlab:requests_total", "end=\"completed\"").await
    }
}

/// The value of a counter; 0 where nobody has counted yet.
async fn metric(address: SocketAddr, name: &str, label: &str) -> u64 {
    let text = call(address, "GET", "/metrics", "").await.body;
    let line = text.lines().find(|line| line.starts_with(name) && line.contains(label));
    line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or(0)
}

/// vllm-router before two workers.
struct Judge {
    _process: Process,
    address: SocketAddr,
    metrics: SocketAddr,
}

impl Judge {
    async fn before(workers: &[Worker; 2]) -> Option<Self> {
        let (Some(python), Some(folder)) = (std::env::var_os("PODLAB_PYTHON"), std::env::var_os("PODLAB_VLLM_ROUTER"))
        else {
            skipped("PODLAB_VLLM_ROUTER names no folder of vllm-router; run tests/run.sh");
            return None;
        };
        let [address, metrics] = [0, 1].map(|_| {
            let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
            free.local_addr().expect("bound")
        });
        let mut command = Command::new(python);
        command.arg(project("tests/clients/vllm_router_alone.py")).env("PYTHONPATH", folder);
        command.args(["--host", "127.0.0.1", "--port", &address.port().to_string()]);
        command.args(["--prometheus-host", "127.0.0.1", "--prometheus-port", &metrics.port().to_string()]);
        command.args(["--policy", "kv_aware", "--kv-event-block-size", "16", "--kv-event-model", "m", "--worker-urls"]);
        command.args(workers.iter().map(|worker| format!("http://{}", worker.address)));
        for Worker { address, events, replay, .. } in workers {
            command.args(["--kv-event-source", &format!("http://{address}={events}")]);
            command.args(["--kv-event-replay-source", &format!("http://{address}={replay}")]);
        }
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
        let process = Process(child);
        for _ in 0..600 {
            let [one, other] = [TcpStream::connect(address).await, TcpStream::connect(metrics).await];
            if one.is_ok() && other.is_ok() {
                return Some(Self { _process: process, address, metrics });
            }
            sleep(Duration::from_millis(100)).await;
        }
        panic!("vllm-router does not listen");
    }

    /// Look-ups that found a holder, and those that found none.
    async fn lookups(&self) -> [u64; 2] {
        let name = "vllm_router_kv_placement_lookups_total";
        [metric(self.metrics, name, "result=\"hit\"").await, metric(self.metrics, name, "result=\"miss\"").await]
    }

    /// Asks, and says whether the judge knew a holder.
    async fn ask(&self, path: &str, body: &Value) -> (Response, bool) {
        let before = self.lookups().await;
        // It takes JSON only from those who say so.
        let request =
            request("POST", path, "content-type: application/json\r\nconnection: close\r\n", &body.to_string());
        let got = Call::open(self.address, request.as_bytes()).await.response().await;
        assert_eq!(got.status, 200, "{}", got.body);
        let [hits, misses] = self.lookups().await;
        assert_eq!(hits + misses, before[0] + before[1] + 1, "it looks once");
        (got, hits > before[0])
    }
}

/// Tokens that a worker found on its device, of which alone it tells; what it evicts may still be in L1 or L2.
fn found(got: &Response) -> u64 {
    got.json()["usage"]["podlab"]["cached_l0_tokens"].as_u64().expect("always told")
}

/// A prompt of 20 blocks and a token that is like no other.
fn prompt(number: usize) -> Value {
    let ids: Vec<usize> = (0..321).map(|token| 1_000 * number + token).collect();
    json!({"prompt": ids, "max_tokens": 2})
}

const COMPLETIONS: &str = "/v1/completions";

/// What a worker was given behind the judge's back is found there, wherever else it might go; what was evicted is not; text goes
/// by the tokens that a worker renders.
#[tokio::test]
async fn vllm_router_finds_what_workers_hold() {
    let (Some(first), Some(second)) = (Worker::start(), Worker::start()) else { return };
    let workers = [first, second];
    let Some(judge) = Judge::before(&workers).await else { return };
    // A subscription takes a moment, and the judge knows nothing of what was told before.
    for (place, worker) in workers.iter().enumerate() {
        for turn in 0.. {
            let body = prompt(1_000 + 100 * place + turn);
            call(worker.address, "POST", COMPLETIONS, &body.to_string()).await;
            sleep(Duration::from_millis(100)).await;
            if judge.ask(COMPLETIONS, &body).await.1 {
                break;
            }
            assert!(turn < 99, "it has not heard of worker {place}");
        }
    }
    for round in 0..4 {
        for (place, worker) in workers.iter().enumerate() {
            let body = prompt(2 * round + place);
            let cold = call(worker.address, "POST", COMPLETIONS, &body.to_string()).await;
            assert_eq!(found(&cold), 0);
            sleep(Duration::from_millis(200)).await;
            let served = worker.served().await;
            let (got, hit) = judge.ask(COMPLETIONS, &body).await;
            assert!(hit, "round {round}, worker {place}");
            assert_eq!((worker.served().await, found(&got)), (served + 1, 320), "round {round}: to worker {place}");
        }
    }
    // One prompt that takes the whole cache of a worker: what that held before goes.
    let all: Vec<usize> = (0..BLOCKS * 16 - 1).map(|token| 500_000 + token).collect();
    let long = json!({"prompt": all, "max_tokens": 1}).to_string();
    assert_eq!(call(workers[1].address, "POST", COMPLETIONS, &long).await.status, 200);
    sleep(Duration::from_secs(1)).await;
    for round in 0..4 {
        let (got, hit) = judge.ask(COMPLETIONS, &prompt(2 * round + 1)).await;
        assert!(!hit, "round {round}: nobody holds it any more");
        assert_eq!(found(&got), 0);
        assert!(judge.ask(COMPLETIONS, &prompt(2 * round)).await.1, "round {round}: the other one's are still there");
    }
    let text = "Keys and values of this text are computed once, and found again by whoever begins alike. ".repeat(5);
    for (path, body) in [
        (COMPLETIONS, json!({"prompt": text, "max_tokens": 2})),
        ("/v1/chat/completions", json!({"messages": [{"role": "user", "content": text}], "max_tokens": 2})),
    ] {
        assert!(!judge.ask(path, &body).await.1, "{path}: new");
        sleep(Duration::from_millis(200)).await;
        let (got, hit) = judge.ask(path, &body).await;
        assert!(hit && found(&got) > 0, "{path}: {}", got.body);
    }
    let rendered = async |result: &str| metric(judge.metrics, "vllm_router_kv_routing_inputs_total", result).await;
    assert!(rendered("result=\"render\"").await > 0);
    assert_eq!(rendered("result=\"render_unavailable\"").await, 0);
}
