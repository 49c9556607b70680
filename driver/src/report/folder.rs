//! A run as a folder: what it was (`run.json`), every request (`requests.jsonl`), its figures (`summary.json`).
//!
//! A folder appears whole or not at all: everything is written under a temporary name beside it, then renamed.

use super::Run;
use crate::experiment::Outcome;
use crate::failure::Failure;
use crate::process::Usage;
use kvcache::{Span, Time};
use serde::Serialize;
use sim::ledger::{Record, Status};
use std::fs;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

/// What a run needs to be run again.
#[derive(Serialize)]
struct Provenance<'a> {
    podlab: &'static str,
    clock: &'static str,
    command: Vec<String>,
    endpoint: &'a str,
    settings: &'a std::collections::BTreeMap<String, String>,
    seed: u64,
    deployment: &'a serde_json::Value,
    machine: Machine,
    process: Usage,
}

#[derive(Serialize)]
struct Machine {
    os: &'static str,
    architecture: &'static str,
    cpus: usize,
}

/// Refuses a folder that holds something, before any work is done for it.
///
/// # Errors
/// Where it exists and is not an empty folder.
pub fn check(folder: &Path) -> Result<(), Failure> {
    let Ok(found) = fs::symlink_metadata(folder) else { return Ok(()) };
    let empty = found.is_dir() && fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_none());
    if empty {
        return Ok(());
    }
    let name = folder.display();
    Err(Failure::Usage(format!("--out {name}: it exists and is not an empty folder; name a new one, or remove it")))
}

/// Writes all runs: one into the folder itself, several into a folder each below it.
///
/// # Errors
/// Where the disk refuses; then nothing is left behind.
pub fn write(folder: &Path, outcomes: &[Outcome], process: Usage) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::Failed(format!("--out {}: {error}", folder.display()));
    let partial = partial_name(folder);
    let result = write_all(&partial, outcomes, process).and_then(|()| {
        // An empty folder of that name may be there.
        let _ = fs::remove_dir(folder);
        fs::rename(&partial, folder)
    });
    result.map_err(|error| {
        let _ = fs::remove_dir_all(&partial);
        failed(error)
    })
}

fn partial_name(folder: &Path) -> PathBuf {
    let mut name = folder.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".partial-{}", std::process::id()));
    folder.with_file_name(name)
}

fn write_all(folder: &Path, outcomes: &[Outcome], process: Usage) -> std::io::Result<()> {
    fs::create_dir_all(folder)?;
    if let [outcome] = outcomes {
        return write_one(folder, outcome, process);
    }
    for (index, outcome) in outcomes.iter().enumerate() {
        let below = folder.join(format!("{:03}-{}", index + 1, outcome.case.label()));
        fs::create_dir(&below)?;
        write_one(&below, outcome, process)?;
    }
    Ok(())
}

fn write_one(folder: &Path, outcome: &Outcome, process: Usage) -> std::io::Result<()> {
    let provenance = Provenance {
        podlab: env!("CARGO_PKG_VERSION"),
        clock: "virtual: every time is simulated",
        command: std::env::args().collect(),
        endpoint: &outcome.endpoint,
        settings: &outcome.case.settings,
        seed: outcome.case.seed,
        deployment: &outcome.deployment,
        machine: Machine {
            os: std::env::consts::OS,
            architecture: std::env::consts::ARCH,
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
        },
        process,
    };
    write_json(&folder.join("run.json"), &provenance)?;
    write_json(&folder.join("summary.json"), &Run::of(outcome))?;
    let mut requests = BufWriter::new(fs::File::create(folder.join("requests.jsonl"))?);
    for (number, record) in outcome.records.iter().enumerate() {
        serde_json::to_writer(&mut requests, &Line::of(number, record))?;
        requests.write_all(b"\n")?;
    }
    requests.flush()
}

fn write_json(path: &Path, value: &impl Serialize) -> std::io::Result<()> {
    let mut file = BufWriter::new(fs::File::create(path)?);
    serde_json::to_writer_pretty(&mut file, value)?;
    file.write_all(b"\n")?;
    file.flush()
}

/// A line of `requests.jsonl`. Moments are milliseconds from the start of the run; unknown is null.
#[derive(Serialize)]
struct Line {
    request: usize,
    status: &'static str,
    worker: Option<u16>,
    sent_ms: f64,
    admitted_ms: Option<f64>,
    first_token_ms: Option<f64>,
    last_token_ms: Option<f64>,
    ttft_ms: Option<f64>,
    tpot_ms: Option<f64>,
    e2el_ms: Option<f64>,
    prompt_tokens: u32,
    output_tokens: u32,
    cached_tokens: Option<u32>,
    matched_tokens: Option<u32>,
    preemptions: u32,
}

impl Line {
    fn of(request: usize, record: &Record) -> Self {
        let moment = |time: Time| Span(time.0).as_millis_f64();
        Self {
            request,
            status: match record.status {
                Status::Completed => "completed",
                Status::Refused => "refused",
                Status::Cancelled => "cancelled",
                Status::Unfinished => "unfinished",
            },
            worker: record.worker.map(|worker| worker.0),
            sent_ms: moment(record.sent),
            admitted_ms: record.admitted.map(moment),
            first_token_ms: record.first_token.map(moment),
            last_token_ms: record.last_token.map(moment),
            ttft_ms: record.ttft().map(Span::as_millis_f64),
            tpot_ms: record.tpot().map(Span::as_millis_f64),
            e2el_ms: record.e2el().map(Span::as_millis_f64),
            prompt_tokens: record.prompt.0,
            output_tokens: record.output.0,
            cached_tokens: record.cached.map(|tokens| tokens.0),
            matched_tokens: record.matched.map(|tokens| tokens.0),
            preemptions: record.preemptions,
        }
    }
}
