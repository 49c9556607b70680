//! The folder of a sweep.

use super::{Plan, Planned};
use crate::experiment::Outcome;
use crate::failure::Failure;
use crate::report::{Run, stored};
use crate::told::{self, Setting, Told};
use serde::Serialize;
use serde_json::Value;
use std::fs::{self, File, TryLockError};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

pub(crate) const PLAN: &str = "sweep.json";
pub(super) const RUNS: &str = "runs";

/// A run that is over: what is reported of it.
#[derive(Debug)]
pub struct Done {
    /// The run.
    pub outcome: Outcome,
    /// What was odd about it.
    pub warnings: Vec<String>,
}

/// The folder of a sweep, which nobody else writes to meanwhile.
#[derive(Debug)]
pub struct Store {
    folder: PathBuf,
    /// Held as long as this lives; the system lets go of it when the process ends, however it does.
    _lock: File,
}

/// The file of a run.
#[derive(Serialize)]
struct Stored<'a> {
    digest: &'a str,
    run: Run<'a>,
    hardware: &'a str,
    warnings: &'a [String],
}

impl Store {
    /// Opens `folder` for `plan`: a new one, an empty one, or one with runs of it.
    ///
    /// # Errors
    /// [`Failure::Usage`] where it holds something else, or another sweep is writing there.
    pub fn open(folder: &Path, plan: &Plan) -> Result<Self, Failure> {
        let said = |why: String| Failure::Usage(format!("--out {}: {why}", folder.display()));
        let failed = |error: std::io::Error| said(format!("cannot be written: {error}"));
        let known = folder.join(PLAN).exists();
        if !known && has_foreign(folder).map_err(failed)? {
            return Err(foreign(folder));
        }
        fs::create_dir_all(folder.join(RUNS)).map_err(failed)?;
        let lock = File::open(folder.join(RUNS)).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let why = "another sweep is writing there; wait for it, or give each its own folder and its --shard";
                return Err(said(why.to_owned()));
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        if known {
            compare(folder, plan)?;
        }
        let store = Self { folder: folder.to_owned(), _lock: lock };
        store.clean().map_err(failed)?;
        let mut text = serde_json::to_string_pretty(plan).expect("a plan is representable");
        text.push('\n');
        store.publish(&store.folder.join(PLAN), text.as_bytes()).map_err(failed)?;
        Ok(store)
    }

    /// Whether a run is there, and whole.
    #[must_use]
    pub fn has(&self, planned: &Planned) -> bool {
        has(&self.folder, planned)
    }

    /// Keeps a run.
    ///
    /// # Errors
    /// [`Failure::Failed`] where the disk refuses.
    pub fn keep(&self, planned: &Planned, outcome: &Outcome, warnings: &[String]) -> Result<(), Failure> {
        let (run, hardware) = (Run::of(outcome), outcome.hardware.as_str());
        let mut bytes = serde_json::to_vec(&Stored { digest: &planned.digest, run, hardware, warnings })
            .expect("figures are representable");
        bytes.push(b'\n');
        let path = path(&self.folder, planned);
        self.publish(&path, &bytes)
            .map_err(|error| Failure::Failed(format!("{}: cannot be written: {error}", path.display())))
    }

    /// Writes a file that appears whole or not at all, in the place of the one that was there.
    fn publish(&self, path: &Path, bytes: &[u8]) -> std::io::Result<()> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let part = self.folder.join(RUNS).join(format!(".{name}.part"));
        let mut file = File::create(&part)?;
        file.write_all(bytes)?;
        file.sync_data()?;
        drop(file);
        fs::rename(&part, path)
    }

    /// Removes what a process that was killed was writing.
    fn clean(&self) -> std::io::Result<()> {
        for entry in fs::read_dir(self.folder.join(RUNS))? {
            let entry = entry?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name.starts_with('.') && name.ends_with(".part") {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }
}

/// Whether a run is there, and whole.
fn has(folder: &Path, planned: &Planned) -> bool {
    fs::read(path(folder, planned)).is_ok_and(|bytes| parse(&bytes, planned).is_ok())
}

/// Which runs of `plan` are in `folder`, without writing anything.
///
/// # Errors
/// [`Failure::Usage`] where it holds something else.
pub fn there(folder: &Path, plan: &Plan) -> Result<Vec<bool>, Failure> {
    if folder.join(PLAN).exists() {
        compare(folder, plan)?;
    } else if has_foreign(folder).unwrap_or(true) {
        return Err(foreign(folder));
    }
    Ok(plan.runs.iter().map(|planned| has(folder, planned)).collect())
}

/// Refuses a folder whose sweep is not a part of `plan`.
fn compare(folder: &Path, plan: &Plan) -> Result<(), Failure> {
    match plan.differs(&read_plan(folder)?) {
        None => Ok(()),
        Some(difference) => {
            Err(Failure::Usage(format!("--out {}: it holds a sweep {difference}; name a new folder", folder.display())))
        }
    }
}

fn foreign(folder: &Path) -> Failure {
    let why = "it is there, and is no folder of a sweep; name a new one, or remove it";
    Failure::Usage(format!("--out {}: {why}", folder.display()))
}

/// Whether a folder is there and holds anything but what a sweep begins with.
fn has_foreign(folder: &Path) -> std::io::Result<bool> {
    match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
        Ok(entries) => {
            for entry in entries {
                if entry?.file_name() != RUNS {
                    return Ok(true);
                }
            }
            Ok(false)
        }
    }
}

pub(super) fn path(folder: &Path, planned: &Planned) -> PathBuf {
    folder.join(RUNS).join(format!("{}.json", planned.digest))
}

pub(super) fn read_plan(folder: &Path) -> Result<Plan, Failure> {
    let path = folder.join(PLAN);
    let text = fs::read_to_string(&path).map_err(|error| {
        Failure::Invalid(format!("{}: not the folder of a sweep: {PLAN} cannot be read: {error}", folder.display()))
    })?;
    let plan: Plan = serde_json::from_str(&text)
        .map_err(|error| Failure::Invalid(format!("{}: not what podlab writes: {error}", path.display())))?;
    // Digests become names of files.
    match plan
        .runs
        .iter()
        .find(|run| run.digest.len() != 32 || !run.digest.bytes().all(|byte| byte.is_ascii_hexdigit()))
    {
        Some(run) => Err(Failure::Invalid(format!("{}: {:?} is no digest of a run", path.display(), run.digest))),
        None => Ok(plan),
    }
}

/// The file of a run as a value, if it is whole and of this run.
pub(super) fn parse(bytes: &[u8], planned: &Planned) -> Result<Value, String> {
    let value: Value = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    if value["digest"] == planned.digest.as_str() {
        Ok(value)
    } else {
        Err(format!("it is the file of the run {}", value["digest"]))
    }
}

/// All runs of a finished sweep, in the order of its grid.
///
/// # Errors
/// [`Failure::Invalid`] where runs are missing, each by its name, or a file is not what podlab writes.
pub fn read(folder: &Path) -> Result<Vec<Done>, Failure> {
    let mut names = stored::Names::default();
    let read = |(path, mut value): (PathBuf, Value)| {
        let of = |why: String| Failure::Invalid(format!("{}: {why}; remove it and sweep again", path.display()));
        let hardware = value["hardware"].as_str().unwrap_or_default().to_owned();
        let warnings =
            value["warnings"].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect();
        let outcome = stored::outcome(value["run"].take(), hardware, &mut names).map_err(of)?;
        Ok(Done { outcome, warnings })
    };
    values(folder, &read_plan(folder)?)?.into_iter().map(read).collect()
}

/// The same runs, as they are compared with others: figures alone.
///
/// # Errors
/// As [`read`].
pub(crate) fn told(folder: &Path) -> Result<Vec<Told>, Failure> {
    let plan = read_plan(folder)?;
    let setting = |name: &str, value: &str| Setting { name: name.to_owned(), value: value.to_owned() };
    let hashed = |name: &str, sha256: &str| {
        setting(&format!("{name} file, SHA-256"), &sha256.chars().take(16).collect::<String>())
    };
    let mut setup = vec![setting("podlab", &plan.podlab), hashed("endpoint", &plan.endpoint_sha256)];
    setup.extend(plan.trace_sha256.iter().map(|sha256| hashed("trace", sha256)));
    let values = values(folder, &plan)?;
    let one = |(planned, (_, mut value)): (&Planned, (PathBuf, Value))| Told {
        setup: setup.clone(),
        run: serde_json::json!({ "warnings": value["warnings"].take() }),
        ..told::folder::told(planned.run.clone(), value["run"].take(), Value::Null, Vec::new())
    };
    Ok(plan.runs.iter().zip(values).map(one).collect())
}

/// The file of each run of a finished sweep, with its path, in the order of the grid.
fn values(folder: &Path, plan: &Plan) -> Result<Vec<(PathBuf, Value)>, Failure> {
    let missing: Vec<&Planned> = plan.runs.iter().filter(|planned| !path(folder, planned).exists()).collect();
    if !missing.is_empty() {
        let why = format!("{}: {}", folder.display(), lacks(&missing, plan.runs.len()));
        return Err(Failure::Invalid(format!("{why}; the command that began it goes on with it")));
    }
    let value = |planned: &Planned| {
        let path = path(folder, planned);
        let of = |why: String| Failure::Invalid(format!("{}: {why}; remove it and sweep again", path.display()));
        let bytes = fs::read(&path).map_err(|error| of(format!("cannot be read: {error}")))?;
        let value = parse(&bytes, planned).map_err(of)?;
        Ok((path, value))
    };
    plan.runs.iter().map(value).collect()
}

/// `3 of 12 runs are missing: ...`, the first of them by name.
pub(super) fn lacks(missing: &[&Planned], all: usize) -> String {
    const NAMED: usize = 10;
    let named: Vec<&str> = missing.iter().take(NAMED).map(|planned| planned.run.as_str()).collect();
    let more = if missing.len() > NAMED { format!(", and {} more", missing.len() - NAMED) } else { String::new() };
    format!("{} of {all} runs are missing: {}{more}", missing.len(), named.join(", "))
}
