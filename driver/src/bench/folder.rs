//! A measured run as a folder: the same files as a simulated one, with the same names where the meaning is the same.

use super::rows::{Played, Row};
use crate::failure::Failure;
use crate::page;
use crate::report::{Partial, machine};
use serde_json::{Value, json};
use std::fs;
use std::io::{BufWriter, Write};
use std::path::Path;

/// Writes the folder, whole or not at all.
///
/// # Errors
/// Where the disk refuses; then nothing is left behind.
pub fn write(folder: &Path, rows: &[Row<'_>], summary: &Value, resolved: &Value) -> Result<(), Failure> {
    let said = |why: String| Failure::Failed(format!("--out {}: {why}", folder.display()));
    let partial = Partial::create(folder).map_err(&said)?;
    write_all(partial.folder(), rows, summary, resolved)
        .and_then(|()| partial.publish())
        .map_err(|error| said(error.to_string()))
}

fn write_all(folder: &Path, rows: &[Row<'_>], summary: &Value, resolved: &Value) -> std::io::Result<()> {
    let text = |value: &Value| format!("{value:#}\n");
    fs::write(folder.join("summary.json"), text(summary))?;
    fs::write(folder.join("run.json"), text(&provenance(summary, resolved)))?;
    let mut requests = BufWriter::new(fs::File::create(folder.join("requests.jsonl"))?);
    let mut rows: Vec<&Row<'_>> = rows.iter().collect();
    rows.sort_by_key(|row| row.number);
    let origin = rows.iter().filter_map(|row| Some(row.observed?.dispatched)).min().unwrap_or_default();
    for row in rows {
        writeln!(requests, "{}", line(row, origin))?;
    }
    requests.flush()?;
    drop(requests);
    // From the files alone, as `podlab report` makes it again.
    page::write::again(folder).map(drop).map_err(|failure| std::io::Error::other(failure.to_string()))
}

/// `run.json`: what it takes to run it again.
fn provenance(summary: &Value, resolved: &Value) -> Value {
    let mut run = json!({
        "podlab": env!("CARGO_PKG_VERSION"),
        "clock": "wall: every time is measured",
        "command": std::env::args_os().map(|argument| argument.to_string_lossy().into_owned()).collect::<Vec<_>>(),
    });
    let keys = [
        "target",
        "model",
        "api",
        "strategy",
        "replicas",
        "workload",
        "prompt_tokens_asked",
        "max_tokens",
        "requests",
        "rate",
        "concurrency",
        "users",
        "speedup",
        "seed",
        "salt",
        "words_per_token",
        "tokens_added",
        "settings",
    ];
    for key in keys {
        run[key] = summary[key].clone();
    }
    // By the name that a simulated run has for it.
    run["cache"] = summary["cache_tiers"].clone();
    for (key, value) in resolved.as_object().into_iter().flatten() {
        run[key.as_str()] = value.clone();
    }
    run["machine"] = json!(machine());
    let client = &summary["client"];
    run["process"] = json!({ "cpu_seconds": client["cpu_seconds"], "peak_rss_bytes": client["peak_rss_bytes"],
        "wall_seconds": client["wall_seconds"] });
    run
}

/// A line of `requests.jsonl`. Moments are milliseconds from the first request sent; unknown is null.
fn line(row: &Row<'_>, origin: u64) -> Value {
    let moment = |at: u64| (at as f64 - origin as f64) / 1e6;
    let span = |nanos: u64| nanos as f64 / 1e6;
    let observed = row.observed;
    let seen = observed.map(|observed| &observed.seen);
    let problem = observed.and_then(|observed| observed.result.as_ref().err());
    let status = match (observed, problem) {
        (None, _) => "unfinished",
        (Some(_), None) => "completed",
        (Some(_), Some(problem)) if problem.refused => "refused",
        _ => "errored",
    };
    let since = |at: Option<u64>, from: Option<u64>| at.zip(from).map(|(at, from)| span(at.saturating_sub(from)));
    let sent = observed.map(|observed| observed.dispatched);
    let (done, detail) = (row.completed(), row.detail());
    json!({
        "request": row.number,
        "status": status,
        "worker": observed.and_then(|observed| observed.worker.as_deref()).map(worker),
        "reason": observed.and_then(|observed| observed.routed[0].as_deref()),
        "fallback": observed.and_then(|observed| observed.routed[1].as_deref()),
        "measured": row.measured(),
        "phase": row.phase,
        "part": row.part,
        "prefix": row.prefix,
        "scheduled_ms": moment(row.scheduled),
        "sent_ms": sent.map(moment),
        "connect_ms": observed.map(|observed| span(observed.connect_ns)),
        "first_token_ms": seen.and_then(|seen| seen.first_content).map(moment),
        "last_token_ms": seen.and_then(|seen| seen.last_content).map(moment),
        "ended_ms": observed.map(|observed| moment(observed.ended)),
        "ttft_ms": row.ttft().map(span),
        "ttft_incl_queue_ms": row.ttft().and(since(done.and_then(|done| done.seen.first_content), Some(row.scheduled))),
        "ttfb_ms": since(done.and_then(|done| done.first_byte), sent),
        "ttft_api_ms": row.on_the_way(),
        "ttft_line_ms": detail.ttft_line_ms,
        "ttft_kv_wait_ms": detail.ttft_kv_wait_ms,
        "ttft_budget_wait_ms": detail.ttft_budget_wait_ms,
        "ttft_tiers_ms": detail.ttft_tiers_ms,
        "ttft_compute_ms": detail.ttft_compute_ms,
        // How late it was read is not known request by request: it is in what was on the way.
        "ttft_client_ms": null,
        "tpot_ms": row.tpot().map(span),
        "e2el_ms": row.e2el().map(span),
        "e2el_incl_queue_ms": since(done.and_then(|done| done.seen.last_content), Some(row.scheduled)),
        "prompt_tokens": row.prompt,
        "output_tokens": row.output,
        "counted_by_server": row.counted,
        "content_events": seen.map(|seen| seen.events),
        "class": row.class(),
        "cached_tokens": row.cached(),
        "cached_l0_tokens": detail.cached_l0_tokens,
        "cached_l1_tokens": detail.cached_l1_tokens,
        "cached_l2_tokens": detail.cached_l2_tokens,
        "error": problem.map(|problem| problem.class.as_ref()),
        "said": problem.map(|problem| problem.said.as_str()),
    })
}

/// A worker that goes by a number is one, as in simulated runs.
fn worker(name: &str) -> Value {
    name.parse::<u16>().map_or_else(|_| json!(name), |number| json!(number))
}

/// What the first request that failed was told.
#[must_use]
pub fn first_problem(played: &[Played]) -> Option<String> {
    let mut observed = played.iter().flat_map(|played| played.phase.observed.iter().flatten());
    observed.find_map(|observed| observed.result.as_ref().err()).map(|problem| problem.said.clone())
}
