//! Lists of requests as JSON: an object per line, or one array of them, with sizes, perhaps times and sessions; or the result
//! that `vllm bench serve --save-result --save-detailed` writes, whose `input_lens`, `output_lens` and, in newer versions,
//! `start_times` tell what it sent.
//!
//! Lists of texts (ShareGPT, vLLM's `custom`) are refused: without the model's tokenizer their sizes are not known.

use super::Workload;
use super::moment::date;
use super::trace::{Requests, Row, TraceError, picoseconds, session};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use serde_json::{Map, Value};

const INPUTS: [&str; 7] =
    ["prompt_len", "input_len", "input_length", "prompt_tokens", "input_tokens", "input_toks", "num_prefill_tokens"];
const OUTPUTS: [&str; 8] = [
    "output_len",
    "expected_output_len",
    "output_length",
    "completion_tokens",
    "output_tokens",
    "output_toks",
    "max_tokens",
    "num_decode_tokens",
];
/// Fields that hold a time, and its unit in seconds. A `timestamp` is in ms, as in Mooncake's traces and vLLM's `timed_trace`.
const TIMES: [(&str, f64); 7] = [
    ("timestamp", 1e-3),
    ("arrival_time_ms", 1e-3),
    ("arrival_time_ns", 1e-9),
    ("arrival_time", 1.0),
    ("arrived_at", 1.0),
    ("start_time", 1.0),
    ("time", 1.0),
];

/// Reads a list, and whether it has times.
pub(super) fn parse(text: &str) -> Result<(Workload, bool), TraceError> {
    let mut requests = Requests::new();
    if text.trim_start().starts_with('[') {
        let items: Vec<Value> = serde_json::from_str(text).map_err(|error| broken(&error))?;
        for (index, item) in items.iter().enumerate() {
            let here = |problem| TraceError::whole(format!("request {}: {problem}", index + 1));
            requests.push(&row(item).map_err(here)?).map_err(here)?;
        }
        return requests.end();
    }
    // A result is one object, on one line or on many.
    if text.contains("\"input_lens\"")
        && let Ok(Value::Object(result)) = serde_json::from_str(text)
    {
        return of_result(&result);
    }
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let here = |problem: String| TraceError { line: index + 1, problem };
        let item: Value = serde_json::from_str(line).map_err(|error| {
            let TraceError { problem, .. } = broken(&error);
            here(problem)
        })?;
        requests.push(&row(&item).map_err(here)?).map_err(here)?;
    }
    requests.end()
}

fn broken(error: &serde_json::Error) -> TraceError {
    let text = error.to_string();
    let text = text.split(" at line ").next().unwrap_or_default();
    TraceError {
        line: error.line(),
        problem: format!(
            "column {}: {text}; a request is one JSON object on one line, or in one array",
            error.column()
        ),
    }
}

fn row(item: &Value) -> Result<Row, String> {
    let Value::Object(item) = item else { return Err("it is no JSON object".to_string()) };
    if item.contains_key("hash_ids") {
        return Err("it has hash_ids and the first one has none; give all of them some, or none".to_string());
    }
    let count = |names: &[&str], what: &str| {
        let found = names.iter().find_map(|name| Some((*name, item.get(*name)?)));
        let Some((name, value)) = found else { return Err(missing(item, what, names)) };
        // What is larger than any prompt is refused as such later.
        let whole = value.as_i64().or_else(|| value.as_u64().map(|_| i64::MAX));
        whole.ok_or_else(|| format!("{name} is no whole number of tokens"))
    };
    let time = TIMES.iter().find_map(|(name, unit)| Some((*name, item.get(*name).filter(|at| !at.is_null())?, *unit)));
    let at = time.map(|(name, at, unit)| {
        let number = || at.as_f64().and_then(|number| picoseconds(number, unit));
        let moment = number().or_else(|| date(at.as_str()?));
        moment.ok_or_else(|| format!("{name} is no time: a number not below 0, or a date, is expected"))
    });
    Ok(Row {
        at: at.transpose()?,
        input: count(&INPUTS, "prompt tokens")?,
        output: count(&OUTPUTS, "output tokens")?,
        session: item.get("session_id").and_then(|name| match name {
            Value::String(name) => Some(session(name)),
            Value::Number(number) => number.as_u64().map(kvcache::SessionId),
            _ => None,
        }),
    })
}

fn missing(item: &Map<String, Value>, what: &str, names: &[&str]) -> String {
    let texts = ["conversations", "prompt", "messages", "request", "turns"];
    match texts.iter().find(|name| item.contains_key(**name)) {
        Some(name) => format!(
            "no field tells its {what}, and its {name} is text, whose tokens podlab cannot count: add {} and {}, or make a trace of the log of a run by podlab trace import",
            INPUTS[0], OUTPUTS[0]
        ),
        None => format!("no field tells its {what}; podlab looks for {}", names.join(", ")),
    }
}

fn of_result(result: &Map<String, Value>) -> Result<(Workload, bool), TraceError> {
    let list = |name: &str| result.get(name).and_then(Value::as_array);
    let (Some(inputs), Some(outputs)) = (list("input_lens"), list("output_lens")) else {
        return Err(TraceError::whole(
            "it has input_lens and no output_lens: not a result of vllm bench serve --save-detailed",
        ));
    };
    let starts = list("start_times");
    if inputs.len() != outputs.len() || starts.is_some_and(|starts| starts.len() != inputs.len()) {
        return Err(TraceError::whole("input_lens, output_lens and start_times are not of one length"));
    }
    let mut rows = Vec::new();
    for (index, (input, output)) in inputs.iter().zip(outputs).enumerate() {
        let here = |what: &str| TraceError::whole(format!("request {}: {what}", index + 1));
        let at = starts.map(|starts| starts[index].as_f64().and_then(|seconds| picoseconds(seconds, 1.0)));
        let at = at.map(|at| at.ok_or_else(|| here("start_times has no time"))).transpose()?;
        let count = |value: &Value| value.as_i64().ok_or_else(|| here("its length is no whole number of tokens"));
        rows.push(Row { at, input: count(input)?, output: count(output)?, session: None });
    }
    // They are listed in order of prompts, which is that of sending unless something was retried.
    rows.sort_by_key(|row| row.at);
    let mut requests = Requests::new();
    for (index, row) in rows.iter().enumerate() {
        requests.push(row).map_err(|problem| TraceError::whole(format!("request {}: {problem}", index + 1)))?;
    }
    requests.end()
}
