//! Explanations for people.

use super::super::table::{columns, compact, finished};
use super::super::wrapped;
use super::figures::{Figure, figures, millis, tokens};
use super::words::{because, blind};
use crate::experiment::{Explanation, Outcome, Routed};
use comfy_table::{Cell, CellAlignment};
use kvcache::{Span, Time, Tokens};
use router::{Decision, Score, TierTokens};
use sim::ledger::{Record, Status};

/// Lines are no longer than this where their words allow it.
const COLUMNS: usize = 118;

pub(super) fn of(outcomes: &[Outcome]) -> String {
    let mut meanings: Vec<&str> = Vec::new();
    let mut text = String::new();
    for outcome in outcomes {
        for explanation in &outcome.explanations {
            text.push_str(&one(outcome, explanation, &mut meanings));
            text.push('\n');
        }
    }
    for meaning in meanings {
        text.push_str(meaning);
        text.push('\n');
    }
    text.push_str(
        "All simulated. Tokens are the prompt's unless something else is said; moments count from the start of the run.\n",
    );
    text
}

fn one(outcome: &Outcome, explanation: &Explanation, meanings: &mut Vec<&'static str>) -> String {
    let run: Vec<String> = columns(outcome).into_iter().map(|(name, value)| format!("{name} {value}")).collect();
    let mut text = wrapped(&format!("request {} · ", explanation.request), &run.join(" · "), COLUMNS);
    let mut line = |name: &str, what: &str| text.push_str(&wrapped(&format!("  {name:<9}  "), what, COLUMNS));
    line("arrived", &arrived(explanation));
    let Some(routed) = &explanation.routed else {
        line("decision", "none: there was no worker to choose");
        return text;
    };
    let decision = &routed.decision;
    let (reason, router) = (decision.reason, &explanation.router);
    line("decision", &format!("worker {}, {}: {}", decision.worker.0, reason.as_str(), because(reason, router)));
    line("outcome", &became(&explanation.record));
    if decision.scores.is_empty() {
        line("weighed", &format!("nothing: {}", blind(router.strategy)));
    } else {
        let (known, unknown): (Vec<_>, Vec<_>) = figures(router)
            .into_iter()
            .partition(|figure| decision.scores.iter().any(|score| (figure.cell)(score).is_some()));
        if !unknown.is_empty() {
            let names: Vec<&str> = unknown.iter().map(|figure| figure.name).collect();
            line("without", &format!("{}: not asked for, or nothing heard yet", names.join(", ")));
        }
        text.push_str(&weighed(decision, &known));
        for figure in &known {
            if !meanings.contains(&figure.means) {
                meanings.push(figure.means);
            }
        }
    }
    text.push_str(&wrapped("  regret     ", &regret(routed), COLUMNS));
    text
}

fn arrived(explanation: &Explanation) -> String {
    let record = &explanation.record;
    let session = match explanation.session {
        None => "no session".to_owned(),
        Some(session) if explanation.names_session => format!("session {}", session.0),
        Some(session) => format!("session {}, which no field names to the router", session.0),
    };
    format!("at {} ms, {} prompt tokens, {session}", moment(record.arrived), tokens(record.prompt))
}

fn became(record: &Record) -> String {
    let mut parts = Vec::new();
    if let (Some(ttft), Some(found)) = (record.ttft(), record.found()) {
        let by_tier = [("L0", record.cached), ("L1", record.from_l1), ("L2", record.from_l2)];
        let by_tier: Vec<String> = by_tier
            .iter()
            .filter_map(|(tier, tokens)| tokens.filter(|tokens| *tokens > Tokens::ZERO).map(|tokens| (tier, tokens)))
            .map(|(tier, of_tier)| format!(", {} in {tier}", tokens(of_tier)))
            .collect();
        parts.push(format!("TTFT {} ms", millis(ttft)));
        parts.push(format!("{} of {} prompt tokens cached{}", tokens(found), tokens(record.prompt), by_tier.concat()));
    }
    if record.preemptions > 0 {
        parts.push(format!("preempted {} times", record.preemptions));
    }
    parts.push(match (record.status, record.refusal) {
        (Status::Completed, _) => format!(
            "{} output tokens by {} ms",
            tokens(record.output),
            record.last_token.map_or_else(String::new, moment)
        ),
        (Status::Refused, Some(refusal)) => format!("refused: {refusal}"),
        (Status::Refused, None) => "refused".to_owned(),
        (Status::Cancelled, _) => "cancelled".to_owned(),
        (Status::Errored, _) => "ended with an error, as its worker died".to_owned(),
        (Status::Unfinished, _) => "unfinished".to_owned(),
    });
    parts.join("; ")
}

fn weighed(decision: &Decision, figures: &[&Figure]) -> String {
    let right = |text: String| Cell::new(text).set_alignment(CellAlignment::Right);
    let heads = figures.iter().map(|figure| figure.head.to_owned());
    let fixed = ["\nworker", "\navailable"].map(str::to_owned);
    let mut table = compact(fixed.into_iter().chain(heads).map(right).chain([Cell::new("")]));
    for (worker, score) in decision.scores.iter().enumerate() {
        let known = figures.iter().map(|figure| (figure.cell)(score).unwrap_or_else(|| "-".to_owned()));
        let available = if score.available { "yes" } else { "no" };
        let fixed = [worker.to_string(), available.to_owned()];
        let marks = Cell::new(marks(decision, worker, score));
        table.add_row(fixed.into_iter().chain(known).map(right).chain([marks]));
    }
    finished(table)
}

/// Whether it was chosen, and whether nobody available has more of the prompt, and somebody less.
fn marks(decision: &Decision, worker: usize, score: &Score) -> String {
    let chosen = (worker == decision.worker.index()).then_some("chosen");
    let best = decision.best.filter(|best| *best > Tokens::ZERO);
    let total = |score: &Score| score.matched.map(TierTokens::total);
    // What all have says nothing for any.
    let differ = decision.scores.iter().any(|other| other.available && total(other) != best);
    let is_best = score.available && best.is_some() && total(score) == best && differ;
    [chosen, is_best.then_some("best match")].into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn regret(routed: &Routed) -> String {
    let decision = &routed.decision;
    let seen = match (decision.regret(), decision.matched, decision.best) {
        (Some(regret), Some(chosen), Some(best)) => {
            format!("{}, all tiers, as the router saw it", lost(regret, chosen, best))
        }
        _ => "unknown to the router".to_owned(),
    };
    let real = routed.overlap.map_or_else(
        || "unknown (router.audit is off)".to_owned(),
        |overlap| lost(overlap.regret(), overlap.chosen, overlap.best),
    );
    format!("{seen}; really, on the workers' devices: {real}")
}

fn lost(regret: Tokens, chosen: Tokens, best: Tokens) -> String {
    format!("{} tokens (chosen {}, best {})", tokens(regret), tokens(chosen), tokens(best))
}

/// Milliseconds from the start of the run, to the microsecond.
fn moment(time: Time) -> String {
    format!("{:.3}", Span(time.0).as_millis_f64())
}
