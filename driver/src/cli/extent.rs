//! Flags for the settings `run.*`.

use super::LabArgs;
use crate::lab::run::{WarmupLab, duration};
use crate::lab::units;
use clap::Args;

/// How a run begins, how long it is, which part of it is measured. Each flag stands for a setting, and a comma for several
/// values of it.
#[derive(Debug, Args)]
pub(super) struct ExtentArgs {
    /// Requests sent first that are in no figure: a count, a time, or a percentage of the run (--set run.warmup)
    #[arg(long, value_delimiter = ',', allow_negative_numbers = true, value_parser = warmup, value_name = "200|30s|10%")]
    warmup: Vec<String>,
    /// Send nothing from then on, instead of a number of requests (--set run.duration)
    #[arg(long, value_delimiter = ',', allow_negative_numbers = true, value_parser = lasting, value_name = "10min")]
    duration: Vec<String>,
    /// With --concurrency, users start one after the other over so long (--set run.ramp)
    #[arg(long, value_delimiter = ',', allow_negative_numbers = true, value_parser = ramp, value_name = "30s")]
    ramp: Vec<String>,
}

impl ExtentArgs {
    /// The settings as `--set` takes them, with those of `args` before.
    pub(super) fn settings(&self, args: &LabArgs) -> Vec<String> {
        let flags = [("run.warmup", &self.warmup), ("run.duration", &self.duration), ("run.ramp", &self.ramp)];
        let given = flags.into_iter().filter(|(_, values)| !values.is_empty());
        args.settings.iter().cloned().chain(given.map(|(key, values)| format!("{key}={}", values.join(",")))).collect()
    }
}

fn warmup(text: &str) -> Result<String, String> {
    WarmupLab::parse(text)
        .map(|_| text.to_owned())
        .map_err(|problem| format!("{problem}; a count, a time or a percentage is expected, such as 200, 30s or 10%"))
}

fn lasting(text: &str) -> Result<String, String> {
    duration(text).map(|_| text.to_owned())
}

fn ramp(text: &str) -> Result<String, String> {
    units::span(text).map(|_| text.to_owned())
}
