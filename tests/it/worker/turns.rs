//! Turns of a chat: what one computed for its reply, the next one finds.

use super::served::{PAGES, greedy_behind, served, spoken, text};
use crate::emulate::raw::{Response, post};
use serde_json::{Value, json};

const BLOCK: usize = 16;

/// A prompt that no other begins like.
fn ids(seed: u32, count: usize) -> Vec<u32> {
    (0..count as u32).map(|at| 32 + (seed * 29 + at * (7 + seed) + at * at / 3) % 90).collect()
}

fn ask(prompt: &[u32], max_tokens: usize) -> Value {
    json!({"prompt": prompt, "max_tokens": max_tokens, "temperature": 0})
}

fn cached(response: &Response) -> usize {
    let told = response.json()["usage"]["prompt_tokens_details"]["cached_tokens"].as_u64().expect("always told");
    usize::try_from(told).expect("a count of tokens")
}

/// A reply of so many tokens to a prompt, none of which ends it.
fn said(prompt: &[u32], count: usize) -> Vec<u32> {
    let tokens = greedy_behind(prompt.to_vec(), count);
    assert!(tokens.iter().all(|token| *token < 256), "it goes on to its last token");
    tokens
}

#[tokio::test]
async fn the_next_turn_finds_what_this_one_said() {
    // Prompts and replies that end at the end of a block and elsewhere; replies that fill several, one or none.
    let turns: Vec<_> =
        [(70, 60), (64, 32), (64, 33), (79, 1), (79, 2), (10, 40), (1, 100), (33, 5), (48, 16), (47, 17)]
            .into_iter()
            .zip(1..)
            .map(|((prompt, reply), seed)| {
                let first = ids(seed, prompt);
                let reply = said(&first, reply);
                let mut next = [first.clone(), reply.clone()].concat();
                next.extend(ids(90 + seed, 20));
                (first, reply, next)
            })
            .collect();
    for (first, reply, next) in turns {
        let expected = spoken(&said(&next, 8));
        let (replies, _) = served(1, async |address| {
            let one = post(address, "/v1/completions", &ask(&first, reply.len())).await;
            (one, post(address, "/v1/completions", &ask(&next, 8)).await)
        })
        .await;
        assert_eq!(text(&replies.0), spoken(&reply));
        assert_eq!(text(&replies.1), expected, "what is found is what would be computed");
        // The last token said was never computed.
        let computed = first.len() + reply.len() - 1;
        assert_eq!(cached(&replies.1), computed / BLOCK * BLOCK, "{} and {}", first.len(), reply.len());
    }
}

#[tokio::test]
async fn a_reply_that_is_cut_short_is_found_up_to_there_and_by_nobody_else() {
    let first = ids(3, 40);
    let reply = said(&first, 60);
    let whole = spoken(&reply);
    // A text of its middle, where it first appears.
    let stop: String = whole.chars().skip(44).take(3).collect();
    let before = whole.find(&stop).expect("it is a part of it");
    let next = [first.as_slice(), &reply, &ids(99, 4)].concat();
    let (replies, _) = served(1, async |address| {
        let mut cut = ask(&first, 60);
        cut["stop"] = json!([stop]);
        let one = post(address, "/v1/completions", &cut).await;
        let mut salted = ask(&next, 1);
        salted["cache_salt"] = json!("somebody-else");
        (one, post(address, "/v1/completions", &salted).await, post(address, "/v1/completions", &ask(&next, 1)).await)
    })
    .await;
    assert_eq!(text(&replies.0), whole[..before]);
    assert_eq!(cached(&replies.1), 0, "a salt is a space of its own");
    // All of the stop was said, and all but its last token computed.
    let said = replies.0.json()["usage"]["completion_tokens"].as_u64().expect("always told") as usize;
    let computed = first.len() + said - 1;
    assert!(said < 60 && computed / BLOCK > first.len() / BLOCK, "some block of the reply is full");
    assert_eq!(cached(&replies.2), computed / BLOCK * BLOCK);
}

/// Replies that lose their blocks half said, since all together find no room, are found all the same, and are right.
#[tokio::test]
async fn turns_that_crowd_each_other_out_stay_right() {
    let turns: Vec<_> = (0..12)
        .map(|seed| {
            let first = ids(40 + seed, 50 + 5 * seed as usize);
            // It may end by itself.
            let mut reply = greedy_behind(first.clone(), 90);
            reply.truncate(reply.iter().position(|token| *token >= 256).unwrap_or(90));
            let next = [first.as_slice(), &reply, &ids(7, 3)].concat();
            let then = greedy_behind(next.clone(), 4);
            (first, spoken(&reply), spoken(&then), next)
        })
        .collect();
    let tokens: usize = turns.iter().map(|(.., next)| next.len() - 3).sum();
    assert!(2 * tokens > 3 * BLOCK * PAGES as usize, "they do not fit");
    let (replies, stats) = served(1, async |address| {
        let asked = turns.iter().map(|(first, ..)| ask(first, 90));
        let asked = asked.map(|body| tokio::spawn(async move { post(address, "/v1/completions", &body).await }));
        let mut replies = Vec::new();
        for one in asked.collect::<Vec<_>>() {
            replies.push(one.await.expect("it is answered"));
        }
        // Those first that let go last.
        for (.., next) in turns.iter().rev() {
            replies.push(post(address, "/v1/completions", &ask(next, 4)).await);
        }
        replies
    })
    .await;
    let (firsts, nexts) = replies.split_at(turns.len());
    let mut found = 0;
    for ((first, expected, then, _), (one, other)) in turns.iter().zip(firsts.iter().zip(nexts.iter().rev())) {
        assert_eq!(text(one), *expected);
        assert_eq!(text(other), *then);
        found += u32::from(cached(other) > first.len());
    }
    assert!(found > 0, "some of what was said is still there");
    assert_eq!((stats.completed, stats.left), (24, 0));
}

/// Who computes the same blocks as somebody else may end first, and what it leaves behind go while the other is not done.
#[tokio::test]
async fn equal_replies_that_end_in_another_order_stay_right() {
    let first = ids(3, 60);
    let reply = greedy_behind(first.clone(), 300);
    let long = reply.iter().position(|token| *token >= 256).unwrap_or(300);
    assert!(long > 150, "it goes on for a while");
    let others: Vec<_> = (0..6).map(|seed| ids(60 + seed, 150)).collect();
    let others: Vec<_> = others.into_iter().map(|prompt| (greedy_behind(prompt.clone(), 30), prompt)).collect();
    let (replies, stats) = served(1, async |address| {
        let go = |body: Value| tokio::spawn(async move { post(address, "/v1/completions", &body).await });
        // The one that is to be there longest comes first, and has computed each block before the others have.
        let mut asked = vec![go(ask(&first, long)), go(ask(&first, 40)), go(ask(&first, 90))];
        // What is free goes to these, and then what nobody holds.
        asked.extend(others.iter().map(|(_, prompt)| go(ask(prompt, 30))));
        let mut twice = ask(&first, long);
        twice["n"] = json!(2);
        asked.push(go(twice));
        let mut replies = Vec::new();
        for one in asked {
            replies.push(one.await.expect("it is answered"));
        }
        replies.push(post(address, "/v1/completions", &ask(&first, long)).await);
        replies
    })
    .await;
    for (reply_to, length) in [(0, long), (1, 40), (2, 90), (9, long), (10, long)] {
        assert_eq!(text(&replies[reply_to]), spoken(&reply[..length]), "reply {reply_to}");
    }
    let second = replies[9].json()["choices"][1]["text"].as_str().map(str::to_owned);
    assert_eq!(second, Some(spoken(&reply[..long])), "the second choice is as likely");
    for ((reply, _), got) in others.iter().zip(&replies[3..]) {
        assert_eq!(text(got), spoken(reply));
    }
    assert_eq!(stats.left, 0);
}
