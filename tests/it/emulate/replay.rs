//! The replay law over real sockets: what a live run recorded, fed to a fresh cluster, gives the same decisions and
//! the same passes; and no stream lost, doubled or mixed up a token.

use super::raw::{Call, post};
use super::world::World;
use driver::emulate::clock::TimeScale;
use driver::emulate::{Settings, reply};
use kvcache::{Blocks, Tokens};
use router::Strategy;
use serde_json::{Value, json};
use tokio::task::JoinSet;

fn body(index: usize) -> Value {
    let document = format!("Document {}: ", index % 5) + &"the quick brown fox jumps over it. ".repeat(20 + index % 7);
    let prompt = format!("{document}Question {index}?");
    json!({"model": "toy", "prompt": prompt, "max_tokens": 5 + index % 40, "stream": true, "user_id": index % 3})
}

/// The text of a stream, and the number that its id tells.
fn text_and_number(events: &[String]) -> (String, u64) {
    let chunks: Vec<Value> =
        events[..events.len() - 1].iter().map(|data| serde_json::from_str(data).expect("JSON")).collect();
    let text = chunks.iter().map(|chunk| chunk["choices"][0]["text"].as_str().expect("a text")).collect();
    let number = chunks[0]["id"].as_str().and_then(|id| id.strip_prefix("cmpl-")?.parse().ok()).expect("a number");
    (text, number)
}

async fn check(strategy: Strategy, leave_early: bool) {
    let world = World { capacity: Blocks(200), max_model_len: Tokens(1024), ..World::new(3, strategy) };
    let settings = Settings {
        record: true,
        session_key: Some("user_id".to_owned()),
        time_scale: TimeScale::try_from(4.0).expect("valid"),
        ..world.settings()
    };
    let server = world.serve(settings);
    let address = server.address();
    let mut clients = JoinSet::new();
    for index in 0..60 {
        clients.spawn(async move {
            if leave_early && index % 4 == 0 {
                let mut call = Call::send(address, "POST", "/v1/completions", &body(index).to_string()).await;
                call.wait_for("data: ").await;
                return;
            }
            let response = post(address, "/v1/completions", &body(index)).await;
            let events = response.events();
            assert_eq!((response.status, events.last().map(String::as_str)), (200, Some("[DONE]")));
            let (text, number) = text_and_number(&events);
            assert_eq!(text, reply::text(0, number, Tokens(5 + index as u32 % 40)), "every token, once, in order");
        });
    }
    while let Some(client) = clients.join_next().await {
        client.expect("every stream is whole");
    }
    let stats = server.stop().expect("it served");
    assert_eq!((stats.requests, stats.completed + stats.stopped, stats.left), (60, 60, 0));
    let recording = stats.recording.expect("it was recorded");
    assert!(recording.trail.passes.len() > 40 && recording.trail.decisions.len() == 60);
    let replayed = recording.replay(&mut world.cluster());
    assert_eq!(replayed, recording.trail);
    let other = World { strategy: Strategy::PrefixAware, ..world };
    assert_ne!(recording.replay(&mut other.cluster()), recording.trail, "the comparison can fail");
}

#[tokio::test]
async fn a_live_run_replays() {
    check(Strategy::KvAware, false).await;
    check(Strategy::RoundRobin, false).await;
}

#[tokio::test]
async fn a_live_run_with_clients_that_leave_replays() {
    check(Strategy::Session, true).await;
    check(Strategy::KvAware, true).await;
}
