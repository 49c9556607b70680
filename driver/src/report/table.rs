//! Runs as a table for people.

use super::notes::notes;
use super::seeds;
use super::wrapped;
use crate::experiment::{MOST_AUDITED, Outcome};
use comfy_table::{Cell, CellAlignment, Table, presets};

/// One row per run. Columns that say the same of every run are left to the line above the table.
#[must_use]
pub fn table(outcomes: &[Outcome]) -> String {
    let varying = varying(outcomes.iter());
    let shown = Shown {
        lower: outcomes.iter().any(has_lower_tiers),
        regret: outcomes.iter().any(|outcome| outcome.summary.overlap_regret.is_some()),
        failed: outcomes.iter().any(|outcome| outcome.summary.failed > 0),
        slo: outcomes.iter().any(|outcome| outcome.kept.is_some()),
    };
    let right = |name: String| Cell::new(name).set_alignment(CellAlignment::Right);
    let notes = notes(outcomes);
    // Notes name their row.
    let numbered = !notes.is_empty() && outcomes.len() > 1;
    // Names stand on the line next to the figures.
    let row = numbered.then(|| right("\nrow".to_owned()));
    let (heads, legend) = heads(&varying);
    let what = heads.into_iter().map(|head| Cell::new(format!("\n{head}")));
    let mut table = compact(row.into_iter().chain(what).chain(shown.names().map(str::to_owned).map(right)));
    for (index, outcome) in outcomes.iter().enumerate() {
        let row = numbered.then(|| right((index + 1).to_string()));
        let what = varying.iter().map(|(_, values)| Cell::new(&values[index]));
        table.add_row(row.into_iter().chain(what).chain(shown.figures_of(outcome).map(right)));
    }
    let mut text = hardware(outcomes);
    text.push_str(&same(outcomes));
    text.push_str(&legend);
    text.push_str(&finished(table));
    let computed = outcomes.iter().any(|outcome| outcome.computed.is_some());
    text.push_str(if computed { "Passes computed here and timed, the rest simulated" } else { "All simulated" });
    text.push_str(
        ". TTFT, from the client's first byte, and TPOT in ms; hit: cached / prompt tokens;\n\
         imbalance: busy time, largest / mean worker; $/1K out: all instances over output tokens.\n",
    );
    if shown.lower {
        text.push_str("L0, L1, L2: the part of hit that came from GPU memory, host memory, the pool of all workers.\n");
    }
    if shown.slo {
        text.push_str(
            "SLO: kept where so many of all requests were below each bound (P50, P90, P99 here are interpolated, of those\ncompleted); good: below every bound, each by itself.\n",
        );
    }
    if shown.regret {
        text.push_str(
            "regret: prompt tokens that another worker's GPU had more than the chosen one's / prompt tokens.\n",
        );
    }
    let unasked =
        |outcome: &Outcome| outcome.case.replicas > MOST_AUDITED && !outcome.case.settings.contains_key("router.audit");
    if outcomes.iter().any(|outcome| outcome.summary.overlap_regret.is_none() && unasked(outcome)) {
        text.push_str(&format!(
            "regret: not worked out for more than {MOST_AUDITED} workers; router.audit=true does, and takes longer.\n"
        ));
    }
    text.push_str(&notes);
    text.push_str(&seeds::text(outcomes));
    text
}

/// Lines are no longer than this where their words allow it.
const COLUMNS: usize = 118;
/// Names of settings that are this much longer than all their values make a table wide for nothing.
const TOO_LONG: usize = 8;

/// Heads of what runs differ in: long names of settings by letters, and a line for each that says which.
fn heads(varying: &[(String, Vec<String>)]) -> (Vec<String>, String) {
    let (mut heads, mut legend, mut letters) = (Vec::new(), String::new(), 'A'..='Z');
    for (name, values) in varying {
        let widest = values.iter().map(|value| value.chars().count()).max().unwrap_or_default();
        let long = name.chars().count() > widest + TOO_LONG;
        match long.then(|| letters.next()).flatten() {
            Some(letter) => {
                legend.push_str(&format!("({letter}) {name}\n"));
                heads.push(format!("({letter})"));
            }
            None => heads.push(name.clone()),
        }
    }
    (heads, legend)
}

/// A table with these heads of columns, two spaces between them.
pub(crate) fn compact(head: impl Iterator<Item = Cell>) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY);
    table.set_header(head);
    table
}

/// Its text.
pub(crate) fn finished(mut table: Table) -> String {
    let last = table.column_count().saturating_sub(1);
    for (index, column) in table.column_iter_mut().enumerate() {
        // A border of one space stands between two columns.
        column.set_padding((1, u16::from(index == last)));
    }
    format!("{table}\n")
}

/// What a run is, as columns.
pub(super) fn columns(outcome: &Outcome) -> Vec<(String, String)> {
    let case = &outcome.case;
    let mut columns = vec![
        ("workload".to_owned(), outcome.workload.clone()),
        ("replicas".to_owned(), case.replicas.to_string()),
        ("load".to_owned(), case.load.to_string()),
        ("cache".to_owned(), case.cache.as_str().to_owned()),
        ("strategy".to_owned(), case.strategy.as_str().to_owned()),
        ("seed".to_owned(), case.seed.to_string()),
    ];
    columns.extend(case.settings.iter().map(|(key, value)| (key.clone(), value.clone())));
    columns
}

/// What runs differ in; their strategy in any case.
pub(super) fn varying<'a>(outcomes: impl Iterator<Item = &'a Outcome>) -> Vec<(String, Vec<String>)> {
    by_column(outcomes).into_iter().filter(|(name, values)| name == "strategy" || !all_equal(values)).collect()
}

/// What was simulated: workers, L1 and L2, each kind once for each that differs, with what it goes with.
fn hardware(outcomes: &[Outcome]) -> String {
    let of_kind = |line: &&str, kind: &str| match kind {
        "" => !line.starts_with("L1:") && !line.starts_with("L2:"),
        tier => line.starts_with(tier),
    };
    let columns = varying(outcomes.iter());
    let mut text = String::new();
    for kind in ["", "L1:", "L2:"] {
        let line = |outcome: &'_ Outcome| outcome.hardware.lines().find(|line| of_kind(line, kind)).map(str::to_owned);
        let of_row: Vec<Option<String>> = outcomes.iter().map(line).collect();
        let mut known: Vec<&String> = Vec::new();
        for line in of_row.iter().flatten() {
            if !known.contains(&line) {
                known.push(line);
            }
        }
        let labels = labels(&known, &of_row, &columns);
        for (line, label) in known.iter().zip(labels) {
            text.push_str(&format!("{line}{label}\n"));
        }
    }
    text
}

/// The values of a column that tell several lines apart, one for each line; nothing where there is no such column.
fn labels(lines: &[&String], of_row: &[Option<String>], columns: &[(String, Vec<String>)]) -> Vec<String> {
    let values = |line: &String, column: &[String]| -> Vec<String> {
        let mut values: Vec<String> = Vec::new();
        for (value, _) in column.iter().zip(of_row).filter(|(_, of_row)| of_row.as_ref() == Some(line)) {
            if !values.contains(value) {
                values.push(value.clone());
            }
        }
        values
    };
    let tells = |(_, column): &&(String, Vec<String>)| {
        let mut all: Vec<String> = lines.iter().flat_map(|line| values(line, column)).collect();
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        all.len() == count
    };
    match columns.iter().rev().find(tells).filter(|_| lines.len() > 1) {
        None => vec![String::new(); lines.len()],
        Some((name, column)) => {
            lines.iter().map(|line| format!(" ({name} {})", values(line, column).join(", "))).collect()
        }
    }
}

fn same(outcomes: &[Outcome]) -> String {
    let said: Vec<String> = by_column(outcomes.iter())
        .into_iter()
        .filter(|(name, values)| name != "strategy" && all_equal(values))
        .map(|(name, values)| format!("{name} {}", values[0]))
        .collect();
    if said.is_empty() { String::new() } else { wrapped("", &said.join(" · "), COLUMNS) }
}

fn by_column<'a>(outcomes: impl Iterator<Item = &'a Outcome>) -> Vec<(String, Vec<String>)> {
    let rows: Vec<_> = outcomes.map(columns).collect();
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

/// Which columns there are beside those that every table has.
#[derive(Clone, Copy)]
struct Shown {
    /// Hits by tier.
    lower: bool,
    /// Overlap regret.
    regret: bool,
    /// Requests that failed.
    failed: bool,
    /// What was promised.
    slo: bool,
}

impl Shown {
    /// Names of the figures, in two lines each.
    fn names(self) -> impl Iterator<Item = &'static str> {
        let failed = self.failed.then_some("\nfailed");
        let first = ["TTFT\nmean", "\nP50", "\nP90", "\nP99", "TPOT\nmean", "out\ntok/s", "hit\n%"];
        let regret = self.regret.then_some("regret\n%");
        let by_tier: &[&str] = if self.lower { &["L0\n%", "L1\n%", "L2\n%"] } else { &[] };
        let first = ["\ndone"].into_iter().chain(failed).chain(first);
        let slo: &[&str] = if self.slo { &["SLO\nkept", "good\n%", "good\nreq/s"] } else { &[] };
        let rest = by_tier.iter().chain(slo).copied();
        first.chain(regret).chain(rest).chain(["\nimbalance", "$/1K\nout"])
    }

    /// The figures of a run, in the order of their names.
    fn figures_of(self, outcome: &Outcome) -> impl Iterator<Item = String> {
        let summary = &outcome.summary;
        let hits = summary.hit_rate;
        let failed = self.failed.then(|| number(Some(summary.failed as f64)));
        let first = [
            number(summary.ttft.mean),
            number(summary.ttft.p50),
            number(summary.ttft.p90),
            number(summary.ttft.p99),
            number(summary.tpot.mean),
            number(summary.throughput.output),
            percent(hits.total),
        ];
        let regret = self.regret.then(|| percent(summary.overlap_regret));
        let by_tier = if self.lower { [hits.l0, hits.l1, hits.l2].map(percent).to_vec() } else { Vec::new() };
        let last = [
            summary.imbalance.map_or("-".to_owned(), |ratio| format!("{ratio:.2}")),
            summary.cost.output_only.map_or("-".to_owned(), |dollars| format!("{dollars:.4}")),
        ];
        let first = [number(Some(summary.completed as f64))].into_iter().chain(failed).chain(first);
        let slo = outcome.kept.as_ref().map_or_else(Vec::new, |kept| {
            let holds = if kept.holds { "yes" } else { "no" };
            vec![holds.to_owned(), percent(Some(kept.good_share)), number(kept.goodput)]
        });
        first.chain(regret).chain(by_tier).chain(slo).chain(last)
    }
}

fn percent(share: Option<f64>) -> String {
    share.map_or("-".to_owned(), |share| format!("{:.1}", share * 100.0))
}

/// Three significant digits, with separators from 10,000 on; unknown is a dash.
pub(crate) fn number(value: Option<f64>) -> String {
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
