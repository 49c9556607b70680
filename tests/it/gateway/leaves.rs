//! Clients that leave, and gateways that stop.

use super::world::{Act, Gateway, Mock, echo, events, json, settings};
use crate::emulate::raw::{Call, call};
use driver::gateway::Settings;
use sim::streams::Streams;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use tokio::time::sleep;

/// Goal R1: whatever comes is what was meant for that client: 256 streams at once, 20 requests on each, no token lost, doubled, out
/// of order or somebody else's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_stream_gets_its_own_tokens() {
    let mocks =
        [Mock::new(Act::Echo(12, Duration::from_millis(3))).await, Mock::new(Act::Echo(12, Duration::ZERO)).await];
    let gateway = Gateway::before(&[&mocks[0], &mocks[1]]).await;
    let address = gateway.address;
    let mut clients = JoinSet::new();
    for client in 0..256 {
        clients.spawn(async move {
            for turn in 0..20 {
                let body = format!("{{\"prompt\":\"{client}-{turn}\"}}");
                let got = call(address, "POST", "/v1/completions", &body).await;
                let meant = echo(format!("\r\n\r\n{body}").as_bytes(), 12).concat();
                assert_eq!(got.body, meant, "client {client}, turn {turn}");
            }
        });
    }
    while let Some(client) = clients.join_next().await {
        client.expect("each got what was its own");
    }
    assert_eq!(mocks.iter().map(Mock::requests).sum::<usize>(), 256 * 20);
}

/// Goal R4: who leaves is missed by the worker within 100 ms (p99 of 500), wherever in the answer it was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_leaves_stops_the_work() {
    let mock = Mock::new(Act::Close).await;
    let gateway = Gateway::before(&[&mock]).await;
    let mut draws = Streams::new(3).named("disconnects");
    let mut late = Vec::new();
    for number in 0..500 {
        // Before the first token, and behind some.
        let act = if number % 5 == 0 { Act::Hang } else { Act::Stream(events(1_000), Duration::from_millis(2)) };
        mock.tell(act);
        let before = mock.seen.lock().expect("sound").left.len();
        let client = Call::send(gateway.address, "POST", "/v1/completions", "{\"prompt\":\"a\"}").await;
        while mock.requests() <= number {
            sleep(Duration::from_millis(1)).await;
        }
        sleep(Duration::from_micros(draws.below(12_000))).await;
        let gone = Instant::now();
        drop(client);
        let noticed = loop {
            if let Some(left) = mock.seen.lock().expect("sound").left.get(before) {
                break *left;
            }
            assert!(gone.elapsed() < Duration::from_secs(5), "request {number} goes on without its client");
            sleep(Duration::from_micros(200)).await;
        };
        late.push(noticed.saturating_duration_since(gone));
    }
    late.sort();
    println!("work ends {:?} after the client has left (p50), {:?} (p99)", late[250], late[495]);
    assert!(late[495] < Duration::from_millis(100), "{:?}", late[495]);
    let metrics = call(gateway.address, "GET", "/metrics", "").await.body;
    assert!(metrics.contains("{worker=\"0\",outcome=\"cancelled\"} 500"), "{metrics}");
    assert!(metrics.contains("podlab:gateway_requests_in_flight 0"), "{metrics}");
}

/// Goal R13: told to stop, the gateway says so, takes nothing new, and lets streams in flight end.
#[tokio::test]
async fn a_gateway_that_stops_lets_streams_end() {
    let mock = Mock::new(Act::Stream(events(40), Duration::from_millis(10))).await;
    let mut gateway = Gateway::before(&[&mock]).await;
    let mut stream = Call::send(gateway.address, "POST", "/v1/completions", "{\"prompt\":\"a\"}").await;
    stream.wait_for("\"token\":3}").await;
    gateway.stop();
    sleep(Duration::from_millis(20)).await;
    let health = call(gateway.address, "GET", "/health", "").await;
    assert_eq!((health.status, health.header("retry-after")), (503, Some("1")));
    assert_eq!(call(gateway.address, "POST", "/v1/completions", "{\"prompt\":\"a\"}").await.status, 503);
    assert_eq!(stream.response().await.body, events(40).concat());
    gateway.stopped().await;
    assert_eq!(mock.requests(), 1);
}

/// What has not ended when the drain time is over ends in an error, whether its answer has begun or not.
#[tokio::test]
async fn a_gateway_that_has_waited_gives_up() {
    let stall = vec!["data: 1\n\n".to_owned()];
    let mocks = [Mock::new(Act::Stall(stall)).await, Mock::new(Act::Hang).await];
    let mut gateway =
        Gateway::new(Settings { drain: Duration::from_millis(200), ..settings(&[&mocks[0], &mocks[1]]) }).await;
    let mut begun = Call::send(gateway.address, "POST", "/v1/completions", "{\"prompt\":\"a\"}").await;
    begun.wait_for("data: 1").await;
    let waiting = Call::send(gateway.address, "POST", "/v1/completions", "{\"prompt\":\"a\"}").await;
    while mocks[1].requests() == 0 {
        sleep(Duration::from_millis(1)).await;
    }
    gateway.stop();
    let (begun, waiting) = (begun.response().await, waiting.response().await);
    assert!(begun.body.starts_with("data: 1\n\n") && begun.body.contains("shutting down"), "{}", begun.body);
    assert_eq!(waiting.status, 503);
    gateway.stopped().await;
}

/// Reservations end exactly once whatever becomes of a request, so a strategy that goes by load does not drift.
#[tokio::test]
async fn loads_do_not_drift() {
    use router::{RouterConfig, Strategy};
    let mocks = [Mock::new(Act::Close).await, Mock::new(Act::Close).await];
    let mut set_up = settings(&[&mocks[0], &mocks[1]]);
    set_up.router = RouterConfig::new(Strategy::LeastLoaded, 2);
    set_up.health.failures = u32::MAX;
    let gateway = Gateway::new(set_up).await;
    let acts = [
        Act::Close,
        json("400 Bad Request", "{}"),
        json("503 Service Unavailable", "{}"),
        Act::Break(vec!["data: 1\n\n".to_owned()]),
        Act::Stream(events(2), Duration::ZERO),
    ];
    for number in 0..60 {
        mocks.iter().for_each(|mock| mock.tell(acts[number % acts.len()].clone()));
        let _ = call(gateway.address, "POST", "/v1/completions", "{\"prompt\":\"a\"}").await;
    }
    // Clients that leave, too. Of equals the first is chosen, and they are equal as soon as each has left.
    let first = mocks[0].requests();
    mocks.iter().for_each(|mock| mock.tell(Act::Hang));
    for number in 0..6 {
        let before = mocks[0].requests() + mocks[1].requests();
        let client = Call::send(gateway.address, "POST", "/v1/completions", "{\"prompt\":\"a\"}").await;
        while mocks[0].requests() + mocks[1].requests() == before {
            sleep(Duration::from_millis(1)).await;
        }
        drop(client);
        let left = || mocks.iter().map(|mock| mock.seen.lock().expect("sound").left.len()).sum::<usize>();
        while left() <= number {
            sleep(Duration::from_millis(1)).await;
        }
    }
    assert_eq!(mocks[0].requests() - first, 6);
    // Nobody is loaded now: two streams at once go to two workers.
    mocks.iter().for_each(|mock| mock.tell(Act::Stall(vec!["data: 1\n\n".to_owned()])));
    let before = [mocks[0].requests(), mocks[1].requests()];
    let mut held = Vec::new();
    for _ in 0..10 {
        let mut one = Call::send(gateway.address, "POST", "/v1/completions", "{\"prompt\":\"a\"}").await;
        one.wait_for("data: 1").await;
        held.push(one);
    }
    let sent = [mocks[0].requests() - before[0], mocks[1].requests() - before[1]];
    assert_eq!(sent, [5, 5]);
}
