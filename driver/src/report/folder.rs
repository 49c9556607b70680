//! A run as a folder: what it was (`run.json`), every request (`requests.jsonl`), its figures (`summary.json`),
//! every pass where passes were computed (`passes.jsonl`), and all of that for people (`report.html`).
//!
//! A folder appears whole or not at all: everything is written elsewhere first, then moved.

use super::Run;
use super::line::Line;
use super::partial::Partial;
use super::provenance::{Inputs, Provenance};
use crate::compare::Comparison;
use crate::experiment::Outcome;
use crate::failure::Failure;
use crate::page::{self, Digest};
use crate::process::Usage;
use crate::told::{self, RunFiles, Told};
use serde::Serialize;
use serde_json::to_value;
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

/// Writes a comparison, and its page.
///
/// # Errors
/// Where the disk refuses; then nothing is left behind.
pub(crate) fn write_comparison(folder: &Path, comparison: &Comparison) -> Result<(), Failure> {
    let partial = Partial::create(folder).map_err(|why| Failure::Failed(said(folder, &why)))?;
    let failed = |error: std::io::Error| Failure::Failed(said(folder, &error.to_string()));
    write_json(&partial.folder().join(page::write::COMPARISON), comparison).map_err(failed)?;
    page::write::again(partial.folder())?;
    partial.publish().map_err(failed)
}

fn said(folder: &Path, why: &str) -> String {
    format!("--out {}: {why}", folder.display())
}

fn write_all(folder: &Path, outcomes: &[Outcome], inputs: &Inputs, process: Usage) -> std::io::Result<()> {
    if let [outcome] = outcomes {
        return write_one(folder, String::new(), outcome, inputs, process).map(drop);
    }
    let mut runs = Vec::with_capacity(outcomes.len());
    for (index, outcome) in outcomes.iter().enumerate() {
        let name = format!("{:03}-{}", index + 1, outcome.case.label());
        let below = folder.join(&name);
        fs::create_dir(&below)?;
        runs.push(write_one(&below, name, outcome, inputs, process)?);
    }
    page::write::of_runs(folder, &runs)
}

/// Writes a run, and tells of it as its files do.
fn write_one(folder: &Path, name: String, outcome: &Outcome, inputs: &Inputs, process: Usage) -> std::io::Result<Told> {
    let (made, figures) = (to_value(Provenance::of(outcome, inputs, process))?, to_value(Run::of(outcome))?);
    write_json(&folder.join(RunFiles::RUN), &made)?;
    write_json(&folder.join(RunFiles::SUMMARY), &figures)?;
    let mut digest = Digest::default();
    let mut requests = BufWriter::new(fs::File::create(folder.join(RunFiles::REQUESTS))?);
    for (number, record) in outcome.records.iter().enumerate() {
        let line = Line::of(number as u64, record, outcome);
        serde_json::to_writer(&mut requests, &line)?;
        requests.write_all(b"\n")?;
        digest.add(&told::folder::of_simulated(line.told()));
    }
    requests.flush()?;
    if let Some(timed) = &outcome.computed {
        let mut passes = BufWriter::new(fs::File::create(folder.join(RunFiles::PASSES))?);
        for pass in &timed.passes {
            serde_json::to_writer(&mut passes, pass)?;
            passes.write_all(b"\n")?;
        }
        passes.flush()?;
    }
    digest.finish();
    let told = told::folder::told(name, figures, made, Vec::new());
    page::write::of_run(folder, &told, &digest)?;
    Ok(told)
}

fn write_json(path: &Path, value: &impl Serialize) -> std::io::Result<()> {
    let mut file = BufWriter::new(fs::File::create(path)?);
    serde_json::to_writer_pretty(&mut file, value)?;
    file.write_all(b"\n")?;
    file.flush()
}
