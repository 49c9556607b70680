//! Files of requests, recognised by content: Mooncake's traces, tables (CSV) and lists (JSON) of sizes and times.
//!
//! Of these only Mooncake's tell who shares what with whom. Prompts of the others are unrelated: what a cache buys there is
//! not to be learnt from them.

use super::{Pacing, Segment, Workload, list, mooncake, table};
use alloc::format;
use alloc::string::{String, ToString};
use core::fmt;
use kvcache::{SessionId, Time, Tokens};

/// A file that cannot be read as requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceError {
    /// Where, counted from 1; 0: the file as a whole.
    pub line: usize,
    /// What is wrong there, and what is allowed.
    pub problem: String,
}

impl TraceError {
    /// Of the file as a whole.
    #[must_use]
    pub fn whole(problem: impl Into<String>) -> Self {
        Self { line: 0, problem: problem.into() }
    }
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

/// What a file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replay {
    /// Its requests.
    pub workload: Workload,
    /// Whether it tells when they came; else all are sent at once unless told otherwise.
    pub timed: bool,
    /// Whether it tells what their prompts share.
    pub shares: bool,
}

/// What is read, for those whose file is none of it.
const KNOWN: &str = "podlab reads Mooncake JSONL (timestamp, input_length, output_length, hash_ids), CSV with a line of names such as \
                     Azure's (TIMESTAMP,ContextTokens,GeneratedTokens) or BurstGPT's, JSON lists with prompt_len and output_len, and \
                     results of vllm bench serve --save-detailed";

/// Reads a file of any format.
///
/// # Errors
/// The first line that is no request, or cannot be true; that it is of no format that is known.
pub fn read(text: &str) -> Result<Replay, TraceError> {
    let first = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default().trim_start();
    if mooncake::is_mooncake(text) {
        return Ok(Replay { workload: mooncake::parse(text)?, timed: true, shares: true });
    }
    let (workload, timed) = match first.chars().next() {
        None => return Err(TraceError::whole("not a trace: the file is empty")),
        Some('{' | '[') => list::parse(text)?,
        Some(_) if table::is_table(first) => table::parse(text)?,
        Some(_) => return Err(TraceError::whole(format!("not a trace that podlab knows: {KNOWN}"))),
    };
    Ok(Replay { workload, timed, shares: false })
}

/// Requests one after the other, each with a prompt of its own.
pub(super) struct Requests {
    workload: Workload,
    first: Option<i128>,
    latest: Time,
}

/// Sizes and time of one request, as a file has them.
pub(super) struct Row {
    /// Picoseconds from whatever the file counts from.
    pub(super) at: Option<i128>,
    pub(super) input: i64,
    pub(super) output: i64,
    pub(super) session: Option<SessionId>,
}

/// The longest that a trace may be: 115 days, as picoseconds.
const LONGEST: i128 = 10_000_000 * 1_000_000_000_000;

impl Requests {
    pub(super) fn new() -> Self {
        Self { workload: Workload::new(Pacing::Open), first: None, latest: Time::ZERO }
    }

    /// Adds one; what is wrong where it cannot be.
    pub(super) fn push(&mut self, row: &Row) -> Result<(), String> {
        let at = match (row.at, self.first) {
            (Some(at), first) => {
                if first.is_none() && !self.workload.requests.is_empty() {
                    return Err("it tells a time, and those before do not: give all of them one, or none".to_string());
                }
                at - *self.first.get_or_insert(at)
            }
            (None, None) => 0,
            (None, Some(_)) => return Err("it tells no time, and those before do: give all of them one".to_string()),
        };
        if at < i128::from(self.latest.0) {
            return Err("its time is before that of the request before: sort the file by time".to_string());
        }
        if at > LONGEST {
            return Err("its time is more than 115 days after the first: see that all times have one unit".to_string());
        }
        self.latest = Time(at as u64);
        let tokens = |what: &str, count: i64| {
            u32::try_from(count).map_err(|_| format!("{count} is no number of {what} tokens: 0 to {} are", u32::MAX))
        };
        let (input, output) = (tokens("prompt", row.input)?, tokens("output", row.output)?);
        if input.checked_add(output).is_none() {
            return Err(format!("prompt and output tokens together exceed {}", u32::MAX));
        }
        let prompt = [Segment { id: self.workload.requests.len() as u64, tokens: Tokens(input) }];
        self.workload.push(self.latest, row.session, &prompt, Tokens(output));
        Ok(())
    }

    /// All of them, and whether they have times.
    pub(super) fn end(self) -> Result<(Workload, bool), TraceError> {
        if self.workload.requests.is_empty() {
            return Err(TraceError::whole("the file holds no request"));
        }
        Ok((self.workload, self.first.is_some()))
    }
}

/// A session by its name.
pub(super) fn session(name: &str) -> SessionId {
    let hash = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    SessionId(name.bytes().fold(0xcbf2_9ce4_8422_2325, hash))
}

/// A number of seconds in picoseconds; `None` where it is no time.
pub(super) fn picoseconds(number: f64, unit: f64) -> Option<i128> {
    let picoseconds = number * unit * 1e12;
    (picoseconds.is_finite() && (0.0..1e31).contains(&picoseconds)).then_some((picoseconds + 0.5) as i128)
}
