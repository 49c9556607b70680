//! Runs as a table for people.

use super::notes::notes;
use crate::experiment::{Load, Outcome};
use comfy_table::{Cell, CellAlignment, Table, presets};

/// One row per run. Columns that say the same of every run are left to the line above the table.
#[must_use]
pub fn table(outcomes: &[Outcome]) -> String {
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY);
    let varying = varying(outcomes);
    let lower = outcomes.iter().any(has_lower_tiers);
    let right = |name: String| Cell::new(name).set_alignment(CellAlignment::Right);
    table.set_header(varying.iter().map(|(name, _)| Cell::new(name)).chain(names(lower).map(str::to_owned).map(right)));
    for (index, outcome) in outcomes.iter().enumerate() {
        let what = varying.iter().map(|(_, values)| Cell::new(&values[index]));
        table.add_row(what.chain(figures_of(outcome, lower).map(right)));
    }
    let mut text = hardware(outcomes);
    text.push_str(&same(outcomes));
    text.push_str(&table.to_string());
    text.push_str(
        "\nAll simulated. TTFT, from the client's first byte, and TPOT in ms; hit: cached / prompt tokens;\n\
         imbalance: busy time, largest / mean worker; $/1K out: all instances over output tokens.\n",
    );
    if lower {
        text.push_str("L0, L1, L2: the part of hit that came from GPU memory, host memory, the pool of all workers.\n");
        text.push_str(&notes(outcomes));
    }
    text
}

/// What a run is, as columns.
fn columns(outcome: &Outcome) -> Vec<(String, String)> {
    let case = &outcome.case;
    let load = match case.load {
        Load::Rate(rate) => format!("{rate}/s"),
        Load::Concurrency(concurrency) => format!("{concurrency} in flight"),
        Load::Trace { speedup } => format!("trace x{speedup}"),
    };
    let mut columns = vec![
        ("workload".to_owned(), outcome.workload.clone()),
        ("replicas".to_owned(), case.replicas.to_string()),
        ("load".to_owned(), load),
        ("cache".to_owned(), case.cache.as_str().to_owned()),
        ("strategy".to_owned(), case.strategy.as_str().to_owned()),
        ("seed".to_owned(), case.seed.to_string()),
    ];
    columns.extend(case.settings.iter().map(|(key, value)| (key.clone(), value.clone())));
    columns
}

fn varying(outcomes: &[Outcome]) -> Vec<(String, Vec<String>)> {
    by_column(outcomes).into_iter().filter(|(name, values)| name == "strategy" || !all_equal(values)).collect()
}

/// What was simulated, once for each that differs.
fn hardware(outcomes: &[Outcome]) -> String {
    let mut known: Vec<&str> = Vec::new();
    for line in outcomes.iter().flat_map(|outcome| outcome.hardware.lines()) {
        if !known.contains(&line) {
            known.push(line);
        }
    }
    // Lines of a tier stand together.
    known.sort_by_key(|line| (line.starts_with("L2:"), line.starts_with("L1:")));
    known.iter().map(|line| format!("{line}\n")).collect()
}

fn same(outcomes: &[Outcome]) -> String {
    let said: Vec<String> = by_column(outcomes)
        .into_iter()
        .filter(|(name, values)| name != "strategy" && all_equal(values))
        .map(|(name, values)| format!("{name} {}", values[0]))
        .collect();
    if said.is_empty() { String::new() } else { format!("{}\n", said.join(" · ")) }
}

fn by_column(outcomes: &[Outcome]) -> Vec<(String, Vec<String>)> {
    let rows: Vec<_> = outcomes.iter().map(columns).collect();
    let names = rows.first().map(|row| row.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>());
    let of = |name: &str| -> Vec<String> {
        let value = |row: &Vec<(String, String)>| {
            row.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone()).unwrap_or_default()
        };
        rows.iter().map(value).collect()
    };
    names.unwrap_or_default().into_iter().map(|name| (name.clone(), of(&name))).collect()
}

fn all_equal(values: &[String]) -> bool {
    values.iter().all(|value| *value == values[0])
}

fn has_lower_tiers(outcome: &Outcome) -> bool {
    outcome.case.cache.l1() || outcome.case.cache.l2()
}

/// Names of the figures; hits by tier where `lower` tiers are to be told.
fn names(lower: bool) -> impl Iterator<Item = &'static str> {
    let first = ["done", "failed", "TTFT mean", "P50", "P90", "P99", "TPOT mean", "out tok/s", "hit"];
    let by_tier: &[&str] = if lower { &["L0", "L1", "L2"] } else { &[] };
    first.into_iter().chain(by_tier.iter().copied()).chain(["imbalance", "$/1K out"])
}

/// The figures of a run, in the order of their names.
fn figures_of(outcome: &Outcome, lower: bool) -> impl Iterator<Item = String> {
    let summary = &outcome.summary;
    let hits = summary.hit_rate;
    let first = [
        number(Some(summary.completed as f64)),
        number(Some(summary.failed as f64)),
        number(summary.ttft.mean),
        number(summary.ttft.p50),
        number(summary.ttft.p90),
        number(summary.ttft.p99),
        number(summary.tpot.mean),
        number(summary.throughput.output),
        percent(hits.total),
    ];
    let by_tier = if lower { [hits.l0, hits.l1, hits.l2].map(percent).to_vec() } else { Vec::new() };
    let last = [
        summary.imbalance.map_or("-".to_owned(), |ratio| format!("{ratio:.2}")),
        summary.cost.output_only.map_or("-".to_owned(), |dollars| format!("{dollars:.4}")),
    ];
    first.into_iter().chain(by_tier).chain(last)
}

fn percent(share: Option<f64>) -> String {
    share.map_or("-".to_owned(), |share| format!("{:.1} %", share * 100.0))
}

/// Three significant digits, with separators from 10,000 on; unknown is a dash.
fn number(value: Option<f64>) -> String {
    let Some(value) = value else { return "-".to_owned() };
    match value.abs() {
        _ if value.fract() == 0.0 => grouped(value),
        0.0..10.0 => format!("{value:.2}"),
        10.0..100.0 => format!("{value:.1}"),
        _ => grouped(value),
    }
}

fn grouped(value: f64) -> String {
    let digits = format!("{value:.0}");
    let head = digits.len() % 3;
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && index % 3 == head && digits.len() > 4 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
