//! A run as a folder: what it was (`run.json`), every request (`requests.jsonl`), its figures (`summary.json`).
//!
//! A folder appears whole or not at all: everything is written elsewhere first, then moved.

use super::Run;
use super::partial::Partial;
use super::provenance::{Inputs, Provenance};
use crate::experiment::{Outcome, Tiers};
use crate::failure::Failure;
use crate::process::Usage;
use kvcache::{Span, Time, Tokens};
use serde::Serialize;
use sim::ledger::{Record, Status};
use std::fs;
use std::io::{BufWriter, Write};
use std::path::Path;

/// Refuses a folder that cannot be written, before any work is done for it: begins it, and takes it back.
///
/// # Errors
/// [`Failure::Usage`] where it exists and is not an empty folder, or cannot be made.
pub fn check(folder: &Path) -> Result<(), Failure> {
    Partial::create(folder).map(drop).map_err(|why| Failure::Usage(said(folder, &why)))
}

/// Writes all runs: one into the folder itself, several into a folder each below it.
///
/// # Errors
/// Where the disk refuses; then nothing is left behind.
pub fn write(folder: &Path, outcomes: &[Outcome], inputs: &Inputs, process: Usage) -> Result<(), Failure> {
    let partial = Partial::create(folder).map_err(|why| Failure::Failed(said(folder, &why)))?;
    write_all(partial.folder(), outcomes, inputs, process)
        .and_then(|()| partial.publish())
        .map_err(|error| Failure::Failed(said(folder, &error.to_string())))
}

fn said(folder: &Path, why: &str) -> String {
    format!("--out {}: {why}", folder.display())
}

fn write_all(folder: &Path, outcomes: &[Outcome], inputs: &Inputs, process: Usage) -> std::io::Result<()> {
    if let [outcome] = outcomes {
        return write_one(folder, outcome, inputs, process);
    }
    for (index, outcome) in outcomes.iter().enumerate() {
        let below = folder.join(format!("{:03}-{}", index + 1, outcome.case.label()));
        fs::create_dir(&below)?;
        write_one(&below, outcome, inputs, process)?;
    }
    Ok(())
}

fn write_one(folder: &Path, outcome: &Outcome, inputs: &Inputs, process: Usage) -> std::io::Result<()> {
    write_json(&folder.join("run.json"), &Provenance::of(outcome, inputs, process))?;
    write_json(&folder.join("summary.json"), &Run::of(outcome))?;
    let mut requests = BufWriter::new(fs::File::create(folder.join("requests.jsonl"))?);
    for (number, record) in outcome.records.iter().enumerate() {
        serde_json::to_writer(&mut requests, &Line::of(number, record, outcome.case.cache))?;
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
    /// In any tier; the next three say in which.
    cached_tokens: Option<u32>,
    cached_l0_tokens: Option<u32>,
    cached_l1_tokens: Option<u32>,
    cached_l2_tokens: Option<u32>,
    matched_tokens: Option<u32>,
    preemptions: u32,
    refusal: Option<&'static str>,
}

impl Line {
    fn of(request: usize, record: &Record, tiers: Tiers) -> Self {
        let there = |is: bool, tokens: Option<Tokens>| tokens.filter(|_| is).map(|tokens| tokens.0);
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
            cached_tokens: record.found().map(|tokens| tokens.0),
            cached_l0_tokens: there(tiers != Tiers::None, record.cached),
            cached_l1_tokens: there(tiers.l1(), record.from_l1),
            cached_l2_tokens: there(tiers.l2(), record.from_l2),
            matched_tokens: record.matched.map(|tokens| tokens.0),
            preemptions: record.preemptions,
            refusal: record.refusal.map(|refusal| refusal.class()),
        }
    }
}
