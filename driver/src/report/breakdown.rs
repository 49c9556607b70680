//! Where TTFT goes, for people: its parts, hits and misses apart, KV in flight, and what the slowest tenth is made of.
//!
//! Runs that differ in nothing but their seed share a row: means of the seeds, of requests their number in all.

use super::seeds::same_but_for_seed;
use super::table::{compact, finished, number, varying};
use super::wrapped;
use crate::experiment::Outcome;
use comfy_table::{Cell, CellAlignment};
use sim::ledger::{ByClass, ByPart, OfSlowest, Summary};

/// Lines are no longer than this where their words allow it.
const COLUMNS: usize = 110;
/// So many rows get a sentence each.
const SENTENCES: usize = 24;
/// A part that is less of a TTFT is not worth a word.
const NOTABLE: f64 = 0.1;

/// What to show beside the table of runs: all of it where it is asked for or there is one run, else how to get it.
#[must_use]
pub fn shown(outcomes: &[Outcome], asked: bool) -> String {
    if asked || same_but_for_seed(outcomes).len() == 1 {
        return format!("\n{}", text(outcomes));
    }
    "Where TTFT goes (waiting, loading, computing; hits and misses apart): --breakdown\n".to_owned()
}

/// Two tables and a sentence for each row.
#[must_use]
pub fn text(outcomes: &[Outcome]) -> String {
    let rows: Vec<Row<'_>> = same_but_for_seed(outcomes).into_iter().map(Row).collect();
    let what: Vec<(String, Vec<String>)> =
        varying(rows.iter().map(|row| row.0[0])).into_iter().filter(|(name, _)| name != "seed").collect();
    let seeds = rows.first().map_or(0, |row| row.0.len());
    let of_seeds = if seeds > 1 { format!("; means of {seeds} seeds") } else { String::new() };
    let mut text =
        format!("Where TTFT goes: the mean of each part, ms, and KV in flight, % of all workers' pool{of_seeds}\n");
    text.push_str(&table(&what, &rows, &PARTS, parts_of));
    text.push_str(
        "line: kept from an engine, by its worker's limits or death; wait KV: no room for the prompt, or behind one without;\n\
         wait turn: budget, seats, a pass under way; tiers: look-ups, loads and copies. The parts add up to the TTFT.\n\
         held: blocks of requests in flight, each once (peak worker: of one worker's own pool); asked: prompts and replies of\n\
         all in flight, those that wait included, each by itself.\n",
    );
    text.push_str(&format!("\nHits and misses apart: % of the requests, and their TTFT, ms{of_seeds}\n"));
    text.push_str(&table(&what, &rows, &CLASSES, classes_of));
    text.push_str("hit: at least 80 % of the prompt was found in some tier; miss: less than 20 %; partial: between.\n");
    for (index, row) in rows.iter().take(SENTENCES).enumerate() {
        let names: Vec<&str> = what.iter().map(|(_, values)| values[index].as_str()).collect();
        let sentence = slowest(row);
        let sentence = match sentence.strip_prefix("the") {
            Some(rest) if rows.len() == 1 => format!("The{rest}"),
            _ => format!("{}: {sentence}", names.join(" ")),
        };
        text.push_str(&wrapped("", &sentence, COLUMNS));
    }
    if rows.len() > SENTENCES {
        text.push_str(&format!("{} more: see slowest_tenth of -o json.\n", rows.len() - SENTENCES));
    }
    text
}

/// Runs that differ in nothing but their seed.
struct Row<'a>(Vec<&'a Outcome>);

impl Row<'_> {
    fn mean(&self, of: impl Fn(&Summary) -> Option<f64>) -> Option<f64> {
        let values: Vec<f64> = self.0.iter().filter_map(|run| of(&run.summary)).collect();
        (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
    }

    fn sum(&self, of: impl Fn(&Summary) -> u64) -> u64 {
        self.0.iter().map(|run| of(&run.summary)).sum()
    }
}

const PARTS: [&str; 12] = [
    "TTFT\nmean",
    "\nAPI",
    "\nline",
    "wait\nKV",
    "wait\nturn",
    "\ntiers",
    "\ncompute",
    "held\nmean",
    "held\npeak",
    "peak\nworker",
    "asked\nmean",
    "asked\npeak",
];

fn parts_of(row: &Row<'_>) -> Vec<String> {
    let part =
        |of: fn(&ByPart<sim::ledger::PartFigures>) -> Option<f64>| number(row.mean(|run| of(&run.breakdown.parts)));
    let whole = |share: Option<f64>| share.map_or_else(|| "-".to_owned(), |share| format!("{:.0}", share * 100.0));
    vec![
        number(row.mean(|run| run.ttft.mean)),
        part(|parts| parts.api.mean_ms),
        part(|parts| parts.line.mean_ms),
        part(|parts| parts.kv_wait.mean_ms),
        part(|parts| parts.budget_wait.mean_ms),
        part(|parts| parts.tiers.mean_ms),
        part(|parts| parts.compute.mean_ms),
        whole(row.mean(|run| run.kv_in_flight.held_mean)),
        whole(row.mean(|run| run.kv_in_flight.held_peak)),
        whole(row.mean(|run| run.kv_in_flight.held_peak_worker)),
        whole(row.mean(|run| run.kv_in_flight.asked_mean)),
        whole(row.mean(|run| run.kv_in_flight.asked_peak)),
    ]
}

const CLASSES: [&str; 12] = [
    "hits\n%",
    "\nP50",
    "\nP90",
    "\nP99",
    "partial\n%",
    "\nP50",
    "\nP90",
    "\nP99",
    "misses\n%",
    "\nP50",
    "\nP90",
    "\nP99",
];

fn classes_of(row: &Row<'_>) -> Vec<String> {
    let all = row.sum(|run| run.breakdown.classes.named().iter().map(|(_, class)| class.requests).sum());
    let of_class = |class: usize| {
        let of = move |run: &Summary| run.breakdown.classes.named()[class].1;
        let share = row.sum(|run| of(run).requests) as f64 / all.max(1) as f64;
        let share = if all == 0 { "-".to_owned() } else { format!("{:.1}", share * 100.0) };
        let figures = [of_quantile(row, class, 0), of_quantile(row, class, 1), of_quantile(row, class, 2)];
        std::iter::once(share).chain(figures)
    };
    (0..3).flat_map(of_class).collect()
}

/// P50, P90 or P99 of a class.
fn of_quantile(row: &Row<'_>, class: usize, which: usize) -> String {
    number(row.mean(|run| {
        let class = run.breakdown.classes.named()[class].1;
        [class.p50_ttft_ms, class.p90_ttft_ms, class.p99_ttft_ms][which]
    }))
}

fn table(
    what: &[(String, Vec<String>)],
    rows: &[Row<'_>],
    heads: &[&str],
    figures: fn(&Row<'_>) -> Vec<String>,
) -> String {
    let right = |text: &str| Cell::new(text).set_alignment(CellAlignment::Right);
    let names = what.iter().map(|(name, _)| Cell::new(format!("\n{name}")));
    let mut table = compact(names.chain(heads.iter().map(|head| right(head))));
    for (index, row) in rows.iter().enumerate() {
        let cells: Vec<Cell> = figures(row).iter().map(|figure| right(figure)).collect();
        table.add_row(what.iter().map(|(_, values)| Cell::new(&values[index])).chain(cells));
    }
    finished(table)
}

/// Who the slowest tenth of these runs is, which differ in their seed only: the end of a sentence.
#[must_use]
pub fn slowest_of(runs: &[&Outcome]) -> String {
    slowest(&Row(runs.to_vec()))
}

/// Who the slowest tenth is, and what they spent their time on.
fn slowest(row: &Row<'_>) -> String {
    let requests = row.sum(|run| run.breakdown.slowest.requests);
    let Some(from) = row.mean(|run| run.breakdown.slowest.from_ms) else {
        return "no first token came out.".to_owned();
    };
    let told: Vec<String> = CLASS_NAMES
        .iter()
        .enumerate()
        .filter_map(|(class, name)| {
            let of = |run: &Summary| named(&run.breakdown.slowest.classes)[class];
            let count = row.sum(|run| of(run).requests);
            let shares = shares(row, &of)?;
            let percent = count as f64 / requests as f64 * 100.0;
            // What would be told as none is not told.
            (percent >= 0.5).then(|| format!("{percent:.0} % {name} (TTFT: {})", in_words(&shares)))
        })
        .collect();
    format!("the slowest tenth, from {} ms on, is {}.", number(Some(from.round())), told.join(", "))
}

const CLASS_NAMES: [&str; 3] = ["hits", "partial hits", "misses"];

fn named(classes: &ByClass<OfSlowest>) -> [OfSlowest; 3] {
    classes.named().map(|(_, class)| class)
}

/// Shares of all seeds, each by how many requests it has of them.
fn shares(row: &Row<'_>, of: &impl Fn(&Summary) -> OfSlowest) -> Option<Vec<(&'static str, f64)>> {
    let all: Vec<(f64, ByPart<f64>)> = row
        .0
        .iter()
        .map(|run| of(&run.summary))
        .filter_map(|class| class.shares.map(|shares| (class.requests as f64, shares)))
        .collect();
    let weight: f64 = all.iter().map(|(weight, _)| weight).sum();
    let names = ByPart::<f64>::default().named().map(|(name, _)| name);
    let share = |part: usize| all.iter().map(|(weight, shares)| weight * shares.named()[part].1).sum::<f64>() / weight;
    (weight > 0.0).then(|| names.iter().enumerate().map(|(part, name)| (*name, share(part))).collect())
}

/// The parts that matter, the largest first.
fn in_words(shares: &[(&'static str, f64)]) -> String {
    let mut shares: Vec<_> = shares.iter().filter(|(_, share)| *share >= NOTABLE).collect();
    shares.sort_by(|one, other| other.1.total_cmp(&one.1));
    let words = |name: &str| match name {
        "api" => "API latency",
        "line" => "kept from an engine",
        "kv_wait" => "waiting for KV room",
        "budget_wait" => "waiting for a turn",
        "tiers" => "lower tiers",
        _ => "computing",
    };
    shares.iter().map(|(name, share)| format!("{:.0} % {}", share * 100.0, words(name))).collect::<Vec<_>>().join(", ")
}
