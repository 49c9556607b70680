//! Goal R11: what no client and no worker should send. Requests over real sockets are answered, or refused with a clean 4xx, within
//! a second; batches of KV events are read or refused, and leave whoever follows them in order. `PODLAB_FUZZ` is how many inputs.

use super::feed::{packed, removed, stored};
use super::world::{Act, Gateway, Mock, events, settings};
use crate::emulate::world::World;
use crate::router::Chance;
use driver::emulate::Settings as Emulated;
use driver::emulate::clock::TimeScale;
use driver::gateway::feed::{Follower, Heard};
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use kvcache::{Time, Tokens, WorkerId};
use rmpv::Value;
use router::{Router, RouterConfig, Signal, Strategy};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

fn inputs(otherwise: u64) -> u64 {
    let named = std::env::var("PODLAB_FUZZ").ok();
    named.map_or(otherwise, |count| count.parse().expect("PODLAB_FUZZ is a number of inputs"))
}

/// Bodies that mean something, with every field that is read.
const BODIES: [&str; 9] = [
    r#"{"model":"toy","prompt":"once upon a time","max_tokens":4}"#,
    r#"{"model":"toy","prompt":[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17],"max_tokens":2,"stream":true}"#,
    r#"{"prompt":["a","b"],"n":2,"max_tokens":3,"stream":true,"stream_options":{"include_usage":true}}"#,
    r#"{"prompt":[[1,2],[3]],"max_tokens":1,"temperature":0.5,"top_p":0.9,"seed":7,"stop":["x","y"]}"#,
    r#"{"messages":[{"role":"system","content":"be brief"},{"role":"user","content":"why?"}],"max_completion_tokens":5}"#,
    r#"{"messages":[{"role":"user","content":[{"type":"text","text":"hi"}]}],"stream":true,"max_tokens":2}"#,
    r#"{"messages":[{"role":"user","content":"\ud83d\ude00 caf\u00e9"}],"cache_salt":"tenant-a","user_id":"u1"}"#,
    r#"{"messages":[{"role":"assistant","content":null,"tool_calls":[]},{"role":"user","content":""}],"logprobs":false}"#,
    r#"{"prompt":"x","echo":false,"best_of":1,"logit_bias":{},"presence_penalty":0,"frequency_penalty":0,"user":"u"}"#,
];

/// Pieces that mean something to JSON, to these fields, or to nobody.
const PIECES: [&str; 40] = [
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    "\\",
    "\\u",
    "\\ud800",
    "\\u0000",
    "null",
    "true",
    "false",
    "-1",
    "0",
    "1e999",
    "-0.0",
    "18446744073709551616",
    "1.5",
    "\"prompt\"",
    "\"messages\"",
    "\"max_tokens\":",
    "\"stream\":",
    "\"n\":",
    "\"role\":",
    "\"content\":",
    "\"cache_salt\":",
    "\"stop\":",
    "\"seed\":",
    " ",
    "\n",
    "\0",
    "\u{feff}",
    "한국어",
    "\u{1f600}",
    "{}",
    "[]",
    "\"\"",
    "[[[[[[[[[[[[[[[[",
];

fn mutated(corpus: &[Vec<u8>], pieces: &[&[u8]], chance: &mut Chance) -> Vec<u8> {
    let mut bytes = corpus[chance.pick(corpus.len())].clone();
    for _ in 0..1 + chance.below(3) {
        let from = chance.pick(bytes.len() + 1);
        let length = (chance.below(12) as usize).min(bytes.len() - from);
        let piece = pieces[chance.pick(pieces.len())];
        match chance.below(7) {
            0 => drop(bytes.splice(from..from + length, piece.iter().copied())),
            1 => drop(bytes.splice(from..from, piece.iter().copied())),
            2 => drop(bytes.splice(from..from + length, [])),
            3 => bytes.truncate(from),
            4 => {
                let other = &corpus[chance.pick(corpus.len())];
                let begin = chance.pick(other.len() + 1);
                let end = (begin + chance.below(40) as usize).min(other.len());
                bytes.splice(from..from, other[begin..end].iter().copied());
            }
            5 if !bytes.is_empty() => {
                let at = chance.pick(bytes.len());
                bytes[at] ^= 1 << chance.below(8);
            }
            _ => {
                let many = if chance.below(40) == 0 { 3000 } else { 1 + chance.below(8) as usize };
                bytes.splice(from..from, piece.repeat(many));
            }
        }
    }
    bytes
}

/// Sends so many inputs to a server, 16 at a time on connections that are kept: how many were answered, and refused.
async fn send(at: SocketAddr, inputs: u64, seed: u64) -> [u64; 2] {
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let (left, corpus) = (Arc::new(AtomicU64::new(inputs)), BODIES.map(|body| body.as_bytes().to_vec()).to_vec());
    let mut clients = JoinSet::new();
    for number in 0..16 {
        let (client, left, corpus) = (client.clone(), left.clone(), corpus.clone());
        clients.spawn(async move {
            let (mut chance, mut ended) = (Chance::new(seed + number), [0; 2]);
            let pieces = PIECES.map(str::as_bytes);
            while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
                let body = mutated(&corpus, &pieces, &mut chance);
                let paths = ["/v1/completions", "/v1/chat/completions", "/invocations", "/tokenize"];
                let path = paths[chance.pick(paths.len())];
                let asked = Request::post(format!("http://{at}{path}")).body(Full::from(body.clone())).expect("one");
                let shown = || format!("{path}: {:?}", String::from_utf8_lossy(&body));
                let began = Instant::now();
                let mut got = client.request(asked).await.unwrap_or_else(|error| panic!("{error}: {}", shown()));
                let status = got.status();
                let mut text = Vec::new();
                while let Some(frame) = got.frame().await {
                    let frame = frame.unwrap_or_else(|error| panic!("{error}: {}", shown()));
                    text.extend_from_slice(frame.data_ref().map_or(&[][..], |bytes| bytes));
                }
                assert!(began.elapsed() < Duration::from_secs(5), "{:?}: {}", began.elapsed(), shown());
                assert!(status.is_success() || status.is_client_error(), "{status}: {}", shown());
                if status.is_client_error() {
                    let said: serde_json::Value = serde_json::from_slice(&text).expect("an error is JSON");
                    assert!(said["error"]["message"].is_string(), "{said}: {}", shown());
                }
                ended[usize::from(status.is_client_error())] += 1;
            }
            ended
        });
    }
    let mut ended = [0; 2];
    while let Some(of_one) = clients.join_next().await {
        let of_one = of_one.expect("each is answered");
        (0..2).for_each(|place| ended[place] += of_one[place]);
    }
    ended
}

/// Emulated endpoints read every field.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endpoints_answer_or_refuse_whatever_comes() {
    let world = World::new(2, Strategy::PrefixAwarePlus);
    let server = world.serve(Emulated {
        time_scale: TimeScale::try_from(1e6).expect("valid"),
        session_key: Some("user_id".to_owned()),
        ..world.settings()
    });
    let all = inputs(4_000);
    let [answered, refused] = send(server.address(), all, 1).await;
    println!("{answered} answered, {refused} refused");
    assert!(answered > all / 50 && refused > all / 4, "{answered} answered, {refused} refused");
    assert_eq!(server.stop().expect("it served").left, 0);
}

/// The gateway reads what it routes by, and leaves the rest to workers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gateways_answer_or_refuse_whatever_comes() {
    let mock = Mock::new(Act::Stream(events(1), Duration::ZERO)).await;
    let mut set_up = settings(&[&mock]);
    set_up.router = RouterConfig::new(Strategy::PrefixAwarePlus, 1);
    set_up.session_key = Some("user_id".to_owned());
    let gateway = Gateway::new(set_up).await;
    let all = inputs(4_000);
    let [answered, refused] = send(gateway.address, all, 2).await;
    println!("{answered} answered, {refused} refused");
    assert!(answered > all / 50 && refused > all / 4, "{answered} answered, {refused} refused");
}

/// Batches as no engine sends them: read or refused, and the router's index holds to its laws whatever was made of them.
#[test]
fn batches_of_events_are_read_or_refused() {
    let list = |events: Vec<Value>| packed(events);
    let mut chance = Chance::new(3);
    let mut corpus = vec![
        list(vec![stored(&[1, 2], None, &[1, 2, 3, 4], &[])]),
        list(vec![stored(&[3], Some(2), &[5, 6], &[]), removed(&[2, 1])]),
        list(vec![stored(&[u64::MAX], Some(1), &[7, 8], &[("lora_id", 3.into())])]),
        list(vec![Value::Map(vec![("type".into(), "AllBlocksCleared".into())])]),
    ];
    // The oldest layout, of lists.
    let names = Value::Array(vec![9.into()]);
    let old =
        Value::Array(vec!["BlockStored".into(), names, Value::Nil, Value::Array(vec![1.into(), 2.into()]), 2.into()]);
    corpus.push(list(vec![old]));
    let pieces: [&[u8]; 12] = [
        b"\xc0",
        b"\xc1",
        b"\x90",
        b"\x80",
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b"\xdb\xff\xff\xff\xff",
        b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\x91\x91\x91\x91\x91\x91\x91\x91",
        b"\xa4type",
        b"\xff",
    ];
    let mut follower = Follower::new(Tokens(2));
    let mut router = Router::new(RouterConfig { block: Tokens(2), ..RouterConfig::new(Strategy::KvAwarePlus, 1) });
    let (all, mut number, mut read) = (inputs(100_000), 0, 0);
    for input in 0..all {
        let payload = mutated(&corpus, &pieces, &mut chance);
        // Numbers that are repeated, skipped, and start anew.
        number = match chance.below(40) {
            0 => number + 2,
            1 => 0,
            2 => 1 << 62,
            _ => follower.due(),
        };
        let began = Instant::now();
        match follower.hear(number, &payload) {
            Heard::Gap(_) => follower.give_up(number),
            Heard::Events(events) => {
                read += u64::from(!events.is_empty());
                router.observe(WorkerId(0), Signal::Restarted(follower.epoch()), Time(input), Time(input));
                router.observe(WorkerId(0), Signal::Cache(&events), Time(input), Time(input));
            }
        }
        assert!(began.elapsed() < Duration::from_secs(1), "{payload:02x?}");
        if input % 500 == 0 {
            router.index().expect("it keeps one").check();
            follower.reconnected();
        }
    }
    let counts = follower.counts();
    println!("{read} of {all} changed something: {counts:?}");
    assert!(read > all / 100 && counts.malformed > all / 10, "{read}, {counts:?}");
}
