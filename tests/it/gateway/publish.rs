//! What podlab's own workers say of their caches, on vLLM's wire: whoever listens knows what they hold.

use super::world::Gateway;
use crate::emulate::raw::{Response, call};
use crate::emulate::world::World;
use driver::emulate::clock::TimeScale;
use driver::emulate::feed::{Feed, Ports, open};
use driver::emulate::{Emulator, Settings as Served};
use driver::gateway::feed::{Event, Name, Place, batch};
use driver::gateway::{self, Settings};
use kvcache::{Blocks, Tokens, WorkerId};
use router::{RouterConfig, Strategy};
use serde_json::{Value, json};
use sim::streams::{Stream, Streams};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::time::{sleep, timeout};
use zeromq::{DealerSocket, Socket, SocketRecv, SocketSend, SubSocket, ZmqMessage};

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const FREE: Ports = Ports { events: 0, replay: Some(0) };

/// `podlab serve --publish-kv-events`, in this process.
struct Publishing {
    server: Emulator,
    feed: Feed,
}

impl Publishing {
    async fn new(world: World) -> Self {
        Self::at(world, FREE).await
    }

    async fn at(world: World, ports: Ports) -> Self {
        let feed = open(LOOPBACK, ports, world.workers, Tokens(16)).await.expect("free ports");
        let settings = Served {
            feed: Some(feed.clone()),
            time_scale: TimeScale::try_from(50.0).expect("valid"),
            ..world.settings()
        };
        Self { server: world.serve(settings), feed }
    }

    /// One engine with room for so many blocks, behind a router that listens to nobody.
    async fn engine(capacity: u32) -> Self {
        let world = World::new(1, Strategy::RoundRobin);
        Self::new(World { capacity: Blocks(capacity), max_model_len: Tokens(capacity * 16), ..world }).await
    }

    fn place(&self) -> Place {
        let (events, replay) = self.feed.places()[0];
        Place { events: format!("tcp://{events}"), replay: replay.map(|at| format!("tcp://{at}")) }
    }

    fn batches(&self) -> u64 {
        self.feed.batches(WorkerId(0))
    }
}

/// podlab's gateway before these, by what they say.
async fn before(workers: &[&Publishing]) -> Gateway {
    let origin = |one: &&Publishing| gateway::worker(&format!("http://{}", one.server.address())).expect("on loopback");
    let count = u16::try_from(workers.len()).expect("few");
    let router = RouterConfig { block: Tokens(16), ..RouterConfig::new(Strategy::KvAwarePlus, count) };
    let mut settings = Settings::new(workers.iter().map(origin).collect(), router);
    settings.feeds = workers.iter().map(|one| one.place()).collect();
    Gateway::new(settings).await
}

async fn ask(address: SocketAddr, ids: &[u32], max_tokens: u64) -> Response {
    let got =
        call(address, "POST", "/v1/completions", &json!({"prompt": ids, "max_tokens": max_tokens}).to_string()).await;
    assert_eq!(got.status, 200, "{}", got.body);
    got
}

/// Tokens that the worker found, by its own account in the reply.
fn found(got: &Response) -> u64 {
    got.json()["usage"]["prompt_tokens_details"]["cached_tokens"].as_u64().expect("always told")
}

/// Tokens that the gateway believed to be there.
fn believed(got: &Response) -> u64 {
    got.header("x-podlab-matched-tokens").and_then(|text| text.parse().ok()).expect("it looked")
}

/// What a gateway counted of the stream of its worker `worker`.
async fn counted(gateway: SocketAddr, worker: usize, what: &str) -> u64 {
    let metrics = call(gateway, "GET", "/metrics", "").await.body;
    let name = format!("podlab:gateway_kv_events_total{{worker=\"{worker}\",what=\"{what}\"}} ");
    metrics.lines().find_map(|line| line.strip_prefix(&name)).and_then(|text| text.parse().ok()).expect("it is counted")
}

/// Waits until a gateway has heard all that its workers have told.
async fn settled(gateway: SocketAddr, workers: &[&Publishing]) {
    for (worker, publishing) in workers.iter().enumerate() {
        for turn in 0_u32.. {
            let heard = counted(gateway, worker, "batches").await;
            if heard == publishing.batches() {
                break;
            }
            assert!(turn < 2000, "worker {worker} told {} batches, and {heard} were heard", publishing.batches());
            sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Asks workers for prompts that nobody else has until a gateway hears of it: a subscription takes a moment.
async fn joined(gateway: SocketAddr, workers: &[&Publishing]) {
    for (worker, publishing) in workers.iter().enumerate() {
        for turn in 0..1000 {
            if counted(gateway, worker, "batches").await > 0 {
                break;
            }
            assert!(turn < 999, "nobody subscribes to worker {worker}");
            ask(publishing.server.address(), &[1_000_000 + turn; 17], 1).await;
            sleep(Duration::from_millis(10)).await;
        }
    }
    settled(gateway, workers).await;
}

/// A prompt that shares a random part of its beginning with others, and does not end with a block: the last token of a prompt is
/// always computed, and its block with it.
fn prompt(draws: &mut Stream) -> Vec<u32> {
    let blocks = 1 + draws.below(12);
    let mut ids: Vec<u32> = (0..blocks).flat_map(|_| [draws.below(3) as u32; 16]).collect();
    ids.push(7);
    ids
}

/// Hundreds of requests on two small engines: before each, what the gateway believes of the one it goes to is what that one finds.
/// A gateway that comes late is told again all that it has missed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gateways_believe_what_caches_hold() {
    let mut draws = Streams::new(3).named("prompts");
    let workers = [Publishing::engine(40).await, Publishing::engine(40).await];
    let both = [&workers[0], &workers[1]];
    for _ in 0..40 {
        let at = both[draws.below(2) as usize].server.address();
        ask(at, &prompt(&mut draws), 1 + draws.below(30)).await;
    }
    // One that chooses, and one before each, so that each is asked for what it does not hold.
    let sets: [&[&Publishing]; 3] = [&both, &both[..1], &both[1..]];
    let gateways = [before(sets[0]).await, before(sets[1]).await, before(sets[2]).await];
    for (gateway, set) in gateways.iter().zip(sets) {
        joined(gateway.address, set).await;
        assert!(counted(gateway.address, 0, "gaps").await > 0, "it came late");
    }
    let (mut hits, mut partial) = (0, 0);
    for _ in 0..300 {
        let which = draws.below(3) as usize;
        let (address, ids) = (gateways[which].address, prompt(&mut draws));
        settled(address, sets[which]).await;
        let got = ask(address, &ids, 1 + draws.below(30)).await;
        assert_eq!(believed(&got), found(&got), "{ids:?}\n{}", got.head);
        hits += u32::from(found(&got) > 0);
        partial += u32::from(found(&got) > 0 && found(&got) + 1 < ids.len() as u64);
    }
    assert!(hits > 100 && partial > 30, "{hits} hits, {partial} of a part: too few to tell anything");
    for (gateway, set) in gateways.iter().zip(sets) {
        for worker in 0..set.len() {
            for what in ["orphaned_blocks", "other_blocks", "blocks_of_another_size", "malformed_batches", "restarts"] {
                assert_eq!(counted(gateway.address, worker, what).await, 0, "{what} of worker {worker}");
            }
        }
    }
    let removed: usize = replayed(&workers[0]).await.iter().flat_map(|(_, events)| events).filter(is_removal).count();
    assert!(removed > 100, "{removed} evictions");
}

fn is_removal(event: &&Event) -> bool {
    matches!(event, Event::Removed { .. })
}

/// All that a worker tells again.
async fn replayed(worker: &Publishing) -> Vec<(u64, Vec<Event>)> {
    asked_again(worker, 0).await.into_iter().map(|(number, bytes)| (number, batch(&bytes).expect("a batch"))).collect()
}

async fn asked_again(worker: &Publishing, from: u64) -> Vec<(u64, Vec<u8>)> {
    replay(worker.feed.places()[0].1.expect("it tells again"), from).await
}

/// Batches from a number on, asked for as vLLM's clients do.
pub(crate) async fn replay(at: SocketAddr, from: u64) -> Vec<(u64, Vec<u8>)> {
    let mut socket = DealerSocket::new();
    socket.connect(&format!("tcp://{at}")).await.expect("it listens");
    let mut asked = ZmqMessage::from("");
    asked.push_back(from.to_be_bytes().to_vec().into());
    socket.send(asked).await.expect("it takes it");
    let mut told = Vec::new();
    loop {
        let answer = timeout(Duration::from_secs(10), socket.recv()).await.expect("in time").expect("an answer");
        let frames: Vec<&[u8]> = (0..answer.len()).filter_map(|at| answer.get(at)).map(AsRef::as_ref).collect();
        let [empty, number, payload] = frames.as_slice() else { panic!("{} frames", frames.len()) };
        assert!(empty.is_empty());
        let number = i64::from_be_bytes((*number).try_into().expect("8 bytes"));
        if number == -1 {
            assert!(payload.is_empty());
            return told;
        }
        told.push((number.cast_unsigned(), payload.to_vec()));
    }
}

/// Three frames, numbers from 0, and in each batch what vLLM writes there, in the layout that vllm-router reads.
#[tokio::test]
async fn batches_are_vllms() {
    let worker = Publishing::engine(40).await;
    let mut socket = SubSocket::new();
    socket.connect(&worker.place().events).await.expect("it listens");
    socket.subscribe("").await.expect("connected");
    let address = worker.server.address();
    let ids: Vec<u32> = (100..150).collect();
    ask(address, &ids, 20).await;
    ask(address, &ids[..40], 1).await; // nothing new but what nobody can find
    ask(address, &(0..639).collect::<Vec<u32>>(), 1).await; // all others go
    let told = asked_again(&worker, 0).await;
    let value = |payload: &[u8]| rmpv::decode::read_value(&mut &payload[..]).expect("MessagePack");
    let first = value(&told[0].1);
    let fields = first.as_array().expect("a list");
    assert!(fields[0].as_f64().is_some_and(|seconds| seconds > 1.7e9), "{first}");
    assert_eq!(fields[2].as_u64(), Some(0), "its rank");
    let event = fields[1][0].as_map().expect("a map");
    let names: Vec<&str> = event.iter().filter_map(|(name, _)| name.as_str()).collect();
    let all =
        ["type", "block_hashes", "parent_block_hash", "token_ids", "block_size", "lora_id", "medium", "lora_name"];
    assert_eq!(names, all);
    assert_eq!((event[6].1.as_str(), event[4].1.as_u64()), (Some("GPU"), Some(16)));
    let events: Vec<Event> = told.iter().flat_map(|(_, payload)| batch(payload).expect("a batch")).collect();
    let Event::Stored { names, parent: None, tokens, block: 16, is_plain: true, on_device: true } = &events[0] else {
        panic!("{events:?}");
    };
    assert_eq!((names.len(), tokens.as_slice()), (3, &ids[..48]), "whole blocks of the prompt, and none of the reply");
    let gone: Vec<&Name> = events
        .iter()
        .flat_map(|event| match event {
            Event::Removed { names, on_device: true } => names.as_slice(),
            _ => &[],
        })
        .collect();
    assert_eq!(gone.len(), 3, "{events:?}");
    assert!(names.iter().all(|name| gone.contains(&name)));
    assert_eq!(told.iter().map(|(number, _)| *number).collect::<Vec<_>>(), (0..told.len() as u64).collect::<Vec<_>>());
    assert_eq!(told.len() as u64, worker.batches());
    assert_eq!(asked_again(&worker, 1).await, told[1..], "from a number on");
    assert_eq!(asked_again(&worker, 1_000).await, [], "from what has not been told");
    // What came over the stream itself is the same.
    for turn in 0..1_000 {
        ask(address, &[2_000 + turn; 17], 1).await;
        let Ok(message) = timeout(Duration::from_millis(20), socket.recv()).await else { continue };
        let message = message.expect("a message");
        let frames: Vec<&[u8]> = (0..message.len()).filter_map(|at| message.get(at)).map(AsRef::as_ref).collect();
        let number = u64::from_be_bytes(frames[1].try_into().expect("8 bytes"));
        let again = asked_again(&worker, number).await;
        assert_eq!((frames.len(), frames[0].len(), frames[2]), (3, 0, again[0].1.as_slice()));
        return;
    }
    panic!("nothing came");
}

/// Prompts with a salt share with nobody, and nobody is told of them.
#[tokio::test]
async fn salted_prompts_are_nobody_elses() {
    let worker = Publishing::engine(40).await;
    let ids: Vec<u32> = (0..50).collect();
    let salted = json!({"prompt": ids, "max_tokens": 1, "cache_salt": "mine"}).to_string();
    for expected in [0, 48] {
        let got = call(worker.server.address(), "POST", "/v1/completions", &salted).await;
        assert_eq!(found(&got), expected);
    }
    assert_eq!(worker.batches(), 0);
    assert_eq!(found(&ask(worker.server.address(), &ids, 1).await), 0);
    assert_eq!(worker.batches(), 1);
}

/// Another process on the same ports holds nothing, whatever the one before has told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_process_is_another_cache() {
    let worker = Publishing::engine(40).await;
    let (events, replay) = worker.feed.places()[0];
    let ports = Ports { events: events.port(), replay: replay.map(|at| at.port()) };
    let gateway = before(&[&worker]).await;
    joined(gateway.address, &[&worker]).await;
    let ids: Vec<u32> = (0..50).collect();
    ask(gateway.address, &ids, 1).await;
    settled(gateway.address, &[&worker]).await;
    assert_eq!(believed(&ask(gateway.address, &ids, 1).await), 48);
    let Publishing { server, feed } = worker;
    drop(feed);
    tokio::task::spawn_blocking(|| server.stop()).await.expect("it does not panic").expect("it served");
    let world = World { capacity: Blocks(40), max_model_len: Tokens(640), ..World::new(1, Strategy::RoundRobin) };
    let feed = loop {
        // The sockets of the one before are closed when its tasks hear of it.
        match open(LOOPBACK, ports, 1, Tokens(16)).await {
            Ok(feed) => break feed,
            Err(_) => sleep(Duration::from_millis(20)).await,
        }
    };
    let settings = Served { feed: Some(feed.clone()), ..world.settings() };
    let after = Publishing { server: world.serve(settings), feed };
    let restarts = counted(gateway.address, 0, "restarts").await;
    for turn in 0..1_000 {
        ask(after.server.address(), &[5_000 + turn; 17], 1).await;
        if counted(gateway.address, 0, "restarts").await > restarts {
            break;
        }
        assert!(turn < 999, "nobody noticed");
        sleep(Duration::from_millis(10)).await;
    }
    // Where it is now is no matter of the stream: a gateway that looks there sees what it believes.
    let fresh = before(&[&after]).await;
    joined(fresh.address, &[&after]).await;
    assert_eq!(believed(&ask(fresh.address, &ids, 1).await), 0);
}

/// Wrong ports have one clear error each.
#[tokio::test]
async fn ports_that_cannot_be_had_are_told() {
    let wrong = async |ports: Ports, workers: u16| match open(LOOPBACK, ports, workers, Tokens(16)).await {
        Ok(feed) => panic!("{feed:?}"),
        Err(error) => error.to_string(),
    };
    let taken = std::net::TcpListener::bind((LOOPBACK, 0)).expect("a free port");
    let port = taken.local_addr().expect("bound").port();
    let said = wrong(Ports { events: port, replay: None }, 1).await;
    assert!(said.starts_with(&format!("publish KV events on 127.0.0.1:{port}: ")), "{said}");
    let said = wrong(Ports { events: 65_535, replay: None }, 2).await;
    assert_eq!(said, "publish KV events: 2 workers take ports 65535 to 65536, and the last there is is 65535");
    let said = wrong(Ports { events: 5557, replay: Some(5558) }, 2).await;
    assert!(said.contains("5557 and 5558 are not so far apart"), "{said}");
    assert!(wrong(Ports { events: 5557, replay: Some(5557) }, 1).await.contains("not so far apart"));
}

/// Several workers are told apart as vLLM's data-parallel ranks are: each has the next port, and its rank in its batches.
#[tokio::test]
async fn workers_are_ranks() {
    let workers = Publishing::new(World::new(2, Strategy::RoundRobin)).await;
    for round in 0..2 {
        ask(workers.server.address(), &[round; 17], 1).await;
    }
    for (rank, (_, at)) in (0_u64..).zip(workers.feed.places()) {
        let told = replay(at.expect("it tells again"), 0).await;
        let batch = rmpv::decode::read_value(&mut told[0].1.as_slice()).expect("MessagePack");
        assert_eq!(batch[2].as_u64(), Some(rank));
    }
}

/// A text's tokens are those that `render` and `/tokenize` tell, and those that its blocks are told by.
#[tokio::test]
async fn rendered_tokens_are_those_that_are_told() {
    let worker = Publishing::engine(60).await;
    let address = worker.server.address();
    let text = "Keys and values of this text are computed once, and found again by whoever begins alike. ".repeat(3);
    let chat = json!([{"role": "user", "content": text}]);
    let post = async |path: &str, body: &Value| -> Value {
        let got = call(address, "POST", path, &body.to_string()).await;
        assert_eq!(got.status, 200, "{path}: {}", got.body);
        got.json()
    };
    let cases = [
        ("/v1/completions", json!({"prompt": text, "max_tokens": 1})),
        ("/v1/chat/completions", json!({"messages": chat, "max_tokens": 1})),
    ];
    for (number, (path, body)) in cases.iter().enumerate() {
        let rendered = post(&format!("{path}/render"), body).await;
        let rendered = if number == 0 { rendered[0].clone() } else { rendered };
        let ids: Vec<u32> = serde_json::from_value(rendered["token_ids"].clone()).expect("ids");
        assert_eq!(rendered["sampling_params"]["max_tokens"], 1);
        assert_eq!(post("/tokenize", body).await["tokens"], rendered["token_ids"]);
        assert_eq!(post(path, body).await["usage"]["prompt_tokens"], ids.len());
        let told = replayed(&worker).await;
        let Some(Event::Stored { tokens, .. }) = told[number].1.first() else { panic!("{told:?}") };
        assert_eq!(*tokens, ids[..ids.len() / 16 * 16]);
        // Text and ids are one prompt.
        assert_eq!(found(&ask(address, &ids, 1).await), (ids.len() as u64 - 1) / 16 * 16);
    }
    let two = post("/v1/completions/render", &json!({"prompt": [[1, 2], [3]]})).await;
    assert_eq!((&two[0]["token_ids"], &two[1]["token_ids"]), (&json!([1, 2]), &json!([3])));
    for (path, body, status) in [
        ("/v1/completions/render", "{\"prompt\":\"\"}", 400),
        ("/v1/completions/render", "{\"prompt\":[-1]}", 400),
        ("/v1/completions/render", "{}", 400),
        ("/v1/completions/render", "{\"prompt\":\"a\",\"model\":\"other\"}", 404),
        ("/v1/completions/render", "{\"prompt\":\"a\",\"max_tokens\":100000}", 400),
        ("/v1/chat/completions/render", "{\"messages\":[]}", 400),
        ("/v1/chat/completions/render", "{\"prompt\":\"a\"}", 400),
    ] {
        let got = call(address, "POST", path, body).await;
        assert_eq!(got.status, status, "{body}: {}", got.body);
        assert!(got.json()["error"]["message"].is_string());
    }
}
