//! The tables of a comparison.

use super::text::{COLUMNS, difference, interval, plain, relative, signed, unit, value};
use super::{Compared, Comparison, Differing, Gap, Pair, Unit, Verdict};
use crate::report::table::{compact, finished};
use comfy_table::{Cell, CellAlignment};

/// Settings that differ and are shown; `-o json` tells all.
const SETTINGS: usize = 30;
/// Other runs beside the first in one table.
const BESIDE: usize = 3;
/// What an overview shows of each case.
const OVERVIEW: [&str; 5] = ["mean_ttft_ms", "p90_ttft_ms", "mean_tpot_ms", "output_throughput", "hit_rate.total"];

impl Comparison {
    /// The pairs of each case together, in order.
    #[must_use]
    pub fn by_case(&self) -> Vec<Vec<&Pair>> {
        let mut cases: Vec<Vec<&Pair>> = Vec::new();
        for pair in &self.pairs {
            match cases.iter_mut().find(|pairs| pairs[0].case == pair.case && pairs[0].with != pair.with) {
                Some(pairs) => pairs.push(pair),
                None => cases.push(vec![pair]),
            }
        }
        cases
    }
}

fn right(text: impl Into<String>) -> Cell {
    Cell::new(text.into()).set_alignment(CellAlignment::Right)
}

/// What the runs of a case differ in, one column for each.
pub(super) fn configuration(pairs: &[&Pair]) -> String {
    let mut names: Vec<&str> = Vec::new();
    for differing in pairs.iter().flat_map(|pair| &pair.configuration) {
        if !names.contains(&differing.setting.as_str()) {
            names.push(&differing.setting);
        }
    }
    if names.is_empty() {
        return "Configuration: nothing differs.\n".to_owned();
    }
    let of = |pair: &Pair, name: &str| -> Option<Differing> {
        pair.configuration.iter().find(|differing| differing.setting == name).cloned()
    };
    let heads = ["setting that differs", "A"].into_iter().chain(pairs.iter().map(|pair| pair.with.as_str()));
    let mut table = compact(heads.map(Cell::new));
    let columns = 1 + pairs.len();
    let room = (COLUMNS - 40) / columns;
    for name in names.iter().take(SETTINGS) {
        let first = pairs.iter().find_map(|pair| of(pair, name)).and_then(|differing| differing.a);
        let others = pairs.iter().map(|pair| of(pair, name).map_or_else(|| first.clone(), |differing| differing.b));
        let values = std::iter::once(first.clone()).chain(others);
        let shown = values.map(|value| Cell::new(value.map_or_else(|| "-".to_owned(), |value| cut(&value, room))));
        table.add_row(std::iter::once(Cell::new(cut(name, 36))).chain(shown));
    }
    let mut text = finished(table);
    if names.len() > SETTINGS {
        text.push_str(&format!("{} more settings differ: -o json\n", names.len() - SETTINGS));
    }
    text
}

/// What all cases of the other sources have in common of it.
pub(super) fn common_configuration(comparison: &Comparison) -> String {
    let others = comparison.sources.iter().skip(1).map(|source| source.letter.as_str());
    let common = |letter: &str| {
        let mut pairs = comparison.pairs.iter().filter(|pair| pair.with == letter);
        let mut first = pairs.next()?.clone();
        first.configuration.retain(|differing| pairs.clone().all(|pair| pair.configuration.contains(differing)));
        Some(first)
    };
    let pairs: Vec<Pair> = others.filter_map(common).collect();
    configuration(&pairs.iter().collect::<Vec<_>>())
}

/// Text that fits.
fn cut(text: &str, room: usize) -> String {
    let text = plain(text);
    if text.chars().count() <= room {
        return text;
    }
    let head: String = text.chars().take(room.saturating_sub(1)).collect();
    format!("{head}…")
}

/// The figures of a case: of two runs with all that is said of the difference, of more the first beside each other.
pub(super) fn figures(pairs: &[&Pair]) -> String {
    match pairs {
        [pair] => of_two(pair),
        _ => pairs.chunks(BESIDE).map(beside).collect(),
    }
}

fn of_two(pair: &Pair) -> String {
    let judged_apart = distinct_tolerances(pair) > 1;
    let heads = ["A", pair.with.as_str(), "difference", "95 % interval", "relative"].map(right);
    let tolerance = judged_apart.then(|| right("tolerance"));
    let heads = [Cell::new("figure"), Cell::new("")].into_iter().chain(heads).chain(tolerance).chain([Cell::new("")]);
    let mut table = compact(heads);
    for figure in &pair.figures {
        let cells = [
            value(figure.unit, figure.a),
            value(figure.unit, figure.b),
            difference(figure),
            interval(figure),
            relative(figure.relative),
        ];
        let tolerance = judged_apart.then(|| right(figure.tolerance.map_or("-".to_owned(), |part| part.to_string())));
        let cells = cells.into_iter().map(right).chain(tolerance).chain([Cell::new(word(figure.verdict))]);
        table.add_row([Cell::new(&figure.name), Cell::new(unit(figure.unit))].into_iter().chain(cells));
    }
    finished(table)
}

fn distinct_tolerances(pair: &Pair) -> usize {
    let mut all: Vec<String> =
        pair.figures.iter().filter_map(|figure| figure.tolerance).map(|part| part.to_string()).collect();
    all.sort();
    all.dedup();
    all.len()
}

fn word(verdict: Option<Verdict>) -> &'static str {
    verdict.map_or("-", Verdict::as_str)
}

/// With the intervals, where there is room for them.
fn beside(pairs: &[&Pair]) -> String {
    let wide = of_several(pairs, true);
    let fits = wide.lines().all(|line| line.chars().count() <= COLUMNS);
    if fits { wide } else { of_several(pairs, false) }
}

fn of_several(pairs: &[&Pair], wide: bool) -> String {
    let heads = pairs.iter().flat_map(|pair| {
        let interval = wide.then(|| right("95 % interval"));
        [right(&pair.with), right(format!("{} vs A", pair.with))].into_iter().chain(interval).chain([Cell::new("")])
    });
    let mut table = compact([Cell::new("figure"), Cell::new(""), right("A")].into_iter().chain(heads));
    let mut keys: Vec<&Compared> = Vec::new();
    for figure in pairs.iter().flat_map(|pair| &pair.figures) {
        if !keys.iter().any(|known| known.key == figure.key) {
            keys.push(figure);
        }
    }
    for key in keys {
        let of = |pair: &Pair| pair.figures.iter().find(|figure| figure.key == key.key).cloned();
        let first = pairs.iter().find_map(|pair| of(pair).and_then(|figure| figure.a));
        let cells = pairs.iter().flat_map(|pair| {
            let figure = of(pair);
            let told = |tell: fn(&Compared) -> String| right(figure.as_ref().map_or_else(|| "-".to_owned(), tell));
            let interval = wide.then(|| told(interval));
            let verdict = figure.as_ref().and_then(|figure| figure.verdict);
            let values = [told(|figure| value(figure.unit, figure.b)), told(|figure| relative(figure.relative))];
            values.into_iter().chain(interval).chain([Cell::new(word(verdict))]).collect::<Vec<_>>()
        });
        let head = [Cell::new(&key.name), Cell::new(unit(key.unit)), right(value(key.unit, first))];
        table.add_row(head.into_iter().chain(cells));
    }
    finished(table)
}

/// A row for each pair: relative differences of a few figures, and whether all pass.
pub(super) fn overview(comparison: &Comparison) -> String {
    let name = |key: &&str| {
        let metric = super::metric::METRICS.iter().find(|metric| metric.key == *key);
        metric.map_or((*key).to_owned(), |metric| metric.name.replacen(' ', "\n", 1))
    };
    let heads = OVERVIEW.iter().map(|key| right(name(key)));
    let heads = [Cell::new("\ncase"), Cell::new("\nwith A")].into_iter().chain(heads).chain([right("\nfailing")]);
    let mut table = compact(heads);
    for pair in &comparison.pairs {
        let cells = OVERVIEW.iter().map(|key| {
            let figure = pair.figures.iter().find(|figure| figure.key == *key);
            right(figure.map_or_else(|| "-".to_owned(), |figure| relative(figure.relative)))
        });
        let failing = pair.figures.iter().filter(|figure| figure.pass == Some(false)).count();
        let head = [Cell::new(cut(&pair.case, 48)), Cell::new(&pair.with)];
        table.add_row(head.into_iter().chain(cells).chain([right(failing.to_string())]));
    }
    finished(table)
}

/// Where the gaps of a pair lie.
pub(super) fn attribution(pair: &Pair) -> String {
    if pair.explained.is_empty() {
        return format!("A, {}: requests were not kept or none completed, so no gap can be explained.\n", pair.with);
    }
    pair.explained.iter().map(|gap| of_gap(pair, gap)).collect()
}

fn of_gap(pair: &Pair, gap: &Gap) -> String {
    let name = if gap.key == "mean_ttft_ms" { "mean TTFT" } else { "mean E2EL" };
    let heads = ["A", pair.with.as_str(), "gap", "of the gap"].map(right);
    let mut table = compact([Cell::new(format!("{name}, ms"))].into_iter().chain(heads));
    let figure = |figure: Option<f64>| value(Unit::Millis, figure);
    let share = |part: f64| if gap.gap == 0.0 { "-".to_owned() } else { whole_percent(part / gap.gap) };
    for part in &gap.parts {
        let name = part.part.map_or("unexplained", |part| part.as_str());
        let cells = [
            figure(part.a),
            figure(part.b),
            part.gap.map_or("-".to_owned(), |gap| signed(Unit::Millis, gap)),
            part.gap.map_or("-".to_owned(), share),
        ];
        table.add_row([Cell::new(name)].into_iter().chain(cells.map(right)));
    }
    let cells = [figure(Some(gap.a)), figure(Some(gap.b)), signed(Unit::Millis, gap.gap), share(gap.gap)];
    table.add_row([Cell::new("all")].into_iter().chain(cells.map(right)));
    finished(table)
}

/// Nothing has no sign.
fn whole_percent(part: f64) -> String {
    let percent = (100.0 * part).round();
    format!("{} %", if percent == 0.0 { 0.0 } else { percent })
}
