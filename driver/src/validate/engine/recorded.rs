//! A run of a real vLLM, as LLMServingSim's bench records it: `requests.jsonl`, `timeseries.csv`, `meta.json`.

use super::meta::{Engine, Meta};
use super::replay::Times;
use crate::bounded;
use crate::profile::csv::{Row, Table};
use serde::Deserialize;
use std::path::Path;

const MOST_BYTES: u64 = 256 << 20;

/// A run.
pub(super) struct Recorded {
    /// In order of arrival.
    pub(super) requests: Vec<Request>,
    /// What the engine said of itself over time; empty: nothing was recorded.
    pub(super) series: Series,
    pub(super) engine: Engine,
    pub(super) vllm_version: String,
    pub(super) model: String,
}

/// Samples in order of time.
pub(super) struct Series {
    pub(super) samples: Vec<Sample>,
    /// By how many seconds the first request came after its clock began.
    pub(super) lead: f64,
    /// Seconds from one sample to the next where none is left out.
    pub(super) tick: f64,
}

/// One request. Times are seconds: `arrival` of the client's clock, all others of the engine's.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Request {
    pub(super) request_id: String,
    pub(super) input_toks: u32,
    pub(super) output_toks: u32,
    #[serde(rename = "arrival_time")]
    pub(super) arrival: f64,
    #[serde(rename = "queued_ts")]
    pub(super) queued: f64,
    #[serde(rename = "scheduled_ts")]
    pub(super) scheduled: f64,
    #[serde(rename = "first_token_ts")]
    pub(super) first_token: f64,
    #[serde(rename = "last_token_ts")]
    pub(super) last_token: f64,
}

impl Request {
    /// When what happened to it, in seconds after `zero` of the engine's clock.
    pub(super) fn times(&self, zero: f64) -> Times {
        let [queued, scheduled, first_token, last_token] =
            [self.queued, self.scheduled, self.first_token, self.last_token].map(|at| at - zero);
        Times { queued, scheduled, first_token, last_token }
    }
}

/// What the engine said of itself at a time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Sample {
    /// Seconds.
    pub(super) at: f64,
    pub(super) running: f64,
    pub(super) waiting: f64,
    /// Of all blocks, percent.
    pub(super) kv_use: f64,
}

impl Recorded {
    /// Whether there is one at `path`.
    pub(super) fn is_at(path: &Path) -> bool {
        path.join("requests.jsonl").is_file()
    }

    pub(super) fn read(path: &Path) -> Result<Self, String> {
        let file = path.join("meta.json");
        let said = |problem: String| format!("{}: {problem}", file.display());
        let meta: Meta = serde_json::from_str(&bounded::read_text(&file, MOST_BYTES)?)
            .map_err(|problem| said(problem.to_string()))?;
        let mut requests = requests(&path.join("requests.jsonl"))?;
        requests.sort_by(|one, other| one.arrival.total_cmp(&other.arrival));
        let began = meta.started_at.as_ref().map(|at| {
            let parsed = at.parse::<jiff::Timestamp>();
            parsed.map(seconds).map_err(|_| said(format!("started_at: {at:?} is no moment with a time zone")))
        });
        let lead = began.transpose()?.map_or(0.0, |began| requests[0].arrival - began);
        let tick = meta.tick_seconds.filter(|tick| *tick > 0.0).unwrap_or(1.0);
        let series = path.join("timeseries.csv");
        let samples = if series.is_file() { samples(&series)? } else { Vec::new() };
        Ok(Self {
            engine: meta.engine().map_err(said)?,
            requests,
            series: Series { samples, lead, tick },
            vllm_version: meta.vllm_version.unwrap_or_default(),
            model: meta.model,
        })
    }
}

fn seconds(at: jiff::Timestamp) -> f64 {
    at.as_second() as f64 + f64::from(at.subsec_nanosecond()) / 1e9
}

fn requests(file: &Path) -> Result<Vec<Request>, String> {
    let text = bounded::read_text(file, MOST_BYTES)?;
    let mut requests = Vec::new();
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let said = |problem: String| format!("{}:{}: {problem}", file.display(), index + 1);
        let request: Request = serde_json::from_str(line).map_err(|problem| said(problem.to_string()))?;
        let times = [request.queued, request.scheduled, request.first_token, request.last_token];
        if !times.is_sorted() {
            return Err(said(
                "queued_ts, scheduled_ts, first_token_ts and last_token_ts do not follow each other".to_owned(),
            ));
        }
        requests.push(request);
    }
    if requests.is_empty() { Err(format!("{}: the file is empty", file.display())) } else { Ok(requests) }
}

fn samples(file: &Path) -> Result<Vec<Sample>, String> {
    let text = bounded::read_text(file, MOST_BYTES)?;
    let table = Table::parse(file, &text)?;
    let [at, running, waiting, kv_use] =
        [table.column("t")?, table.column("running")?, table.column("waiting")?, table.column("kv_cache_pct")?];
    let sample = |row: Row<'_>| {
        Ok(Sample {
            at: row.real(at)?,
            running: row.real(running)?,
            waiting: row.real(waiting)?,
            kv_use: row.real(kv_use)?,
        })
    };
    let samples: Vec<Sample> = table.rows().map(sample).collect::<Result<_, String>>()?;
    if !samples.is_sorted_by(|one, other| one.at < other.at) || samples.first().is_some_and(|first| first.at <= 0.0) {
        return Err(format!("{}: t does not rise from above 0", file.display()));
    }
    Ok(samples)
}
