//! Who goes away is computed no further, in the middle of a pass too; and of what was given up there, nothing is found.

use super::bench::{Bench, Sequence, model, prompt};
use super::files::smollm_file;
use super::script::{Linear, engine};
use super::served::{completion, greedy_behind, metrics, served_model, spoken, text};
use crate::emulate::raw::{Call, post, request};
use driver::emulate::candle::Loaded;
use kvcache::{Duplicates, RequestId, Tokens};
use router::{Router, RouterConfig, Strategy};
use serde_json::json;
use sim::cluster::Cluster;
use sim::replica::{EngineConfig, Work};
use sim::streams::Streams;
use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant};
use worker::engine::{Ask, Brought, Memory, Reply, Sampling, Worker};
use worker::kernel::Level;
use worker::language::Language;
use worker::model::{Part, Rope, Shape, Want, random};

const BLOCK: Tokens = Tokens(16);
/// How often a pass of the tiny model asks: four times in each of two layers.
const ASKED: usize = 8;

/// Given up at any of the places where a pass looks up, and computed again on the same pages: the bits of a pass that nobody
/// disturbed. Who is computed beside it notices nothing, wherever it gives up.
#[test]
fn what_was_given_up_leaves_no_trace() {
    let (tokens, others) = (prompt(70, 257, 21), prompt(40, 257, 22));
    let mut bench = Bench::new(&model(), 16, 8, 1);
    let whole = Sequence::new(tokens.clone(), 0..5);
    let expected = bench.pass(&mut [(&mut whole.clone(), 70)]);
    let beside = bench.pass(&mut [(&mut Sequence::new(others.clone(), 5..8), 40)]);
    for patience in 0..=ASKED {
        let mut bench = Bench::new(&model(), 16, 8, 1);
        let mut sequence = whole.clone();
        bench.pass(&mut [(&mut sequence, 20)]);
        let part = |range: core::ops::Range<usize>| Part {
            tokens: &tokens[range.clone()],
            start: range.start,
            pages: &sequence.pages,
            want: Want::Last,
        };
        let (asked, mut told) = (Cell::new(0), 0);
        let wanted = |_| asked.replace(asked.get() + 1) < patience;
        let Bench { model, compute, pages } = &mut bench;
        let computed = model.forward_while(compute, pages, &[part(20..70)], wanted, |_, _, _| told += 1);
        assert_eq!((computed[0], told), (patience == ASKED, usize::from(patience == ASKED)), "after {patience} looks");
        assert_eq!(asked.get(), (patience + 1).min(ASKED), "it ended as soon as it was told");
        // The other's rows keep the pass up.
        let mut other = Sequence::new(others.clone(), 5..8);
        let theirs = Part { tokens: &others, start: 0, pages: &other.pages, want: Want::Last };
        let mut bits = Vec::new();
        let scores = |part: usize, _: usize, values: &[f32]| {
            if part == 1 {
                bits = values.iter().map(|value| value.to_bits()).collect();
            }
        };
        let computed = model.forward_while(compute, pages, &[part(20..70), theirs], |part| part == 1, scores);
        assert!(computed[1] && bits == beside[0], "after {patience} looks");
        other.computed = 40;
        // And again, wholly.
        assert!(bench.pass(&mut [(&mut sequence, 50)]) == expected, "after {patience} looks");
    }
}

/// Rows go through the layers 256 at a time: of a long part that was given up, no more rows are begun.
#[test]
fn no_further_rows_of_it_are_begun() {
    let tokens = prompt(600, 257, 23);
    let sequence = Sequence::new(tokens.clone(), 0..38);
    let part = Part { tokens: &tokens, start: 0, pages: &sequence.pages, want: Want::All };
    let mut bench = Bench::new(&model(), 16, 38, 1);
    let Bench { model, compute, pages } = &mut bench;
    let (asked, mut told) = (Cell::new(0), 0);
    let wanted = |_| asked.replace(asked.get() + 1) < ASKED + 3;
    let computed = model.forward_while(compute, pages, &[part], wanted, |_, _, _| told += 1);
    assert_eq!((computed[0], told, asked.get()), (false, 256, ASKED + 4));
}

#[test]
fn the_executor_tells_whom_it_left_out() {
    let memory = Memory { block: BLOCK, pages: 20 };
    let mut worker = Worker::new(model(), memory, Level::detect(), 1).expect("threads start");
    let ask = |seed| {
        let tokens = prompt(40, 257, seed);
        Ask { tokens, pieces: Vec::new(), reply: Reply::Drawn(Sampling::GREEDY) }
    };
    let (gone, kept) = (RequestId(1), RequestId(2));
    let chunk = |request| (request, Tokens::ZERO, Tokens(40));
    for request in [gone, kept] {
        worker.submit(request, Ask { pieces: pieces(40), ..ask(request.0) });
    }
    let alone = Work { chunks: vec![chunk(gone)], decoding: Vec::new() };
    let brought = worker.run_while(&alone, |request| request != gone, |_, _| panic!("there are no scores"));
    assert_eq!(brought, Brought { emitted: Vec::new(), left_out: vec![gone] });
    assert_eq!((worker.tables().filled(gone), worker.tables().full(gone).0), (Tokens::ZERO, 0));
    worker.forget(gone);
    let brought = worker.run(&Work { chunks: vec![chunk(kept)], decoding: Vec::new() });
    let expected = greedy_behind(ask(kept.0).tokens, 1);
    assert_eq!(brought, [(kept, expected[0])]);
}

pub(super) fn pieces(tokens: u32) -> Vec<kvcache::Piece> {
    vec![kvcache::Piece { key: kvcache::PieceKey::ROOT, end: Tokens(tokens + 4) }]
}

/// A cluster of one worker, whose passes compute so many tokens.
fn cluster(tokens: u32, pages: u32) -> Cluster {
    let engine = EngineConfig {
        max_num_batched_tokens: Tokens(tokens),
        max_model_len: Tokens(1500),
        ..engine(pages, Duplicates::Keep)
    };
    let router = Router::new(RouterConfig::new(Strategy::RoundRobin, 1));
    Cluster::new(1, engine, router, Box::new(Linear), None).expect("valid")
}

/// SmolLM2, or where its file is not there, a random model of its size that speaks bytes.
fn smollm() -> Loaded {
    if let Some(path) = smollm_file() {
        return Loaded::read(&path).expect("it is read");
    }
    let rope = Rope::plain(100_000.0, 64);
    let (layers, hidden, inner, heads, kv_heads, dim, vocab) = (30, 576, 1536, 9, 3, 64, 49_152);
    let shape = Shape { layers, hidden, inner, heads, kv_heads, dim, vocab, eps: 1e-5, context: 8192, rope };
    Loaded { model: Arc::new(random(shape, 1).expect("it can be computed")), language: Language::bytes() }
}

/// Opens a stream for a long prompt, leaves while that is being computed, and gives how long it took until nothing was.
async fn leave(address: std::net::SocketAddr, prompt: &str, after: Duration) -> Duration {
    let mut ask = completion(prompt, 200);
    ask["stream"] = json!(true);
    let call = Call::open(address, request("POST", "/v1/completions", "", &ask.to_string()).as_bytes()).await;
    tokio::time::sleep(after).await;
    drop(call);
    let began = Instant::now();
    while !metrics(address).await.body.contains("podlab:requests_in_flight{model_name=\"tiny\"} 0") {
        assert!(began.elapsed() < Duration::from_secs(20), "it is computed for nobody");
    }
    began.elapsed()
}

/// A prompt of so many bytes that no other begins like.
fn long_prompt(number: usize, bytes: usize) -> String {
    let words = ["cache", "prefix", "router", "block", "token", "layer", "worker", "queue"];
    let mut draws = Streams::new(number as u64).named("words");
    let mut text = format!("{number}:");
    while text.len() < bytes {
        text.push(' ');
        text.push_str(words[draws.below(8) as usize]);
    }
    text
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disconnect_ends_a_pass_of_smollm2_within_a_tenth_of_a_second() {
    let loaded = smollm();
    // Four hundred tokens; where bytes are tokens, as many of these.
    let bytes = if loaded.model.identity.name == "random" { 400 } else { 2400 };
    for tokens in [64, 256] {
        let memory = Memory { block: BLOCK, pages: 100 };
        let computed = loaded.workers(1, memory, 1);
        let ((mut spans, whole), stats) =
            served_model(&loaded, cluster(tokens, 100), computed, None, async |address| {
                // How long the prompt takes where somebody waits for it.
                let began = Instant::now();
                assert_eq!(post(address, "/v1/completions", &completion(&long_prompt(99, bytes), 1)).await.status, 200);
                let whole = began.elapsed();
                let mut draws = Streams::new(5).named("moments");
                let mut spans = Vec::new();
                for round in 0..30 {
                    // In the middle of a pass, most likely: what is between passes takes no time.
                    let after = whole.mul_f64(0.05 + 0.4 * draws.unit());
                    spans.push(leave(address, &long_prompt(round, bytes), after).await);
                }
                (spans, whole)
            })
            .await;
        spans.sort_unstable();
        let (median, longest) = (spans[15], spans[29]);
        println!(
            "{} with {tokens} tokens a pass, a prompt of {whole:?}: from disconnect to the end of work median {median:?}, longest of 30 {longest:?}",
            loaded.model.identity.name
        );
        assert_eq!((stats.completed, stats.stopped, stats.left), (1, 30, 0));
        // As workers are served by default; with more tokens a pass, within a tenth of what the prompt takes here.
        let bound = if tokens == 64 { Duration::from_millis(100) } else { whole / 10 };
        assert!(longest < bound, "{tokens} tokens a pass: {spans:?}");
    }
}

/// Left at any moment of its prefill, a prompt that comes again is answered as if nobody had left, by what blocks there are.
#[tokio::test]
async fn who_comes_after_one_that_left_gets_what_a_cold_run_gives() {
    let loaded = Loaded::tiny(1);
    let prompts: Vec<String> = (0..4).map(|number| long_prompt(number, 1000)).collect();
    let expected: Vec<String> =
        prompts.iter().map(|prompt| spoken(&greedy_behind(prompt.bytes().map(u32::from).collect(), 12))).collect();
    let computed = loaded.workers(1, Memory { block: BLOCK, pages: 100 }, 1);
    let (cached, stats) = served_model(&loaded, cluster(96, 100), computed, None, async |address| {
        let mut draws = Streams::new(6).named("moments");
        let mut cached = Vec::new();
        for round in 0..40 {
            let which = round % prompts.len();
            leave(address, &prompts[which], Duration::from_micros(draws.below(25_000))).await;
            if round % 8 < 4 {
                continue;
            }
            let reply = post(address, "/v1/completions", &completion(&prompts[which], 12)).await;
            assert_eq!(text(&reply), expected[which], "round {round}");
            let found = reply.header("x-podlab-cached-tokens").and_then(|found| found.parse::<u32>().ok());
            cached.push(found.expect("it tells"));
        }
        cached
    })
    .await;
    println!("cached tokens of those who came after: {cached:?}");
    assert!(cached.iter().all(|found| found.is_multiple_of(BLOCK.0)));
    assert_eq!((stats.completed, stats.left), (20, 0));
}
