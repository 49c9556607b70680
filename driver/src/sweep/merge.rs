//! Several folders of one grid as one.

use super::store::{PLAN, RUNS, lacks, parse, path, read_plan};
use super::{Plan, Planned};
use crate::failure::Failure;
use crate::page;
use crate::report::Partial;
use std::fs;
use std::path::{Path, PathBuf};

/// Puts the runs of `parts` into the new folder `out`: the same bytes as a sweep of the whole grid. Gives how many there are.
///
/// # Errors
/// [`Failure::Usage`] where `out` cannot be made; [`Failure::Invalid`] where the parts are of different grids, hold
/// different bytes for one run, or lack runs together.
pub fn merge(parts: &[PathBuf], out: &Path) -> Result<usize, Failure> {
    let said = |why: String| format!("--out {}: {why}", out.display());
    let partial = Partial::create(out).map_err(|why| Failure::Usage(said(why)))?;
    let first = parts.first().ok_or_else(|| Failure::Usage("name the folders to merge".to_owned()))?;
    let plan = read_plan(first)?;
    for part in &parts[1..] {
        let other = read_plan(part)?;
        if plan != other {
            let (ours, theirs) = (first.display(), part.display());
            let difference = plan.differs(&other).or_else(|| other.differs(&plan));
            let difference = difference.unwrap_or_else(|| "whose runs stand in another order".to_owned());
            return Err(Failure::Invalid(format!("{ours} and {theirs} are of two grids: one is {difference}")));
        }
    }
    let runs = collect(&plan, parts)?;
    let failed = |error: std::io::Error| Failure::Failed(said(format!("cannot be written: {error}")));
    let folder = partial.folder();
    fs::copy(first.join(PLAN), folder.join(PLAN)).map_err(failed)?;
    fs::create_dir(folder.join(RUNS)).map_err(failed)?;
    for (planned, bytes) in plan.runs.iter().zip(&runs) {
        fs::write(path(folder, planned), bytes).map_err(failed)?;
    }
    page::write::again(folder)?;
    partial.publish().map_err(failed)?;
    Ok(runs.len())
}

/// The bytes of each run, from whichever part has it.
fn collect(plan: &Plan, parts: &[PathBuf]) -> Result<Vec<Vec<u8>>, Failure> {
    let mut missing = Vec::new();
    let mut runs = Vec::with_capacity(plan.runs.len());
    for planned in &plan.runs {
        match one(planned, parts)? {
            Some(bytes) => runs.push(bytes),
            None => missing.push(planned),
        }
    }
    if missing.is_empty() {
        return Ok(runs);
    }
    let folders: Vec<String> = parts.iter().map(|part| part.display().to_string()).collect();
    let lacks = lacks(&missing, plan.runs.len());
    Err(Failure::Invalid(format!("{}: {lacks}; merge the parts that have them, too", folders.join(", "))))
}

fn one(planned: &Planned, parts: &[PathBuf]) -> Result<Option<Vec<u8>>, Failure> {
    let mut found: Option<(PathBuf, Vec<u8>)> = None;
    for part in parts {
        let path = path(part, planned);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(Failure::Invalid(format!("{}: cannot be read: {error}", path.display()))),
        };
        parse(&bytes, planned)
            .map_err(|why| Failure::Invalid(format!("{}: {why}; remove it and sweep again", path.display())))?;
        match &found {
            Some((first, known)) if *known != bytes => {
                let (first, second, run) = (first.display(), path.display(), &planned.run);
                return Err(Failure::Invalid(format!(
                    "{first} and {second} differ, and both are the run {run}; remove the one that is not to be trusted"
                )));
            }
            Some(_) => {}
            None => found = Some((path, bytes)),
        }
    }
    Ok(found.map(|(_, bytes)| bytes))
}
