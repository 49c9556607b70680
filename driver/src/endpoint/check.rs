//! Holds a document against the schema.
//!
//! Every value that is there is checked, and every required field that is not there is noted, so one reading finds
//! all there is to find. What the table cannot say (fields that exclude each other, say) is checked in `read`.

use super::ApiVersion;
use super::crd;
use super::forms::{is_label_value, is_qualified_name};
use super::problem::{Code, Findings};
use super::quantity;
use super::schema::{Field, Form, Kind, Need, Object, Since};
use crate::suggest;
use crate::yaml::{Entry, Node, Value, child, quoted};
use router::Strategy;

/// Checks `document`; the paths of missing fields that Kubernetes requires and a simulation does not are the result.
pub(super) fn check(document: &Node, version: ApiVersion, findings: &mut Findings) -> Vec<String> {
    let mut walk = Walk { version, findings, missing: Vec::new() };
    walk.object(document, &crd::DOCUMENT, "");
    walk.missing
}

struct Walk<'a> {
    version: ApiVersion,
    findings: &'a mut Findings,
    missing: Vec<String>,
}

impl Walk<'_> {
    fn object(&mut self, node: &Node, object: &Object, path: &str) {
        let Value::Object(entries) = &node.value else {
            self.wrong_type(node, "an object", "fields, one a line and indented", path);
            return;
        };
        self.missing(node, object, path);
        for entry in entries {
            let inner = child(path, &entry.key);
            let known = object.fields.iter().filter(|field| field.name == entry.key);
            match known.clone().find(|field| field.exists_in(self.version)) {
                Some(field) => self.field(field, entry, &inner),
                None if known.count() > 0 => self.findings.problem(
                    entry.key_at,
                    &inner,
                    format!(
                        "this field does not exist in {}; it exists in {}: write \"apiVersion: {}\"",
                        self.version.as_str(),
                        ApiVersion::V1.as_str(),
                        crd::API_VERSIONS[0]
                    ),
                ),
                None if object.open => {}
                None => self.unknown(entry, object, &inner),
            }
        }
    }

    /// Notes what is not there.
    fn missing(&mut self, node: &Node, object: &Object, path: &str) {
        for field in object.fields.iter().filter(|field| field.exists_in(self.version)) {
            if node.get(field.name).is_some() {
                continue;
            }
            match field.need {
                Need::Optional => {}
                Need::Kubectl => self.missing.push(child(path, field.name)),
                Need::Required => {
                    let message = format!("this field is missing and required; allowed: {}", allowed(&field.kind));
                    self.findings.problem(node.at, &child(path, field.name), message);
                }
            }
        }
    }

    fn field(&mut self, field: &Field, entry: &Entry, path: &str) {
        if let Since::Operator(operator) = field.since {
            let message = format!(
                "exists since operator {operator}; its content is not checked and not simulated, and an older operator \
                 refuses it"
            );
            self.findings.warn(Code::NotChecked, entry.key_at.line, path, message);
        }
        self.value(&field.kind, &entry.node, path);
    }

    fn unknown(&mut self, entry: &Entry, object: &Object, path: &str) {
        let names = || object.fields.iter().filter(|field| field.exists_in(self.version)).map(|field| field.name);
        let mut known: Vec<&str> = names().collect();
        known.dedup();
        let meant = match suggest::nearest(&entry.key, names()) {
            Some(name) => format!("; did you mean {name:?}?"),
            None => elsewhere(&crd::DOCUMENT, "", &entry.key, self.version)
                .map_or_else(String::new, |place| format!("; did you mean {place}?")),
        };
        let message = format!("no such field; allowed: {}{meant}", known.join(", "));
        self.findings.problem(entry.key_at, path, message);
    }

    fn value(&mut self, kind: &Kind, node: &Node, path: &str) {
        match (kind, &node.value) {
            (Kind::Anything, _)
            | (Kind::Bool, Value::Bool(_))
            | (Kind::AnyObject, Value::Object(_))
            // Go decodes an empty map of strings from null, and manifests often hold "labels:" with nothing below.
            | (Kind::TextMap, Value::Null) => {}
            (Kind::Object(object), _) => self.object(node, object, path),
            (Kind::Text(form), Value::Text(text)) => self.form(form, text, node, path),
            (Kind::Whole { min, max }, Value::Whole(number)) => self.range(*number, *min, *max, node, path),
            (Kind::Port, Value::Whole(number)) => self.range(*number, 1, 65_535, node, path),
            (Kind::Port, Value::Text(name)) => self.form(&super::forms::LABEL_NAME, name, node, path),
            (Kind::TextMap, Value::Object(entries)) => self.text_map(entries, path),
            (Kind::Quantities, Value::Object(entries)) => {
                for entry in entries {
                    if let Err(message) = quantity::millis_of(&entry.node) {
                        self.findings.problem(entry.node.at, &child(path, &entry.key), message);
                    }
                }
            }
            (Kind::Texts(form), Value::List(items)) => {
                for (index, item) in items.iter().enumerate() {
                    self.value(&Kind::Text(*form), item, &format!("{path}[{index}]"));
                }
            }
            (Kind::List(object), Value::List(items)) => {
                for (index, item) in items.iter().enumerate() {
                    self.object(item, object, &format!("{path}[{index}]"));
                }
            }
            (Kind::AnyList, Value::List(items)) => {
                for (index, item) in items.iter().enumerate() {
                    self.value(&Kind::AnyObject, item, &format!("{path}[{index}]"));
                }
            }
            _ => self.wrong_type(node, kind.expected(), &allowed(kind), path),
        }
    }

    fn text_map(&mut self, entries: &[Entry], path: &str) {
        let labels = !path.ends_with("annotations");
        for entry in entries {
            let inner = child(path, &entry.key);
            self.value(&Kind::Text(Form::Any), &entry.node, &inner);
            if !is_qualified_name(&entry.key) {
                let message = "not a Kubernetes key; allowed: an optional DNS prefix and \"/\", then up to 63 ASCII \
                               letters, digits and inner \"-\", \"_\", \".\"";
                self.findings.problem(entry.key_at, &inner, message);
            }
            if labels && entry.node.text().is_some_and(|value| !is_label_value(value)) {
                let message = format!(
                    "{} is not a label value; allowed: up to 63 ASCII letters, digits and inner \"-\", \"_\", \".\"",
                    entry.node.shown()
                );
                self.findings.problem(entry.node.at, &inner, message);
            }
        }
    }

    fn form(&mut self, form: &Form, text: &str, node: &Node, path: &str) {
        let (what, allowed, meant) = match form {
            Form::Any => return,
            Form::Words { words, .. } if words.contains(&text) => return,
            Form::AnyCase { words, .. } if words.iter().any(|word| word.eq_ignore_ascii_case(text)) => return,
            Form::Words { what, words } | Form::AnyCase { what, words } => {
                let elsewhere = path.ends_with(".routingStrategy") && text.parse::<Strategy>().is_ok();
                let meant = if elsewhere {
                    "; it is one of podlab's own, which --strategy takes".to_owned()
                } else {
                    suggest::clause(text, words.iter().copied())
                };
                (*what, words.join(", "), meant)
            }
            Form::Like { is, .. } if is(text) => return,
            Form::Like { what, allowed, prefix, is } => (*what, (*allowed).to_owned(), repaired(text, prefix, *is)),
        };
        self.findings.problem(node.at, path, format!("{} is not {what}; allowed: {allowed}{meant}", quoted(text)));
    }

    fn range(&mut self, number: i128, min: i64, max: i64, node: &Node, path: &str) {
        if number < i128::from(min) || number > i128::from(max) {
            let message = format!("{} is out of range; allowed: {min} to {max}", node.shown());
            self.findings.problem(node.at, path, message);
        }
    }

    fn wrong_type(&mut self, node: &Node, expected: &str, allowed: &str, path: &str) {
        let shown = node.shown();
        let is = node.type_name().map_or_else(|| "is".to_owned(), |name| format!("is {name},"));
        let meant = meant(node, expected).map_or_else(String::new, |meant| format!("; did you mean {meant}?"));
        self.findings.problem(node.at, path, format!("{shown} {is} not {expected}; allowed: {allowed}{meant}"));
    }
}

/// What a field takes, in words.
fn allowed(kind: &Kind) -> String {
    match kind {
        Kind::Text(Form::Words { words, .. } | Form::AnyCase { words, .. }) => words.join(", "),
        Kind::Text(Form::Like { allowed, .. }) => (*allowed).to_owned(),
        Kind::Text(Form::Any) => "a string, in quotes if it looks like a number or a boolean".to_owned(),
        Kind::Texts(_) => "one string a line, each after \"- \"".to_owned(),
        Kind::Whole { min, max } => format!("{min} to {max}"),
        Kind::Bool => "true, false".to_owned(),
        Kind::Object(object) => {
            let mut names: Vec<&str> = object.fields.iter().map(|field| field.name).collect();
            names.dedup();
            names.join(", ")
        }
        other => other.expected().to_owned(),
    }
}

/// The same value in the right type, where quotes are all that is wrong.
fn meant(node: &Node, expected: &str) -> Option<String> {
    match (expected, &node.value) {
        ("a whole number", Value::Text(text)) => text.trim().parse::<i64>().ok().map(|number| number.to_string()),
        ("a boolean", Value::Text(text)) => suggest::nearest(text, ["true", "false"]).map(str::to_owned),
        ("a string", Value::Bool(_) | Value::Whole(_) | Value::Real) => Some(quoted(node.raw())),
        ("a list of strings", Value::Text(_)) => Some(format!("[{}]", node.shown())),
        _ => None,
    }
}

/// The nearest string of the right shape, by the mistakes people make with it.
fn repaired(text: &str, prefix: &str, is: fn(&str) -> bool) -> String {
    if text.is_empty() || text.chars().count() > 80 {
        return String::new();
    }
    let lower = text.to_lowercase().replace(['_', ' '], "-");
    let candidates = [text.trim().to_owned(), text.replace(['_', ' '], "-"), lower, format!("{prefix}{text}")];
    candidates
        .into_iter()
        .find(|candidate| is(candidate))
        .map_or_else(String::new, |candidate| format!("; did you mean {candidate:?}?"))
}

/// Where in the schema a field of this name exists.
fn elsewhere(object: &Object, path: &str, name: &str, version: ApiVersion) -> Option<String> {
    let fields = || object.fields.iter().filter(|field| field.exists_in(version));
    if !path.is_empty() && fields().any(|field| field.name == name) {
        return Some(child(path, name));
    }
    fields().find_map(|field| match field.kind {
        Kind::Object(inner) => elsewhere(inner, &child(path, field.name), name, version),
        Kind::List(inner) => elsewhere(inner, &format!("{}[]", child(path, field.name)), name, version),
        _ => None,
    })
}
