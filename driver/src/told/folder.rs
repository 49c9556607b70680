//! Run folders, folders of them, and sweeps.

use super::{Kind, Request, Told, file, setup};
use crate::failure::Failure;
use crate::sweep;
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader, ErrorKind};
use std::path::{Path, PathBuf};

/// The files of one run, each under its name in the folder.
#[derive(Clone, Copy, Debug)]
pub struct RunFiles;

impl RunFiles {
    /// How it was made.
    pub const RUN: &'static str = "run.json";
    /// Its figures.
    pub const SUMMARY: &'static str = "summary.json";
    /// Its requests.
    pub const REQUESTS: &'static str = "requests.jsonl";
    /// Every pass, where passes were computed and timed.
    pub const PASSES: &'static str = "passes.jsonl";
}

/// All runs that `source` tells of: a run folder, a folder of run folders, the folder of a sweep, or a file of another tool.
///
/// # Errors
/// [`Failure::Invalid`], naming the file that is missing or not what it should be.
pub fn read(source: &Path) -> Result<Vec<Told>, Failure> {
    if source.is_file() {
        return Ok(vec![file::read(source)?]);
    }
    if source.join(RunFiles::SUMMARY).exists() {
        return Ok(vec![run(source, String::new())?]);
    }
    if source.join(sweep::PLAN).exists() {
        return sweep::told(source);
    }
    let below = runs_below(source)?;
    if below.is_empty() {
        return Err(Failure::Invalid(format!(
            "{}: no run is there: neither {} nor {} nor folders that hold the former; name a folder that `--out` made",
            source.display(),
            RunFiles::SUMMARY,
            sweep::PLAN,
        )));
    }
    below.into_iter().map(|(name, folder)| run(&folder, name)).collect()
}

/// The folders below `source` that hold a run, in the order of their names.
pub(crate) fn runs_below(source: &Path) -> Result<Vec<(String, PathBuf)>, Failure> {
    let unread = |error: std::io::Error| {
        let why = match error.kind() {
            ErrorKind::NotFound => "it is not there".to_owned(),
            _ => format!("it cannot be read: {error}"),
        };
        Failure::Invalid(format!("{}: {why}", source.display()))
    };
    let mut below = Vec::new();
    for entry in fs::read_dir(source).map_err(unread)? {
        let entry = entry.map_err(unread)?;
        if entry.path().join(RunFiles::SUMMARY).exists() {
            below.push((entry.file_name().to_string_lossy().into_owned(), entry.path()));
        }
    }
    below.sort();
    Ok(below)
}

/// The run in `folder`.
pub(crate) fn run(folder: &Path, name: String) -> Result<Told, Failure> {
    let mut requests = Vec::new();
    let told = run_and_show(folder, name, |request| requests.push(request))?;
    Ok(Told { requests, ..told })
}

/// The run in `folder` without its requests, which are shown to `each`, one by one: a run of millions need not fit.
pub(crate) fn run_and_show(folder: &Path, name: String, mut each: impl FnMut(Request)) -> Result<Told, Failure> {
    let figures = json(&folder.join(RunFiles::SUMMARY))?;
    let made = folder.join(RunFiles::RUN);
    let run = if made.exists() { json(&made)? } else { Value::Null };
    let told = told(name, figures, run, Vec::new());
    let requests = folder.join(RunFiles::REQUESTS);
    if requests.exists() {
        let show = |request| each(if told.kind == Kind::Simulated { of_simulated(request) } else { request });
        lines(&requests, show)?;
    }
    Ok(told)
}

/// A simulated client takes no time; that is known.
pub(crate) fn of_simulated(request: Request) -> Request {
    Request { ttft_client_ms: request.ttft_api_ms.map(|_| 0.0), ..request }
}

/// A run of which these are known.
pub(crate) fn told(name: String, figures: Value, run: Value, requests: Vec<Request>) -> Told {
    let origin = if run.is_null() { &figures } else { &run };
    Told {
        name,
        // Of runs without it, those of a sweep are told, and they are simulated.
        kind: if run.is_null() { Kind::Simulated } else { Kind::of(&run) },
        case: setup::case(origin),
        setup: setup::setup(&run),
        figures,
        run,
        requests,
    }
}

/// A file that holds one object.
pub(crate) fn json(path: &Path) -> Result<Value, Failure> {
    let said = |why: String| Failure::Invalid(format!("{}: {why}", path.display()));
    let bytes = fs::read(path).map_err(|error| said(format!("cannot be read: {error}")))?;
    let value: Value =
        serde_json::from_slice(&bytes).map_err(|error| said(format!("not what podlab writes: {error}")))?;
    if value.is_object() { Ok(value) } else { Err(said("not what podlab writes: it is no object".to_owned())) }
}

fn lines(path: &Path, mut each: impl FnMut(Request)) -> Result<(), Failure> {
    let said = |why: String| Failure::Invalid(format!("{}: {why}", path.display()));
    let unread = |error: std::io::Error| said(format!("cannot be read: {error}"));
    let mut file = BufReader::with_capacity(1 << 16, fs::File::open(path).map_err(unread)?);
    let (mut number, mut line) = (0_u64, Vec::new());
    loop {
        line.clear();
        if file.read_until(b'\n', &mut line).map_err(unread)? == 0 {
            return Ok(());
        }
        if !line.trim_ascii().is_empty() {
            let request = serde_json::from_slice(&line);
            each(request.map_err(|error| said(format!("line {}: not a request: {error}", number + 1)))?);
        }
        number += 1;
    }
}
