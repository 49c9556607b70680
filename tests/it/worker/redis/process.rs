//! Two processes of `podlab serve`, each a command line of its own, and the Redis between them.

use super::server::Server;
use super::{cold, counter, from_l2, prompt, reaches};
use crate::emulate::raw::post;
use crate::support::{Folder, project, said};
use serde_json::json;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitCode, Stdio};

/// The words of a command line, in the environment of a child of this test.
const WORDS: &str = "PODLAB_TEST_WORDS";

/// No test of its own: what a child of this binary does, which is what the binary `podlab` does with these words.
#[test]
#[ignore = "a process that other tests start"]
fn podlab() -> ExitCode {
    let Some(words) = std::env::var_os(WORDS) else { return ExitCode::SUCCESS };
    let words = words.into_string().expect("text");
    driver::cli::main_with(words.split('\n').map(Into::into))
}

fn command(words: &[&str], redis: Option<&str>) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this binary"));
    command.args(["--exact", "worker::redis::process::podlab", "--ignored", "--nocapture"]);
    command.env(WORDS, format!("podlab\n{}", words.join("\n"))).env_remove("REDIS_URL");
    if let Some(url) = redis {
        command.env("REDIS_URL", url);
    }
    command
}

/// The blog's endpoint with a Redis as L2, wherever that is.
fn endpoint(folder: &Folder, url: Option<&str>) -> String {
    let text = std::fs::read_to_string(project("driver/examples/aws-blog-70b.yaml")).expect("it is there");
    let url = url.map(|url| format!("\n      l2CacheLocalUrl: {url}")).unwrap_or_default();
    let redis = text.replace("l2CacheBackend: tieredstorage", &format!("l2CacheBackend: redis{url}"));
    assert_ne!(redis, text);
    folder.file("endpoint.yaml", &redis).display().to_string()
}

/// The flags of all of them: one worker whose chunks are two blocks.
fn words<'a>(endpoint: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let mut words = vec!["serve", endpoint, "--engine", "candle", "--model", "tiny", "--seed", "1", "--replicas", "1"];
    words.extend(["--listen", "127.0.0.1:0", "--strategy", "roundrobin", "--set", "tiers.chunk_tokens=32"]);
    words.extend(more);
    words
}

struct Served {
    child: Child,
    address: SocketAddr,
    told: Vec<String>,
}

impl Served {
    fn start(words: &[&str], redis: Option<&str>) -> Self {
        let mut child = command(words, redis).stderr(Stdio::piped()).stdout(Stdio::null()).spawn().expect("it starts");
        let mut told = Vec::new();
        let mut lines = BufReader::new(child.stderr.take().expect("it is piped")).lines();
        let address = loop {
            let line = lines.next().unwrap_or_else(|| panic!("it ended: {told:?}")).expect("text");
            told.push(line.clone());
            if let Some((_, rest)) = line.split_once("http://") {
                break rest.split('/').next().expect("an address").parse().expect("an address");
            }
        };
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, address, told }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn what_one_process_stores_another_process_loads() {
    let Some(server) = Server::start("redis-process", &["--requirepass", "canary-password"]) else { return };
    let folder = Folder::new("redis-process-endpoint");
    let url = format!("redis://:canary-password@127.0.0.1:{}", server.port);
    let (by_file, by_variable) = (endpoint(&folder, Some(&url)), Folder::new("redis-process-other"));
    let by_variable = endpoint(&by_variable, None);
    let text = prompt(8, 500);
    let body = json!({"prompt": text, "max_tokens": 8, "temperature": 0});
    // One is told by the endpoint file, the other by the environment.
    let patient = ["--set", "l2.silence=5s"];
    let first = Served::start(&words(&by_file, &patient), None);
    let cold_reply = post(first.address, "/v1/completions", &body).await.json();
    assert_eq!(cold_reply["choices"][0]["text"], cold(&text));
    assert_eq!(from_l2(&cold_reply), 0);
    reaches(first.address, &super::PUT, 15).await;
    let second = Served::start(&words(&by_variable, &patient), Some(&url));
    let reply = post(second.address, "/v1/completions", &body).await.json();
    assert_eq!(reply["choices"][0]["text"], cold_reply["choices"][0]["text"]);
    assert_eq!(from_l2(&reply), 480);
    // What L1 has it has from L2, and L2 is not asked for it again.
    let fetched = ["podlab:l2_objects_total", "what=\"fetched\""];
    assert_eq!(counter(second.address, &fetched).await, 15);
    for served in [&first, &second] {
        let told = served.told.join("\n");
        assert!(told.contains(&format!("L2: redis at 127.0.0.1:{}", server.port)), "{told}");
        assert!(!told.contains("canary"), "{told}");
    }
}

#[tokio::test]
async fn a_network_is_imitated_before_either_l2() {
    let Some(server) = Server::start("redis-shaped", &[]) else { return };
    let folder = Folder::new("redis-shaped-endpoint");
    let endpoint = endpoint(&folder, None);
    let text = prompt(2, 500);
    let body = json!({"prompt": text, "max_tokens": 8, "temperature": 0});
    // A chunk has 33 KiB: 15 of them at 1 MB/s take half a second, besides what a look-up takes.
    let far = ["--set", "l2.silence=5s", "--set", "l2.latency=20ms", "--set", "l2.bandwidth=1MB/s"];
    for (redis, near) in [(Some(server.url()), false), (None, false), (Some(server.url()), true)] {
        let far = if near { &far[..2] } else { &far[..] };
        let more = [
            far,
            &["--set", "l1.bytes=1KiB", "--set", "engine.num_gpu_blocks=33", "--set", "engine.max_model_len=512"],
        ]
        .concat();
        let served = Served::start(&words(&endpoint, &more), redis.as_deref());
        let mut tiers = Vec::new();
        // Each takes all of the device, and nothing fits into L1.
        for body in [&body, &json!({"prompt": prompt(3, 500), "max_tokens": 8}), &body] {
            let reply = post(served.address, "/v1/completions", body).await.json();
            tiers.push((from_l2(&reply), reply["usage"]["podlab"]["ttft_tiers_ms"].as_f64().expect("it tells")));
            tokio::time::sleep(std::time::Duration::from_millis(if near { 100 } else { 900 })).await;
        }
        println!("redis {redis:?}, near {near}: {tiers:?}");
        let (found, waited) = tiers[2];
        // A block of it may still be on the device.
        assert!(found >= 464, "{tiers:?}");
        assert_eq!(waited >= 500.0, !near, "{tiers:?}");
    }
}

#[test]
fn what_cannot_be_is_one_clear_error() {
    let folder = Folder::new("redis-refused");
    for (url, words_of_it) in [
        ("http://:canary@127.0.0.1:1/", "REDIS_URL is no Redis URL; redis://[USER:PASSWORD@]HOST"),
        ("rediss://:canary@127.0.0.1:1", "REDIS_URL asks for TLS (rediss://)"),
        ("redis://:canary@127.0.0.1:1,nonsense", "REDIS_URL is no Redis URL"),
    ] {
        let endpoint = endpoint(&folder, None);
        let (_, told, code) = said(&command(&words(&endpoint, &[]), Some(url)).output().expect("it runs"));
        assert!(told.contains(&format!("error: {words_of_it}")), "{told}");
        assert!(!told.contains("canary"), "{told}");
        // The harness makes 101 of any failure.
        assert_ne!(code, 0);
    }
    let file = endpoint(&folder, Some("nonsense"));
    let (_, told, _) = said(&command(&words(&file, &[]), None).output().expect("it runs"));
    assert!(told.contains("error: spec.kvCacheSpec.l2CacheSpec.l2CacheLocalUrl is no Redis URL"), "{told}");
}
