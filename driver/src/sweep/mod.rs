//! A grid of runs that outlives its process: a folder with a file for each run, which appears whole or not at all.
//!
//! `sweep.json` lists all runs of the grid in their order; `runs/DIGEST.json` is one of them. The digest covers all that
//! decides what a run says: podlab's version, the endpoint file and the trace by their bytes, every setting as resolved, the
//! seed. What is there is not run again, and what several machines made of one grid is put together without a doubt.
//!
//! Invariant: the bytes of a folder depend on its grid alone, never on how often it was broken off, or on who ran what.

use crate::experiment::{Assembled, Case, Experiment};
use crate::report::hex_sha256;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::fmt;

mod store; // the folder
mod merge; // several folders as one

pub use merge::merge;
pub use store::{Done, Store, read, there};
pub(crate) use store::{PLAN, told};

/// A grid: what it was made from, and its runs in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The version of podlab that makes it.
    pub podlab: String,
    /// SHA-256 of the endpoint file.
    pub endpoint_sha256: String,
    /// The workload, as it was asked for.
    pub workload: String,
    /// SHA-256 of the trace; `None`: it is generated.
    pub trace_sha256: Option<String>,
    /// Requests of each run.
    pub requests: u64,
    /// What was promised.
    pub slo: Option<String>,
    /// All runs.
    pub runs: Vec<Planned>,
}

/// A run of a grid.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Planned {
    /// What its file is named after.
    pub digest: String,
    /// What it is, in words.
    pub run: String,
}

/// What the runs of a grid share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// SHA-256 of the endpoint file.
    pub endpoint: String,
    /// SHA-256 of the trace, if it is one.
    pub trace: Option<String>,
    /// What was promised.
    pub slo: Option<String>,
}

impl Plan {
    /// The grid of these cases.
    #[must_use]
    pub fn of(experiment: &Experiment, origin: Origin, runs: &[(Case, Assembled)]) -> Self {
        let (podlab, requests) = (env!("CARGO_PKG_VERSION").to_owned(), experiment.source.requests());
        let planned = |(case, assembled): &(Case, Assembled)| {
            let all = json!({
                "podlab": podlab,
                "endpoint": origin.endpoint,
                "workload": experiment.workload,
                "trace": origin.trace,
                "requests": requests,
                "slo": origin.slo,
                "strategy": case.strategy.as_str(),
                "cache": case.cache.as_str(),
                "replicas": case.replicas,
                "rate": case.load.rate(),
                "concurrency": case.load.concurrency(),
                "users": case.load.users(),
                "speedup": case.load.speedup(),
                "seed": case.seed,
                "settings": case.settings,
                "resolved": assembled.describe(),
            });
            // 128 bits: no grid has two runs of one digest.
            let digest = hex_sha256(all.to_string().as_bytes())[..32].to_owned();
            let settings = case.settings.iter().map(|(key, value)| format!(" {key}={value}")).collect::<String>();
            Planned { digest, run: format!("{}{settings}", case.label()) }
        };
        Self {
            runs: runs.iter().map(planned).collect(),
            podlab: podlab.clone(),
            endpoint_sha256: origin.endpoint.clone(),
            workload: experiment.workload.clone(),
            trace_sha256: origin.trace.clone(),
            requests,
            slo: origin.slo.clone(),
        }
    }

    /// Why runs of `self` cannot go where those of `other` are; `None`: all of its runs are among these.
    fn differs(&self, other: &Self) -> Option<String> {
        let told =
            |name: &str, ours: &str, theirs: &str| (ours != theirs).then(|| format!("{name} {theirs}, not {ours}"));
        let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "none".to_owned());
        told("of podlab", &self.podlab, &other.podlab)
            .or_else(|| told("of the endpoint file with SHA-256", &self.endpoint_sha256, &other.endpoint_sha256))
            .or_else(|| told("of the workload", &self.workload, &other.workload))
            .or_else(|| told("of the trace with SHA-256", &text(&self.trace_sha256), &text(&other.trace_sha256)))
            .or_else(|| told("with so many requests:", &self.requests.to_string(), &other.requests.to_string()))
            .or_else(|| told("with --slo", &text(&self.slo), &text(&other.slo)))
            .or_else(|| {
                let ours: std::collections::BTreeSet<&str> = self.runs.iter().map(|run| run.digest.as_str()).collect();
                let lost = other.runs.iter().find(|run| !ours.contains(run.digest.as_str()))?;
                Some(format!("with a run that is not asked for now, {}", lost.run))
            })
    }
}

/// Which part of a grid is run: each n-th run, beginning with the i-th.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    index: usize,
    of: usize,
}

impl Shard {
    /// All of it.
    pub const ALL: Self = Self { index: 1, of: 1 };

    /// Reads `2/4`.
    ///
    /// # Errors
    /// What would be right.
    pub fn parse(text: &str) -> Result<Self, String> {
        let form = || format!("\"{text}\" is not of the form I/N with I from 1 to N, such as 2/4");
        let (index, of) = text.split_once('/').ok_or_else(form)?;
        let (index, of) = (index.parse().map_err(|_| form())?, of.parse().map_err(|_| form())?);
        if (1..=of).contains(&index) { Ok(Self { index, of }) } else { Err(form()) }
    }

    /// Whether it has the run at this place.
    #[must_use]
    pub const fn has(self, place: usize) -> bool {
        place % self.of == self.index - 1
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.of)
    }
}
