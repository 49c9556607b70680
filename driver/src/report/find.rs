//! What `--find` found: an answer for each combination, in words too, and the evidence.

use super::seeds::{Mean, mean_of, shown};
use super::table::{compact, finished};
use super::{flatten, pretty, wrapped};
use crate::experiment::find::{Answer, Extreme, Finding, Goal, Point};
use crate::experiment::slo::Slo;
use crate::experiment::{Case, Load};
use crate::lab::find::Quantity;
use crate::process::Usage;
use comfy_table::{Cell, CellAlignment};
use serde_json::{Map, Value, json};

/// Lines are no longer than this where their words allow it.
const COLUMNS: usize = 118;

/// What was asked for.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// What was looked for.
    pub goal: &'a Goal,
    /// What was promised.
    pub slo: &'a Slo,
    /// How many seeds there were.
    pub seeds: usize,
    /// Requests of each run.
    pub requests: u64,
}

impl Asked<'_> {
    fn text(&self, value: f64) -> String {
        self.goal.quantity.scale().text(value)
    }

    /// A value as words: `24 requests/s`, `7 workers`, `l1.bytes 5GiB`.
    fn words(&self, value: f64) -> String {
        let text = self.text(value);
        match self.goal.quantity {
            Quantity::Replicas if text == "1" => "1 worker".to_owned(),
            Quantity::Replicas => format!("{text} workers"),
            Quantity::Rate => format!("{text} requests/s"),
            Quantity::Concurrency => format!("{text} in flight"),
            Quantity::Users if text == "1" => "1 user".to_owned(),
            Quantity::Users => format!("{text} users"),
            Quantity::Speedup => format!("{text} times the trace's pace"),
            Quantity::Setting(key, _) => format!("{key} {text}"),
        }
    }

    /// `all 5 seeds`, `the one seed`.
    fn all_seeds(&self) -> String {
        if self.seeds == 1 { "the one seed".to_owned() } else { format!("all {} seeds", self.seeds) }
    }

    fn of_seeds(&self, kept: usize) -> String {
        format!("{kept} of {} seed{}", self.seeds, if self.seeds == 1 { "" } else { "s" })
    }
}

/// Why nothing was found at all.
#[must_use]
pub fn never(asked: &Asked<'_>) -> String {
    let Goal { quantity, low, high, extreme } = asked.goal;
    let key = quantity.key();
    let (what, wider) = match extreme {
        // Nothing above the first value was tried.
        Extreme::Largest => (format!("not even {} keeps", asked.words(*low)), "begin lower"),
        Extreme::Smallest => {
            (format!("no value tried from {} to {} keeps", asked.text(*low), asked.text(*high)), "look further")
        }
    };
    format!("--find {key}: {what} {}; {wider} with --find {key}=LOW..HIGH, or promise less", asked.slo)
}

/// What a combination is, but for what is looked for.
fn columns(case: &Case, asked: &Asked<'_>) -> Vec<(String, String)> {
    let quantity = asked.goal.quantity;
    let mut columns = Vec::new();
    if quantity != Quantity::Replicas {
        columns.push(("replicas".to_owned(), case.replicas.to_string()));
    }
    if !quantity.is_load() {
        columns.push(("load".to_owned(), case.load.to_string()));
    }
    columns.push(("cache".to_owned(), case.cache.as_str().to_owned()));
    columns.extend(case.settings.iter().map(|(key, value)| (key.clone(), value.clone())));
    columns.push(("strategy".to_owned(), case.strategy.as_str().to_owned()));
    columns
}

/// For people: an answer for each combination, the same in words, and every value tried.
#[must_use]
pub fn text(findings: &[Finding], asked: &Asked<'_>, workload: &str) -> String {
    let rows: Vec<Vec<(String, String)>> = findings.iter().map(|finding| columns(&finding.case, asked)).collect();
    let Some(first) = rows.first() else { return String::new() };
    let varies = |at: &usize| first[*at].0 == "strategy" || rows.iter().any(|row| row[*at] != first[*at]);
    let (varying, same): (Vec<usize>, Vec<usize>) = (0..first.len()).partition(varies);
    let said = same.iter().map(|at| format!("{} {}", first[*at].0, first[*at].1));
    let said: Vec<String> = [format!("workload {workload}")].into_iter().chain(said).collect();
    let Goal { quantity, extreme, low, high } = asked.goal;
    let mut text = format!(
        "The {} {} from {} to {} at which every run keeps {}\n{}\n",
        extreme.as_str(),
        quantity.key(),
        asked.text(*low),
        asked.text(*high),
        asked.slo,
        said.join(" · ")
    );
    text.push_str(&answers(findings, asked, &rows, &varying));
    text.push_str(&sentences(findings, asked, &rows, &varying));
    text.push_str("\nAll values tried\n");
    text.push_str(&curves(findings, asked, &rows, &varying));
    text.push_str(&format!(
        "All simulated; each value was run with {}, {} requests each. kept: seeds whose run keeps every term; a term:\n\
         the share of all requests below its bound, mean of the seeds; good: below every bound; ±: half of the 95 % interval.\n",
        if asked.seeds == 1 { "one seed".to_owned() } else { format!("{} seeds", asked.seeds) },
        asked.requests
    ));
    text
}

fn right(text: impl ToString) -> Cell {
    Cell::new(text.to_string()).set_alignment(CellAlignment::Right)
}

fn names<'a>(rows: &'a [Vec<(String, String)>], varying: &'a [usize]) -> impl Iterator<Item = Cell> + 'a {
    varying.iter().map(|at| Cell::new(format!("\n{}", rows[0][*at].0)))
}

fn values<'a>(row: &'a [(String, String)], varying: &'a [usize]) -> impl Iterator<Item = Cell> + 'a {
    varying.iter().map(|at| Cell::new(&row[*at].1))
}

fn answers(findings: &[Finding], asked: &Asked<'_>, rows: &[Vec<(String, String)>], varying: &[usize]) -> String {
    let key = asked.goal.quantity.key();
    let heads = [format!("{}\n{key}", asked.goal.extreme.as_str()), "fails\nat".to_owned(), "kept\nthere".to_owned()];
    let heads = heads.into_iter().chain(["good\n%".to_owned(), "good\nreq/s".to_owned(), "\n±".to_owned()]);
    let mut table = compact(names(rows, varying).chain(heads.map(right)));
    for (finding, row) in findings.iter().zip(rows) {
        let cells = match finding.answer {
            Answer::Never => ["none", "-", "-", "-", "-", "-"].map(str::to_owned).to_vec(),
            Answer::Value { value, beyond } => {
                let next = beyond.and_then(|beyond| finding.at(beyond));
                let kept = next.map_or_else(|| "-".to_owned(), |next| format!("{}/{}", next.seeds_kept(), asked.seeds));
                let beyond = beyond.map_or_else(|| "-".to_owned(), |beyond| asked.text(beyond));
                let good = finding.at(value).map(good).unwrap_or_default();
                [vec![asked.text(value), beyond, kept], good].concat()
            }
        };
        table.add_row(values(row, varying).chain(cells.into_iter().map(right)));
    }
    finished(table)
}

/// Share and rate of requests below every bound, and half of the rate's interval.
fn good(point: &Point) -> Vec<String> {
    let share = mean(point, |kept| Some(kept.good_share));
    let rate = mean(point, |kept| kept.goodput);
    let half = rate.and_then(|rate| rate.half_width);
    vec![
        share.map_or_else(|| "-".to_owned(), |share| format!("{:.1}", share.mean * 100.0)),
        rate.map_or_else(|| "-".to_owned(), |rate| shown(rate.mean)),
        half.map_or_else(|| "-".to_owned(), shown),
    ]
}

fn mean(point: &Point, of: impl Fn(&crate::experiment::slo::Kept) -> Option<f64>) -> Option<Mean> {
    let values: Vec<f64> = point.kept.iter().map(of).collect::<Option<_>>()?;
    Some(mean_of(&values))
}

fn curves(findings: &[Finding], asked: &Asked<'_>, rows: &[Vec<(String, String)>], varying: &[usize]) -> String {
    let terms = asked.slo.terms();
    let heads = [format!("\n{}", asked.goal.quantity.key()), "\nkept".to_owned()];
    let heads = heads.into_iter().chain(terms.iter().map(|term| format!("{term}\n%")));
    let heads = heads.chain(["good\n%".to_owned(), "good\nreq/s".to_owned(), "\n±".to_owned()]);
    let mut table = compact(names(rows, varying).chain(heads.map(right)));
    for (finding, row) in findings.iter().zip(rows) {
        for point in &finding.curve {
            let shares = (0..terms.len()).map(|term| {
                let share = mean(point, |kept| kept.terms.get(term).map(|term| term.share));
                share.map_or_else(|| "-".to_owned(), |share| format!("{:.1}", share.mean * 100.0))
            });
            let head = [asked.text(point.value), format!("{}/{}", point.seeds_kept(), asked.seeds)];
            let cells = head.into_iter().chain(shares).chain(good(point));
            table.add_row(values(row, varying).chain(cells.map(right)));
        }
    }
    finished(table)
}

/// What was found, in words: one sentence for each group of strategies, and what speaks against a single flip.
fn sentences(findings: &[Finding], asked: &Asked<'_>, rows: &[Vec<(String, String)>], varying: &[usize]) -> String {
    let group = |row: &[(String, String)]| -> String {
        let others = varying.iter().map(|at| &row[*at]).filter(|(name, _)| name != "strategy");
        others.map(|(name, value)| format!("{name} {value}")).collect::<Vec<_>>().join(", ")
    };
    let mut groups: Vec<(String, Vec<&Finding>)> = Vec::new();
    for (finding, row) in findings.iter().zip(rows) {
        let name = group(row);
        match groups.iter_mut().find(|(known, _)| *known == name) {
            Some((_, members)) => members.push(finding),
            None => groups.push((name, vec![finding])),
        }
    }
    let mut text = String::new();
    for (name, members) in groups {
        let (found, never): (Vec<_>, Vec<_>) = members.iter().partition(|finding| finding.answer != Answer::Never);
        let (slo, seeds) = (asked.slo, asked.all_seeds());
        let listed = |findings: &[&&Finding]| {
            findings.iter().map(|finding| of_one(finding, asked)).collect::<Vec<_>>().join("; ")
        };
        let mut parts = Vec::new();
        if !found.is_empty() {
            parts.push(match asked.goal.extreme {
                Extreme::Largest => format!("{slo} is kept in {seeds} at every value tried {}.", listed(&found)),
                Extreme::Smallest => {
                    format!("the least value tried that keeps {slo} in {seeds} is {}.", listed(&found))
                }
            });
        }
        if !never.is_empty() {
            let names: Vec<&str> = never.iter().map(|finding| finding.case.strategy.as_str()).collect();
            let where_ = match asked.goal.extreme {
                Extreme::Largest => format!("not even at {}", asked.words(asked.goal.low)),
                Extreme::Smallest => format!("at no value tried up to {}", asked.words(asked.goal.high)),
            };
            parts.push(format!("{slo} is kept {where_} by {}.", names.join(", ")));
        }
        let (head, sentence) = (if name.is_empty() { String::new() } else { format!("{name}: ") }, parts.join(" "));
        text.push_str(&wrapped(&head, &if name.is_empty() { capital(&sentence) } else { sentence }, COLUMNS));
        for finding in members {
            if let Some(exception) = exception(finding, asked) {
                text.push_str(&wrapped("  * ", &exception, COLUMNS));
            }
        }
    }
    text
}

/// `up to 12.5 requests/s by roundrobin (12.6 fails in 1 of 5 seeds)`.
fn of_one(finding: &Finding, asked: &Asked<'_>) -> String {
    let Answer::Value { value, beyond } = finding.answer else { return String::new() };
    let (strategy, words, extreme) = (finding.case.strategy, asked.words(value), asked.goal.extreme);
    let note = match beyond {
        None => format!("the {} allowed", extreme.as_str()),
        Some(beyond) => {
            let kept = finding.at(beyond).map_or(0, Point::seeds_kept);
            format!("{} fails in {}", asked.text(beyond), asked.of_seeds(asked.seeds - kept))
        }
    };
    match extreme {
        Extreme::Largest => format!("up to {words} by {strategy} ({note})"),
        Extreme::Smallest => format!("{words} with {strategy} ({note})"),
    }
}

fn capital(sentence: &str) -> String {
    match sentence.strip_prefix("the ") {
        Some(rest) => format!("The {rest}"),
        None => sentence.to_owned(),
    }
}

/// What speaks against a single flip.
fn exception(finding: &Finding, asked: &Asked<'_>) -> Option<String> {
    let Answer::Value { .. } = finding.answer else { return None };
    if finding.exceptions.is_empty() {
        return None;
    }
    let strategy = finding.case.strategy;
    let listed: Vec<String> = finding.exceptions.iter().map(|value| asked.text(*value)).collect();
    let listed = listed.join(", ");
    Some(match asked.goal.extreme {
        Extreme::Largest => {
            format!("{strategy}: above that, {listed} holds again: the promise does not break at one value for good.")
        }
        Extreme::Smallest => format!("{strategy}: above that, {listed} fails again: more is not always enough."),
    })
}

/// `{"find": [..], "process": {..}}`.
#[must_use]
pub fn json(findings: &[Finding], asked: &Asked<'_>, workload: &str, process: Usage) -> String {
    let all: Vec<Value> = findings.iter().map(|finding| value(finding, asked, workload)).collect();
    pretty(&json!({ "find": all, "process": process }))
}

fn value(finding: &Finding, asked: &Asked<'_>, workload: &str) -> Value {
    let mut value = of_case(&finding.case, asked, workload);
    let (answer, beyond) = match finding.answer {
        Answer::Never => (None, None),
        Answer::Value { value, beyond } => (Some(value), beyond),
    };
    let text = |value: Option<f64>| value.map_or(Value::Null, |value| written(asked, value));
    value.insert("answer".to_owned(), text(answer));
    value.insert("next_tried".to_owned(), text(beyond));
    value.insert("single_flip".to_owned(), finding.exceptions.is_empty().into());
    let exceptions = finding.exceptions.iter().map(|value| written(asked, *value)).collect();
    value.insert("exceptions".to_owned(), exceptions);
    value.insert("curve".to_owned(), finding.curve.iter().map(|point| of_point(point, asked)).collect());
    Value::Object(value)
}

/// A value as it is set: a number, or a number with a unit as text.
fn written(asked: &Asked<'_>, value: f64) -> Value {
    let text = asked.text(value);
    match text.parse::<u64>() {
        Ok(whole) => whole.into(),
        Err(_) => text.parse::<f64>().map_or(Value::String(text), Value::from),
    }
}

fn of_case(case: &Case, asked: &Asked<'_>, workload: &str) -> Map<String, Value> {
    let Goal { quantity, extreme, low, high } = asked.goal;
    let replicas = (*quantity != Quantity::Replicas).then_some(case.replicas);
    let load = if quantity.is_load() { None } else { Some(case.load) };
    let value = json!({
        "key": quantity.key(),
        "extreme": extreme.as_str(),
        "low": written(asked, *low),
        "high": written(asked, *high),
        "slo": asked.slo.to_string(),
        "strategy": case.strategy.as_str(),
        "cache": case.cache.as_str(),
        "replicas": replicas,
        "workload": workload,
        "requests": asked.requests,
        "rate": load.and_then(Load::rate),
        "concurrency": load.and_then(Load::concurrency),
        "users": load.and_then(Load::users),
        "speedup": load.and_then(Load::speedup),
        "settings": case.settings,
    });
    if let Value::Object(map) = value { map } else { unreachable!("it is an object") }
}

fn of_point(point: &Point, asked: &Asked<'_>) -> Value {
    let terms: Vec<Value> = asked
        .slo
        .terms()
        .iter()
        .enumerate()
        .map(|(at, term)| {
            let least = point.kept.iter().filter_map(|kept| kept.terms.get(at)).map(|term| term.share).reduce(f64::min);
            let kept = point.kept.iter().filter(|kept| kept.terms.get(at).is_some_and(|term| term.holds)).count();
            let share = mean(point, |kept| kept.terms.get(at).map(|term| term.share));
            json!({ "term": term, "share": share, "least_share": least, "seeds_kept": kept })
        })
        .collect();
    json!({
        "value": written(asked, point.value),
        "holds": point.holds(),
        "seeds_kept": point.seeds_kept(),
        "seeds": asked.seeds,
        "terms": terms,
        "good_share": mean(point, |kept| Some(kept.good_share)),
        "goodput": mean(point, |kept| kept.goodput),
    })
}

/// One line for each value tried.
#[must_use]
pub fn csv(findings: &[Finding], asked: &Asked<'_>, workload: &str) -> String {
    let mut rows = Vec::new();
    for finding in findings {
        for point in &finding.curve {
            let mut cells = Vec::new();
            flatten("", &Value::Object(of_case(&finding.case, asked, workload)), &mut cells);
            let Value::Object(mut point) = of_point(point, asked) else { unreachable!("it is an object") };
            for term in point.remove("terms").as_ref().and_then(Value::as_array).into_iter().flatten() {
                let name = term["term"].as_str().unwrap_or_default();
                flatten(&format!("terms.{name}"), &term["share"], &mut cells);
            }
            flatten("", &Value::Object(point), &mut cells);
            rows.push(cells);
        }
    }
    super::lines(&rows)
}
