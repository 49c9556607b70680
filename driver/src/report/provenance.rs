//! What a run needs to be run again (`run.json`): the command, what it read, and every setting as it was resolved.

use crate::experiment::Outcome;
use crate::process::Usage;
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

/// SHA-256 in hexadecimal.
pub(crate) fn hex_sha256(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(64);
    for byte in Sha256::digest(bytes) {
        write!(text, "{byte:02x}").expect("a string takes every character");
    }
    text
}

/// A file that runs were made from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Input {
    /// Its name, as it was given.
    path: String,
    /// SHA-256 of its bytes, in hexadecimal.
    sha256: String,
    /// All that it says, where it is short.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
}

impl Input {
    /// A file that is told by its hash.
    #[must_use]
    pub fn hashed(path: &Path, bytes: &[u8]) -> Self {
        Self { path: path.display().to_string(), sha256: hex_sha256(bytes), text: None }
    }

    /// Its SHA-256.
    pub(crate) fn sha256(&self) -> &str {
        &self.sha256
    }

    /// A file that is kept whole.
    #[must_use]
    pub fn whole(path: &Path, text: &str) -> Self {
        Self { text: Some(text.to_owned()), ..Self::hashed(path, text.as_bytes()) }
    }
}

/// The files that the runs of a command were made from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Inputs {
    /// The endpoint file.
    pub endpoint: Option<Input>,
    /// The lab file.
    pub lab: Option<Input>,
    /// The trace.
    pub trace: Option<Input>,
}

/// `run.json`.
#[derive(Serialize)]
pub(super) struct Provenance<'a> {
    podlab: &'static str,
    clock: &'static str,
    command: Vec<String>,
    strategy: &'a str,
    cache: &'a str,
    replicas: u16,
    workload: &'a str,
    requests: usize,
    rate: Option<f64>,
    concurrency: Option<u32>,
    users: Option<u32>,
    speedup: Option<f64>,
    seed: u64,
    settings: &'a BTreeMap<String, String>,
    warnings: &'a [String],
    inputs: &'a Inputs,
    /// Lab, deployment, engine, router, path and price.
    #[serde(flatten)]
    resolved: &'a Value,
    machine: Machine,
    process: Usage,
}

/// Where it ran.
#[derive(Serialize)]
pub(crate) struct Machine {
    os: &'static str,
    architecture: &'static str,
    cpus: usize,
}

/// This machine.
pub(crate) fn machine() -> Machine {
    Machine {
        os: std::env::consts::OS,
        architecture: std::env::consts::ARCH,
        cpus: std::thread::available_parallelism().map_or(1, usize::from),
    }
}

impl<'a> Provenance<'a> {
    pub(super) fn of(outcome: &'a Outcome, inputs: &'a Inputs, process: Usage) -> Self {
        let case = &outcome.case;
        Self {
            podlab: env!("CARGO_PKG_VERSION"),
            clock: match &outcome.computed {
                None => "virtual: every time is simulated",
                Some(_) => "virtual: passes last as long as a thread computed them, the rest is simulated",
            },
            // An argument need not be UTF-8.
            command: std::env::args_os().map(|argument| argument.to_string_lossy().into_owned()).collect(),
            strategy: case.strategy.as_str(),
            cache: case.cache.as_str(),
            replicas: case.replicas,
            workload: &outcome.workload,
            requests: outcome.records.len(),
            rate: case.load.rate(),
            concurrency: case.load.concurrency(),
            users: case.load.users(),
            speedup: case.load.speedup(),
            seed: case.seed,
            settings: &case.settings,
            warnings: &outcome.warnings,
            inputs,
            resolved: &outcome.resolved,
            machine: machine(),
            process,
        }
    }
}
