//! `predicted-ttft` before workers whose speed nobody told: first tokens tell it, and tell when it has changed.

use super::world::{Act, Gateway, Mock, events, settings};
use crate::emulate::raw::call;
use router::{RouterConfig, Strategy};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::task::JoinSet;

const SLOW: Duration = Duration::from_millis(60);
const FAST: Duration = Duration::from_millis(10);

/// A worker that computes one prompt at a time, each in so long.
fn first_after(gap: Duration) -> Act {
    Act::Turn(events(1), gap)
}

/// The share of so many requests, eight at a time, that goes to worker 0.
async fn share(gateway: &Gateway, requests: u64, numbers: &Arc<AtomicU64>) -> f64 {
    let address = gateway.address;
    let (left, first) = (Arc::new(AtomicU64::new(requests)), Arc::new(AtomicU64::new(0)));
    let mut clients = JoinSet::new();
    for _ in 0..8 {
        let (left, first, numbers) = (left.clone(), first.clone(), numbers.clone());
        clients.spawn(async move {
            while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
                // Nothing that anybody holds.
                let number = numbers.fetch_add(1, Ordering::Relaxed);
                let words = format!("{number} ").repeat(50 + number as usize % 100);
                let got = call(address, "POST", "/v1/completions", &format!("{{\"prompt\":\"{words}\"}}")).await;
                assert_eq!(got.status, 200);
                first.fetch_add(u64::from(got.header("x-podlab-worker") == Some("0")), Ordering::Relaxed);
            }
        });
    }
    while let Some(client) = clients.join_next().await {
        client.expect("it does not panic");
    }
    first.load(Ordering::Relaxed) as f64 / requests as f64
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_go_to_whoever_is_fast() {
    let mocks = [Mock::new(first_after(FAST)).await, Mock::new(first_after(SLOW)).await];
    let mut set_up = settings(&[&mocks[0], &mocks[1]]);
    set_up.router = RouterConfig::new(Strategy::PredictedTtft, 2);
    set_up.router.guessed = Some(RouterConfig::guess(set_up.router.block));
    let gateway = Gateway::new(set_up).await;
    let numbers = Arc::new(AtomicU64::new(0));
    share(&gateway, 100, &numbers).await;
    let fast = share(&gateway, 200, &numbers).await;
    mocks[0].tell(first_after(SLOW));
    mocks[1].tell(first_after(FAST));
    share(&gateway, 200, &numbers).await;
    let slow = share(&gateway, 200, &numbers).await;
    println!(
        "{fast:.2} of the requests go to worker 0 while it is six times as fast, {slow:.2} while it is six times as slow"
    );
    assert!(fast > 0.7, "{fast}");
    assert!(slow < 0.3, "{slow}");
}
