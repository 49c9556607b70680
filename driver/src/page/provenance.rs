//! How a run was made.

use super::tables::table;
use crate::told::{Setting, Told, show};
use maud::{Markup, html};
use serde_json::Value;

/// The command as it could be typed again.
pub(super) fn command(words: &Value) -> Option<String> {
    let words: Vec<&str> = words.as_array()?.iter().filter_map(Value::as_str).collect();
    let (program, arguments) = words.split_first()?;
    // Where the program lay is of one machine.
    let program = program.rsplit('/').next().unwrap_or(program);
    Some(std::iter::once(program).chain(arguments.iter().copied()).map(quoted).collect::<Vec<_>>().join(" "))
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// Version, clock, machine and files.
pub(super) fn of(run: &Value) -> Markup {
    if run.is_null() {
        return html! {};
    }
    let machine = &run["machine"];
    let machine = machine["os"].as_str().map(|os| {
        let more = [show(&machine["architecture"]), show(&machine["cpus"]).map(|cpus| format!("{cpus} CPUs"))];
        std::iter::once(os.to_owned()).chain(more.into_iter().flatten()).collect::<Vec<_>>().join(", ")
    });
    let inputs = run["inputs"].as_object().into_iter().flatten();
    let inputs = inputs.filter_map(|(name, input)| Some((name, input["path"].as_str()?, input["sha256"].as_str()?)));
    html! {
        h2 { "How it was made" }
        @if let Some(command) = command(&run["command"]) { pre { code { (command) } } }
        dl {
            @for (name, value) in [("podlab", show(&run["podlab"])), ("clock", show(&run["clock"])), ("target", show(&run["target"])), ("machine", machine)] {
                @if let Some(value) = value { dt { (name) } dd { (value) } }
            }
            @for (name, path, sha256) in inputs {
                dt { (name) " file" } dd { (path) br; code.soft { "SHA-256 " (sha256) } }
            }
        }
    }
}

/// What it was and how it was set up, in full.
pub(super) fn settings(run: &Told) -> Markup {
    let all: Vec<&Setting> = run.case.iter().chain(&run.setup).collect();
    if all.is_empty() {
        return html! {};
    }
    let rows = html! {
        @for setting in &all {
            tr { th scope="row" { (setting.name) } td class="t w" { (setting.value) } }
        }
    };
    html! {
        h2 { "Settings" }
        details {
            summary { "All " (all.len()) " settings as they were resolved" }
            (table("Settings", &[("setting", true), ("value", true)], &rows))
        }
    }
}

/// What was warned of.
pub(super) fn warnings(warnings: &[String]) -> Markup {
    html! {
        @if !warnings.is_empty() {
            h2 { "Warnings" }
            ul.warn { @for warning in warnings { li { (warning) } } }
        }
    }
}

/// The warnings that `run.json` keeps.
pub(super) fn warnings_of(run: &Value) -> Vec<String> {
    run["warnings"].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}
