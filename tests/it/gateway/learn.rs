//! `predicted-ttft` before workers whose speed nobody told: first tokens tell it. (How they tell that it has changed: `router::learned`.)

use super::world::{Act, Gateway, Mock, events, settings};
use crate::emulate::raw::call;
use router::{RouterConfig, Strategy};
use std::time::Duration;

const SLOW: Duration = Duration::from_millis(60);
const FAST: Duration = Duration::from_millis(10);

/// A worker that computes one prompt at a time, each in so long.
fn first_after(gap: Duration) -> Act {
    Act::Turn(events(1), gap)
}

/// The share of so many requests, one after the other, that goes to worker 0. Nobody ever waits, so only what work takes at a worker
/// tells them apart: who believes that it takes the same at both sends half of them to each.
async fn share(gateway: &Gateway, requests: u64, number: &mut u64) -> f64 {
    let mut first = 0;
    for _ in 0..requests {
        // Nothing that anybody holds.
        *number += 1;
        let words = format!("{number} ").repeat(50 + *number as usize % 100);
        let got = call(gateway.address, "POST", "/v1/completions", &format!("{{\"prompt\":\"{words}\"}}")).await;
        assert_eq!(got.status, 200);
        first += u64::from(got.header("x-podlab-worker") == Some("0"));
    }
    first as f64 / requests as f64
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_go_to_whoever_is_fast() {
    let mocks = [Mock::new(first_after(FAST)).await, Mock::new(first_after(SLOW)).await];
    let mut set_up = settings(&[&mocks[0], &mocks[1]]);
    set_up.router = RouterConfig::new(Strategy::PredictedTtft, 2);
    set_up.router.guessed = Some(RouterConfig::guess(set_up.router.block));
    let gateway = Gateway::new(set_up).await;
    let mut number = 0;
    share(&gateway, 40, &mut number).await;
    let fast = share(&gateway, 60, &mut number).await;
    println!("{fast:.2} of the requests go to the worker that is six times as fast");
    assert!(fast > 0.9, "{fast}");
}
