//! L2 in a real Redis: child processes of `redis-server` on loopback, one or a cluster, behind workers that compute.

mod server; // the child processes
mod shared; // what one stores another loads
mod spoiled; // what is not the block is a miss
mod down; // a Redis that is away, silent or something else
mod process; // two processes of `podlab serve`

use super::served::{greedy_behind, served_by, spoken, text};
use super::tiers::{ROOMY, Tiers, cluster};
use crate::emulate::raw::{call, post};
use driver::emulate::candle::Loaded;
use driver::l2::{Place, Remote, Terms};
use kvcache::{BreakerConfig, Span, Tokens};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use worker::engine::Memory;

/// Machines that run tests are busy: where nothing is wrong, nobody is in a hurry.
pub(super) const PATIENT: Terms = Terms { silence: Duration::from_secs(5), in_flight: 4, ttl: None };

/// No L1, and a device that holds little more than one long prompt: what is asked for again comes from L2.
const BARE: Tiers = Tiers { host: 0, tails: false, ..ROOMY };

/// Lines that were told to people.
type Told = Arc<Mutex<Vec<String>>>;

/// Serves the tiny model over the Redis at `url` while `clients` ask; gives what was told, too.
async fn serving<T>(
    url: &str,
    (workers, tiers, terms): (u16, Tiers, Terms),
    clients: impl AsyncFnOnce(SocketAddr) -> T,
) -> (T, Vec<String>) {
    let told = Told::default();
    let hears = Arc::clone(&told);
    let tell = move |line: &str| hears.lock().expect("nobody panics").push(line.to_owned());
    let remote = Remote::new(Place::parse(url).expect("a URL"), terms, tell).expect("a thread");
    let silence = Span(terms.silence.as_nanos() as u64 * 1000);
    let breaker = BreakerConfig { failures: 3, probe_every: Span::from_secs(2), silence };
    let cluster = cluster(workers, Tiers { breaker, ..tiers }).with_pool_elsewhere();
    let memory = Memory { block: Tokens(16), pages: tiers.pages };
    let computed = Loaded::tiny(1).workers_over(workers, memory, 1, Some(remote));
    let (answer, stats) = served_by(cluster, computed, clients).await;
    assert_eq!(stats.left, 0, "no request is left");
    let told = told.lock().expect("nobody panics").clone();
    (answer, told)
}

/// A prompt of so many tokens, one a byte, that begins like no other number's.
fn prompt(number: u32, length: usize) -> String {
    let text: String =
        (0..).map(|word: u32| format!("{number} {} ", word.wrapping_mul(number + 7) % 911)).take(length).collect();
    text[..length].to_owned()
}

async fn ask(address: SocketAddr, prompt: &str) -> Value {
    let body = json!({"prompt": prompt, "max_tokens": 8, "temperature": 0});
    let reply = post(address, "/v1/completions", &body).await;
    assert_eq!(text(&reply), cold(prompt), "a prompt of {} tokens has the words of a cold run", prompt.len());
    reply.json()
}

/// What a worker says that has no cache.
fn cold(prompt: &str) -> String {
    spoken(&greedy_behind(prompt.bytes().map(u32::from).collect(), 8))
}

/// Prompt tokens that came from L2, as the reply tells.
fn from_l2(reply: &Value) -> u64 {
    reply["usage"]["podlab"]["cached_l2_tokens"].as_u64().unwrap_or_else(|| panic!("no tier is told of: {reply}"))
}

/// A counter of `/metrics`, whose line has all of `parts`.
async fn counter(address: SocketAddr, parts: &[&str]) -> u64 {
    let body = call(address, "GET", "/metrics", "").await.body;
    let line = body.lines().find(|line| !line.starts_with('#') && parts.iter().all(|part| line.contains(part)));
    line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or_else(|| panic!("no {parts:?} in {body}"))
}

/// Waits until the counter is `least`.
async fn reaches(address: SocketAddr, parts: &[&str], least: u64) {
    for _ in 0..400 {
        if counter(address, parts).await >= least {
            return;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("{parts:?} never reaches {least}: {}", counter(address, parts).await);
}

const PUT: [&str; 2] = ["podlab:l2_objects_total", "what=\"put\""];
const REFUSED: [&str; 2] = ["podlab:l2_objects_total", "what=\"refused\""];
const FAILED: [&str; 1] = ["podlab:l2_failures_total"];
