//! Clients that leave, read slowly or say nothing, and servers that stop.

use super::raw::{Call, call, post};
use super::world::World;
use driver::emulate::{Emulator, Settings};
use kvcache::Span;
use router::Strategy;
use serde_json::json;
use std::time::{Duration, Instant};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

/// One worker, 10 ms per pass.
fn slow_server(change: impl FnOnce(&mut Settings)) -> Emulator {
    let mut world = World::new(1, Strategy::RoundRobin);
    world.cost.pass = Span::from_millis(10);
    let mut settings = world.settings();
    change(&mut settings);
    world.serve(settings)
}

async fn until_live(server: &Emulator, live: u64, patience: Duration) -> Duration {
    let start = Instant::now();
    while server.live() != live {
        assert!(start.elapsed() < patience, "{} live after {patience:?}, not {live}", server.live());
        sleep(Duration::from_millis(2)).await;
    }
    start.elapsed()
}

#[tokio::test]
async fn a_client_that_leaves_stops_its_work() {
    let server = slow_server(|settings| settings.latency = Span::from_millis(60));
    for stream in [true, false] {
        let ask = json!({"prompt": "hello", "max_tokens": 4000, "stream": stream}).to_string();
        // Before the router has seen it, while it runs, and while it waits for nobody to read.
        for wait in [20, 150, 400] {
            let call = Call::send(server.address(), "POST", "/v1/completions", &ask).await;
            until_live(&server, 1, Duration::from_secs(2)).await;
            sleep(Duration::from_millis(wait)).await;
            assert_eq!(server.live(), 1);
            drop(call);
            let took = until_live(&server, 0, Duration::from_secs(2)).await;
            assert!(took < Duration::from_millis(100), "{took:?}");
        }
    }
    let stats = server.stop().unwrap();
    assert_eq!((stats.requests, stats.stopped, stats.left), (6, 6, 0));
}

/// A reader who does not read holds up neither the engine nor anybody else, and finds every token when it reads.
#[tokio::test]
async fn a_slow_reader_delays_nobody() {
    let server = slow_server(|settings| settings.time_scale = 200.0.try_into().unwrap());
    let ask = json!({"prompt": "hello", "max_tokens": 4000, "stream": true}).to_string();
    let mut readers = Vec::new();
    for _ in 0..8 {
        readers.push(Call::send(server.address(), "POST", "/v1/completions", &ask).await);
    }
    until_live(&server, 8, Duration::from_secs(2)).await;
    until_live(&server, 0, Duration::from_secs(10)).await;
    for reader in readers {
        let events = reader.response().await.events();
        assert_eq!((events.len(), events.last().map(String::as_str)), (4001, Some("[DONE]")));
    }
    assert_eq!(server.stop().unwrap().completed, 8);
}

#[tokio::test]
async fn a_head_that_does_not_come_closes_the_connection() {
    let server = slow_server(|settings| {
        settings.head_timeout = Duration::from_millis(200);
        settings.body_timeout = Duration::from_millis(200);
    });
    let mut silent = TcpStream::connect(server.address()).await.unwrap();
    let mut byte = [0];
    let start = Instant::now();
    let read = timeout(Duration::from_secs(5), silent.read(&mut byte)).await.expect("it is closed");
    assert!(read.is_err() || read.unwrap() == 0);
    assert!(start.elapsed() >= Duration::from_millis(190));
    let mut partial = Call::open(server.address(), b"POST /v1/comp").await;
    timeout(Duration::from_secs(5), partial.arrivals()).await.expect("it is closed");
    let mut idle = Call::open(server.address(), b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n").await;
    idle.wait_for("200 OK").await;
    timeout(Duration::from_secs(5), idle.arrivals()).await.expect("it is closed");
    let bytes = b"POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n{";
    assert_eq!(Call::open(server.address(), bytes).await.response().await.status, 408);
    server.stop().unwrap();
}

/// Told to stop: not ready at once, no new work, and the stream in flight comes to its end.
#[tokio::test]
async fn a_stop_lets_streams_end() {
    let server = slow_server(|_| {});
    let address = server.address();
    let ask = json!({"prompt": "hello", "max_tokens": 60, "stream": true});
    let mut stream = Call::send(address, "POST", "/v1/completions", &ask.to_string()).await;
    stream.wait_for("data: ").await;
    let thread = server.begin_stop();
    sleep(Duration::from_millis(50)).await;
    let health = call(address, "GET", "/health", "").await;
    let refused = post(address, "/v1/completions", &ask).await;
    assert_eq!((health.status, refused.status, refused.header("retry-after")), (503, 503, Some("1")));
    assert_eq!(refused.json()["error"]["type"], json!("ServiceUnavailableError"));
    let events = stream.response().await.events();
    assert_eq!((events.len(), events.last().map(String::as_str)), (61, Some("[DONE]")));
    let stats = tokio::task::spawn_blocking(|| thread.join().unwrap().unwrap()).await.unwrap();
    assert_eq!((stats.requests, stats.completed, stats.left), (1, 1, 0));
}

/// What has not ended within the drain time ends in an error event, without `[DONE]`, or in an error.
#[tokio::test]
async fn a_stop_gives_up_what_takes_too_long() {
    let server = slow_server(|settings| settings.drain = Duration::from_millis(300));
    let address = server.address();
    let ask = |stream| json!({"prompt": "hello", "max_tokens": 4000, "stream": stream}).to_string();
    let mut stream = Call::send(address, "POST", "/v1/completions", &ask(true)).await;
    let whole = Call::send(address, "POST", "/v1/completions", &ask(false)).await;
    stream.wait_for("data: ").await;
    let idle = TcpStream::connect(address).await.unwrap();
    let (start, thread) = (Instant::now(), server.begin_stop());
    let events = stream.response().await.events();
    assert!(start.elapsed() >= Duration::from_millis(290));
    let last = events.last().unwrap();
    assert!(last.starts_with("{\"error\":{") && last.contains("shutting down"), "{last}");
    assert_eq!(whole.response().await.status, 503);
    let stats = tokio::task::spawn_blocking(|| thread.join().unwrap().unwrap()).await.unwrap();
    assert_eq!((stats.stopped, stats.left), (2, 0));
    assert!(start.elapsed() < Duration::from_secs(3), "nobody waits for an idle connection");
    drop(idle);
}
