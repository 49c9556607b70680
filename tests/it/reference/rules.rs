//! Each rule of `sim::replica` as a story: a worker with blocks of 4 tokens, requests, and the passes that follow,
//! worked out by hand.
//!
//! Passes stand between slashes. Of each: who was preempted while it started, chunks of prompts as `who from + tokens`,
//! who decodes, and who ends with it.

use kvcache::{Blocks, CacheConfig, ChainBuilder, Duplicates, RequestId, Time, Tokens};
use sim::replica::{EngineConfig, Output, Replica};

/// A request: the pass during which it arrives (0: before all), its prompt, its reply's tokens. A prompt is written
/// as `s8 a4`: 8 tokens of the content s, then 4 of a. The request is called after the last content.
type Request<'a> = (u64, &'a str, u32);

fn engine(budget: u32, blocks: u32) -> EngineConfig {
    EngineConfig {
        max_num_seqs: budget.min(8),
        max_num_batched_tokens: Tokens(budget),
        max_model_len: Tokens(blocks * 4),
        chunked_prefill: true,
        long_prefill_token_threshold: None,
        max_num_partial_prefills: 1,
        reserve_full_isl: false,
        async_scheduling: false,
        max_repeats: 1,
        record_work: true,
        tiers: None,
        cache: CacheConfig {
            capacity: Blocks(blocks),
            block: Tokens(4),
            prefix_caching: true,
            duplicates: Duplicates::Keep,
            events: false,
        },
    }
}

fn name(prompt: &str) -> char {
    prompt.split(' ').next_back().and_then(|content| content.chars().next()).expect("a prompt has contents")
}

fn submit(replica: &mut Replica, requests: &[Request<'_>], pass: u64) {
    for (index, (_, prompt, output)) in requests.iter().enumerate().filter(|(_, (at, _, _))| *at == pass) {
        let mut chain = ChainBuilder::new();
        for content in prompt.split(' ') {
            let (what, tokens) = content.split_at(1);
            chain.push(what.bytes().map(u64::from).sum(), Tokens(tokens.parse().expect("a number of tokens")));
        }
        let asked = chain.pieces().last().map_or(Tokens::ZERO, |piece| piece.end);
        chain.push(1000 + index as u64, Tokens(*output));
        replica
            .submit(RequestId(index as u64), chain.pieces(), asked, Tokens(*output), Time::ZERO)
            .expect("it can be served");
    }
}

/// Serves `requests` and compares the passes with `expected`.
fn check(engine: EngineConfig, requests: &[Request<'_>], expected: &str) {
    let mut replica = Replica::new(engine).expect("valid settings");
    let who = |request: RequestId| name(requests[request.0 as usize].1);
    let mut lines = Vec::new();
    submit(&mut replica, requests, 0);
    let mut now = Time::ZERO;
    while replica.start(now).is_some() {
        replica.check();
        let mut words = Vec::new();
        while let Some(output) = replica.poll_output() {
            if let Output::Preempted { request } = output {
                words.push(format!("drop:{}", who(request)));
            }
        }
        let (work, times) = replica.work().expect("a pass runs");
        assert_eq!(times, 1);
        words.extend(work.chunks.iter().map(|(request, from, new)| format!("{}{}+{}", who(*request), from.0, new.0)));
        words.extend(work.decoding.iter().map(|request| who(*request).to_string()));
        submit(&mut replica, requests, lines.len() as u64 + 1);
        now = Time(now.0 + 10);
        replica.ended(now);
        replica.check();
        while let Some(output) = replica.poll_output() {
            if let Output::Finished { request, at } = output {
                assert_eq!(at, now);
                words.push(format!("end:{}", who(request)));
            }
        }
        lines.push(words.join(" "));
    }
    assert_eq!(replica.live(), 0, "everything ends");
    let expected: Vec<_> = expected.split(" / ").collect();
    assert_eq!(lines, expected);
}

#[test]
fn token_budget() {
    check(engine(8, 100), &[(0, "a6", 2), (0, "b6", 2)], "a0+6 b0+2 / b2+4 a end:a / b end:b");
}

#[test]
fn running_first() {
    // What a leaves goes to b, which came before c; b itself goes first once it runs.
    check(
        engine(8, 100),
        &[(0, "a6", 3), (1, "b20", 1), (1, "c4", 1)],
        "a0+6 / b0+7 a / b7+7 a end:a / b14+6 c0+2 end:b / c2+2 end:c",
    );
    let two_seats = EngineConfig { max_num_seqs: 2, ..engine(8, 100) };
    check(two_seats, &[(0, "a2", 2), (0, "b2", 3), (0, "c2", 1)], "a0+2 b0+2 / a b end:a / c0+2 b end:b end:c");
}

#[test]
fn chunked_prefill() {
    check(engine(8, 100), &[(0, "a20", 2)], "a0+8 / a8+8 / a16+4 / a end:a");
    let whole = EngineConfig { chunked_prefill: false, ..engine(40, 10) };
    let cache = CacheConfig { capacity: Blocks(100), ..whole.cache };
    check(
        EngineConfig { cache, ..whole },
        &[(0, "a30", 2), (0, "b20", 1), (0, "c4", 1)],
        "a0+30 / b0+20 c0+4 a end:a end:b end:c",
    );
}

#[test]
fn long_prefill_token_threshold() {
    let capped = EngineConfig { long_prefill_token_threshold: Some(Tokens(3)), ..engine(8, 100) };
    check(
        capped,
        &[(0, "a8", 1), (0, "b4", 1), (0, "c4", 1)],
        "a0+3 b0+3 c0+2 / a3+3 b3+1 c2+2 end:b end:c / a6+2 end:a",
    );
}

#[test]
fn max_num_partial_prefills_sets_the_threshold_to_4_percent_of_max_model_len() {
    let partial = EngineConfig { max_num_partial_prefills: 2, max_model_len: Tokens(100), ..engine(8, 100) };
    check(partial, &[(0, "a10", 1), (0, "b6", 1)], "a0+4 b0+4 / a4+4 b4+2 end:b / a8+2 end:a");
    // One that is given stands; and 1 sets nothing.
    check(
        EngineConfig { long_prefill_token_threshold: Some(Tokens(6)), ..partial },
        &[(0, "a10", 1), (0, "b6", 1)],
        "a0+6 b0+2 / a6+4 b2+4 end:a end:b",
    );
    check(
        EngineConfig { max_num_partial_prefills: 1, ..partial },
        &[(0, "a10", 1), (0, "b6", 1)],
        "a0+8 / a8+2 b0+6 end:a end:b",
    );
    // Of a very short model, at least one token.
    check(EngineConfig { max_model_len: Tokens(20), ..partial }, &[(0, "a3", 1)], "a0+1 / a1+1 / a2+1 end:a");
}

#[test]
fn lifo_preemption_with_recompute() {
    // In the third pass a needs a third block. b, admitted last, gives up its two; the full one stays findable, but a
    // and what b needs do not fit together until a ends. Then b computes again what it had emitted.
    check(engine(16, 4), &[(0, "a7", 4), (0, "b6", 4)], "a0+7 b0+6 / a b / drop:b a / a end:a / b4+4 / b end:b");
    // Here b itself finds none. a then evicts the later one of its two full blocks.
    check(
        engine(16, 4),
        &[(0, "a6", 6), (0, "b7", 4)],
        "a0+6 b0+7 / a b / drop:b a / a / a / a end:a / b4+5 / b end:b",
    );
    // b has waited before c came, so it goes first again.
    check(
        engine(16, 4),
        &[(0, "a7", 3), (0, "b3", 6), (2, "c2", 1)],
        "a0+7 b0+3 / a b / drop:b a end:a / b4+1 c0+2 end:c / b / b / b end:b",
    );
}

#[test]
fn a_pass_that_preempted_admits_nobody() {
    // b leaves two blocks and a takes one: a first chunk of b would fit at once, but b waits for the next pass.
    let engine = engine(5, 4);
    let cache = CacheConfig { prefix_caching: false, ..engine.cache };
    check(
        EngineConfig { cache, ..engine },
        &[(0, "a7", 4), (0, "b10", 2)],
        "a0+5 / a5+2 b0+3 / b3+4 a / drop:b a / b0+4 a end:a / b4+5 / b9+1 / b end:b",
    );
}

#[test]
fn last_prompt_token_recomputed() {
    // All 8 tokens are there. One must be computed to sample from, and with it its block.
    check(engine(30, 100), &[(0, "s8", 1), (1, "s8", 1)], "s0+8 end:s / s4+4 end:s");
    check(engine(30, 100), &[(0, "s8", 1), (1, "s8 b1", 1)], "s0+8 end:s / b8+1 end:b");
}

#[test]
fn visible_when_the_pass_ends() {
    check(
        engine(30, 100),
        &[(0, "s8 a4", 2), (0, "s8 b4", 1), (1, "s8 c4", 1)],
        "a0+12 b0+12 end:b / c8+4 a end:a end:c",
    );
    // A chunk at a time, full blocks only.
    check(engine(10, 100), &[(0, "s12 a4", 1), (1, "s12 c1", 1)], "a0+10 / a10+6 c8+4 end:a / c12+1 end:c");
    // Planned while the pass that computes them runs, b does not see them.
    let ahead = EngineConfig { async_scheduling: true, ..engine(12, 100) };
    check(ahead, &[(0, "s8 a4", 1), (0, "s8 b4", 1), (0, "s8 c4", 1)], "a0+12 end:a / b0+12 end:b / c8+4 end:c");
}

#[test]
fn scheduler_reserve_full_isl() {
    let requests = [(0, "a8", 5), (0, "b16", 1)];
    // b starts because its first chunk fits, and loses that.
    check(engine(8, 5), &requests, "a0+8 / b0+7 a / drop:b a / a / a end:a / b4+8 / b12+4 end:b");
    check(
        EngineConfig { reserve_full_isl: true, ..engine(8, 5) },
        &requests,
        "a0+8 / a / a / a / a end:a / b0+8 / b8+8 end:b",
    );
}

#[test]
fn async_scheduling() {
    // b arrives while the first pass runs, when the second one is planned already.
    let requests = [(0, "a4", 2), (1, "b4", 1)];
    check(engine(8, 10), &requests, "a0+4 / b0+4 a end:a end:b");
    check(EngineConfig { async_scheduling: true, ..engine(8, 10) }, &requests, "a0+4 / a end:a / b0+4 end:b");
    // a needs the block that b lets go of when the first pass ends. Planned before that, it finds none and is preempted.
    let requests = [(0, "a4", 2), (0, "b4", 1)];
    check(engine(8, 2), &requests, "a0+4 b0+4 end:b / a end:a");
    check(EngineConfig { async_scheduling: true, ..engine(8, 2) }, &requests, "drop:a a0+4 b0+4 end:b / a4+1 end:a");
}

#[test]
fn head_of_line() {
    // c would fit beside a, but b came first.
    check(engine(32, 5), &[(0, "a12", 3), (0, "b12", 1), (0, "c4", 1)], "a0+12 / a / a end:a / b0+12 c0+4 end:b end:c");
}
