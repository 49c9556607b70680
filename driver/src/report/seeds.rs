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
}

const FIGURES: [Figure; 5] = [
    Figure { key: "mean_ttft_ms", name: "mean TTFT", head: "TTFT\nmean", of: |run| run.summary.ttft.mean },
    Figure { key: "p90_ttft_ms", name: "P90 TTFT", head: "\nP90", of: |run| run.summary.ttft.p90 },
    Figure { key: "mean_tpot_ms", name: "mean TPOT", head: "TPOT\nmean", of: |run| run.summary.tpot.mean },
    Figure { key: "output_throughput", name: "output", head: "out\ntok/s", of: |run| run.summary.throughput.output },
    Figure { key: "hit_rate", name: "hit", head: "hit\n%", of: |run| run.summary.hit_rate.total },
];

/// Those that strategies are compared by: less is better.
const COMPARED: [&Figure; 2] = [&FIGURES[0], &FIGURES[1]];

/// A mean, and half of its interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Mean {
    /// Of all seeds.
    pub mean: f64,
    /// Half of the interval that holds the mean of all possible seeds with 95 %.
    pub half_width: f64,
}

/// Runs that differ in nothing but their seed.
struct Group<'a> {
    runs: Vec<&'a Outcome>,
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
        for figure in &FIGURES {
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

/// A table of means, and in words which strategies are told apart. Nothing where there is one seed.
#[must_use]
pub fn text(outcomes: &[Outcome]) -> String {
    let Some(groups) = groups(outcomes) else { return String::new() };
    if groups.iter().all(|group| group.mean(&FIGURES[0]).is_some_and(|mean| mean.half_width == 0.0)) {
        return "\nSeeds change nothing in these runs: each was made several times, which tells nothing of chance.\n"
            .to_owned();
    }
    let what = varying_but_for_seeds(&groups);
    let right = |text: String| Cell::new(text).set_alignment(CellAlignment::Right);
    let heads = what.iter().map(|(name, _)| Cell::new(format!("\n{name}")));
    let figures = FIGURES.iter().flat_map(|figure| [figure.head.to_owned(), "\n±".to_owned()]);
    let mut table = compact(heads.chain(figures.map(right)));
    for (index, group) in groups.iter().enumerate() {
        let cells = FIGURES.iter().flat_map(|figure| {
            let times = if figure.key == "hit_rate" { 100.0 } else { 1.0 };
            let cell = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| shown(times * value));
            let mean = group.mean(figure);
            [cell(mean.map(|mean| mean.mean)), cell(mean.map(|mean| mean.half_width))]
        });
        table.add_row(what.iter().map(|(_, values)| Cell::new(&values[index])).chain(cells.map(right)));
    }
    let seeds = groups[0].runs.len();
    let mut text = format!("\nMeans of {seeds} seeds; ±: half of the 95 % interval of the mean\n{}", finished(table));
    for family in families(&groups) {
        let name = family_name(&family, &groups);
        for figure in COMPARED {
            let of_figure: Vec<_> = compared(&family).into_iter().filter(|one| one.figure == figure.key).collect();
            if let Some(sentence) = sentence(figure, &of_figure, &family) {
                text.push_str(&wrapped(&format!("{}{name}: ", figure.name), &sentence, COLUMNS));
            }
        }
    }
    text
}

/// A figure to three digits: more would claim too much.
fn shown(value: f64) -> String {
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
    let mut text = format!("the least with {best}, {} ms.", shown(mean.mean));
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
    let same = |a: &Case, b: &Case| Case { seed: 0, ..a.clone() } == Case { seed: 0, ..b.clone() };
    let mut groups: Vec<Group<'_>> = Vec::new();
    for outcome in outcomes {
        match groups.iter_mut().find(|group| same(&group.runs[0].case, &outcome.case)) {
            Some(group) => group.runs.push(outcome),
            None => groups.push(Group { runs: vec![outcome] }),
        }
    }
    groups.iter().any(|group| group.runs.len() > 1).then_some(groups)
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
        let values = self.values(figure)?;
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        Some(Mean { mean, half_width: half_width(&values, 1.0 - LEVEL) })
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
