//! Replay of a trace in Mooncake's format: one JSON object per line with `timestamp` (ms), `input_length`,
//! `output_length` and `hash_ids`, where an id names 512 tokens of the prompt and all before them, or as many as `block_size`
//! says. podlab's own traces may also have `output_hash_ids`, which name the blocks of prompt and reply together from the one
//! on in which the prompt ends: what a next turn that contains the reply has there, too.
//!
//! A line that cannot be true makes the file a broken one: simulating the rest would answer another question.

use super::plain::Plain;
use super::trace::{TraceError, session as by_name};
use super::{Pacing, Segment, Workload};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use kvcache::{KeyMap, SessionId, Time, Tokens};
use serde::Deserialize;

/// Tokens that one `hash_id` names (Mooncake, FAST'25 release).
pub const TOKENS_PER_ID: u32 = 512;

/// Times beyond this many milliseconds do not fit into picoseconds of 64 bits with room to run on (115 days).
const LAST_TIMESTAMP: u64 = 10_000_000_000;

/// Numbers are read wide and signed, so that an impossible one is told from a broken line.
#[derive(Deserialize)]
struct Line {
    timestamp: f64,
    input_length: i64,
    output_length: i64,
    hash_ids: Vec<i64>,
    #[serde(default)]
    output_hash_ids: Vec<i64>,
    #[serde(default)]
    session_id: Option<SessionName>,
    #[serde(default = "tokens_per_id")]
    block_size: u32,
}

impl Line {
    /// Reads a line. What was read before, `plain`, gives its list of ids away.
    fn read(text: &str, plain: &mut Plain) -> Result<Self, serde_json::Error> {
        if plain.read(text).is_none() {
            return serde_json::from_str(text);
        }
        Ok(Self {
            timestamp: plain.timestamp as f64,
            input_length: plain.input_length as i64,
            output_length: plain.output_length as i64,
            hash_ids: core::mem::take(&mut plain.hash_ids),
            output_hash_ids: Vec::new(),
            session_id: None,
            block_size: TOKENS_PER_ID,
        })
    }
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

/// Whether a file looks like one: its first line is an object with `input_length` and `hash_ids`.
#[must_use]
pub fn is_mooncake(text: &str) -> bool {
    let first = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default().trim_start();
    first.starts_with('{') && first.contains("\"input_length\"") && first.contains("\"hash_ids\"")
}

/// Reads a whole trace.
///
/// # Errors
/// The first line that is no request, or cannot be true.
pub fn parse(text: &str) -> Result<Workload, TraceError> {
    let mut workload = Workload::new(Pacing::Open);
    let (mut segments, mut replied, mut latest) = (Vec::new(), Vec::new(), Time::ZERO);
    let (mut cuts, mut plain) = (Cuts::default(), Plain::default());
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let here = |problem| TraceError { line: index + 1, problem };
        let line = Line::read(line, &mut plain).map_err(|error| here(broken(&error)))?;
        let request = check(&line, latest).map_err(here)?;
        latest = request.at;
        cuts.prompt(&line, request.input, &mut segments);
        let session = line.session_id.as_ref().map(session);
        if line.output_hash_ids.is_empty() {
            workload.push(request.at, session, &segments, request.output);
            plain.hash_ids = line.hash_ids;
            continue;
        }
        cuts.reply(&line, &request, &mut replied);
        let reply = Segment { id: super::PRIVATE | workload.requests().len() as u64, tokens: request.output };
        workload.push_with_segments(request.at, session, &segments, &replied, reply);
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
    let last = (input.0 / line.block_size) as usize;
    let replied = (input.0 + output.0).div_ceil(line.block_size) as usize - last;
    if !line.output_hash_ids.is_empty() && line.output_hash_ids.len() != replied {
        return Err(format!(
            "{} output_hash_ids do not cover the reply: from the block on in which the prompt ends, {} tokens each, it has {replied}",
            line.output_hash_ids.len(),
            line.block_size
        ));
    }
    if let Some(id) = line.output_hash_ids.iter().find(|id| **id < 0) {
        return Err(format!("output_hash_ids contain {id}: an id is not negative"));
    }
    if let Some(id) = line.hash_ids.iter().find(|id| **id < 0) {
        return Err(format!("hash_ids contain {id}: an id is not negative"));
    }
    Ok(Checked { at, input, output })
}

/// Blocks in which a prompt ended and its reply began: whoever has such a block has both parts, under two names.
#[derive(Default)]
struct Cuts(KeyMap<(u64, u32)>);

impl Cuts {
    /// The prompt's segments: one per id, the last as long as the prompt leaves it, and two where a reply begins in one.
    fn prompt(&self, line: &Line, input: Tokens, into: &mut Vec<Segment>) {
        into.clear();
        if self.0.is_empty() {
            let whole = |id: &i64| Segment { id: *id as u64, tokens: Tokens(line.block_size) };
            into.extend(line.hash_ids.iter().map(whole));
            if let Some((last, before)) = into.split_last_mut() {
                last.tokens = input - Tokens(before.len() as u32 * line.block_size);
            }
            return;
        }
        let mut left = input.0;
        for id in &line.hash_ids {
            let tokens = left.min(line.block_size);
            self.push(*id as u64, tokens, into);
            left -= tokens;
        }
    }

    /// The reply's segments, of which the first shares its block with the prompt's end, unless a block ends there.
    fn reply(&mut self, line: &Line, request: &Checked, into: &mut Vec<Segment>) {
        into.clear();
        let (within, mut left) = (request.input.0 % line.block_size, request.output.0);
        for (place, id) in line.output_hash_ids.iter().enumerate() {
            let before = if place == 0 { within } else { 0 };
            let tokens = left.min(line.block_size - before);
            if let (true, Some(last)) = (before > 0, line.hash_ids.last()) {
                self.0.insert(key(*id as u64), (*last as u64, before));
            }
            into.push(Segment { id: *id as u64, tokens: Tokens(tokens) });
            left -= tokens;
        }
    }

    fn push(&self, id: u64, tokens: u32, into: &mut Vec<Segment>) {
        let cut = self.0.get(&key(id));
        let (first, before) = cut.copied().unwrap_or((id, tokens));
        into.push(Segment { id: first, tokens: Tokens(tokens.min(before)) });
        into.push(Segment { id, tokens: Tokens(tokens.saturating_sub(before)) });
    }
}

/// Ids may be small numbers, and a map by keys wants them spread: a bijection (the finaliser of MurmurHash3, Appleby).
const fn key(id: u64) -> u64 {
    let mixed = (id ^ (id >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let mixed = (mixed ^ (mixed >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    mixed ^ (mixed >> 33)
}

fn session(name: &SessionName) -> SessionId {
    match name {
        SessionName::Number(number) => SessionId(*number),
        SessionName::Text(text) => by_name(text),
    }
}
