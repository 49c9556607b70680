//! Files as they should not be: read or refused, never a panic; and what is read keeps the laws of a workload.
//!
//! `PODLAB_FUZZ=1000000` sets how many mutations of each format are tried; without it, 20,000.

use crate::import::fuzz::rounds;
use kvcache::{ChainBuilder, Time};
use sim::streams::{Stream, Streams};
use sim::workload::Workload;
use sim::workload::trace::read;

const CORPUS: [(&str, &str); 7] = [
    ("mooncake", include_str!("corpus/mooncake.jsonl")),
    ("azure", include_str!("corpus/azure.csv")),
    ("burstgpt", include_str!("corpus/burstgpt.csv")),
    ("vidur", include_str!("corpus/vidur.csv")),
    ("list", include_str!("corpus/list.jsonl")),
    ("array", include_str!("corpus/array.json")),
    ("vllm-result", include_str!("corpus/vllm-result.json")),
];

/// Pieces that parsers trip over.
const WORDS: [&str; 22] = [
    "",
    "0",
    "-1",
    "1e400",
    "1e18",
    "NaN",
    "inf",
    "4294967295",
    "18446744073709551615",
    "null",
    "[]",
    "{}",
    "\"\"",
    ",",
    ":",
    "\n",
    "\r",
    "\u{1f600}",
    "\\u0000",
    "2024-02-30 25:61:61.9",
    "\u{0}",
    "\"hash_ids\": [1], ",
];

/// A few changes: bytes, words, lines doubled, moved, or cut.
pub(crate) fn mutated(seed: &str, stream: &mut Stream) -> String {
    let mut bytes = seed.as_bytes().to_vec();
    for _ in 0..=stream.below(2) {
        let place = stream.below(bytes.len() as u64 + 1) as usize;
        match stream.below(6) {
            0 => bytes.truncate(place),
            1 if place < bytes.len() => bytes[place] = b" 0-9{}[]\",:.e\nT"[stream.below(15) as usize],
            2 => bytes.insert(place, b"0123456789-e.,[]{}\"\n"[stream.below(20) as usize]),
            3 => {
                let to = (place + stream.below(12) as usize).min(bytes.len());
                bytes.splice(place..to, WORDS[stream.below(WORDS.len() as u64) as usize].bytes());
            }
            4 => {
                let line = bytes[place..].split(|byte| *byte == b'\n').next().unwrap_or_default().to_vec();
                let at = stream.below(bytes.len() as u64 + 1) as usize;
                bytes.splice(at..at, [line, b"\n".to_vec()].concat());
            }
            _ => {
                let to = (place + stream.below(40) as usize).min(bytes.len());
                bytes.drain(place..to);
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Laws of whatever was read.
fn keeps_the_laws(workload: &Workload, text: &str) {
    let requests = workload.requests();
    assert!(!requests.is_empty(), "{text}");
    assert!(requests.is_sorted_by_key(|request| request.at), "{text}");
    assert!(requests.iter().all(|request| request.at < Time(11_000_000 * 1_000_000_000_000)), "{text}");
    let mut chain = ChainBuilder::new();
    for request in requests {
        let whole = request.prompt.0.checked_add(request.output.0).expect("it is a request");
        workload.chain(request, &mut chain);
        assert_eq!(chain.pieces().last().map_or(0, |piece| piece.end.0), whole, "{text}");
        assert!(chain.pieces().is_sorted_by(|a, b| a.end < b.end), "{text}");
        let prompt = chain.pieces().iter().rfind(|piece| piece.end <= request.prompt).map_or(0, |piece| piece.end.0);
        assert_eq!(prompt, request.prompt.0, "a piece ends where the prompt does: {text}");
    }
    let waiting = workload.clone().waiting();
    assert_eq!(waiting.turns().len(), requests.len());
}

#[test]
fn the_corpus_is_read() {
    for (name, text) in CORPUS {
        let replay = read(text).unwrap_or_else(|error| panic!("{name}: {error}"));
        keeps_the_laws(&replay.workload, text);
    }
}

#[test]
fn mutated_traces_are_read_or_refused() {
    for (name, seed) in CORPUS {
        let mut stream = Streams::new(41).named(name);
        let (mut accepted, mut refused) = (0_u64, 0_u64);
        for _ in 0..rounds() / CORPUS.len() as u64 {
            let text = mutated(seed, &mut stream);
            match read(&text) {
                Ok(replay) => {
                    accepted += 1;
                    keeps_the_laws(&replay.workload, &text);
                }
                Err(error) => {
                    refused += 1;
                    assert!(error.problem.len() > 8 && error.line <= text.lines().count() + 1, "{error}: {text}");
                }
            }
        }
        println!("{name}: {accepted} read, {refused} refused");
        assert!(accepted > 50 && refused > 50, "{name}: both happen: {accepted}, {refused}");
    }
}
