//! What a pod asks for and is given.

use super::problem::Findings;
use super::quantity;
use crate::yaml::{Node, child, quoted};

const PATH: &str = "spec.worker.resources";
const GPU: &str = "nvidia.com/gpu";

/// A pod's share of its node; `None` where the file does not say.
#[derive(Debug, Default)]
pub(super) struct Resources {
    pub(super) gpus: Option<u32>,
    pub(super) cpu_millis: Option<u64>,
    pub(super) memory_bytes: Option<u64>,
}

/// Reads `worker.resources` and checks what Kubernetes checks between requests and limits.
pub(super) fn read(worker: &Node, findings: &mut Findings) -> Resources {
    let Some(resources) = worker.get("resources") else { return Resources::default() };
    let (requests, limits) = (resources.get("requests"), resources.get("limits"));
    for entry in requests.map(Node::entries).unwrap_or_default() {
        let limit = limits.and_then(|limits| limits.get(&entry.key));
        check_pair(&entry.key, &entry.node, limit, findings);
    }
    for (list, node) in [("requests", requests), ("limits", limits)] {
        for entry in node.map(Node::entries).unwrap_or_default().iter().filter(|entry| is_extended(&entry.key)) {
            if quantity::millis_of(&entry.node).is_ok_and(|millis| millis % 1_000 != 0) {
                let message = format!("{} is not a whole number of devices; allowed: 0, 1, 2, ...", entry.node.shown());
                findings.problem(entry.node.at, &child(&format!("{PATH}.{list}"), &entry.key), message);
            }
        }
    }
    let sure = |name: &str| {
        let of = |list: Option<&Node>| quantity::millis_of(list?.get(name)?).ok();
        of(requests).or_else(|| of(limits))
    };
    let units = |millis: i128| millis / 1_000 + i128::from(millis % 1_000 != 0);
    Resources {
        gpus: sure(GPU).and_then(|millis| u32::try_from(units(millis)).ok()),
        cpu_millis: sure("cpu").and_then(|millis| u64::try_from(millis).ok()),
        memory_bytes: sure("memory").and_then(|millis| u64::try_from(units(millis)).ok()),
    }
}

/// Devices, which Kubernetes neither divides nor lends out twice; their names have a domain.
fn is_extended(name: &str) -> bool {
    name.contains('/')
}

fn check_pair(name: &str, request: &Node, limit: Option<&Node>, findings: &mut Findings) {
    let path = child(&format!("{PATH}.requests"), name);
    let Ok(asked) = quantity::millis_of(request) else { return };
    let Some(limit) = limit else {
        if is_extended(name) {
            let limits = child(&format!("{PATH}.limits"), name);
            let message =
                format!("Kubernetes demands a limit for {}; allowed: {limits}: {}", quoted(name), request.raw());
            findings.problem(request.at, &path, message);
        }
        return;
    };
    let Ok(most) = quantity::millis_of(limit) else { return };
    let (shown, bound) = (request.shown(), limit.shown());
    if is_extended(name) && asked != most {
        let message =
            format!("{shown} differs from the limit {bound} (line {}); allowed: the same number", limit.at.line);
        findings.problem(request.at, &path, message);
    } else if asked > most {
        let message = format!("{shown} is above the limit {bound} (line {}); allowed: up to the limit", limit.at.line);
        findings.problem(request.at, &path, message);
    }
}
