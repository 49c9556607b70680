//! Which of a file's documents is the endpoint.

use super::crd::KIND;
use super::problem::{Code, Findings, Place};
use crate::suggest;
use crate::yaml::{Node, documents};

/// The one endpoint in `text`. Without one there is a problem that says so.
///
/// Other kinds are skipped with a warning, for a file may well hold a Secret or a Service too. Not so a document that
/// names no kind or whose kind is nearly ours, and one that stands alone: they are taken for the endpoint.
pub(super) fn endpoint(text: &str, findings: &mut Findings) -> Option<Node> {
    let documents = match documents(text, &mut findings.problems) {
        Ok(documents) => documents,
        Err(problem) => {
            findings.problems.push(problem);
            return None;
        }
    };
    let start = Place { line: 1, column: 1 };
    let alone = documents.len() == 1;
    let (mut ours, others): (Vec<Node>, Vec<Node>) =
        documents.into_iter().partition(|document| alone || is_meant(document));
    if ours.len() > 1 {
        for extra in &ours[1..] {
            let message = format!("a second {KIND} (the first is on line {}); allowed: one in a file", ours[0].at.line);
            findings.problem(extra.at, "", message);
        }
    }
    if ours.is_empty() {
        let message = if others.is_empty() {
            format!("the file holds no document; allowed: one {KIND}")
        } else {
            let kinds: Vec<String> = others.iter().filter_map(|other| other.get("kind")).map(Node::shown).collect();
            format!("no document is of kind {KIND}; found: {}", kinds.join(", "))
        };
        findings.problem(start, "", message);
        return None;
    }
    for other in &others {
        let kind = other.get("kind").map_or_else(String::new, Node::shown);
        let message = format!("a document of kind {kind} is skipped; podlab reads only {KIND}");
        findings.warn(Code::OtherDocument, other.at.line, "kind", message);
    }
    Some(ours.swap_remove(0))
}

fn is_meant(document: &Node) -> bool {
    match document.get("kind").and_then(Node::text) {
        Some(kind) => suggest::nearest(kind, [KIND]).is_some(),
        None => true,
    }
}
