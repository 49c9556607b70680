//! The workload `cold-warm`: prompts with different prefixes and with the same one, for the first time and again; and prompts
//! of a wished length.

use super::cache::PHASES;
use crate::lab::Lab;
use kvcache::{SessionId, Time, Tokens};
use sim::workload::{Pacing, Segment, Workload};

/// Its parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ColdWarm {
    /// Requests of all four phases.
    pub requests: u32,
    /// In flight.
    pub concurrency: u32,
    /// Tokens of a prompt: a prefix, and a question that no two share.
    pub prompt: u32,
    /// Tokens of a reply.
    pub output: u32,
}

/// Tokens of a question, at most half of the prompt.
const QUESTION: u32 = 64;

/// The four phases. Each prefix of the first is that of one request of the second; the third and the fourth have one prefix.
#[must_use]
pub fn cold_warm(of: ColdWarm) -> Vec<(&'static str, Workload)> {
    let each = (of.requests / 4).max(1);
    let question = Tokens(QUESTION.min(of.prompt / 2).max(1));
    let prefix = Tokens(of.prompt.saturating_sub(question.0).max(1));
    let mut questions = 1u64 << 32;
    let mut phases = Vec::new();
    for (index, name) in PHASES.into_iter().enumerate() {
        let mut workload = Workload::new(Pacing::Closed { concurrency: of.concurrency });
        for number in 0..each {
            let id = if index < 2 { u64::from(number) + 1 } else { 1 << 31 };
            questions += 1;
            let prompt = [Segment { id, tokens: prefix }, Segment { id: questions, tokens: question }];
            workload.push(Time::ZERO, Some(SessionId(u64::from(number))), &prompt, Tokens(of.output));
        }
        phases.push((name, workload));
    }
    phases
}

/// Makes prompts of `workload` so many tokens long: its shared part gives or takes.
///
/// # Errors
/// Where its prompts are of many lengths.
pub fn size_prompts(lab: &mut Lab, workload: &str, tokens: u32) -> Result<(), String> {
    let rest = |other: Tokens| {
        let left = tokens.checked_sub(other.0).filter(|left| *left > 0);
        left.map(Tokens)
            .ok_or_else(|| format!("--prompt-tokens {tokens}: the rest of the prompt alone has {} tokens", other.0))
    };
    match workload {
        "docqa" => {
            lab.docqa.question.0 = lab.docqa.question.0.min((tokens / 2).max(1));
            lab.docqa.document = rest(lab.docqa.question + lab.docqa.instruction)?;
        }
        "shared-system" => {
            lab.shared_system.question.0 = lab.shared_system.question.0.min((tokens / 2).max(1));
            lab.shared_system.system = rest(lab.shared_system.question)?;
        }
        "unrelated" => (lab.unrelated.prompt, lab.unrelated.spread) = (Tokens(tokens), 0.0),
        other => {
            return Err(format!(
                "--prompt-tokens: prompts of {other} are of many lengths; use docqa, shared-system, unrelated or cold-warm, or its settings (--set help)"
            ));
        }
    }
    Ok(())
}
