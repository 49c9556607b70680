//! Checks for people and for programs, and as a folder.

use super::Check;
use crate::failure::Failure;
use crate::page;
use crate::process::Usage;
use crate::report::{Partial, checks, machine};
use serde::Serialize;
use std::fs;
use std::path::Path;

/// All checks of a command, and what it takes to make them again.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// The checks, in order.
    pub checks: Vec<Check>,
    /// What stands below the table: what tolerances are, and of how much.
    pub notes: String,
    /// How it was made, for `run.json`.
    pub settings: serde_json::Value,
    /// What the checks rest on, for `observations.jsonl`: a line each.
    pub observations: Vec<serde_json::Value>,
}

impl Report {
    /// Both in one.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.checks.extend(other.checks);
        self.notes = format!("{}\n{}", self.notes.trim_end(), other.notes.trim_start());
        self.settings = serde_json::json!([self.settings, other.settings]);
        self.observations.extend(other.observations);
        self
    }

    /// Names of the checks that fall short.
    pub fn short(&self) -> impl Iterator<Item = &str> {
        self.checks.iter().filter(|check| !check.ok).map(|check| check.name.as_str())
    }

    /// The verdict, by which the command ends.
    ///
    /// # Errors
    /// [`Failure::NotMet`], naming those that fall short.
    pub fn verdict(&self) -> Result<(), Failure> {
        let short: Vec<&str> = self.short().collect();
        if short.is_empty() {
            return Ok(());
        }
        Err(Failure::NotMet(format!(
            "{} of {} checks fall short: {}",
            short.len(),
            self.checks.len(),
            short.join(", ")
        )))
    }

    /// As a table.
    #[must_use]
    pub fn table(&self) -> String {
        let kept = self.checks.iter().filter(|check| check.ok).count();
        format!("{}{} of {} checks hold. {}\n", checks::table(&self.checks), kept, self.checks.len(), self.notes)
    }

    /// As JSON: `{"checks": [..]}`.
    #[must_use]
    pub fn json(&self) -> String {
        #[derive(Serialize)]
        struct All<'a> {
            checks: &'a [Check],
        }
        let mut text = serde_json::to_string_pretty(&All { checks: &self.checks }).expect("figures are representable");
        text.push('\n');
        text
    }

    /// Writes a folder: `run.json` (how it was made), `checks.json` (as [`Report::json`]), `observations.jsonl`, and
    /// `report.html`. Those but the first are the same bytes for the same command and seed.
    ///
    /// # Errors
    /// Where the disk refuses; then nothing is left behind.
    pub fn write(&self, folder: &Path, process: Usage) -> Result<(), Failure> {
        let said = |why: String| Failure::Failed(format!("--out {}: {why}", folder.display()));
        let partial = Partial::create(folder).map_err(said)?;
        self.write_into(partial.folder(), process).map_err(|error| said(error.to_string()))?;
        page::write::again(partial.folder())?;
        partial.publish().map_err(|error| said(error.to_string()))
    }

    fn write_into(&self, folder: &Path, process: Usage) -> std::io::Result<()> {
        let run = serde_json::json!({
            "podlab": env!("CARGO_PKG_VERSION"),
            "clock": "virtual: every time is simulated",
            "command": std::env::args_os().map(|argument| argument.to_string_lossy().into_owned()).collect::<Vec<_>>(),
            "settings": self.settings,
            "machine": machine(),
            "process": process,
        });
        fs::write(folder.join("run.json"), format!("{run:#}\n"))?;
        fs::write(folder.join("checks.json"), self.json())?;
        let lines: String = self.observations.iter().map(|line| format!("{line}\n")).collect();
        fs::write(folder.join("observations.jsonl"), lines)
    }
}
