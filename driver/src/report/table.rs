//! Runs as a table for people.

use crate::experiment::{Load, Outcome};
use comfy_table::{Cell, CellAlignment, Table, presets};

/// One row per run. Columns that say the same of every run are left to the line above the table.
#[must_use]
pub fn table(outcomes: &[Outcome]) -> String {
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY);
    let varying = varying(outcomes);
    let figures =
        ["done", "failed", "TTFT mean", "P50", "P90", "P99", "TPOT mean", "out tok/s", "hit", "imbalance", "$/1K out"];
    let right = |name: &str| Cell::new(name).set_alignment(CellAlignment::Right);
    table.set_header(varying.iter().map(|(name, _)| Cell::new(name)).chain(figures.map(right)));
    for (index, outcome) in outcomes.iter().enumerate() {
        let what = varying.iter().map(|(_, values)| Cell::new(&values[index]));
        let figures = figures_of(outcome).into_iter().map(|text| Cell::new(text).set_alignment(CellAlignment::Right));
        table.add_row(what.chain(figures));
    }
    let mut text = hardware(outcomes);
    text.push_str(&same(outcomes));
    text.push_str(&table.to_string());
    text.push_str(
        "\nAll simulated. TTFT, from the client's first byte, and TPOT in ms; hit: cached / prompt tokens;\n\
         imbalance: busy time, largest / mean worker; $/1K out: all instances over output tokens.\n",
    );
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
    for outcome in outcomes {
        if !known.contains(&outcome.hardware.as_str()) {
            known.push(&outcome.hardware);
        }
    }
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

fn figures_of(outcome: &Outcome) -> [String; 11] {
    let summary = &outcome.summary;
    [
        number(Some(summary.completed as f64)),
        number(Some(summary.failed as f64)),
        number(summary.ttft.mean),
        number(summary.ttft.p50),
        number(summary.ttft.p90),
        number(summary.ttft.p99),
        number(summary.tpot.mean),
        number(summary.throughput.output),
        summary.hit_rate.total.map_or("-".to_owned(), |rate| format!("{:.1} %", rate * 100.0)),
        summary.imbalance.map_or("-".to_owned(), |ratio| format!("{ratio:.2}")),
        summary.cost.output_only.map_or("-".to_owned(), |dollars| format!("{dollars:.4}")),
    ]
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
