//! Settings by dotted names, as `run.json` has them.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A setting and its value, in words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    /// Its dotted name.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// What a run was.
const CASE: [&str; 11] = [
    "target",
    "strategy",
    "cache",
    "replicas",
    "workload",
    "requests",
    "rate",
    "concurrency",
    "users",
    "speedup",
    "seed",
];

/// What is no setting: how the run went, the whole text of files, and what is told of a run otherwise.
const SKIPPED: [&str; 5] = ["command", "process", "settings", "inputs", "warnings"];

/// The case of a run, from its `run.json` or `summary.json`.
pub(super) fn case(run: &Value) -> Vec<Setting> {
    let plain = CASE.iter().filter_map(|name| Some(Setting { name: (*name).to_owned(), value: show(&run[*name])? }));
    let given = run["settings"].as_object().into_iter().flatten();
    let given = given.filter_map(|(name, value)| Some(Setting { name: name.clone(), value: show(value)? }));
    plain.chain(given).collect()
}

/// Everything else that decided a run.
pub(super) fn setup(run: &Value) -> Vec<Setting> {
    let mut settings = Vec::new();
    for (name, value) in run.as_object().into_iter().flatten() {
        if !CASE.contains(&name.as_str()) && !SKIPPED.contains(&name.as_str()) {
            // A lab's settings are known by their names alone.
            flatten(if name == "lab" { "" } else { name }, value, &mut settings);
        }
    }
    for (name, input) in run["inputs"].as_object().into_iter().flatten() {
        if let Some(sha256) = input["sha256"].as_str() {
            settings.push(Setting { name: format!("{name} file, SHA-256"), value: sha256.chars().take(16).collect() });
        }
    }
    settings
}

fn flatten(prefix: &str, value: &Value, into: &mut Vec<Setting>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                let name = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
                flatten(&name, value, into);
            }
        }
        other => into.extend(show(other).map(|value| Setting { name: prefix.to_owned(), value })),
    }
}

/// A value in words; `None`: it says nothing.
#[must_use]
pub fn show(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        // 2.0 is 2 to people.
        Value::Number(number) => Some(match number.as_f64() {
            Some(whole) if number.is_f64() && whole.fract() == 0.0 && whole.abs() < 1e15 => format!("{whole:.0}"),
            _ => number.to_string(),
        }),
        other => Some(other.to_string()),
    }
}
