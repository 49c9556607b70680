//! The results of runs, for people and for programs.

use crate::computed::Timed;
use crate::experiment::Outcome;
use crate::experiment::slo::Kept;
use crate::process::Usage;
use serde::Serialize;

pub mod folder; // a run as a folder
mod line; // a request as a line of it
mod partial; // ... that appears whole or not at all
mod provenance; // what a run needs to be run again
pub(crate) mod stored; // what a run said of itself, read again
pub(crate) mod notes; // what the table's figures do not tell
pub(crate) mod table; // for people
pub mod breakdown; // where TTFT goes
pub mod seeds; // what several seeds say together
pub mod find; // how far something can go
pub mod explain; // why requests went where they did
pub mod describe; // what a workload is
pub mod show; // what would be sent
pub(crate) mod checks; // figures beside what they should be
pub(crate) mod calibrated; // a hardware profile

pub(crate) use partial::Partial;
pub use provenance::{Input, Inputs};
pub(crate) use provenance::{hex_sha256, machine};
pub use table::table;

/// All runs of a command as one JSON object, with what the process used outside of the runs: those are the same bytes
/// for the same seed.
#[must_use]
pub fn json(outcomes: &[Outcome], process: Usage) -> String {
    #[derive(Serialize)]
    struct All<'a> {
        runs: Vec<Run<'a>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        seeds: Option<serde_json::Value>,
        #[serde(skip_serializing_if = "Option::is_none")]
        comparisons: Option<serde_json::Value>,
        process: Usage,
    }
    let (seeds, comparisons) = (seeds::json(outcomes), seeds::comparisons(outcomes));
    pretty(&All { runs: outcomes.iter().map(Run::of).collect(), seeds, comparisons, process })
}

fn pretty(value: &impl Serialize) -> String {
    let mut text = serde_json::to_string_pretty(value).expect("figures are representable");
    text.push('\n');
    text
}

/// A paragraph behind its head, at most `columns` wide where its words allow that; all lines begin where the first does.
pub(crate) fn wrapped(head: &str, text: &str, columns: usize) -> String {
    let indent = head.chars().count();
    let (mut lines, mut column) = (head.to_owned(), indent);
    for word in text.split_whitespace() {
        let length = word.chars().count();
        if column > indent && column + 1 + length > columns {
            lines.push_str(&format!("\n{:indent$}", ""));
            column = indent;
        }
        if column > indent {
            lines.push(' ');
            column += 1;
        }
        lines.push_str(word);
        column += length;
    }
    lines.push('\n');
    lines
}

/// What a run was, and what came of it.
#[derive(Serialize)]
pub(crate) struct Run<'a> {
    #[serde(flatten)]
    case: Case<'a>,
    #[serde(flatten)]
    summary: &'a sim::ledger::Summary,
    #[serde(skip_serializing_if = "Option::is_none")]
    slo: Option<&'a Kept>,
    /// What was computed, so that times were measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    computed: Option<serde_json::Value>,
}

/// What a run was.
#[derive(Serialize)]
struct Case<'a> {
    strategy: &'a str,
    cache: &'a str,
    replicas: u16,
    workload: &'a str,
    rate: Option<f64>,
    concurrency: Option<u32>,
    users: Option<u32>,
    speedup: Option<f64>,
    seed: u64,
    settings: &'a std::collections::BTreeMap<String, String>,
}

impl<'a> Run<'a> {
    pub(crate) fn of(outcome: &'a Outcome) -> Self {
        Self {
            case: Case::of(outcome),
            summary: &outcome.summary,
            slo: outcome.kept.as_ref(),
            computed: outcome.computed.as_ref().map(Timed::json),
        }
    }
}

impl<'a> Case<'a> {
    fn of(outcome: &'a Outcome) -> Self {
        let case = &outcome.case;
        Self {
            strategy: case.strategy.as_str(),
            cache: case.cache.as_str(),
            replicas: case.replicas,
            workload: &outcome.workload,
            rate: case.load.rate(),
            concurrency: case.load.concurrency(),
            users: case.load.users(),
            speedup: case.load.speedup(),
            seed: case.seed,
            settings: &case.settings,
        }
    }
}

/// One line per run under a line of names, in the order of the JSON; nested figures get dotted names. What a run has
/// not, others have, is empty.
#[must_use]
pub fn csv(outcomes: &[Outcome]) -> String {
    let rows: Vec<Vec<(String, String)>> = outcomes
        .iter()
        .map(|outcome| {
            let value = serde_json::to_value(Run::of(outcome)).expect("figures are representable");
            let mut cells = Vec::new();
            flatten("", &value, &mut cells);
            cells
        })
        .collect();
    lines(&rows)
}

/// One object under a line of its names.
#[must_use]
pub(crate) fn csv_of(value: &serde_json::Value) -> String {
    let mut cells = Vec::new();
    flatten("", value, &mut cells);
    lines(&[cells])
}

/// Rows of names and values under a line of all names.
fn lines(rows: &[Vec<(String, String)>]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let names = columns(rows);
    let mut text = names.iter().map(|name| quote(name)).collect::<Vec<_>>().join(",");
    text.push('\n');
    for row in rows {
        let value = |name: &&str| row.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value);
        text.push_str(&names.iter().map(|name| quote(value(name))).collect::<Vec<_>>().join(","));
        text.push('\n');
    }
    text
}

/// The names of all rows, in their order. A figure that is null in one run and an object in another is told by the
/// object's parts.
fn columns(rows: &[Vec<(String, String)>]) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for row in rows {
        let mut place = 0;
        for (name, _) in row {
            match names.iter().position(|known| known == name) {
                Some(known) => place = known + 1,
                None => {
                    names.insert(place, name);
                    place += 1;
                }
            }
        }
    }
    let all = names.clone();
    let has_parts =
        |name: &str| all.iter().any(|other| other.strip_prefix(name).is_some_and(|rest| rest.starts_with('.')));
    names.retain(|name| !has_parts(name));
    names
}

fn flatten(prefix: &str, value: &serde_json::Value, into: &mut Vec<(String, String)>) {
    match value {
        serde_json::Value::Object(map) => {
            for (key, value) in map {
                let name = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
                flatten(&name, value, into);
            }
        }
        // A list of objects that name their term.
        serde_json::Value::Array(items) => {
            for item in items {
                let name = item["term"].as_str().unwrap_or_default();
                flatten(&format!("{prefix}.{name}"), &item["share"], into);
            }
        }
        serde_json::Value::String(text) => into.push((prefix.to_owned(), text.clone())),
        serde_json::Value::Null => into.push((prefix.to_owned(), String::new())),
        other => into.push((prefix.to_owned(), other.to_string())),
    }
}

/// A field as RFC 4180 wants it.
fn quote(field: &str) -> String {
    if field.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", field.replace('"', "\"\""))
    } else {
        field.to_owned()
    }
}
