//! What a scrape gets by vLLM's names, read by Prometheus' own parser, against runs whose truth is known.

#![expect(clippy::float_cmp, reason = "counts are whole numbers, which doubles hold exactly")]

use super::world::{Act, Gateway, Mock, json, settings};
use crate::emulate::raw::{Call, call, post};
use crate::emulate::world::World;
use crate::support::{project, skipped};
use driver::gateway::Settings;
use kvcache::Blocks;
use router::Strategy;
use serde_json::json as object;
use std::collections::BTreeMap;
use std::io::Write;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tokio::time::sleep;

/// Samples by their names and labels, as Prometheus' parser understands them.
struct Scrape(BTreeMap<String, (f64, String)>);

impl Scrape {
    /// `None`: there is no parser.
    async fn of(address: SocketAddr) -> Option<Self> {
        let Some(python) = std::env::var_os("PODLAB_PYTHON") else {
            skipped("PODLAB_PYTHON names no interpreter with prometheus_client; run tests/run.sh");
            return None;
        };
        let text = call(address, "GET", "/metrics", "").await.body;
        let mut command = Command::new(python);
        command.arg(project("tests/clients/prometheus_reads.py")).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("it runs");
        child.stdin.take().expect("piped").write_all(text.as_bytes()).expect("it reads");
        let output = child.wait_with_output().expect("it ends");
        assert!(output.status.success(), "{text}");
        let read: Vec<(String, BTreeMap<String, String>, f64, String)> =
            serde_json::from_slice(&output.stdout).expect("JSON");
        let key = |name: String, labels: &BTreeMap<String, String>| {
            labels.iter().fold(name, |key, (label, value)| format!("{key} {label}={value}"))
        };
        let count = read.len();
        let samples: BTreeMap<_, _> =
            read.into_iter().map(|(name, labels, value, kind)| (key(name, &labels), (value, kind))).collect();
        assert_eq!(samples.len(), count, "a sample comes once");
        Some(Self(samples))
    }

    fn get(&self, name: &str, labels: &str) -> f64 {
        let key = format!("vllm:{name}{labels}");
        self.0.get(&key).unwrap_or_else(|| panic!("no {key}")).0
    }

    fn kind(&self, name: &str, labels: &str) -> &str {
        &self.0[&format!("vllm:{name}{labels}")].1
    }

    /// Upper edges of a histogram, and how much is below each.
    fn buckets(&self, name: &str) -> Vec<(f64, f64)> {
        let prefix = format!("vllm:{name}_bucket ");
        let edge = |key: &str| key.split("le=").nth(1)?.split(' ').next()?.replace("+Inf", "inf").parse::<f64>().ok();
        let samples = self.0.iter().filter(|(key, _)| key.starts_with(&prefix));
        let mut buckets: Vec<_> = samples.map(|(key, (count, _))| (edge(key).expect("an edge"), *count)).collect();
        buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        buckets
    }
}

fn edges(of: &Scrape, name: &str) -> Vec<f64> {
    of.buckets(name).iter().map(|(edge, _)| *edge).collect()
}

/// The edges that dashboards compute quantiles from: vLLM's, as its `loggers.py` has them.
fn check_edges(scrape: &Scrape, longest: u64) {
    let between = "0.01 0.025 0.05 0.075 0.1 0.15 0.2 0.3 0.4 0.5 0.75 1 2.5 5 7.5 10 20 40 80 inf";
    let first = "0.001 0.005 0.01 0.02 0.04 0.06 0.08 0.1 0.25 0.5 0.75 1 2.5 5 7.5 10 20 40 80 160 640 2560 inf";
    let whole = "0.3 0.5 0.8 1 1.5 2 2.5 5 10 15 20 30 40 50 60 120 240 480 960 1920 7680 inf";
    for (name, meant) in [
        ("time_to_first_token_seconds", first),
        ("inter_token_latency_seconds", between),
        ("time_per_output_token_seconds", between),
        ("e2e_request_latency_seconds", whole),
    ] {
        let meant: Vec<f64> = meant.split(' ').map(|edge| edge.parse().expect("a number")).collect();
        assert_eq!(edges(scrape, name), meant, "{name}");
    }
    let all = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000, 100_000].map(|n: u64| n);
    for name in ["request_prompt_tokens", "request_generation_tokens"] {
        let got = edges(scrape, name);
        let meant: Vec<f64> = all.iter().filter(|edge| **edge <= longest).map(|edge| *edge as f64).collect();
        assert_eq!(got[..meant.len()], meant, "{name}");
    }
}

/// An emulated endpoint: what every request was, and took, is in its usage.
#[tokio::test]
async fn an_emulated_endpoint_counts_what_it_did() {
    let world = World { capacity: Blocks(400), ..World::new(2, Strategy::RoundRobin) };
    let server = world.serve(world.settings());
    let address = server.address();
    let label = " model_name=toy";
    let (mut prompts, mut replies, mut first) = (0, 0, 0.0);
    for number in 0..10_u64 {
        let ids: Vec<u64> = (0..20 + 10 * number).map(|token| 1000 * number + token).collect();
        let got = post(address, "/v1/completions", &object!({"prompt": ids, "max_tokens": 3 + number})).await.json();
        let usage = &got["usage"];
        prompts += usage["prompt_tokens"].as_u64().expect("told");
        replies += usage["completion_tokens"].as_u64().expect("told");
        let parts = usage["podlab"].as_object().expect("told");
        let parts = parts.iter().filter(|(name, _)| name.starts_with("ttft_"));
        first += parts.filter_map(|(_, part)| part.as_f64()).sum::<f64>() / 1e3;
    }
    assert_eq!((prompts, replies), (650, 75));
    let Some(scrape) = Scrape::of(address).await else { return };
    check_edges(&scrape, 4096);
    let get = |name: &str| scrape.get(name, label);
    assert_eq!([get("prompt_tokens_total"), get("generation_tokens_total")], [650.0, 75.0]);
    assert_eq!([get("request_prompt_tokens_sum"), get("request_prompt_tokens_count")], [650.0, 10.0]);
    assert_eq!([get("request_generation_tokens_sum"), get("request_generation_tokens_count")], [75.0, 10.0]);
    let buckets = scrape.buckets("request_prompt_tokens");
    // 20, 30, .. 110 tokens: one of them has at most 20, four at most 50, nine at most 100.
    let upto = |edge: f64| buckets.iter().find(|(at, _)| (*at - edge).abs() < 0.5).expect("an edge").1;
    assert_eq!([upto(10.0), upto(20.0), upto(50.0), upto(100.0), upto(200.0)], [0.0, 1.0, 4.0, 9.0, 10.0]);
    assert_eq!(get("time_to_first_token_seconds_count"), 10.0);
    let told = get("time_to_first_token_seconds_sum");
    assert!((told - first).abs() < 1e-4, "{told} s of waiting, and replies tell {first}");
    // Every pass takes 2 ms, a token and a little for its context.
    for name in ["inter_token_latency_seconds", "time_per_output_token_seconds"] {
        assert_eq!(get(&format!("{name}_count")), 65.0);
        let mean = get(&format!("{name}_sum")) / 65.0;
        assert!((0.002..0.0022).contains(&mean), "{mean} s between tokens");
        assert_eq!(scrape.kind(&format!("{name}_count"), label), "histogram");
    }
    assert_eq!(get("e2e_request_latency_seconds_count"), 10.0);
    let whole = get("e2e_request_latency_seconds_sum");
    let meant = told + get("inter_token_latency_seconds_sum");
    assert!((whole - meant).abs() < 1e-4, "{whole} s of requests, {meant} of their tokens");
    let ended = |scrape: &Scrape| {
        ["stop", "length", "abort"]
            .map(|why| scrape.get("request_success_total", &format!(" finished_reason={why} model_name=toy")))
    };
    assert_eq!(ended(&scrape), [0.0, 10.0, 0.0]);
    assert_eq!(scrape.kind("request_success_total", " finished_reason=stop model_name=toy"), "counter");
    let gauges = ["num_requests_running", "num_requests_waiting", "kv_cache_usage_perc"];
    assert_eq!(gauges.map(get), [0.0; 3]);
    assert_eq!(gauges.map(|name| scrape.kind(name, label).to_owned()), ["gauge"; 3]);
    // Two that hold KV, one on each worker, of 40 and 80 of 800 blocks and what they have said since; and one that leaves.
    let long = |blocks: u64| {
        let ids: Vec<u64> = (0..blocks * 16).map(|token| 100_000 * blocks + token).collect();
        object!({"prompt": ids, "max_tokens": 2500, "stream": true}).to_string()
    };
    let mut held = Vec::new();
    for blocks in [40, 80] {
        let mut one = Call::send(address, "POST", "/v1/completions", &long(blocks)).await;
        one.wait_for("data: ").await;
        held.push(one);
    }
    let Some(scrape) = Scrape::of(address).await else { return };
    assert_eq!(gauges[..2].iter().map(|name| scrape.get(name, label)).collect::<Vec<_>>(), [2.0, 0.0]);
    let usage = scrape.get("kv_cache_usage_perc", label);
    assert!((0.15..0.5).contains(&usage), "{usage} of all blocks are held");
    assert_eq!(scrape.get("gpu_cache_usage_perc", label), usage);
    drop(held);
    for turn in 0.. {
        let Some(scrape) = Scrape::of(address).await else { return };
        if ended(&scrape)[2] > 1.5 {
            assert_eq!(gauges.map(|name| scrape.get(name, label)), [0.0; 3]);
            assert_eq!(scrape.get("request_prompt_tokens_count", label), 10.0, "who leaves has no length");
            return;
        }
        assert!(turn < 50, "who leaves is not counted");
        sleep(Duration::from_millis(20)).await;
    }
}

const TOKENS: usize = 5;
const GAP: Duration = Duration::from_millis(30);

/// A stream as vLLM's, whose last words are why it ended, how long it and its prompt were, and that it is over.
fn stream(reason: &str, prompt: u64) -> Act {
    let mut events: Vec<String> = (1..=TOKENS)
        .map(|token| {
            let reason = if token == TOKENS { format!("\"{reason}\"") } else { "null".to_owned() };
            // A text may say what it likes.
            format!("data: {{\"choices\":[{{\"index\":0,\"text\":\"\\\"usage\\\": 7 \\\"finish_reason\\\":\\\"length\\\"\",\"finish_reason\":{reason}}}],\"usage\":null}}\n\n")
        })
        .collect();
    // Neither is a token.
    let usage = format!(
        "{{\"prompt_tokens\":{prompt},\"total_tokens\":9,\"completion_tokens\":{TOKENS},\"prompt_tokens_details\":{{\"cached_tokens\":8}}}}"
    );
    events.push(format!("data: {{\"choices\":[],\"usage\": {usage}}}\n\n"));
    events.push("data: [DONE]\n\n".to_owned());
    Act::Stream(events, GAP)
}

/// The gateway counts what answers tell of themselves.
#[tokio::test]
async fn a_gateway_counts_what_answers_tell() {
    let mock = Mock::new(Act::Close).await;
    let gateway = Gateway::new(Settings { model: "a \"b\"".to_owned(), ..settings(&[&mock]) }).await;
    let address = gateway.address;
    let ask = async || call(address, "POST", "/v1/completions", "{\"prompt\":\"a\",\"stream\":true}").await;
    let began = Instant::now();
    for number in 0..6 {
        mock.tell(stream(if number < 4 { "stop" } else { "length" }, 10));
        assert_eq!(ask().await.status, 200);
    }
    let took = began.elapsed().as_secs_f64();
    // One that is no stream tells its lengths, too, and nothing of hits; when its first token came nobody knows.
    let body = "{\"choices\":[{\"text\":\"a\",\"finish_reason\": \"stop\"}],\"usage\": {\"prompt_tokens\": 40,\"completion_tokens\":3}}";
    mock.tell(json("200 OK", body));
    assert_eq!(ask().await.status, 200);
    // What fails is no success, and one that stands in the way of nobody is seen while it lasts.
    mock.tell(json("400 Bad Request", "{}"));
    assert_eq!(ask().await.status, 400);
    mock.tell(Act::Break(vec!["data: {\"choices\":[{\"finish_reason\":null}]}\n\n".to_owned()]));
    assert!(ask().await.body.contains("error"));
    mock.tell(Act::Stall(vec!["data: {\"choices\":[{\"finish_reason\":null}]}\n\n".to_owned()]));
    let mut stalled = Call::send(address, "POST", "/v1/completions", "{\"prompt\":\"a\"}").await;
    stalled.wait_for("data: ").await;
    let label = " engine=gateway model_name=a \"b\"";
    let Some(scrape) = Scrape::of(address).await else { return };
    check_edges(&scrape, 1_000_000);
    let get = |name: &str| scrape.get(name, label);
    assert_eq!([get("num_requests_running"), get("num_requests_waiting")], [1.0, 0.0]);
    drop(stalled);
    let ended = |scrape: &Scrape| {
        ["stop", "length", "abort"].map(|why| {
            scrape.get("request_success_total", &format!(" engine=gateway finished_reason={why} model_name=a \"b\""))
        })
    };
    for turn in 0.. {
        let Some(scrape) = Scrape::of(address).await else { return };
        if ended(&scrape)[2] > 0.5 {
            assert_eq!(ended(&scrape), [5.0, 2.0, 1.0]);
            assert_eq!(scrape.get("num_requests_running", label), 0.0);
            break;
        }
        assert!(turn < 50, "who leaves is not counted");
        sleep(Duration::from_millis(20)).await;
    }
    // Six streams, one that broke and one that stalled had a first token.
    assert_eq!(get("time_to_first_token_seconds_count"), 8.0);
    let first = get("time_to_first_token_seconds_sum");
    assert!(first > 6.0 * GAP.as_secs_f64() && first < took, "{first} s, {took} in all");
    let between = get("inter_token_latency_seconds_count");
    assert_eq!(between, 6.0 * (TOKENS - 1) as f64, "tokens, and nothing else");
    let sum = get("inter_token_latency_seconds_sum");
    // What a stalled machine holds back may come together.
    assert!(sum > 0.9 * between * GAP.as_secs_f64() && sum < took, "{sum} s, {took} in all");
    let whole = get("e2e_request_latency_seconds_sum");
    assert!(whole >= sum + 6.0 * GAP.as_secs_f64() && whole < took + 1.0, "{whole} s, {took} in all");
    assert_eq!(get("e2e_request_latency_seconds_count"), 7.0);
    let totals =
        ["prompt_tokens_total", "generation_tokens_total", "prefix_cache_queries_total", "prefix_cache_hits_total"];
    assert_eq!(totals.map(get), [100.0, 33.0, 60.0, 48.0]);
    assert_eq!([get("request_prompt_tokens_sum"), get("request_prompt_tokens_count")], [100.0, 7.0]);
    assert_eq!([get("request_generation_tokens_sum"), get("request_generation_tokens_count")], [33.0, 7.0]);
}
