//! The folder of a run whose passes were computed: a profile of this machine and that model.

use super::passes::{fit, spread};
use crate::bounded;
use crate::computed::{Fit, Pass};
use crate::failure::Failure;
use crate::hardware::{ANY, Base, Error, FORMAT, Hardware, Passes, Source};
use crate::report::hex_sha256;
use crate::told::RunFiles;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;

/// Larger files of passes are not read: ten million passes.
const MOST_BYTES: u64 = 4 << 30;

/// The profile of the passes in `folder`.
///
/// # Errors
/// What is wrong with the folder, naming file and line.
pub fn profile(folder: &Path) -> Result<Hardware, Failure> {
    let path = folder.join(RunFiles::PASSES);
    let said = |why: String| Failure::Invalid(format!("{}: {why}", path.display()));
    let bytes = bounded::read(&path, MOST_BYTES).map_err(|error| said(error.to_string()))?;
    let passes = read(&bytes).map_err(said)?;
    let model = model(folder)?;
    let cost = fit(&passes).ok_or_else(|| said("there is no pass in it".to_owned()))?;
    let error = Error {
        figures: passes.len(),
        training: spread(&passes, &cost).map(|spread| spread.p50),
        held_out: held_out(&passes),
    };
    Ok(Hardware {
        format: FORMAT.to_owned(),
        name: format!("passes of {} on a CPU", model.model),
        gpu: ANY.to_owned(),
        base: Base::Served,
        source: Some(Source {
            kind: "passes".to_owned(),
            path: folder.display().to_string(),
            sha256: hex_sha256(&bytes),
            date: jiff::Timestamp::now().strftime("%Y-%m-%d").to_string(),
            groups: 1,
        }),
        factors: BTreeMap::new(),
        passes: Some(Passes::new(model, &cost)),
        grid: None,
        errors: BTreeMap::from([("pass".to_owned(), error)]),
    })
}

/// Reads `passes.jsonl`.
///
/// # Errors
/// The first line that is no pass.
pub fn read(bytes: &[u8]) -> Result<Vec<Pass>, String> {
    let lines = bytes.split(|byte| *byte == b'\n').enumerate().filter(|(_, line)| !line.is_empty());
    let pass = |(at, line)| {
        let pass: Pass = serde_json::from_slice(line).map_err(|error| format!("line {}: {error}", at + 1))?;
        if !(pass.cpu_us.is_finite() && pass.cpu_us > 0.0 && pass.tokens > 0) {
            return Err(format!("line {}: a pass computes tokens and takes time", at + 1));
        }
        Ok(pass)
    };
    lines.map(pass).collect()
}

/// What the run says of its model.
fn model(folder: &Path) -> Result<Fit, Failure> {
    #[derive(Deserialize)]
    struct Summary {
        computed: Computed,
    }
    #[derive(Deserialize)]
    struct Computed {
        fit: Fit,
    }
    let path = folder.join(RunFiles::SUMMARY);
    let said = |why: String| Failure::Invalid(format!("{}: {why}", path.display()));
    let bytes = bounded::read(&path, MOST_BYTES).map_err(|error| said(error.to_string()))?;
    let summary: Summary = serde_json::from_slice(&bytes).map_err(|error| said(error.to_string()))?;
    Ok(summary.computed.fit)
}

/// The median error on every other pass, where the others were fitted to; `None`: there are too few.
fn held_out(passes: &[Pass]) -> Option<f64> {
    let (even, odd): (Vec<_>, Vec<_>) = passes.iter().enumerate().partition(|(at, _)| at % 2 == 0);
    let of = |half: Vec<(usize, &Pass)>| half.into_iter().map(|(_, pass)| *pass).collect::<Vec<_>>();
    let (even, odd) = (of(even), of(odd));
    Some(spread(&odd, &fit(&even)?)?.p50)
}
