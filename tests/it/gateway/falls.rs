//! Workers that fail, and who is asked instead.

use super::world::{Act, Gateway, Mock, events, json, settings};
use crate::emulate::raw::call;
use driver::gateway::Settings;
use kvcache::Span;
use router::{HealthConfig, RetryConfig};
use std::time::{Duration, Instant};

const ASK: &str = "{\"prompt\":\"a\",\"stream\":true}";

/// Nobody is left alone, so that each request has both workers to choose from.
fn patient(workers: &[&Mock]) -> Settings {
    let health = HealthConfig { failures: u32::MAX, ..HealthConfig::default() };
    Settings { health, ..settings(workers) }
}

/// However a worker fails before it has said anything, the client hears from the other one alone, which is asked once.
#[tokio::test]
async fn a_worker_that_fails_at_once_is_not_noticed() {
    let (good, bad) = (Mock::new(Act::Stream(events(3), Duration::ZERO)).await, Mock::new(Act::Close).await);
    let gateway = Gateway::new(patient(&[&bad, &good])).await;
    for (name, act) in [
        ("closes", Act::Close),
        ("500", json("500 Internal Server Error", "{\"error\":1}")),
        ("502", json("502 Bad Gateway", "{}")),
        ("503", json("503 Service Unavailable", "{}")),
        ("429", json("429 Too Many Requests", "{}")),
        ("no HTTP", Act::Say(b"hello\r\n\r\n".to_vec())),
        (
            "redirects",
            Act::Say(
                b"HTTP/1.1 307 Temporary Redirect\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n"
                    .to_vec(),
            ),
        ),
        ("a head and no body", Act::Break(Vec::new())),
    ] {
        bad.tell(act);
        for _ in 0..4 {
            let (before, asked) = (good.requests(), bad.requests());
            let got = call(gateway.address, "POST", "/v1/completions", ASK).await;
            assert_eq!(got.status, 200, "{name}: {}", got.body);
            assert_eq!(got.body, events(3).concat(), "{name}");
            assert_eq!(got.header("x-podlab-worker"), Some("1"), "{name}");
            assert_eq!(good.requests(), before + 1, "{name}");
            assert!(bad.requests() <= asked + 1, "{name}: never the same worker again");
        }
        assert!(bad.requests() > 0, "{name}");
    }
}

/// A refusal whose words do not come is a refusal all the same, and an answer that is too long is nobody's fault.
#[tokio::test]
async fn words_that_do_not_come_are_not_waited_for() {
    let half = b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 100\r\n\r\n{".to_vec();
    let (bad, good) = (Mock::new(Act::Say(half)).await, Mock::new(json("200 OK", "{}")).await);
    let gateway = Gateway::new(patient(&[&bad, &good])).await;
    let began = Instant::now();
    let got = call(gateway.address, "POST", "/v1/completions", ASK).await;
    assert_eq!((got.status, got.header("x-podlab-worker")), (200, Some("1")));
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    let long = json("200 OK", &"x".repeat(2_000));
    bad.tell(long.clone());
    good.tell(long);
    let gateway = Gateway::new(Settings { answer_limit: 1_000, ..patient(&[&bad, &good]) }).await;
    let before = bad.requests() + good.requests();
    let got = call(gateway.address, "POST", "/v1/completions", ASK).await;
    assert!(got.status == 502 && got.body.contains("stream it"), "{}", got.body);
    assert_eq!(bad.requests() + good.requests(), before + 1);
    let metrics = call(gateway.address, "GET", "/metrics", "").await.body;
    assert!(!metrics.contains("outcome=\"failed\"} 1"), "{metrics}");
}

/// Nobody listens where a worker was.
#[tokio::test]
async fn a_worker_that_is_gone_is_not_noticed() {
    let good = Mock::new(json("200 OK", "{}")).await;
    let gone = Mock::new(Act::Close).await;
    let set_up = settings(&[&gone, &good]);
    drop(gone);
    let gateway = Gateway::new(set_up).await;
    for _ in 0..20 {
        let began = Instant::now();
        assert_eq!(call(gateway.address, "POST", "/v1/completions", ASK).await.status, 200);
        assert!(began.elapsed() < Duration::from_millis(500), "{:?}", began.elapsed());
    }
    let metrics = call(gateway.address, "GET", "/metrics", "").await.body;
    assert!(metrics.contains("podlab:gateway_worker_available{worker=\"0\",strategy=\"roundrobin\"} 0"), "{metrics}");
    assert!(metrics.contains("podlab:gateway_ejections_total 1"), "{metrics}");
    // Once it was left alone nobody had to be asked twice.
    assert!(metrics.contains("podlab:gateway_retries_total 5"), "{metrics}");
}

/// The client's fault is told by the first worker, and counts against nobody.
#[tokio::test]
async fn what_the_client_did_wrong_is_not_tried_again() {
    let mocks = [Mock::new(Act::Close).await, Mock::new(Act::Close).await];
    let gateway = Gateway::before(&[&mocks[0], &mocks[1]]).await;
    let body = "{\"error\":{\"message\":\"too long\"}}";
    for status in ["400 Bad Request", "401 Unauthorized", "404 Not Found", "422 Unprocessable Entity"] {
        mocks.iter().for_each(|mock| mock.tell(json(status, body)));
        for _ in 0..10 {
            let got = call(gateway.address, "POST", "/v1/completions", ASK).await;
            assert_eq!((got.status.to_string().as_str(), got.body.as_str()), (&status[..3], body));
        }
    }
    assert_eq!(mocks[0].requests() + mocks[1].requests(), 40);
    let metrics = call(gateway.address, "GET", "/metrics", "").await.body;
    assert!(metrics.contains("podlab:gateway_ejections_total 0"), "{metrics}");
}

/// A stream that has begun cannot be begun again: it ends in an error event, and in no `[DONE]`. Half an event is not shown.
#[tokio::test]
async fn a_worker_that_breaks_off_is_told_of() {
    let mocks = [Mock::new(Act::Close).await, Mock::new(Act::Close).await];
    let gateway = Gateway::new(patient(&[&mocks[0], &mocks[1]])).await;
    let whole = "data: {\"token\":0}\n\n";
    for (events, shown) in [
        (vec![whole.to_owned()], whole),
        (vec![whole.to_owned(), "data: {\"tok".to_owned()], whole),
        (vec!["data: {\"tok".to_owned(), "en\":0}\n\ndata".to_owned()], whole),
    ] {
        mocks.iter().for_each(|mock| mock.tell(Act::Break(events.clone())));
        let got = call(gateway.address, "POST", "/v1/completions", ASK).await;
        assert_eq!(got.status, 200);
        let rest = got.body.strip_prefix(shown).unwrap_or_else(|| panic!("{shown:?} in {:?}", got.body));
        let error = rest.strip_prefix("data: ").and_then(|rest| rest.strip_suffix("\n\n")).expect("one event");
        let error: serde_json::Value = serde_json::from_str(error).expect("an error");
        assert_eq!(error["error"]["code"], 502);
        assert!(!got.body.contains("[DONE]"));
    }
    // Behind `[DONE]` there is nothing to break off from, nor does a comment there undo it.
    let done = "data: [DONE]\n\n: bye\n\n";
    for end in [
        Act::Break(vec![whole.to_owned(), done.to_owned()]),
        Act::Break(vec![whole.to_owned(), done.to_owned(), ": b".to_owned()]),
    ] {
        mocks.iter().for_each(|mock| mock.tell(end.clone()));
        let got = call(gateway.address, "POST", "/v1/completions", ASK).await;
        assert!(got.body.starts_with(&format!("{whole}{done}")) && !got.body.contains("\"error\""), "{}", got.body);
    }
    // Ended as HTTP wants it, but without `[DONE]`: cut all the same.
    mocks.iter().for_each(|mock| mock.tell(Act::Stream(vec![whole.to_owned()], Duration::ZERO)));
    let got = call(gateway.address, "POST", "/v1/completions", ASK).await;
    assert!(got.body.starts_with(whole) && got.body.contains("\"code\":502"), "{}", got.body);
}

/// A worker that says nothing is given up, before its answer and in it.
#[tokio::test]
async fn silence_is_a_failure() {
    let (silent, good) = (Mock::new(Act::Hang).await, Mock::new(json("200 OK", "{}")).await);
    let set_up = Settings { silence: Duration::from_millis(200), ..patient(&[&silent, &good]) };
    let gateway = Gateway::new(set_up).await;
    assert_eq!(call(gateway.address, "POST", "/v1/completions", ASK).await.status, 200);
    assert_eq!((silent.requests(), good.requests()), (1, 1));
    // And in the middle of an answer, however long the pieces before it took together.
    let whole = "data: 1\n\n";
    good.tell(Act::Stall(vec![whole.to_owned()]));
    silent.tell(Act::Stall(vec![whole.to_owned()]));
    let began = Instant::now();
    let got = call(gateway.address, "POST", "/v1/completions", ASK).await;
    assert!(got.body.starts_with(whole) && got.body.contains("said nothing"), "{}", got.body);
    assert!((190..2_000).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
    for mock in [&silent, &good] {
        mock.tell(Act::Stream(events(5), Duration::from_millis(100)));
    }
    let got = call(gateway.address, "POST", "/v1/completions", ASK).await;
    assert_eq!(got.body, events(5).concat(), "no silence is longer than 100 ms");
}

/// All fail: each request is sent 1.2 times, and ten more a second, at most (R9). The client gets the last worker's words.
#[tokio::test]
async fn where_all_fail_there_is_no_storm() {
    let mocks = [Mock::new(Act::Close).await, Mock::new(Act::Close).await, Mock::new(Act::Close).await];
    mocks.iter().for_each(|mock| mock.tell(json("500 Internal Server Error", "{\"broken\":true}")));
    let gateway = Gateway::before(&[&mocks[0], &mocks[1], &mocks[2]]).await;
    let (began, requests) = (Instant::now(), 400);
    for number in 0..requests {
        let got = call(gateway.address, "POST", "/v1/completions", ASK).await;
        assert_eq!((got.status, got.body.as_str()), (500, "{\"broken\":true}"), "{number}");
        assert!(got.header("x-podlab-gave-up").is_some(), "{}", got.head);
    }
    let attempts: usize = mocks.iter().map(Mock::requests).sum();
    let most = 1.2 * f64::from(requests) + 10.0 * (began.elapsed().as_secs_f64() + 1.0);
    assert!(attempts as f64 <= most, "{attempts} attempts of {most:.0}");
    assert!(attempts > requests as usize, "some were tried again");
}

/// What a worker that recovers is worth is found out by sending it one request.
#[tokio::test]
async fn a_worker_that_recovers_is_asked_again() {
    let (bad, good) = (Mock::new(Act::Close).await, Mock::new(json("200 OK", "{}")).await);
    let health = HealthConfig {
        failures: 2,
        open: Span::from_millis(300),
        open_most: Span::from_millis(300),
        ..HealthConfig::default()
    };
    let retries = RetryConfig { per_second: 100, ..RetryConfig::default() };
    let gateway = Gateway::new(Settings { health, retries, ..settings(&[&bad, &good]) }).await;
    let ask = async || assert_eq!(call(gateway.address, "POST", "/v1/completions", ASK).await.status, 200);
    for _ in 0..10 {
        ask().await;
    }
    assert_eq!(bad.requests(), 2, "left alone after two failures");
    bad.tell(json("200 OK", "{}"));
    tokio::time::sleep(Duration::from_millis(350)).await;
    for _ in 0..10 {
        ask().await;
    }
    assert!(bad.requests() >= 2 + 4, "{}", bad.requests());
}
