//! The worker's environment variables, as far as they change what a simulation does.

use std::collections::BTreeMap;

use super::lmcache;
use super::problem::{Code, Findings};
use super::settings::LmCache;
use crate::yaml::Node;

/// What was found in `worker.environmentVariables`.
#[derive(Debug, Default)]
pub(super) struct Environment {
    /// Every variable whose value is written in the file; the last of several counts.
    pub(super) values: BTreeMap<String, String>,
    /// The line of each variable.
    pub(super) lines: BTreeMap<String, u32>,
    /// What those of LMCache set.
    pub(super) lmcache: LmCache,
}

/// Reads the variables of `worker`.
pub(super) fn read(worker: &Node, findings: &mut Findings) -> Environment {
    let mut environment = Environment::default();
    let mut of_lmcache: BTreeMap<&str, (&Node, String)> = BTreeMap::new();
    for (index, item) in worker.get("environmentVariables").map(Node::items).unwrap_or_default().iter().enumerate() {
        let path = format!("spec.worker.environmentVariables[{index}]");
        let Some(name) = item.get("name").and_then(Node::text) else { continue };
        let (value, source) = (item.get("value"), item.get("valueFrom"));
        check_source(value, source, &path, findings);
        let line = item.at.line;
        if environment.lines.insert(name.to_owned(), line).is_some() {
            let message = format!("{name} is given more than once; the last one counts: remove the others");
            findings.warn(Code::GivenTwice, line, &path, message);
        }
        if source.is_some() {
            environment.values.remove(name);
            of_lmcache.remove(name);
            if matters(name) {
                let message =
                    format!("not simulated: {name}, whose value is only known in the cluster; give it as \"value\"");
                findings.warn(Code::NotSimulated, line, &path, message);
            }
        } else {
            if let Some(value) = value.filter(|_| name.starts_with("LMCACHE_")) {
                of_lmcache.insert(name, (value, format!("{path}.value")));
            }
            // Without either, Kubernetes sets the variable to the empty string.
            let value = value.and_then(Node::text).unwrap_or_default();
            environment.values.insert(name.to_owned(), value.to_owned());
        }
        if name.starts_with("VLLM_") || name.starts_with("SM_VLLM_") {
            findings.warn(Code::NotSimulated, line, &path, format!("not simulated: {name}"));
        }
    }
    for (name, (value, path)) in of_lmcache {
        lmcache::read(&mut environment.lmcache, name, value, &path, findings);
    }
    environment
}

fn matters(name: &str) -> bool {
    name.starts_with("LMCACHE_") || matches!(name, "PYTHONHASHSEED" | "SESSION_KEY")
}

/// Kubernetes refuses a variable with two values, and a source that names no place or two.
fn check_source(value: Option<&Node>, source: Option<&Node>, path: &str, findings: &mut Findings) {
    let Some(source) = source else { return };
    let path = format!("{path}.valueFrom");
    if value.and_then(Node::text).is_some_and(|value| !value.is_empty()) {
        findings.problem(source.at, &path, "value and valueFrom exclude each other; allowed: one of them");
    }
    let places = source.entries().len();
    if places != 1 && source.type_name().is_none() {
        let message = format!(
            "{places} sources are given; allowed: exactly one of fieldRef, resourceFieldRef, configMapKeyRef, \
             secretKeyRef, fileKeyRef"
        );
        findings.problem(source.at, &path, message);
    }
}
