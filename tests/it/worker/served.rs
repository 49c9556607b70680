//! Workers that compute, behind the server: real tokens over HTTP.

use super::bench::{Bench, Sequence, model};
use super::script::cluster;
use super::tiers;
use crate::emulate::raw::{Call, Response, call, post, request};
use crate::gateway::publish::replay;
use driver::emulate::candle::Loaded;
use driver::emulate::executor::{Executor, Held, Prompt, Wanted, Workers};
use driver::emulate::feed::{Feed, Ports, open};
use driver::emulate::{Settings, Stats, serve_computed};
use driver::gateway::feed::{Event, batch};
use kvcache::{CacheEvent, OpId, Piece, RequestId, Shelved, Tokens, WorkerId};
use router::Strategy;
use serde_json::{Value, json};
use sim::cluster::Cluster;
use sim::replica::{Output, Work};
use sim::transport::Move;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use worker::engine::Memory;
use worker::tensor::{DType, Device, TensorModel};

pub(super) const PAGES: u32 = 60;

/// Serves the tiny model of seed 1 while `clients` ask, and tells what became of all requests.
pub(super) async fn served<T>(workers: u16, clients: impl AsyncFnOnce(SocketAddr) -> T) -> (T, Stats) {
    let memory = Memory { block: Tokens(16), pages: PAGES };
    let computed = Loaded::tiny(1).workers(workers, memory, 1);
    served_by(cluster(workers, PAGES), computed, clients).await
}

/// The same, of a cluster and its workers.
pub(super) async fn served_by<T>(
    cluster: Cluster,
    computed: Workers,
    clients: impl AsyncFnOnce(SocketAddr) -> T,
) -> (T, Stats) {
    served_telling(cluster, computed, None, clients).await
}

/// The same; what workers hold is told to the world.
async fn served_telling<T>(
    cluster: Cluster,
    computed: Workers,
    feed: Option<Feed>,
    clients: impl AsyncFnOnce(SocketAddr) -> T,
) -> (T, Stats) {
    served_model(&Loaded::tiny(1), cluster, computed, feed, clients).await
}

/// The same of another model; it is called tiny all the same.
pub(super) async fn served_model<T>(
    loaded: &Loaded,
    cluster: Cluster,
    computed: Workers,
    feed: Option<Feed>,
    clients: impl AsyncFnOnce(SocketAddr) -> T,
) -> (T, Stats) {
    let settings = Settings {
        language: Some(Arc::new(loaded.clone())),
        chat_max_tokens: Tokens(u32::MAX),
        feed,
        ..Settings::new("tiny", Strategy::RoundRobin)
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = serve_computed(cluster, computed, settings, listener, async { drop(stopped.await) });
    let asking = async {
        let told = clients(address).await;
        drop(stop);
        told
    };
    let (stats, told) = tokio::join!(serving, asking);
    (told, stats.expect("it serves"))
}

pub(super) async fn metrics(address: SocketAddr) -> Response {
    call(address, "GET", "/metrics", "").await
}

pub(super) fn completion(prompt: &str, max_tokens: u32) -> Value {
    json!({"prompt": prompt, "max_tokens": max_tokens, "temperature": 0})
}

pub(super) fn text(response: &Response) -> String {
    assert_eq!(response.status, 200, "{}", response.body);
    response.json()["choices"][0]["text"].as_str().expect("a text").to_owned()
}

/// Two workers that die of a prompt.
fn fatal() -> Workers {
    let memory = Memory { block: Tokens(16), pages: PAGES };
    let computed = Loaded::tiny(1).workers(2, memory, 1);
    Box::new(|reports| Ok(Box::new(Fatal(computed(reports)?)) as Box<dyn Executor>))
}

/// The tokens that a worker emits that serves this prompt alone, always the most likely one.
fn greedy(prompt: &str, count: usize) -> Vec<u32> {
    greedy_behind(prompt.bytes().map(u32::from).collect(), count)
}

/// The same, of tokens.
pub(super) fn greedy_behind(tokens: Vec<u32>, count: usize) -> Vec<u32> {
    let pages = (tokens.len() + count).div_ceil(16);
    let mut bench = Bench::new(&model(), 16, pages, 1);
    let mut sequence = Sequence::new(tokens, 0..pages as u32);
    let length = sequence.tokens.len();
    for _ in 0..count {
        let left = sequence.tokens.len() - sequence.computed;
        let scores = bench.pass(&mut [(&mut sequence, left)]);
        let best = scores[0].iter().map(|bits| f32::from_bits(*bits)).enumerate();
        let best = best.max_by(|(i, a), (j, b)| a.total_cmp(b).then(j.cmp(i))).expect("a vocabulary");
        sequence.tokens.push(best.0 as u32);
    }
    sequence.tokens.split_off(length)
}

/// The text of bytes, as far as there is one; the end of a text ends it.
pub(super) fn spoken(tokens: &[u32]) -> String {
    let bytes: Vec<u8> = tokens.iter().map_while(|token| u8::try_from(*token).ok()).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The text of a stream of completions, and why it ended.
fn streamed(response: &Response) -> (String, Value) {
    let (mut all, mut finish) = (String::new(), Value::Null);
    let events = response.events();
    for event in events.iter().filter(|event| *event != "[DONE]") {
        let mut event: Value = serde_json::from_str(event).expect("JSON");
        all.push_str(event["choices"][0]["text"].as_str().expect("a text"));
        assert!(finish.is_null(), "nothing follows the end");
        finish = event["choices"][0]["finish_reason"].take();
    }
    assert_eq!(events.last().map(String::as_str), Some("[DONE]"));
    (all, finish)
}

const PROMPT: &str =
    "Keys and values of this text are computed once, rounded once, and found again by whoever begins alike.";

#[tokio::test]
async fn replies_are_computed_and_prefixes_are_found_again() {
    let expected = spoken(&greedy(PROMPT, 24));
    let (replies, stats) = served(1, async |address| {
        let cold = post(address, "/v1/completions", &completion(PROMPT, 24)).await;
        let warm = post(address, "/v1/completions", &completion(PROMPT, 24)).await;
        let mut ask = completion(PROMPT, 24);
        ask["stream"] = json!(true);
        let stream = post(address, "/v1/completions", &ask).await;
        (cold, warm, stream)
    })
    .await;
    let (cold, warm, stream) = replies;
    assert_eq!(text(&cold), expected);
    assert_eq!(text(&warm), expected);
    assert_eq!(streamed(&stream), (expected, json!("length")));
    assert_eq!(cold.header("x-podlab-cached-tokens"), Some("0"));
    let full = (PROMPT.len() - 1) / 16 * 16;
    assert_eq!(warm.header("x-podlab-cached-tokens"), Some(full.to_string().as_str()));
    assert_eq!(warm.json()["usage"]["prompt_tokens"], json!(PROMPT.len()));
    assert_eq!((stats.completed, stats.left, stats.output_tokens), (3, 0, 72));
}

#[tokio::test]
async fn a_stop_ends_a_reply_and_is_not_part_of_it() {
    let tokens = greedy(PROMPT, 24);
    let whole = spoken(&tokens);
    // A text of two characters from its middle, where it first appears.
    let middle: Vec<char> = whole.chars().skip(6).take(2).collect();
    let stop: String = middle.into_iter().collect();
    let expected = whole.split(&stop).next().expect("the text before").to_owned();
    let (replies, stats) = served(1, async |address| {
        let mut ask = completion(PROMPT, 24);
        ask["stop"] = json!(["never said", stop]);
        let whole = post(address, "/v1/completions", &ask).await;
        ask["stream"] = json!(true);
        (whole, post(address, "/v1/completions", &ask).await)
    })
    .await;
    assert_eq!(text(&replies.0), expected);
    assert_eq!(replies.0.json()["choices"][0]["finish_reason"], json!("stop"));
    assert_eq!(replies.0.json()["choices"][0]["stop_reason"], json!(stop));
    assert_eq!(streamed(&replies.1), (expected, json!("stop")));
    assert_eq!((stats.completed, stats.left), (2, 0));
}

#[tokio::test]
async fn a_seed_decides_what_is_drawn() {
    let (texts, _) = served(2, async |address| {
        let mut texts = Vec::new();
        for seed in [7, 7, 8] {
            let ask = json!({"prompt": PROMPT, "max_tokens": 24, "temperature": 1.5, "top_p": 0.9, "seed": seed});
            texts.push(text(&post(address, "/v1/completions", &ask).await));
        }
        texts
    })
    .await;
    assert_eq!(texts[0], texts[1]);
    assert_ne!(texts[0], texts[2]);
}

#[tokio::test]
async fn many_at_once_get_what_each_alone_would() {
    let prompts: Vec<String> = (0..12).map(|at| format!("{}{}", &PROMPT[..at * 8], "ab".repeat(at + 1))).collect();
    let (replies, stats) = served(2, async |address| {
        let asks: Vec<_> = prompts
            .iter()
            .map(|prompt| {
                let body = completion(prompt, 16);
                tokio::spawn(async move { post(address, "/v1/completions", &body).await })
            })
            .collect();
        let mut replies = Vec::new();
        for ask in asks {
            replies.push(text(&ask.await.expect("it is answered")));
        }
        replies
    })
    .await;
    for (prompt, reply) in prompts.iter().zip(&replies) {
        assert_eq!(*reply, spoken(&greedy(prompt, 16)), "{prompt:?}");
    }
    assert_eq!((stats.completed, stats.left), (12, 0));
}

#[tokio::test]
async fn who_goes_away_is_computed_no_further() {
    let (ended, stats) = served(1, async |address| {
        let mut ask = completion(PROMPT, 250);
        ask["stream"] = json!(true);
        let body = ask.to_string();
        let mut call = Call::open(address, request("POST", "/v1/completions", "", &body).as_bytes()).await;
        call.wait_for("data: ").await;
        drop(call);
        // Whoever comes next is alone: the worker has one pass of the other's to end at most.
        let began = Instant::now();
        let next = post(address, "/v1/completions", &completion("next", 1)).await;
        assert_eq!(next.status, 200);
        began.elapsed()
    })
    .await;
    assert!(ended < Duration::from_secs(5), "{ended:?}");
    assert_eq!((stats.completed, stats.stopped, stats.left), (1, 1, 0));
    assert!(stats.output_tokens < 250, "{} tokens were computed for nobody", stats.output_tokens);
}

/// `/tokenize`, as vLLM has it: what a gateway asks to find a prompt's blocks.
#[tokio::test]
async fn prompts_are_tokenised_as_they_are_computed() {
    let ((prompt, chat, odd), _) = served(1, async |address| {
        let ask = async |body| post(address, "/tokenize", &body).await;
        let chat = json!({"messages": [{"role": "user", "content": "hi"}]});
        (ask(json!({"prompt": "abc"})).await, ask(chat).await, ask(json!({"prompt": ["a", "b"]})).await)
    })
    .await;
    assert_eq!(prompt.json()["tokens"], json!([97, 98, 99]));
    assert_eq!(prompt.json()["count"], 3);
    assert!(chat.json()["count"].as_u64() > Some(2), "{}", chat.body);
    assert_eq!(odd.status, 400);
}

#[tokio::test]
async fn tokens_beyond_the_vocabulary_are_refused() {
    let (response, _) = served(1, async |address| {
        post(address, "/v1/completions", &json!({"prompt": [1, 2, 257], "max_tokens": 1})).await
    })
    .await;
    assert_eq!(response.status, 400);
    assert!(response.body.contains("vocabulary"), "{}", response.body);
}

#[tokio::test]
async fn a_prompt_that_one_worker_computed_the_other_loads_and_says_so() {
    let memory = Memory { block: Tokens(16), pages: tiers::ROOMY.pages };
    let computed = Loaded::tiny(1).workers(2, memory, 1);
    let ((cold, warm, metrics), stats) = served_by(tiers::cluster(2, tiers::ROOMY), computed, async |address| {
        let cold = post(address, "/v1/completions", &completion(PROMPT, 24)).await;
        let warm = post(address, "/v1/completions", &completion(PROMPT, 24)).await;
        (cold, warm, metrics(address).await)
    })
    .await;
    assert_eq!(text(&cold), spoken(&greedy(PROMPT, 24)));
    assert_eq!(text(&warm), text(&cold));
    let told = &warm.json()["usage"];
    let expected = PROMPT.len() as u64 - 1;
    assert_eq!(told["prompt_tokens_details"]["cached_tokens"], json!(expected), "{told}");
    let by_tier =
        ["cached_l0_tokens", "cached_l1_tokens", "cached_l2_tokens"].map(|tier| told["podlab"][tier].as_u64());
    assert_eq!(by_tier, [Some(0), Some(0), Some(expected)], "{told}");
    let gauge = |name: &str| {
        let line = metrics.body.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("no {name}"));
        line.rsplit(' ').next().and_then(|value| value.parse::<u64>().ok()).expect("a number")
    };
    let blocks = PROMPT.len().div_ceil(16) as u64 * (16 * 1024 + worker::block::HEADER as u64);
    assert_eq!(gauge("podlab:kv_bytes{model_name=\"tiny\",tier=\"l2\"}"), blocks);
    assert_eq!(gauge("podlab:kv_bytes{model_name=\"tiny\",tier=\"l1\"}"), 2 * blocks, "both workers have it in L1");
    assert!(gauge("podlab:kv_bytes{model_name=\"tiny\",tier=\"l0\"}") > 0);
    assert!(gauge("process_resident_memory_bytes") > blocks);
    assert_eq!(gauge("podlab:output_tokens_total"), 48);
    assert_eq!((stats.completed, stats.left), (2, 0));
}

/// Workers of which one is told a token that there is not: its thread panics.
#[derive(Debug)]
struct Fatal(Box<dyn Executor>);

impl Executor for Fatal {
    fn submit(&mut self, worker: WorkerId, request: RequestId, mut prompt: Prompt, pieces: Vec<Piece>) {
        if prompt.tokens.starts_with(b"fatal".map(u32::from).as_slice()) {
            prompt.tokens[1] = 1 << 20;
        }
        self.0.submit(worker, request, prompt, pieces);
    }

    fn name(&mut self, worker: WorkerId, request: RequestId, pieces: Vec<Piece>) {
        self.0.name(worker, request, pieces);
    }

    fn cache(&mut self, worker: WorkerId, told: Vec<CacheEvent>) {
        self.0.cache(worker, told);
    }

    fn output(&mut self, worker: WorkerId, output: Output) {
        self.0.output(worker, output);
    }

    fn run(&mut self, worker: WorkerId, work: Work) {
        self.0.run(worker, work);
    }

    fn carry(&mut self, asked: Move, until: Option<tokio::time::Instant>) {
        self.0.carry(asked, until);
    }

    fn answered(&mut self, worker: WorkerId, op: OpId) -> Wanted {
        self.0.answered(worker, op)
    }

    fn left(&mut self, worker: WorkerId, op: OpId) {
        self.0.left(worker, op);
    }

    fn moved(&mut self, worker: WorkerId, op: OpId) {
        self.0.moved(worker, op);
    }

    fn shelved(&mut self, worker: Option<WorkerId>, told: &[Shelved]) {
        self.0.shelved(worker, told);
    }

    fn take_back(&mut self, worker: WorkerId, request: RequestId) {
        self.0.take_back(worker, request);
    }

    fn let_go(&mut self, worker: WorkerId, request: RequestId) {
        self.0.let_go(worker, request);
    }

    fn held(&self) -> Held {
        self.0.held()
    }
}

#[tokio::test]
async fn a_worker_that_panics_fails_its_requests_and_gets_no_more() {
    let (replies, stats) = served_by(cluster(2, PAGES), fatal(), async |address| {
        let body = completion("fatal", 4);
        let died = tokio::time::timeout(Duration::from_secs(20), post(address, "/v1/completions", &body));
        let died = died.await.expect("nobody waits for ever");
        let mut others = Vec::new();
        for _ in 0..4 {
            others.push(post(address, "/v1/completions", &completion(PROMPT, 4)).await);
        }
        (died, others)
    })
    .await;
    let (died, others) = replies;
    assert_eq!(died.status, 500);
    assert!(died.body.contains("has died"), "{}", died.body);
    assert_eq!(died.json()["error"]["type"], "InternalServerError");
    let worker = |response: &Response| response.header("x-podlab-worker").map(str::to_owned);
    for other in &others {
        assert_eq!(text(other), spoken(&greedy(PROMPT, 4)));
        assert_eq!(worker(other), worker(&others[0]), "the other worker serves them all");
    }
    assert_eq!((stats.completed, stats.refused, stats.left), (4, 1, 0));
}

/// What is told of a cache are the model's own tokens, and that all of it went with its process.
#[tokio::test]
async fn the_world_hears_which_tokens_workers_hold() {
    let ports = Ports { events: 0, replay: Some(0) };
    let feed = open(Ipv4Addr::LOCALHOST.into(), ports, 2, Tokens(16)).await.expect("free ports");
    let mut told = Vec::new();
    served_telling(cluster(2, PAGES), fatal(), Some(feed.clone()), async |address| {
        for expected in [200, 200, 500] {
            let prompt = if expected == 500 { "fatal" } else { PROMPT };
            let body = completion(prompt, 40);
            assert_eq!(post(address, "/v1/completions", &body).await.status, expected);
        }
        for (_, at) in feed.places() {
            let batches = replay(at.expect("it tells again"), 0).await;
            let events = batches.iter().flat_map(|(_, payload)| batch(payload).expect("a batch"));
            told.push(events.collect::<Vec<Event>>());
        }
    })
    .await;
    let mut ids: Vec<u32> = PROMPT.bytes().map(u32::from).collect();
    // The last token that was said was never computed.
    ids.extend(&greedy(PROMPT, 40)[..39]);
    for told in &told {
        let Event::Stored { tokens, parent: None, .. } = &told[0] else { panic!("{told:?}") };
        let stored: Vec<u32> = told
            .iter()
            .flat_map(|event| match event {
                Event::Stored { tokens, .. } => tokens.as_slice(),
                _ => &[],
            })
            .copied()
            .collect();
        assert!(!tokens.is_empty());
        assert_eq!(stored, ids[..ids.len() / 16 * 16], "whole blocks of the prompt and of the reply");
    }
    let ends: Vec<bool> = told.iter().map(|told| told.last() == Some(&Event::Cleared)).collect();
    assert_eq!(ends.iter().filter(|cleared| **cleared).count(), 1, "{told:?}");
}

#[tokio::test]
async fn a_disconnect_ends_work_within_a_tenth_of_a_second() {
    let (mut spans, _) = served(1, async |address| {
        let mut spans = Vec::new();
        for round in 0..40 {
            let mut ask = completion(&format!("{round} {PROMPT}"), 200);
            ask["stream"] = json!(true);
            let body = ask.to_string();
            let mut call = Call::open(address, request("POST", "/v1/completions", "", &body).as_bytes()).await;
            call.wait_for("data: ").await;
            drop(call);
            let began = Instant::now();
            while !metrics(address).await.body.contains("podlab:requests_in_flight{model_name=\"tiny\"} 0") {
                assert!(began.elapsed() < Duration::from_secs(10), "it is computed for nobody");
            }
            spans.push(began.elapsed());
        }
        spans
    })
    .await;
    spans.sort_unstable();
    println!("from disconnect to the end of work: median {:?}, longest of 40 {:?}", spans[20], spans[39]);
    assert!(spans[39] < Duration::from_millis(100), "{spans:?}");
}

/// The path that a GPU takes, behind the server: what one worker computed another loads, aside from its passes.
#[tokio::test]
async fn workers_on_a_device_serve_and_hand_blocks_on() {
    let memory = Memory { block: Tokens(16), pages: tiers::ROOMY.pages };
    let model = TensorModel::new(&model(), &Device::Cpu, DType::F32).expect("there is memory");
    let computed = Loaded::tiny(1).workers_on(&Arc::new(model), 2, memory, None);
    let (replies, stats) = served_by(tiers::cluster(2, tiers::ROOMY), computed, async |address| {
        let mut replies = Vec::new();
        for _ in 0..4 {
            replies.push(post(address, "/v1/completions", &completion(PROMPT, 12)).await);
        }
        replies
    })
    .await;
    let found = |reply: &Response| {
        let usage = reply.json()["usage"]["podlab"].clone();
        ["cached_l0_tokens", "cached_l1_tokens", "cached_l2_tokens"].map(|tier| usage[tier].as_u64())
    };
    let all = PROMPT.len() as u64 - 1;
    assert_eq!(found(&replies[1]), [Some(0), Some(0), Some(all)], "the other worker's, from L2");
    assert!(replies.iter().all(|reply| text(reply) == text(&replies[0])));
    assert_eq!((stats.completed, stats.left), (4, 0));
}
