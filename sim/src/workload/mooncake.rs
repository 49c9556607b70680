//! Replay of a trace in Mooncake's format: one JSON object per line with `timestamp` (ms), `input_length`,
//! `output_length` and `hash_ids`, where an id names 512 tokens of the prompt and all before them, or as many as `block_size`
//! says.
//!
//! A line that cannot be true makes the file a broken one: simulating the rest would answer another question.

use super::{Pacing, Segment, Workload};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use kvcache::{SessionId, Time, Tokens};
use serde::Deserialize;

/// Tokens that one `hash_id` names (Mooncake, FAST'25 release).
pub const TOKENS_PER_ID: u32 = 512;

/// Times beyond this many milliseconds do not fit into picoseconds of 64 bits with room to run on (115 days).
const LAST_TIMESTAMP: u64 = 10_000_000_000;

/// A trace that cannot be replayed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceError {
    /// Where, counted from 1; 0: the file as a whole.
    pub line: usize,
    /// What is wrong there, and what is allowed.
    pub problem: String,
}

impl fmt::Display for TraceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => f.write_str(&self.problem),
            line => write!(f, "line {line}: {}", self.problem),
        }
    }
}

impl core::error::Error for TraceError {}

/// Numbers are read wide and signed, so that an impossible one is told from a broken line.
#[derive(Deserialize)]
struct Line {
    timestamp: f64,
    input_length: i64,
    output_length: i64,
    hash_ids: Vec<i64>,
    #[serde(default)]
    session_id: Option<SessionName>,
    #[serde(default = "tokens_per_id")]
    block_size: u32,
}

const fn tokens_per_id() -> u32 {
    TOKENS_PER_ID
}

#[derive(Deserialize)]
#[serde(untagged)]
enum SessionName {
    Number(u64),
    Text(String),
}

/// Whether a file looks like one: its first line is an object with `hash_ids`.
#[must_use]
pub fn is_mooncake(text: &str) -> bool {
    let first = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default().trim_start();
    first.starts_with('{') && first.contains("\"input_length\"")
}

/// Reads a whole trace.
///
/// # Errors
/// The first line that is no request, or cannot be true.
pub fn parse(text: &str) -> Result<Workload, TraceError> {
    let mut workload = Workload::new(Pacing::Open);
    let (mut segments, mut latest) = (Vec::new(), Time::ZERO);
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let here = |problem| TraceError { line: index + 1, problem };
        let line: Line = serde_json::from_str(line).map_err(|error| here(broken(&error)))?;
        let request = check(&line, latest).map_err(here)?;
        latest = request.at;
        cut(&line.hash_ids, request.input, line.block_size, &mut segments);
        workload.push(request.at, line.session_id.map(session), &segments, request.output);
    }
    if workload.requests().is_empty() {
        return Err(TraceError { line: 0, problem: "the trace holds no request".to_string() });
    }
    Ok(workload)
}

fn broken(error: &serde_json::Error) -> String {
    if error.is_eof() {
        return "the line is cut off: a request is one JSON object on one line".to_string();
    }
    // serde_json counts lines within the one line it was given.
    let text = error.to_string();
    let text = text.split(" at line ").next().unwrap_or_default();
    format!(
        "column {}: {text}; expected {{\"timestamp\": ms, \"input_length\": tokens, \"output_length\": tokens, \"hash_ids\": [..]}}",
        error.column()
    )
}

struct Checked {
    at: Time,
    input: Tokens,
    output: Tokens,
}

fn check(line: &Line, latest: Time) -> Result<Checked, String> {
    let millis = line.timestamp;
    if !(0.0..=LAST_TIMESTAMP as f64).contains(&millis) {
        return Err(format!("timestamp {millis} is not a time in ms between 0 and {LAST_TIMESTAMP}"));
    }
    let at = Time((millis * 1e9 + 0.5) as u64);
    if at < latest {
        let before = kvcache::Span(latest.0).as_millis_f64();
        return Err(format!(
            "timestamp {millis} runs backwards: the line before has {before}; sort the trace by timestamp"
        ));
    }
    let tokens = |name: &str, count: i64| match u32::try_from(count) {
        Ok(tokens) => Ok(Tokens(tokens)),
        Err(_) => Err(format!("{name} {count} is not a number of tokens between 0 and {}", u32::MAX)),
    };
    let input = tokens("input_length", line.input_length)?;
    let output = tokens("output_length", line.output_length)?;
    if input.0.checked_add(output.0).is_none() {
        return Err(format!("input_length and output_length together exceed {} tokens", u32::MAX));
    }
    if line.block_size == 0 {
        return Err("block_size 0 is not a number of tokens: at least 1".to_string());
    }
    let needed = input.0.div_ceil(line.block_size) as usize;
    if line.hash_ids.len() != needed {
        return Err(format!(
            "{} hash_ids do not cover input_length {}: {} tokens an id make it {needed}",
            line.hash_ids.len(),
            input.0,
            line.block_size
        ));
    }
    if let Some(id) = line.hash_ids.iter().find(|id| **id < 0) {
        return Err(format!("hash_ids contain {id}: an id is not negative"));
    }
    Ok(Checked { at, input, output })
}

/// The prompt's segments: one per id, the last as long as the prompt leaves it.
fn cut(ids: &[i64], input: Tokens, block: u32, into: &mut Vec<Segment>) {
    into.clear();
    let mut left = input.0;
    for id in ids {
        let tokens = left.min(block);
        into.push(Segment { id: *id as u64, tokens: Tokens(tokens) });
        left -= tokens;
    }
}

fn session(name: SessionName) -> SessionId {
    SessionId(match name {
        SessionName::Number(number) => number,
        SessionName::Text(text) => text
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)),
    })
}
