//! What two runs differ in before any figure does.

use crate::told::{Kind, Setting, Told};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// A setting that is not the same in both.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Differing {
    /// Its name.
    pub setting: String,
    /// In the first; `None`: it is not told, or not set.
    pub a: Option<String>,
    /// In the second.
    pub b: Option<String>,
}

/// All that differs: first what the runs were, then how they were set up. What `left_out` names is told elsewhere.
#[must_use]
pub fn differences(a: &Told, b: &Told, left_out: &[&str]) -> Vec<Differing> {
    let mut found = Vec::new();
    if a.kind != b.kind {
        let (a, b) = (a.kind.as_str().to_owned(), b.kind.as_str().to_owned());
        found.push(Differing { setting: "times".to_owned(), a: Some(a), b: Some(b) });
    }
    let mut seen: BTreeSet<&str> = left_out.iter().copied().collect();
    // The machine decides nothing where times are simulated.
    let virtual_time = a.kind == Kind::Simulated && b.kind == Kind::Simulated;
    for (ours, theirs) in [(&a.case, &b.case), (&a.setup, &b.setup)] {
        for name in ours.iter().chain(theirs).map(|setting| setting.name.as_str()) {
            if !seen.insert(name) || (virtual_time && name.starts_with("machine.")) {
                continue;
            }
            let (a, b) = (value(ours, name), value(theirs, name));
            if a != b && !is_echo(&found, name, a, b) {
                found.push(Differing { setting: name.to_owned(), a: a.map(str::to_owned), b: b.map(str::to_owned) });
            }
        }
    }
    found
}

fn value<'a>(settings: &'a [Setting], name: &str) -> Option<&'a str> {
    settings.iter().find(|setting| setting.name == name).map(|setting| setting.value.as_str())
}

/// What a part is told of the whole (`router.strategy` of `strategy`) is told once.
fn is_echo(found: &[Differing], name: &str, a: Option<&str>, b: Option<&str>) -> bool {
    let last = |name: &str| name.rsplit('.').next().map(str::to_owned);
    let same = |other: &Differing| (other.a.as_deref(), other.b.as_deref()) == (a, b);
    found.iter().any(|other| last(&other.setting) == last(name) && same(other))
}
