//! What several seeds say together: means with their intervals, and which strategies they tell apart.
//!
//! Runs of one seed have the same requests whatever the strategy, and in an open loop the same arrivals, so strategies are
//! compared seed by seed: what makes one seed slow makes it slow for all. The best is picked after the fact, so an interval of a
//! difference holds for all pairs at once (Bonferroni), and nothing is claimed beyond it.

use super::table::{compact, finished, number, varying};
use super::wrapped;
use crate::experiment::{Case, Outcome};
use comfy_table::{Cell, CellAlignment};
use serde::Serialize;
use sim::ledger::Summary;
use statrs::distribution::{ContinuousCDF, StudentsT};

/// Seeds below which nothing is compared: of two the interval is thirteen times what they differ by.
const ENOUGH: usize = 3;
/// How sure an interval is.
const LEVEL: f64 = 0.95;
/// Lines are no longer than this where their words allow it.
const COLUMNS: usize = 118;

/// A figure of a run that seeds are asked about.
struct Figure {
    key: &'static str,
    name: &'static str,
    head: &'static str,
    of: fn(&Outcome) -> Option<f64>,
    /// How a table tells it.
    shown: fn(f64) -> String,
    /// Whether a table tells its interval.
    spread: bool,
}

/// One whose interval is told.
const fn figure(key: &'static str, name: &'static str, head: &'static str, of: fn(&Outcome) -> Option<f64>) -> Figure {
    Figure { key, name, head, of, shown, spread: true }
}

/// A rate, or what else needs no interval.
const fn plain(
    key: &'static str,
    head: &'static str,
    shown: fn(f64) -> String,
    of: fn(&Outcome) -> Option<f64>,
) -> Figure {
    Figure { key, name: key, head, of, shown, spread: false }
}

fn percent(rate: f64) -> String {
    format!("{:.1}", rate * 100.0)
}

fn dollars(dollars: f64) -> String {
    format!("{dollars:.4}")
}

const TTFT: Figure = figure("mean_ttft_ms", "mean TTFT", "TTFT\nmean", |run| run.summary.ttft.mean);
const P90: Figure = figure("p90_ttft_ms", "P90 TTFT", "\nP90", |run| run.summary.ttft.p90);
const OUTPUT: Figure = figure("output_throughput", "output", "out\ntok/s", |run| run.summary.throughput.output);

const FIGURES: [Figure; 7] = [
    TTFT,
    P90,
    figure("mean_tpot_ms", "mean TPOT", "TPOT\nmean", |run| run.summary.tpot.mean),
    OUTPUT,
    Figure {
        shown: |rate| shown(100.0 * rate),
        ..figure("hit_rate", "hit", "hit\n%", |run| run.summary.hit_rate.total)
    },
    // Where something was promised.
    Figure {
        shown: |share| shown(100.0 * share),
        ..figure("good_share", "good", "good\n%", |run| run.kept.as_ref().map(|kept| kept.good_share))
    },
    figure("goodput", "goodput", "good\nreq/s", |run| run.kept.as_ref().and_then(|kept| kept.goodput)),
];

/// What a demo shows of its runs.
const SHOWN: [Figure; 10] = [
    Figure { spread: false, ..TTFT },
    figure("p50_ttft_ms", "P50 TTFT", "\nP50", |run| run.summary.ttft.p50),
    P90,
    Figure { spread: false, ..OUTPUT },
    plain("output_only", "$/1K\nout", dollars, |run| run.summary.cost.output_only),
    plain("hit_rate", "hit\n%", percent, |run| run.summary.hit_rate.total),
    plain("l1", "L1\n%", percent, |run| run.summary.hit_rate.l1),
    plain("l2", "L2\n%", percent, |run| run.summary.hit_rate.l2),
    plain("kv_wait", "wait\nKV", shown, |run| run.summary.breakdown.parts.kv_wait.mean_ms),
    plain("compute", "\ncompute", shown, |run| run.summary.breakdown.parts.compute.mean_ms),
];

/// Those that strategies are compared by: less is better.
const COMPARED: [&Figure; 2] = [&FIGURES[0], &FIGURES[1]];

/// Seeds that a claim about a P90 should rest on.
const ENOUGH_FOR_P90: usize = 10;

/// A mean, and half of its interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Mean {
    /// Of all seeds.
    pub mean: f64,
    /// Half of the interval that holds the mean of all possible seeds with 95 %; `None`: of one seed nothing is known.
    pub half_width: Option<f64>,
}

/// The mean of what seeds gave, of which there is at least one.
pub(crate) fn mean_of(values: &[f64]) -> Mean {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    Mean { mean, half_width: (values.len() > 1).then(|| half_width(values, 1.0 - LEVEL)) }
}

/// Runs that differ in nothing but their seed.
struct Group<'a> {
    runs: Vec<&'a Outcome>,
}

/// A change of a figure, in per cent of what it was.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Change {
    /// Of the means.
    pub percent: f64,
    /// Half of the 95 % interval of that, seed by seed; of this comparison by itself.
    pub half_width: f64,
}

/// How a figure changes between runs of the same seeds, in the same order. `None` where a run has none, or there is one seed.
#[must_use]
pub fn change(before: &[&Outcome], after: &[&Outcome], of: impl Fn(&Summary) -> Option<f64>) -> Option<Change> {
    let values = |runs: &[&Outcome]| runs.iter().map(|run| of(&run.summary)).collect::<Option<Vec<f64>>>();
    let (before, after) = (values(before)?, values(after)?);
    if before.len() < 2 || before.len() != after.len() {
        return None;
    }
    let base = before.iter().sum::<f64>() / before.len() as f64;
    let differences: Vec<f64> = after.iter().zip(&before).map(|(after, before)| after - before).collect();
    let difference = differences.iter().sum::<f64>() / differences.len() as f64;
    let percent = |value: f64| value / base * 100.0;
    let half = half_width(&differences, 1.0 - LEVEL);
    (base > 0.0).then(|| Change { percent: percent(difference), half_width: percent(half) })
}

/// How a strategy compares with the one that was best.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// Of which figure.
    pub figure: &'static str,
    /// Who had the least of it.
    pub best: &'static str,
    /// Who is compared.
    pub strategy: &'static str,
    /// By how much more it has, seed by seed.
    pub difference: f64,
    /// The interval of that, which holds for all pairs at once with 95 %.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
}

impl Comparison {
    /// Whether the seeds tell the two apart.
    #[must_use]
    pub fn told_apart(&self) -> bool {
        self.low > 0.0 || self.high < 0.0
    }
}

/// The groups as a value; `None` where there is one seed.
#[must_use]
pub fn json(outcomes: &[Outcome]) -> Option<serde_json::Value> {
    let groups = groups(outcomes)?;
    let told = |group: &Group<'_>| {
        let mut value = of_case(group.runs[0], &["strategy"]);
        value.insert("seeds".to_owned(), group.runs.len().into());
        for figure in FIGURES.iter().filter(|figure| is_told(figure, &groups)) {
            let mean = serde_json::to_value(group.mean(figure)).expect("figures are representable");
            value.insert(figure.key.to_owned(), mean);
        }
        serde_json::Value::Object(value)
    };
    Some(groups.iter().map(told).collect())
}

/// All comparisons as a value; `None` where nothing can be compared.
#[must_use]
pub fn comparisons(outcomes: &[Outcome]) -> Option<serde_json::Value> {
    let groups = groups(outcomes)?;
    let told = |family: &Vec<&Group<'_>>| {
        let case = of_case(family[0].runs[0], &[]);
        compared(family).into_iter().map(move |one| {
            let mut value = case.clone();
            let one = serde_json::to_value(one).expect("figures are representable");
            value.extend(one.as_object().into_iter().flatten().map(|(key, value)| (key.clone(), value.clone())));
            serde_json::Value::Object(value)
        })
    };
    let all: Vec<serde_json::Value> = families(&groups).iter().flat_map(told).collect();
    (!all.is_empty()).then_some(serde_json::Value::Array(all))
}

/// What a run was, but for its seed.
fn of_case(run: &Outcome, more: &[&str]) -> serde_json::Map<String, serde_json::Value> {
    const SAME: [&str; 8] = ["cache", "replicas", "workload", "rate", "concurrency", "users", "speedup", "settings"];
    let run = serde_json::to_value(super::Run::of(run)).expect("figures are representable");
    more.iter().chain(&SAME).map(|key| ((*key).to_owned(), run[*key].clone())).collect()
}

/// A table of means, and in words which strategies are told apart. Of one seed: that it tells none apart.
#[must_use]
pub fn text(outcomes: &[Outcome]) -> String {
    let Some(groups) = groups(outcomes) else { return of_one_seed(outcomes) };
    if groups.iter().all(|group| group.mean(&FIGURES[0]).is_some_and(|mean| mean.half_width == Some(0.0))) {
        return "\nSeeds change nothing in these runs: each was made several times, which tells nothing of chance.\n"
            .to_owned();
    }
    let seeds = groups[0].runs.len();
    let mut text = format!(
        "\nMeans of {seeds} seeds; ±: half of the 95 % interval of the mean\n{}",
        table_of_means(&groups, &FIGURES)
    );
    for family in families(&groups) {
        let name = family_name(&family, &groups);
        for figure in COMPARED {
            let of_figure: Vec<_> = compared(&family).into_iter().filter(|one| one.figure == figure.key).collect();
            if let Some(sentence) = sentence(figure, &of_figure, &family) {
                text.push_str(&wrapped(&format!("{}{name}: ", figure.name), &sentence, COLUMNS));
            }
        }
    }
    if families(&groups).iter().any(|family| family.len() > 1) {
        if seeds < ENOUGH {
            text.push_str(&format!("{seeds} seeds: no claim is made about which strategy is better; --seed 1..10\n"));
        } else if seeds < ENOUGH_FOR_P90 {
            text.push_str(&format!("{seeds} seeds are few for a P90; --seed 1..10 gives narrower intervals.\n"));
        }
    }
    text
}

/// What one seed cannot tell, where somebody might think it does.
fn of_one_seed(outcomes: &[Outcome]) -> String {
    let groups: Vec<Group<'_>> = same_but_for_seed(outcomes).into_iter().map(|runs| Group { runs }).collect();
    let mut text = String::new();
    if families(&groups).iter().any(|family| family.len() > 1) {
        text.push_str(
            "One seed: no claim is made about which strategy is better; --seed 1..10 compares them seed by seed.\n",
        );
    }
    if outcomes.iter().any(|outcome| outcome.kept.is_some()) {
        text.push_str(
            "One seed: whether a promise is kept by chance it cannot tell; --seed 1..10 tells how often it is.\n",
        );
    }
    text
}

/// A row of means for each case, as a demo shows them.
#[must_use]
pub fn means(outcomes: &[Outcome]) -> String {
    let groups = same_but_for_seed(outcomes).into_iter().map(|runs| Group { runs }).collect::<Vec<_>>();
    table_of_means(&groups, &SHOWN)
}

/// Whether anything was promised.
fn promised(groups: &[Group<'_>]) -> bool {
    groups.iter().any(|group| group.runs.iter().any(|run| run.kept.is_some()))
}

/// Figures of a promise are told where one was made.
fn is_told(figure: &Figure, groups: &[Group<'_>]) -> bool {
    promised(groups) || !matches!(figure.key, "good_share" | "goodput")
}

fn table_of_means(groups: &[Group<'_>], figures: &[Figure]) -> String {
    let promised = promised(groups);
    let told = || figures.iter().filter(|figure| is_told(figure, groups));
    let what = varying_but_for_seeds(groups);
    let right = |text: String| Cell::new(text).set_alignment(CellAlignment::Right);
    let heads = what.iter().map(|(name, _)| Cell::new(format!("\n{name}")));
    let names = told()
        .flat_map(|figure| std::iter::once(figure.head.to_owned()).chain(figure.spread.then(|| "\n±".to_owned())));
    let names = names.chain(promised.then(|| "SLO\nkept".to_owned()));
    let mut table = compact(heads.chain(names.map(right)));
    for (index, group) in groups.iter().enumerate() {
        let cells = told().flat_map(|figure| {
            let cell = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), figure.shown);
            let mean = group.mean(figure);
            std::iter::once(cell(mean.map(|mean| mean.mean)))
                .chain(figure.spread.then(|| cell(mean.and_then(|mean| mean.half_width))))
        });
        let kept = || group.runs.iter().filter(|run| run.kept.as_ref().is_some_and(|kept| kept.holds)).count();
        let cells = cells.chain(promised.then(|| format!("{}/{}", kept(), group.runs.len())));
        table.add_row(what.iter().map(|(_, values)| Cell::new(&values[index])).chain(cells.map(right)));
    }
    finished(table)
}

/// A figure to three digits: more would claim too much.
pub(crate) fn shown(value: f64) -> String {
    match value.abs() {
        0.0..9.995 => format!("{value:.2}"),
        9.995..99.95 => format!("{value:.1}"),
        size => {
            let scale = 10_f64.powi(2 - size.log10().floor() as i32);
            number(Some(((value * scale).round() / scale).round()))
        }
    }
}

fn sentence(figure: &Figure, compared: &[Comparison], family: &[&Group<'_>]) -> Option<String> {
    let best = compared.first()?.best;
    let mean = family.iter().find(|group| group.strategy() == best)?.mean(figure)?;
    let one = |comparison: &&Comparison| {
        let Comparison { strategy, difference, low, high, .. } = *comparison;
        format!("{strategy} by {} ({} to {})", shown(*difference), shown(*low), shown(*high))
    };
    let (apart, alike): (Vec<_>, Vec<_>) = compared.iter().partition(|comparison| comparison.told_apart());
    // Who refuses what takes long looks fast.
    let failed = family.iter().any(|group| group.runs.iter().any(|run| run.summary.failed > 0));
    let whose = if failed { ", of completed requests alone" } else { "" };
    let mut text = format!("the least with {best}, {} ms{whose}.", shown(mean.mean));
    if !apart.is_empty() {
        text.push_str(&format!(" Longer with {}.", apart.iter().map(one).collect::<Vec<_>>().join(", ")));
    }
    if !alike.is_empty() {
        text.push_str(&format!(
            " These seeds do not tell it from {}.",
            alike.iter().map(one).collect::<Vec<_>>().join(", ")
        ));
    }
    Some(text)
}

/// Runs by what they are but for their seed, in order; `None` where no group has two seeds.
fn groups(outcomes: &[Outcome]) -> Option<Vec<Group<'_>>> {
    let groups: Vec<Group<'_>> = same_but_for_seed(outcomes).into_iter().map(|runs| Group { runs }).collect();
    groups.iter().any(|group| group.runs.len() > 1).then_some(groups)
}

/// Runs that differ in nothing but their seed, together; in order.
pub(crate) fn same_but_for_seed(outcomes: &[Outcome]) -> Vec<Vec<&Outcome>> {
    let same = |a: &Case, b: &Case| Case { seed: 0, ..a.clone() } == Case { seed: 0, ..b.clone() };
    let mut groups: Vec<Vec<&Outcome>> = Vec::new();
    for outcome in outcomes {
        match groups.iter_mut().find(|runs| same(&runs[0].case, &outcome.case)) {
            Some(runs) => runs.push(outcome),
            None => groups.push(vec![outcome]),
        }
    }
    groups
}

/// Groups that differ in nothing but their strategy.
fn families<'a>(groups: &'a [Group<'a>]) -> Vec<Vec<&'a Group<'a>>> {
    let of = |group: &Group<'_>| {
        let strategy = router::Strategy::RoundRobin;
        Case { seed: 0, strategy, ..group.runs[0].case.clone() }
    };
    let mut families: Vec<Vec<&Group<'_>>> = Vec::new();
    for group in groups {
        match families.iter_mut().find(|family| of(family[0]) == of(group)) {
            Some(family) => family.push(group),
            None => families.push(vec![group]),
        }
    }
    families
}

/// What groups differ in.
fn varying_but_for_seeds(groups: &[Group<'_>]) -> Vec<(String, Vec<String>)> {
    varying(groups.iter().map(|group| group.runs[0])).into_iter().filter(|(name, _)| name != "seed").collect()
}

/// What tells a family from the others.
fn family_name(family: &[&Group<'_>], groups: &[Group<'_>]) -> String {
    let place = groups.iter().position(|group| std::ptr::eq(group, family[0])).unwrap_or_default();
    let what = varying_but_for_seeds(groups);
    let parts =
        what.iter().filter(|(name, _)| name != "strategy").map(|(name, values)| format!("{name} {}", values[place]));
    let parts: Vec<String> = parts.collect();
    if parts.is_empty() { String::new() } else { format!(", {}", parts.join(", ")) }
}

/// Each strategy of a family against the best, for each figure that is compared.
fn compared(family: &[&Group<'_>]) -> Vec<Comparison> {
    let seeds = family[0].runs.len();
    if family.len() < 2 || seeds < ENOUGH {
        return Vec::new();
    }
    let pairs = (family.len() * (family.len() - 1) / 2) as f64;
    let of = |figure: &&Figure| -> Option<Vec<Comparison>> {
        let values: Vec<Vec<f64>> = family.iter().map(|group| group.values(figure)).collect::<Option<_>>()?;
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        let best = (0..family.len()).min_by(|a, b| mean(&values[*a]).total_cmp(&mean(&values[*b])))?;
        let others = (0..family.len()).filter(|other| *other != best);
        let against = |other: usize| {
            let differences: Vec<f64> =
                values[other].iter().zip(&values[best]).map(|(other, best)| other - best).collect();
            let half = half_width(&differences, (1.0 - LEVEL) / pairs);
            let difference = mean(&differences);
            Comparison {
                figure: figure.key,
                best: family[best].strategy(),
                strategy: family[other].strategy(),
                difference,
                low: difference - half,
                high: difference + half,
            }
        };
        // Where seeds change nothing, one run was made several times, and nothing is known of chance.
        Some(others.map(against).filter(|one| one.low < one.high).collect())
    };
    COMPARED.iter().filter_map(of).flatten().collect()
}

impl Group<'_> {
    fn strategy(&self) -> &'static str {
        self.runs[0].case.strategy.as_str()
    }

    /// The figure of each run; `None` where a run has none.
    fn values(&self, figure: &Figure) -> Option<Vec<f64>> {
        self.runs.iter().map(|run| (figure.of)(run)).collect()
    }

    fn mean(&self, figure: &Figure) -> Option<Mean> {
        Some(mean_of(&self.values(figure)?))
    }
}

/// Half of the interval that misses the mean with the probability `miss`, by Student's distribution.
fn half_width(values: &[f64], miss: f64) -> f64 {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0);
    let student = StudentsT::new(0.0, 1.0, count - 1.0).map(|student| student.inverse_cdf(1.0 - miss / 2.0));
    student.map_or(f64::INFINITY, |quantile| quantile * (variance / count).sqrt())
}
