//! Which page a folder gets.

use super::digest::Digest;
use super::{checks, compared, grid, provenance, run};
use crate::compare::Comparison;
use crate::failure::Failure;
use crate::sweep;
use crate::told::{self, RunFiles, Told};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The name of every page.
pub const PAGE: &str = "report.html";
/// What a validation found.
const CHECKS: &str = "checks.json";
/// What was compared.
pub const COMPARISON: &str = "comparison.json";

/// The page of a run into its folder.
///
/// # Errors
/// Where the disk refuses.
pub(crate) fn of_run(folder: &Path, told: &Told, digest: &Digest) -> io::Result<()> {
    fs::write(folder.join(PAGE), run::page(told, digest))
}

/// The page of several runs, each in a folder of its name below.
///
/// # Errors
/// Where the disk refuses.
pub(crate) fn of_runs(folder: &Path, runs: &[Told]) -> io::Result<()> {
    fs::write(folder.join(PAGE), grid::page(runs, &warnings(runs), true))
}

fn warnings(runs: &[Told]) -> Vec<String> {
    let mut warnings: Vec<String> = Vec::new();
    for warning in runs.iter().flat_map(|run| provenance::warnings_of(&run.run)) {
        if !warnings.contains(&warning) {
            warnings.push(warning);
        }
    }
    warnings
}

/// Makes the pages of a folder (again), whatever podlab wrote there; gives the first of them.
///
/// # Errors
/// [`Failure::Invalid`] where the folder holds nothing that has a page, [`Failure::Failed`] where the disk refuses.
pub fn again(folder: &Path) -> Result<PathBuf, Failure> {
    let page = folder.join(PAGE);
    let put = |text: String| {
        fs::write(&page, text)
            .map_err(|error| Failure::Failed(format!("{}: cannot be written: {error}", page.display())))
    };
    if folder.join(COMPARISON).exists() {
        put(compared::page(&comparison(folder)?))?;
    } else if folder.join(CHECKS).exists() {
        let made = told::folder::json(&folder.join(RunFiles::RUN))?;
        put(checks::page(&told::folder::json(&folder.join(CHECKS))?, &made))?;
    } else if folder.join(RunFiles::SUMMARY).exists() {
        put(one(folder, String::new())?.1)?;
    } else if folder.join(sweep::PLAN).exists() {
        let runs = sweep::told(folder)?;
        put(grid::page(&runs, &warnings(&runs), false))?;
    } else {
        several(folder, put)?;
    }
    Ok(page)
}

fn several(folder: &Path, put: impl Fn(String) -> Result<(), Failure>) -> Result<(), Failure> {
    let below = told::folder::runs_below(folder)?;
    if below.is_empty() {
        return Err(Failure::Invalid(format!(
            "{}: nothing is there that has a report: no {}, {COMPARISON}, {CHECKS} or {}; name a folder that --out made",
            folder.display(),
            RunFiles::SUMMARY,
            sweep::PLAN,
        )));
    }
    let mut runs = Vec::with_capacity(below.len());
    for (name, path) in below {
        let (told, text) = one(&path, name)?;
        let page = path.join(PAGE);
        fs::write(&page, text)
            .map_err(|error| Failure::Failed(format!("{}: cannot be written: {error}", page.display())))?;
        runs.push(told);
    }
    put(grid::page(&runs, &warnings(&runs), true))
}

/// The run in a folder, and its page.
fn one(folder: &Path, name: String) -> Result<(Told, String), Failure> {
    let mut digest = Digest::default();
    let told = told::folder::run_and_show(folder, name, |request| digest.add(&request))?;
    digest.finish();
    let page = run::page(&told, &digest);
    Ok((told, page))
}

fn comparison(folder: &Path) -> Result<Comparison, Failure> {
    let path = folder.join(COMPARISON);
    let said = |why: String| Failure::Invalid(format!("{}: {why}", path.display()));
    let bytes = fs::read(&path).map_err(|error| said(format!("cannot be read: {error}")))?;
    serde_json::from_slice(&bytes).map_err(|error| said(format!("not what podlab writes: {error}")))
}
