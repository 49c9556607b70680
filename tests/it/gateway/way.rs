//! What passes the gateway, and how: byte for byte, without delay, and nothing that has no business there.

use super::world::{Act, Gateway, Mock, events, json, settings};
use crate::emulate::raw::{Call, call, request};
use driver::gateway::Settings;
use router::{RouterConfig, Strategy};
use std::time::Duration;

/// An odd body: spaces, an unknown field, a number that no double holds. The worker gets these very bytes.
const ODD: &str =
    "{ \"prompt\" :\"h\\u00e9\", \"max_tokens\":4 ,\"new_field\": 12345678901234567890123,\"temperature\":1e0}\n";

#[tokio::test]
async fn bodies_pass_byte_for_byte() {
    let said = "{ \"odd\" : 1.0000000000000000001 }\n";
    let worker = Mock::new(json("200 OK", said)).await;
    let gateway = Gateway::before(&[&worker]).await;
    let got = call(gateway.address, "POST", "/v1/completions", ODD).await;
    assert_eq!((got.status, got.body.as_str()), (200, said));
    let seen = worker.seen.lock().expect("sound").requests[0].clone();
    let seen = String::from_utf8(seen).expect("text");
    let (head, body) = seen.split_once("\r\n\r\n").expect("a head");
    assert_eq!(body, ODD);
    assert!(head.starts_with("POST /v1/completions HTTP/1.1\r\n"), "{head}");
    assert!(head.to_lowercase().contains(&format!("host: {}", worker.address)), "{head}");
    assert_eq!(got.header("x-podlab-worker"), Some("0"));
    assert_eq!(got.header("x-podlab-strategy"), Some("roundrobin"));
    assert_eq!(got.header("x-podlab-reason"), Some("turn"));
}

#[tokio::test]
async fn streams_pass_byte_for_byte_however_they_are_cut() {
    let whole = ": a comment\n\ndata: {\"a\":\"é\"}\n\nevent: x\r\ndata: 1\r\n\r\ndata: [DONE]\n\n";
    let worker = Mock::new(Act::Close).await;
    let gateway = Gateway::before(&[&worker]).await;
    for size in [1, 2, 3, 7, 64, 1000] {
        let bytes = whole.as_bytes();
        // Only where a cut leaves text is it a chunk of this helper: the letter of two bytes stays whole.
        let mut pieces: Vec<String> = Vec::new();
        let mut piece = String::new();
        for letter in whole.chars() {
            piece.push(letter);
            if piece.len() >= size {
                pieces.push(std::mem::take(&mut piece));
            }
        }
        pieces.push(piece);
        pieces.retain(|piece| !piece.is_empty());
        assert_eq!(pieces.concat().as_bytes(), bytes);
        worker.tell(Act::Stream(pieces, Duration::ZERO));
        let got = call(gateway.address, "POST", "/v1/completions", ODD).await;
        assert_eq!((got.status, got.body.as_str()), (200, whole), "cut every {size} bytes");
        assert_eq!(got.header("content-type"), Some("text/event-stream"));
    }
}

/// What concerns a connection stays on it; what the client says of itself passes.
#[tokio::test]
async fn headers_of_one_hop_do_not_pass() {
    let worker = Mock::new(Act::Say(
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\nkeep-alive: timeout=5\r\nx-theirs: 1\r\nx-once: 1\r\nconnection: x-once\r\nx-podlab-worker: 77\r\n\r\n{}".to_vec(),
    ))
    .await;
    let gateway = Gateway::before(&[&worker]).await;
    let headers =
        "connection: close, x-mine\r\nx-mine: 1\r\nte: trailers\r\nx-other: 2\r\nauthorization: Bearer abc\r\n";
    let sent = request("POST", "/v1/completions", headers, "{\"prompt\":\"a\"}");
    let got = Call::open(gateway.address, sent.as_bytes()).await.response().await;
    let seen = worker.seen.lock().expect("sound").requests[0].clone();
    let seen = String::from_utf8(seen).expect("text").to_lowercase();
    for gone in ["x-mine", "te:", "connection:"] {
        assert!(!seen.contains(gone), "{gone} in {seen}");
    }
    for kept in ["x-other: 2", "authorization: bearer abc"] {
        assert!(seen.contains(kept), "{kept} not in {seen}");
    }
    assert_eq!((got.header("keep-alive"), got.header("x-once")), (None, None));
    assert_eq!((got.header("x-theirs"), got.header("x-podlab-worker")), (Some("1"), Some("0")));
}

/// The client's name for a request passes where it is a plain word; an address, or anything that could be taken for more, does not.
#[tokio::test]
async fn names_of_requests_are_plain_words() {
    let worker = Mock::new(json("200 OK", "{}")).await;
    let gateway = Gateway::before(&[&worker]).await;
    for (given, passes) in
        [("abc-1.2_3", true), ("http://169.254.169.254/", false), ("a b", false), (&"x".repeat(65), false)]
    {
        let headers = format!("connection: close\r\nx-request-id: {given}\r\n");
        let sent = request("POST", "/v1/completions", &headers, "{\"prompt\":\"a\"}");
        let got = Call::open(gateway.address, sent.as_bytes()).await.response().await;
        let name = got.header("x-request-id").expect("every answer has one");
        assert_eq!(name == given, passes, "{given} became {name}");
        let seen = worker.seen.lock().expect("sound").requests.last().cloned().expect("it was asked");
        let seen = String::from_utf8(seen).expect("text");
        assert!(seen.contains(&format!("x-request-id: {name}\r\n")), "{seen}");
    }
}

#[tokio::test]
async fn only_known_paths_are_there() {
    let worker = Mock::new(json("200 OK", "{\"object\":\"list\"}")).await;
    let gateway = Gateway::before(&[&worker]).await;
    for (method, path, status) in [
        ("GET", "/v1/models", 200),
        ("POST", "/tokenize", 200),
        ("GET", "/health", 200),
        ("GET", "/ping", 200),
        ("GET", "/metrics", 200),
        ("GET", "/v1/chat/completions", 405),
        ("POST", "/v1/load_lora_adapter", 404),
        ("POST", "/pause", 404),
        ("POST", "/v1/completions/../../pause", 404),
        ("POST", "/v1/completions/render", 404),
        ("GET", "/docs", 404),
        ("POST", "//v1/completions", 404),
        ("POST", "/v1%2Fcompletions", 404),
    ] {
        let before = worker.requests();
        let got = call(gateway.address, method, path, "{}").await;
        assert_eq!(got.status, status, "{method} {path}: {}", got.body);
        let asked = worker.requests() - before;
        assert_eq!(asked, usize::from(["/v1/models", "/tokenize"].contains(&path)), "{method} {path}");
    }
}

#[tokio::test]
async fn what_is_no_object_is_refused_here() {
    let worker = Mock::new(json("200 OK", "{}")).await;
    let gateway = Gateway::before(&[&worker]).await;
    for body in
        ["", "[]", "{", "nul", "{\"prompt\":\"a\",\"cache_salt\":\"a b\"}", "{\"prompt\":\"a\",\"cache_salt\":7}"]
    {
        let got = call(gateway.address, "POST", "/v1/completions", body).await;
        assert_eq!(got.status, 400, "{body}: {}", got.body);
        assert!(got.json()["error"]["message"].is_string());
    }
    assert_eq!(call(gateway.address, "POST", "/invocations", "{\"input\":1}").await.status, 400);
    assert_eq!(worker.requests(), 0);
    // What only the worker can judge is left to it.
    assert_eq!(call(gateway.address, "POST", "/v1/completions", "{\"prompt\":{}}").await.status, 200);
}

/// SageMaker's container has one path; the body tells what it means.
#[tokio::test]
async fn invocations_go_where_their_bodies_say() {
    let worker = Mock::new(json("200 OK", "{}")).await;
    let gateway = Gateway::before(&[&worker]).await;
    for (body, path) in [("{\"prompt\":\"a\"}", "/v1/completions"), ("{\"messages\":[]}", "/v1/chat/completions")] {
        assert_eq!(call(gateway.address, "POST", "/invocations", body).await.status, 200);
        let seen = worker.seen.lock().expect("sound").requests.last().cloned().expect("asked");
        assert!(String::from_utf8(seen).expect("text").starts_with(&format!("POST {path} ")));
    }
}

/// `prefixaware` reads prompts: who was sent a text is sent what begins with it. Another salt is another tenant's, and shares nothing.
#[tokio::test]
async fn prefixes_lead_to_workers_and_salts_part_them() {
    let mocks = [Mock::new(json("200 OK", "{}")).await, Mock::new(json("200 OK", "{}")).await];
    let workers: Vec<_> = mocks.iter().map(Mock::origin).collect();
    let router = RouterConfig::new(Strategy::PrefixAware, 2);
    let gateway = Gateway::new(Settings::new(workers, router)).await;
    let ask = async |text: &str, salt: &str| {
        let body = format!("{{\"prompt\":\"{}\",\"cache_salt\":\"{salt}\"}}", text.repeat(64));
        let got = call(gateway.address, "POST", "/v1/completions", &body).await;
        let matched = got.header("x-podlab-matched-tokens").expect("it looked").parse::<u32>().expect("a number");
        (got.header("x-podlab-worker").expect("it went").to_owned(), matched)
    };
    let (first, nothing) = ask("one two ", "a").await;
    assert_eq!(nothing, 0);
    for _ in 0..8 {
        let (again, matched) = ask("one two ", "a").await;
        assert_eq!(again, first);
        assert_eq!(matched, 128, "512 characters");
    }
    assert_eq!(ask("one two ", "b").await.1, 0);
}

/// Tokens are small writes 4 ms apart. With Nagle's algorithm on either of the gateway's sockets, the second one of a stream would
/// wait for the acknowledgement of the first, which kernels delay by 40 ms on a connection that goes back and forth.
#[tokio::test]
async fn small_writes_are_not_held_back() {
    let worker = Mock::new(Act::Stream(events(20), Duration::from_millis(4))).await;
    let gateway = Gateway::before(&[&worker]).await;
    let ask = request("POST", "/v1/completions", "", "{\"prompt\":\"a\"}");
    let mut call = Call::open(gateway.address, ask.as_bytes()).await;
    call.wait_for("[DONE]").await;
    // A busy machine pauses, too; held back, all of them do.
    let mut late = 0;
    for _ in 0..40 {
        call.send_more(ask.as_bytes()).await;
        let moments = call.arrivals_until("[DONE]").await;
        let longest = moments.windows(2).map(|pair| pair[1] - pair[0]).max();
        late += u32::from(longest > Some(Duration::from_millis(30)));
    }
    assert!(late < 32, "{late} of 40 streams paused for an acknowledgement");
}

#[tokio::test]
async fn a_gateway_needs_a_sound_set_up() {
    let worker = Mock::new(Act::Close).await;
    let wrong = Settings { worker_certificates: Some("/nonexistent.pem".into()), ..settings(&[&worker]) };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let refused = driver::gateway::serve(wrong, listener, std::future::pending()).await;
    assert!(refused.expect_err("no such file").to_string().contains("/nonexistent.pem"));
}
