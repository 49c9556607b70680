//! A comparison for people: what differs in how the runs were made, the figures, then the verdict.

use super::matching::listed;
use super::metric::Unit;
use super::table::{attribution, common_configuration, configuration, figures, overview};
use super::{By, Compared, Comparison, Pair};
use crate::report::seeds::shown;
use crate::report::wrapped;

/// Lines are no longer than this where their words allow it.
pub(super) const COLUMNS: usize = 118;
/// So many cases are told in full; of more, an overview.
const IN_FULL: usize = 6;

/// All of it; `explain` adds where gaps lie.
#[must_use]
pub fn text(comparison: &Comparison, explain: bool) -> String {
    let mut text = String::new();
    for source in &comparison.sources {
        let runs = if source.runs == 1 { String::new() } else { format!(", {} runs", source.runs) };
        text.push_str(&format!("{}  {}{runs}, {}\n", source.letter, plain(&source.path), source.kind.as_str()));
    }
    let cases = comparison.by_case();
    if cases.len() > IN_FULL {
        text.push_str(&common_configuration(comparison));
        text.push_str(&overview(comparison));
    }
    let in_full = if explain || cases.len() <= IN_FULL { cases } else { Vec::new() };
    for pairs in &in_full {
        text.push('\n');
        if !pairs[0].case.is_empty() {
            text.push_str(&format!("{}\n", plain(&pairs[0].case)));
        }
        text.push_str(&of_case(pairs, explain));
    }
    for line in &comparison.unmatched {
        text.push_str(&wrapped("", &plain(line), COLUMNS));
    }
    text.push_str(&wrapped("", &comparison.judge.rule(), COLUMNS));
    if comparison.sources.len() > 2 || in_full.is_empty() {
        text.push_str("Every interval of a difference: -o json\n");
    }
    if !explain && comparison.pairs.iter().any(|pair| !pair.explained.is_empty()) {
        text.push_str("Which part of the latency a gap lies in: --explain\n");
    }
    text.push_str(&verdict(comparison));
    text
}

fn of_case(pairs: &[&Pair], explain: bool) -> String {
    let mut text = configuration(pairs);
    text.push_str(&figures(pairs));
    for pair in pairs {
        text.push_str(&wrapped("", &in_words(pair), COLUMNS));
        if explain {
            text.push_str(&attribution(pair));
        }
    }
    text
}

/// How the intervals of a pair came about.
#[must_use]
pub fn in_words(pair: &Pair) -> String {
    let with = &pair.with;
    match &pair.by {
        By::Seeds { seeds } => {
            format!("A, {with}: means of {seeds} seeds; intervals by Student's t of the differences, seed by seed.")
        }
        By::Paired { requests } => format!(
            "A, {with}: the same {requests} requests; intervals by paired bootstrap, requests drawn for both at once. ITL, \
             throughput and cost are one number per run, which has none."
        ),
        By::Unpaired { requests: [a, b], because } => format!(
            "A, {with}: {a} and {b} requests, no pairs: {because}; intervals by bootstrap, each run by itself. ITL, throughput \
             and cost are one number per run, which has none."
        ),
        By::None => {
            format!("A, {with}: requests were not kept, so there are no intervals; three seeds or more would tell.")
        }
    }
}

/// The last line.
#[must_use]
pub fn verdict(comparison: &Comparison) -> String {
    let judged = comparison.pairs.iter().flat_map(|pair| &pair.figures).filter(|figure| figure.pass.is_some()).count();
    let failing: Vec<String> = comparison.failing().map(|(pair, figure)| failing(comparison, pair, figure)).collect();
    match (judged, failing.len()) {
        (0, _) => "Verdict: nothing is judged.\n".to_owned(),
        (1, 0) => "Verdict: pass, 1 figure.\n".to_owned(),
        (_, 0) => format!("Verdict: pass, {judged} figures.\n"),
        (_, count) => {
            wrapped("", &format!("Verdict: FAIL, {count} of {judged} figures: {}.", listed(&failing)), COLUMNS)
        }
    }
}

/// A figure that does not pass, in words.
#[must_use]
pub fn failing(comparison: &Comparison, pair: &Pair, figure: &Compared) -> String {
    let several = comparison.sources.len() > 2;
    let with = if several { format!("{}: ", pair.with) } else { String::new() };
    let case = if pair.case.is_empty() { String::new() } else { format!(" ({})", plain(&pair.case)) };
    let by = figure.relative.map_or_else(|| difference(figure), |part| relative(Some(part)));
    format!("{with}{} {by}{case}", figure.name)
}

/// A figure by its unit. Unknown is a dash.
#[must_use]
pub fn value(unit: Unit, value: Option<f64>) -> String {
    let Some(value) = value else { return "-".to_owned() };
    match unit {
        Unit::Millis | Unit::PerSecond => shown(value),
        Unit::Share => format!("{:.2}", value * 100.0),
        Unit::Dollars => format!("{value:.4}"),
        Unit::Number => format!("{value:.2}"),
    }
}

/// With its sign, which nothing has none of.
pub(super) fn signed(unit: Unit, number: f64) -> String {
    let text = value(unit, Some(number));
    let is_zero = text.bytes().all(|byte| matches!(byte, b'0' | b'.' | b'-' | b','));
    match (is_zero, number > 0.0) {
        (true, _) => text.trim_start_matches('-').to_owned(),
        (false, true) => format!("+{text}"),
        (false, false) => text,
    }
}

/// A difference by its unit.
#[must_use]
pub fn difference(figure: &Compared) -> String {
    figure.difference.map_or_else(|| "-".to_owned(), |difference| signed(figure.unit, difference))
}

/// An interval by its unit.
#[must_use]
pub fn interval(figure: &Compared) -> String {
    figure.interval.map_or_else(
        || "-".to_owned(),
        |interval| format!("{} to {}", signed(figure.unit, interval.low), signed(figure.unit, interval.high)),
    )
}

/// A part of a figure, in per cent.
#[must_use]
pub fn relative(part: Option<f64>) -> String {
    let Some(part) = part else { return "-".to_owned() };
    let percent = part * 100.0;
    let text = match percent.abs() {
        0.0..0.05 => return "0.0 %".to_owned(),
        0.05..1000.0 => format!("{percent:+.1}"),
        _ => format!("{}{}", if percent > 0.0 { "+" } else { "" }, shown(percent)),
    };
    format!("{text} %")
}

/// The unit behind a name.
#[must_use]
pub const fn unit(unit: Unit) -> &'static str {
    match unit {
        Unit::Millis => "ms",
        Unit::PerSecond => "/s",
        Unit::Share => "%",
        Unit::Dollars => "$/1K",
        Unit::Number => "",
    }
}

/// Text that somebody else wrote, on one line and without what a terminal obeys.
#[must_use]
pub fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
