//! YAML as a tree in which every key and value knows its place: for the endpoint file and the lab file.
//!
//! The scalar rules are those of `kubectl`, whose YAML is 1.1 in this respect: a plain `yes` or `on` is a boolean.
//! Anchors, aliases and merge keys are resolved. The library's budgets against bombs stay on.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{DefaultMessageFormatter, DuplicateKeyPolicy, Localizer, Location, Spanned};

mod problem; // what is wrong, and where

pub(crate) use problem::lines;
pub use problem::{Place, Problem};

/// A value and where it starts.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) at: Place,
    /// The scalar as written; empty for lists and objects.
    raw: String,
    pub(crate) value: Value,
}

/// What YAML can say.
#[derive(Debug)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Whole(i128),
    Real,
    Text(String),
    List(Vec<Node>),
    Object(Vec<Entry>),
}

/// One `key: value` of an object.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) key_at: Place,
    pub(crate) node: Node,
}

impl Node {
    /// Stands in for a value that is not there.
    pub(crate) fn nothing(at: Place) -> Self {
        Self { at, raw: String::new(), value: Value::Null }
    }

    /// The value under `key`; `None` too if this is no object.
    pub(crate) fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|entry| &entry.node)
    }

    /// The value under a path of keys.
    pub(crate) fn at_path(&self, keys: &[&str]) -> Option<&Node> {
        keys.iter().try_fold(self, |node, key| node.get(key))
    }

    /// The line of the key at the end of a path, or of the nearest object above it that exists.
    pub(crate) fn nearest_line(&self, keys: &[&str]) -> u32 {
        let mut node = self;
        let mut line = self.at.line;
        for key in keys {
            let Some(entry) = node.entry(key) else { break };
            line = entry.key_at.line;
            node = &entry.node;
        }
        line
    }

    pub(crate) fn entries(&self) -> &[Entry] {
        if let Value::Object(entries) = &self.value { entries } else { &[] }
    }

    pub(crate) fn items(&self) -> &[Node] {
        if let Value::List(items) = &self.value { items } else { &[] }
    }

    pub(crate) fn text(&self) -> Option<&str> {
        if let Value::Text(text) = &self.value { Some(text) } else { None }
    }

    pub(crate) fn truth(&self) -> Option<bool> {
        if let Value::Bool(truth) = self.value { Some(truth) } else { None }
    }

    /// A whole number that fits the caller's type.
    pub(crate) fn whole<T: TryFrom<i128>>(&self) -> Option<T> {
        if let Value::Whole(number) = self.value { T::try_from(number).ok() } else { None }
    }

    /// The value as a message shows it: strings quoted, other scalars as written.
    pub(crate) fn shown(&self) -> String {
        match &self.value {
            Value::Null => "an empty value (null)".to_owned(),
            Value::Text(text) => quoted(text),
            Value::List(_) => "a list".to_owned(),
            Value::Object(_) => "an object".to_owned(),
            Value::Bool(_) | Value::Whole(_) | Value::Real => self.raw.clone(),
        }
    }

    /// What to call the value's type, or `None` where [`Node::shown`] says it already.
    pub(crate) fn type_name(&self) -> Option<&'static str> {
        match &self.value {
            Value::Bool(_) => Some("a boolean"),
            Value::Whole(_) => Some("a whole number"),
            Value::Real => Some("a number with a fraction or an exponent"),
            Value::Text(_) => Some("a string"),
            Value::Null | Value::List(_) | Value::Object(_) => None,
        }
    }

    /// The scalar as written in the file.
    pub(crate) fn raw(&self) -> &str {
        &self.raw
    }

    fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries().iter().find(|entry| entry.key == key)
    }
}

/// A string in quotes, on one line, cut if it is long.
pub(crate) fn quoted(text: &str) -> String {
    const SHOWN: usize = 80;
    if text.chars().count() <= SHOWN {
        return format!("{text:?}");
    }
    let head: String = text.chars().take(SHOWN).collect();
    format!("{:?}", head + "…")
}

/// The path of `key` inside `parent`, in brackets where a dot would be ambiguous.
pub(crate) fn child(parent: &str, key: &str) -> String {
    let plain = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
    match (plain, parent.is_empty()) {
        (true, true) => key.to_owned(),
        (true, false) => format!("{parent}.{key}"),
        (false, _) => format!("{parent}[{}]", quoted(key)),
    }
}

/// The documents of a file that are not empty. Keys given twice go into `problems`; text that is no YAML is the error.
pub(crate) fn documents(text: &str, problems: &mut Vec<Problem>) -> Result<Vec<Node>, Problem> {
    let options = serde_saphyr::options! {
        with_snippet: false,
        // Duplicates are let through to be reported below, all of them and with their path.
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
    };
    match serde_saphyr::from_multiple_with_options::<Spanned<Parsed>>(text, options) {
        Ok(documents) => Ok(documents.into_iter().map(|document| located(document, text, "", problems)).collect()),
        Err(error) => {
            let formatter = DefaultMessageFormatter.with_localizer(&WithoutPlace);
            let message = error.render_with_formatter(&formatter).replace(['\n', '\r'], " ");
            let place = error.location().map_or(Place { line: 1, column: 1 }, place);
            Err(Problem { place: Some(place), path: String::new(), message: format!("not valid YAML: {message}") })
        }
    }
}

fn place(location: Location) -> Place {
    let clamp = |number: u64| u32::try_from(number).unwrap_or(u32::MAX).max(1);
    Place { line: clamp(location.line()), column: clamp(location.column()) }
}

fn located(parsed: Spanned<Parsed>, text: &str, path: &str, problems: &mut Vec<Problem>) -> Node {
    let at = place(parsed.referenced);
    let raw = raw_text(parsed.defined, text).replace(['\n', '\r'], " ");
    let value = match parsed.value {
        Parsed::Null => Value::Null,
        Parsed::Bool(truth) => Value::Bool(truth),
        Parsed::Whole(number) => Value::Whole(number),
        Parsed::Real => Value::Real,
        Parsed::Text(text) => Value::Text(text),
        Parsed::List(items) => {
            let item = |(index, item)| located(item, text, &format!("{path}[{index}]"), problems);
            Value::List(items.into_iter().enumerate().map(item).collect())
        }
        Parsed::Object(entries) => Value::Object(located_entries(entries, text, path, problems)),
    };
    Node { at, raw, value }
}

fn located_entries(
    entries: Vec<(Spanned<Parsed>, Spanned<Parsed>)>,
    text: &str,
    path: &str,
    problems: &mut Vec<Problem>,
) -> Vec<Entry> {
    let mut seen = BTreeSet::new();
    let mut kept = Vec::with_capacity(entries.len());
    for (key, value) in entries {
        let key_at = place(key.referenced);
        let key = match key.value {
            Parsed::Text(key) => key,
            Parsed::List(_) | Parsed::Object(_) => {
                let message = "a list or an object cannot be a field name; allowed: a string";
                problems.push(Problem::at(key_at, path, message));
                continue;
            }
            // Kubernetes turns these into strings, so a label may be called 1 or true.
            Parsed::Null | Parsed::Bool(_) | Parsed::Whole(_) | Parsed::Real => raw_text(key.defined, text).to_owned(),
        };
        let inner = child(path, &key);
        let node = located(value, text, &inner, problems);
        if seen.insert(key.clone()) {
            kept.push(Entry { key, key_at, node });
        } else {
            let message = "this field is given twice in the same object; keep one of them";
            problems.push(Problem::at(key_at, &inner, message));
        }
    }
    kept
}

fn raw_text(location: Location, text: &str) -> &str {
    let span = location.span();
    let (Some(start), Some(length)) = (span.byte_offset(), span.byte_len()) else { return "" };
    let (Ok(start), Ok(length)) = (usize::try_from(start), usize::try_from(length)) else { return "" };
    text.get(start..start.saturating_add(length)).unwrap_or("")
}

/// The library's messages end in the place, which ours begin with.
struct WithoutPlace;

impl Localizer for WithoutPlace {
    fn attach_location<'a>(&self, base: Cow<'a, str>, _: Location) -> Cow<'a, str> {
        base
    }
}

/// A value as the library delivers it, before places and raw text are worked out.
enum Parsed {
    Null,
    Bool(bool),
    Whole(i128),
    Real,
    Text(String),
    List(Vec<Spanned<Parsed>>),
    Object(Vec<(Spanned<Parsed>, Spanned<Parsed>)>),
}

impl<'de> Deserialize<'de> for Parsed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue)
    }
}

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Parsed;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any YAML value")
    }

    fn visit_unit<E>(self) -> Result<Parsed, E> {
        Ok(Parsed::Null)
    }

    fn visit_none<E>(self) -> Result<Parsed, E> {
        Ok(Parsed::Null)
    }

    fn visit_bool<E>(self, truth: bool) -> Result<Parsed, E> {
        Ok(Parsed::Bool(truth))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Parsed, E> {
        Ok(Parsed::Whole(number.into()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Parsed, E> {
        Ok(Parsed::Whole(number.into()))
    }

    fn visit_i128<E>(self, number: i128) -> Result<Parsed, E> {
        Ok(Parsed::Whole(number))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Parsed, E> {
        Ok(Parsed::Real)
    }

    fn visit_str<E>(self, text: &str) -> Result<Parsed, E> {
        Ok(Parsed::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Parsed, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Parsed::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Parsed, A::Error> {
        let mut object = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            object.push(entry);
        }
        Ok(Parsed::Object(object))
    }
}
