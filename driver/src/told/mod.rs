//! Runs as their files tell of them, whoever wrote those: run folders, sweeps, results of other tools.
//!
//! What is compared and what a report shows comes from here alone, so a report that is made again is the same bytes.

use serde_json::Value;

mod request; // a line of requests.jsonl
pub(crate) mod folder; // run folders and sweeps
mod setup; // settings by name
mod file; // results of other tools
mod vllm; // ... of vllm bench serve
mod aiperf; // ... of aiperf
mod estimate; // figures from requests

pub use estimate::quantile;
pub use folder::{RunFiles, read};
pub use request::{Part, Request};
pub use setup::{Setting, show};

/// What made a run's times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Virtual time.
    Simulated,
    /// Wall time, with passes as long as a model says.
    Emulated,
    /// Wall time and real workers on this machine.
    Replica,
    /// Whatever answered.
    Measured,
}

impl Kind {
    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Simulated => "simulated",
            Self::Emulated => "emulated",
            Self::Replica => "replica",
            Self::Measured => "measured",
        }
    }

    /// As `run.json` tells it.
    fn of(run: &Value) -> Self {
        let says = |key: &str, begins: &str| run[key].as_str().is_some_and(|text| text.starts_with(begins));
        match run["kind"].as_str() {
            Some("simulated") => Self::Simulated,
            Some("emulated") => Self::Emulated,
            Some("replica") => Self::Replica,
            Some(_) => Self::Measured,
            None if says("clock", "virtual") => Self::Simulated,
            None if says("target", "emulate:") => Self::Emulated,
            None if says("target", "replica:") => Self::Replica,
            None => Self::Measured,
        }
    }
}

/// A run.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    /// What it is called within its source; empty where the source is this run alone.
    pub name: String,
    /// What made its times.
    pub kind: Kind,
    /// What it was, in order: strategy, cache, replicas, workload, load, seed, settings. The runs of one source differ here.
    pub case: Vec<Setting>,
    /// Everything else that was decided about it, by dotted names.
    pub setup: Vec<Setting>,
    /// Its figures, as `summary.json` has them; what is unknown is missing or null.
    pub figures: Value,
    /// `run.json`; null where there is none.
    pub run: Value,
    /// Its requests in the order in which they were sent; none where they were not kept.
    pub requests: Vec<Request>,
}

impl Told {
    /// A figure by its dotted name (`hit_rate.total`). `None`: unknown.
    #[must_use]
    pub fn figure(&self, name: &str) -> Option<f64> {
        figure(&self.figures, name)
    }

    /// The requests that its figures are of.
    pub fn measured(&self) -> impl Iterator<Item = &Request> + Clone {
        self.requests.iter().filter(|request| request.measured)
    }

    /// What it was, under this name.
    #[must_use]
    pub fn was(&self, name: &str) -> Option<&str> {
        self.case.iter().find(|setting| setting.name == name).map(|setting| setting.value.as_str())
    }
}

/// A number somewhere in an object, by its dotted name. `None`: there is none.
#[must_use]
pub fn figure(figures: &Value, name: &str) -> Option<f64> {
    name.split('.').try_fold(figures, |value, part| value.get(part))?.as_f64()
}
