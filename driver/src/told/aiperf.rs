//! `profile_export.jsonl` of aiperf: a record for each request, with `metadata`, `metrics` (each a value and its unit) and
//! `error` (aiperf's tutorial "Working with Profile Export Files"). Its `inter_token_latency` is per request: a TPOT here.

use super::{Kind, Request, Told, estimate};
use serde_json::{Map, Value};

/// Whether an object is such a record.
pub(super) fn is(record: &Map<String, Value>) -> bool {
    record.get("metadata").is_some_and(Value::is_object)
        && (record.contains_key("metrics") || record.contains_key("error"))
}

/// The run of these lines.
///
/// # Errors
/// The first line that is no record, or whose metric has a unit that is not known.
pub(super) fn told(text: &str) -> Result<Told, String> {
    let mut records: Vec<Value> = Vec::new();
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let record: Value = serde_json::from_str(line).map_err(|error| format!("line {}: {error}", number + 1))?;
        if !record.as_object().is_some_and(is) {
            return Err(format!("line {}: not a record of aiperf: no metadata and metrics", number + 1));
        }
        records.push(record);
    }
    // The order in which they were sent, which is not that in which they ended.
    records.sort_by_key(|record| (nanos(record, "request_start_ns"), record["metadata"]["session_num"].as_u64()));
    let first = records.first().and_then(|record| nanos(record, "request_start_ns")).unwrap_or_default();
    let single = records.iter().all(|record| record["metadata"]["turn_index"].as_u64().unwrap_or_default() == 0);
    let mut requests = Vec::with_capacity(records.len());
    for (place, record) in records.iter().enumerate() {
        // Of conversations of one turn, aiperf numbers requests as its list has them.
        let number = record["metadata"]["session_num"].as_u64().filter(|_| single).unwrap_or(place as u64);
        requests.push(request(number, record, first)?);
    }
    let profiled = || records.iter().filter(|record| is_measured(record));
    let began = profiled().filter_map(|record| nanos(record, "request_start_ns")).min();
    let ended = profiled().filter_map(|record| nanos(record, "request_end_ns")).max();
    let seconds = began.zip(ended).map(|(began, ended)| ended.saturating_sub(began) as f64 / 1e9);
    let gaps = profiled().filter(|record| status(record) == "completed").flat_map(gaps).collect();
    let mut figures = Map::new();
    estimate::fill(&mut figures, &requests, gaps, seconds);
    Ok(Told {
        name: String::new(),
        kind: Kind::Measured,
        case: Vec::new(),
        setup: Vec::new(),
        figures: Value::Object(figures),
        run: Value::Null,
        requests,
    })
}

fn nanos(record: &Value, key: &str) -> Option<u64> {
    record["metadata"][key].as_u64()
}

/// Warm-up is a phase of its own.
fn is_measured(record: &Value) -> bool {
    record["metadata"]["benchmark_phase"].as_str().is_none_or(|phase| phase == "profiling")
}

fn status(record: &Value) -> &'static str {
    if record["metadata"]["was_cancelled"] == true {
        "cancelled"
    } else if record["error"].is_null() {
        "completed"
    } else {
        "errored"
    }
}

fn request(number: u64, record: &Value, first: u64) -> Result<Request, String> {
    let millis = |tag: &str| -> Result<Option<f64>, String> {
        let metric = &record["metrics"][tag];
        let Some(value) = metric["value"].as_f64() else { return Ok(None) };
        let scale = match metric["unit"].as_str() {
            Some("ms") | None => 1.0,
            Some("s" | "sec") => 1e3,
            Some("us") => 1e-3,
            Some("ns") => 1e-6,
            Some(unit) => return Err(format!("request {number}: {tag} is in {unit}, and a time is expected")),
        };
        Ok(Some(value * scale))
    };
    // Counts may be told as 550.0.
    let count = |tag: &&str| record["metrics"][*tag]["value"].as_f64().map(|count| count as u64);
    let tokens = |tags: &[&str]| tags.iter().find_map(count);
    let sent = nanos(record, "request_start_ns").map(|start| start.saturating_sub(first) as f64 / 1e6);
    let (ttft, e2el) = (millis("time_to_first_token")?, millis("request_latency")?);
    let after = |span: Option<f64>| sent.zip(span).map(|(sent, span)| sent + span);
    Ok(Request {
        number,
        status: status(record).to_owned(),
        measured: is_measured(record),
        sent_ms: sent,
        first_token_ms: after(ttft),
        last_token_ms: after(e2el),
        ttft_ms: ttft,
        tpot_ms: millis("inter_token_latency")?,
        e2el_ms: e2el,
        prompt_tokens: tokens(&["usage_prompt_tokens", "input_sequence_length", "error_isl"]),
        output_tokens: tokens(&["usage_completion_tokens", "output_sequence_length", "output_token_count"]),
        cached_tokens: tokens(&["usage_prompt_cache_read_tokens"]),
        ..Request::default()
    })
}

/// Gaps between events with tokens, ms.
fn gaps(record: &Value) -> Vec<f64> {
    let gaps = &record["metrics"]["inter_chunk_latency"];
    let scale = if gaps["unit"] == "s" { 1e3 } else { 1.0 };
    gaps["value"].as_array().into_iter().flatten().filter_map(Value::as_f64).map(|gap| gap * scale).collect()
}
