//! What one stores another loads, and it is the same bytes.

use super::server::{Server, cluster};
use super::{BARE, PATIENT, PUT, ask, from_l2, prompt, reaches, serving};
use crate::worker::redis::counter;
use driver::l2::Terms;
use std::collections::BTreeMap;
use std::time::Duration;

/// Lengths around the ends of blocks and chunks; the device holds 704 tokens.
const LENGTHS: [usize; 12] = [1, 15, 16, 17, 31, 32, 33, 63, 64, 65, 257, 600];

/// Full chunks of a prompt that are not its last token's.
fn loadable(length: usize) -> u64 {
    let chunks = length / 32 * 32;
    chunks.min(length - 1) as u64
}

/// Every prompt through one stack, and through another that has never seen it, from the Redis between them.
async fn handed_on(url: &str, workers: u16) {
    let chunks: usize = LENGTHS.iter().map(|length| length / 32).sum();
    let (replies, told) = serving(url, (workers, BARE, PATIENT), async |address| {
        let mut replies = Vec::new();
        for (number, length) in LENGTHS.into_iter().enumerate() {
            let reply = ask(address, &prompt(number as u32, length)).await;
            assert_eq!(from_l2(&reply), 0, "nobody has stored it");
            replies.push(reply);
        }
        reaches(address, &PUT, chunks as u64).await;
        replies
    })
    .await;
    assert_eq!(told, Vec::<String>::new());
    let ((), told) = serving(url, (workers, BARE, PATIENT), async |address| {
        for (number, length) in LENGTHS.into_iter().enumerate() {
            let reply = ask(address, &prompt(number as u32, length)).await;
            assert_eq!(from_l2(&reply), loadable(length), "of {length} tokens");
            assert_eq!(reply["choices"][0]["text"], replies[number]["choices"][0]["text"]);
            // Half of it, and something else behind: a partial hit.
            let other = format!("{}!{}", &prompt(number as u32, length)[..length / 2], prompt(77, 40));
            let reply = ask(address, &other).await;
            assert!(reply["usage"]["prompt_tokens"].as_u64() == Some(other.len() as u64));
        }
        assert_eq!(counter(address, &super::REFUSED).await, 0);
    })
    .await;
    assert_eq!(told, Vec::<String>::new());
}

#[tokio::test]
async fn what_one_stack_stores_another_loads_word_for_word() {
    let Some(server) = Server::start("redis-shared", &[]) else { return };
    handed_on(&server.url(), 1).await;
}

#[tokio::test]
async fn a_cluster_of_three_is_as_good_as_one_server() {
    let Some(servers) = cluster("redis-cluster") else { return };
    // One of them is enough to find the others.
    handed_on(&servers[1].url(), 2).await;
    let shares: Vec<usize> = servers.iter().map(|server| server.keys().len()).collect();
    assert!(shares.iter().all(|share| *share > 3), "keys are spread: {shares:?}");
}

/// Two stacks that never hear of each other store the very bytes under the very names.
#[tokio::test]
async fn stacks_store_the_same_bytes() {
    let mut stored: Vec<BTreeMap<String, Vec<u8>>> = Vec::new();
    for name in ["redis-bytes-a", "redis-bytes-b"] {
        let Some(server) = Server::start(name, &[]) else { return };
        serving(&server.url(), (1, BARE, PATIENT), async |address| {
            ask(address, &prompt(3, 330)).await;
            reaches(address, &PUT, 10).await;
        })
        .await;
        stored.push(server.keys().into_iter().map(|key| (key.clone(), server.get(&key))).collect());
    }
    assert_eq!(stored[0].len(), 10);
    assert!(stored[0] == stored[1], "names or bytes differ");
}

#[tokio::test]
async fn what_nobody_uses_for_its_time_to_live_is_gone() {
    let Some(server) = Server::start("redis-ttl", &[]) else { return };
    let terms = Terms { ttl: Some(Duration::from_secs(60)), ..PATIENT };
    serving(&server.url(), (1, BARE, terms), async |address| {
        ask(address, &prompt(1, 100)).await;
        reaches(address, &PUT, 3).await;
    })
    .await;
    let lives = |key: &String| -> i64 { redis::cmd("PTTL").arg(key).query(&mut server.connection()).expect("a time") };
    let keys = server.keys();
    for key in &keys {
        redis::cmd("PEXPIRE").arg(key).arg(20_000).exec(&mut server.connection()).expect("it takes it");
    }
    serving(&server.url(), (1, BARE, terms), async |address| {
        assert_eq!(from_l2(&ask(address, &prompt(1, 100)).await), 96);
    })
    .await;
    let left: Vec<i64> = keys.iter().map(lives).collect();
    assert!(left.iter().all(|left| (30_000..=60_000).contains(left)), "a use renews it: {left:?}");
}
