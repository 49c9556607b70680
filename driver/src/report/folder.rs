//! A run as a folder: what it was (`run.json`), every request (`requests.jsonl`), its figures (`summary.json`).
//!
//! A folder appears whole or not at all: everything is written elsewhere first, then moved.

use super::Run;
use super::line::Line;
use super::partial::Partial;
use super::provenance::{Inputs, Provenance};
use crate::experiment::Outcome;
use crate::failure::Failure;
use crate::process::Usage;
use serde::Serialize;
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
        serde_json::to_writer(&mut requests, &Line::of(number as u64, record, outcome))?;
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
