//! The lab file: YAML, sections as maps or dotted names; a list stands for one run per value.

use super::settings::SETTINGS;
use super::{Axis, Lab, Origin};
use crate::bounded;
use crate::yaml::{self, Node, Place, Problem, Value, lines};
use std::collections::BTreeMap;
use std::io;
use std::path::Path;

/// The text of the lab file at `path`.
///
/// # Errors
/// Why it cannot be read.
pub fn text(path: &Path) -> Result<String, String> {
    let read = bounded::read(path, 1 << 20).and_then(|bytes| String::from_utf8(bytes).map_err(io::Error::other));
    read.map_err(|error| format!("{}: cannot be read: {error}", path.display()))
}

/// Reads `text`; `file` is what messages call it.
///
/// # Errors
/// One line per problem, `file:line:column: setting: what is wrong`.
pub fn parse(text: &str, file: &str) -> Result<Vec<Axis>, String> {
    let mut reader = Reader { file, axes: Vec::new(), seen: BTreeMap::new(), problems: Vec::new() };
    match yaml::documents(text, &mut reader.problems) {
        Ok(documents) => reader.documents(&documents),
        Err(problem) => reader.problems.push(problem),
    }
    if reader.problems.is_empty() {
        return Ok(reader.axes);
    }
    reader.problems.sort_by(|a, b| (a.place, &a.path).cmp(&(b.place, &b.path)));
    Err(lines(file, &reader.problems))
}

struct Reader<'a> {
    file: &'a str,
    axes: Vec<Axis>,
    /// Where each setting was given.
    seen: BTreeMap<String, Place>,
    problems: Vec<Problem>,
}

impl Reader<'_> {
    fn documents(&mut self, documents: &[Node]) {
        for (index, document) in documents.iter().enumerate() {
            match &document.value {
                _ if index > 0 => self.problem(document.at, "", "a second document; a lab file is one map of settings"),
                Value::Null => {}
                Value::Object(_) => self.section("", document),
                _ => self.problem(document.at, "", "a lab file is a map of settings, such as \"api.latency: 5ms\""),
            }
        }
    }

    fn section(&mut self, prefix: &str, section: &Node) {
        for entry in section.entries() {
            let key = if prefix.is_empty() { entry.key.clone() } else { format!("{prefix}.{}", entry.key) };
            match &entry.node.value {
                Value::Object(_) if Lab::find(&key).is_ok() => {
                    self.setting(&key, entry.key_at, std::slice::from_ref(&entry.node));
                }
                // What is unknown inside is told one by one.
                Value::Object(settings) if settings.is_empty() && !is_section(&key) => {
                    let problem = Lab::find(&key).err().unwrap_or_default();
                    self.problem(entry.key_at, &key, problem);
                }
                Value::Object(_) => self.section(&key, &entry.node),
                Value::List(items) if !items.is_empty() => self.setting(&key, entry.key_at, items),
                _ => self.setting(&key, entry.key_at, std::slice::from_ref(&entry.node)),
            }
        }
    }

    fn setting(&mut self, key: &str, at: Place, nodes: &[Node]) {
        if let Some(first) = self.seen.insert(key.to_owned(), at) {
            let message = format!("given twice, first in line {}; keep one of them", first.line);
            return self.problem(at, key, message);
        }
        if let Err(problem) = Lab::find(key) {
            return self.problem(at, key, problem);
        }
        let origin = Origin::LabFile { file: self.file.to_owned(), place: at };
        let mut axis = Axis { key: key.to_owned(), values: Vec::new(), origin };
        for node in nodes {
            let added = scalar(node).and_then(|value| axis.add(&value));
            if let Err(problem) = added {
                self.problem(node.at, key, problem);
            }
        }
        self.axes.push(axis);
    }

    fn problem(&mut self, at: Place, key: &str, message: impl Into<String>) {
        // Keys and values can be anything; a problem is one line.
        let message = message.into().replace(['\n', '\r'], " ");
        let one_line = if key.contains(char::is_control) { yaml::quoted(key) } else { key.to_owned() };
        self.problems.push(Problem::at(at, &one_line, message));
    }
}

fn is_section(key: &str) -> bool {
    SETTINGS.iter().any(|setting| setting.key.split('.').next() == Some(key))
}

/// A value as `--set` would have it.
fn scalar(node: &Node) -> Result<String, String> {
    match &node.value {
        Value::Text(text) => Ok(text.clone()),
        Value::Bool(truth) => Ok(truth.to_string()),
        Value::Whole(number) => Ok(number.to_string()),
        Value::Real => Ok(node.raw().to_owned()),
        Value::Null | Value::List(_) | Value::Object(_) => {
            Err(format!("{} is neither a value nor a list of values", node.shown()))
        }
    }
}
