//! What is not the block is a miss: it is counted, goes, and is computed again.

use super::server::Server;
use super::{BARE, PATIENT, PUT, REFUSED, ask, counter, from_l2, prompt, reaches, serving};
use worker::block::HEADER;

/// Bytes of a block of 16 tokens of the tiny model, and of a chunk of two.
const BLOCK: usize = HEADER + 2 * 2 * 2 * 64 * 16 * 2;

/// What was done to the first chunk of a prompt, of which there are three.
enum Spoil {
    Flip(usize),
    Cut(usize),
    Longer,
    Swap,
    OtherType,
}

fn spoil(server: &Server, keys: &[String], values: &[Vec<u8>], how: &Spoil) {
    let mut value = values[0].clone();
    match how {
        Spoil::Flip(bit) => value[bit / 8] ^= 1 << (bit % 8),
        Spoil::Cut(length) => value.truncate(*length),
        Spoil::Longer => value.push(0),
        Spoil::Swap => {
            server.set(&keys[1], &values[0]);
            value.clone_from(&values[1]);
        }
        Spoil::OtherType => {
            redis::cmd("DEL").arg(&keys[0]).exec(&mut server.connection()).expect("it goes");
            redis::cmd("RPUSH").arg(&keys[0]).arg("x").exec(&mut server.connection()).expect("a list");
            return;
        }
    }
    server.set(&keys[0], &value);
}

#[tokio::test]
async fn a_block_that_is_not_what_it_should_be_is_a_miss_and_goes() {
    let Some(server) = Server::start("redis-spoiled", &[]) else { return };
    // Three prompts that begin alike store one, two and three chunks: that tells which is which.
    let whole = prompt(9, 100);
    let mut keys: Vec<String> = Vec::new();
    for chunks in 1..=3 {
        serving(&server.url(), (1, BARE, PATIENT), async |address| {
            ask(address, &whole[..chunks * 32 + 1]).await;
            reaches(address, &PUT, 1).await;
        })
        .await;
        let new: Vec<String> = server.keys().into_iter().filter(|key| !keys.contains(key)).collect();
        assert_eq!(new.len(), 1, "one key a chunk");
        keys.extend(new);
    }
    let values: Vec<Vec<u8>> = keys.iter().map(|key| server.get(key)).collect();
    assert_eq!(values[0].len(), 2 * BLOCK);

    let header = (0..HEADER).map(|byte| Spoil::Flip(byte * 8 + byte % 8));
    let second = (0..HEADER).step_by(7).map(|byte| Spoil::Flip((BLOCK + byte) * 8 + byte % 8));
    let payload = (0..40).map(|at| Spoil::Flip((HEADER + at * (BLOCK - HEADER) / 40) * 8 + at % 8));
    let cuts = [0, 1, 4, 6, 8, HEADER - 8, HEADER, BLOCK - 1, BLOCK, BLOCK + HEADER, 2 * BLOCK - 1].map(Spoil::Cut);
    let all: Vec<Spoil> =
        header.chain(second).chain(payload).chain(cuts).chain([Spoil::Longer, Spoil::Swap, Spoil::OtherType]).collect();
    println!("{} ways to spoil a block", all.len());
    serving(&server.url(), (1, BARE, PATIENT), async |address| {
        let mut refused = 0;
        for (number, how) in all.iter().enumerate() {
            for (key, value) in keys.iter().zip(&values) {
                server.set(key, value);
            }
            spoil(&server, &keys, &values, how);
            // Out with it: this takes all of the device.
            ask(address, &prompt(20 + number as u32 % 2, 692)).await;
            let reply = ask(address, &whole).await;
            assert_eq!(from_l2(&reply), 0, "spoiled in way {number}");
            // An empty value is as good as none.
            refused += u64::from(!matches!(how, Spoil::Cut(0)));
            reaches(address, &REFUSED, refused).await;
            assert_eq!(counter(address, &REFUSED).await, refused, "way {number}");
            // It was put there again; so were the two others' 21 chunks when they came for the first time.
            reaches(address, &PUT, 21 * (number as u64 + 1).min(2) + number as u64 + 1).await;
        }
        assert!(server.get(&keys[0]) == values[0], "it is what it was");
        server.set(&keys[1], &values[1]);
        server.set(&keys[2], &values[2]);
        ask(address, &prompt(20 + all.len() as u32 % 2, 692)).await;
        assert_eq!(from_l2(&ask(address, &whole).await), 96);
    })
    .await;
}

#[tokio::test]
async fn what_was_spoiled_is_put_there_again() {
    let Some(server) = Server::start("redis-again", &[]) else { return };
    let text = prompt(4, 70);
    serving(&server.url(), (1, BARE, PATIENT), async |address| {
        ask(address, &text).await;
        reaches(address, &PUT, 2).await;
    })
    .await;
    let values: Vec<(String, Vec<u8>)> = server.keys().into_iter().map(|key| (key.clone(), server.get(&key))).collect();
    for (key, value) in &values {
        let mut wrong = value.clone();
        wrong[BLOCK + HEADER] ^= 1;
        server.set(key, &wrong);
    }
    serving(&server.url(), (1, BARE, PATIENT), async |address| {
        assert_eq!(from_l2(&ask(address, &text).await), 0);
        // The first is known to be wrong, of the second nobody has looked at more than its length.
        reaches(address, &PUT, 1).await;
    })
    .await;
    let again = |(key, value): &(String, Vec<u8>)| server.get(key) == *value;
    assert_eq!(values.iter().filter(|value| again(value)).count(), 1);
}

/// Another model, and other weights, ask for other names, so they find nothing; and a value of theirs is none.
#[tokio::test]
async fn blocks_of_another_model_are_never_looked_at() {
    let Some(server) = Server::start("redis-model", &[]) else { return };
    let text = prompt(5, 70);
    serving(&server.url(), (1, BARE, PATIENT), async |address| {
        ask(address, &text).await;
        reaches(address, &PUT, 2).await;
    })
    .await;
    // As another model would have named them.
    for key in server.keys() {
        let (front, rest) = key.split_at("podlab:kv:1:".len());
        assert_eq!(front, "podlab:kv:1:");
        let renamed = format!("{front}{}{}", "0".repeat(32), &rest[32..]);
        redis::cmd("RENAME").arg(&key).arg(&renamed).exec(&mut server.connection()).expect("renamed");
    }
    serving(&server.url(), (1, BARE, PATIENT), async |address| {
        assert_eq!(from_l2(&ask(address, &text).await), 0);
        assert_eq!(counter(address, &REFUSED).await, 0);
    })
    .await;
}
