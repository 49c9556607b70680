//! The page of several runs: a row and a line for each.

use super::svg::{Axis, tenth};
use super::tables::table;
use super::{provenance, run, shell};
use crate::compare::metric::Unit;
use crate::compare::text::value;
use crate::report::seeds::shown;
use crate::told::Told;
use maud::{Markup, html};

/// Runs whose spread is drawn.
const DRAWN: usize = 60;
/// Rows of the table: a page of a large grid is a page still.
const ROWS: usize = 1000;

/// The page. `linked`: each run has a page of its own in a folder of its name.
pub(super) fn page(runs: &[Told], warnings: &[String], linked: bool) -> String {
    let kind = runs.first().map_or("", |run| run.kind.as_str());
    let title = format!("{} runs", runs.len());
    let best = best(runs);
    let body = html! {
        span.kind { (kind) }
        h1 { (title) }
        @if let Some(best) = &best { p.lead { (best) } }
        p.soft { "Same in all: " (same(runs)) "." }
        (provenance::warnings(warnings))
        h2 { "Time to first token" }
        (spread(runs))
        h2 { "Figures" }
        (figures(runs, linked))
        @if linked { (provenance::of(&runs.first().map(|run| run.run.clone()).unwrap_or_default())) }
    };
    shell(&format!("{title} ({kind})"), &body)
}

/// What the runs differ in.
fn varying(runs: &[Told]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for setting in runs.iter().flat_map(|run| &run.case) {
        let varies = runs.iter().any(|run| run.was(&setting.name) != Some(&setting.value));
        if varies && !names.contains(&setting.name) {
            names.push(setting.name.clone());
        }
    }
    names
}

fn label(run: &Told, names: &[String]) -> String {
    if names.is_empty() {
        return run::title(run);
    }
    let told = |name: &String| match name.as_str() {
        "strategy" | "cache" | "workload" => run.was(name).unwrap_or("-").to_owned(),
        _ => format!("{name} {}", run.was(name).unwrap_or("-")),
    };
    names.iter().map(told).collect::<Vec<_>>().join(" · ")
}

fn same(runs: &[Told]) -> String {
    let varying = varying(runs);
    let settings =
        runs.first().into_iter().flat_map(|run| &run.case).filter(|setting| !varying.contains(&setting.name));
    let told: Vec<String> = settings.map(|setting| format!("{} {}", setting.name, setting.value)).collect();
    if told.is_empty() { "nothing".to_owned() } else { told.join(", ") }
}

/// Which run has the least mean TTFT; of one seed each, no more than that is said.
fn best(runs: &[Told]) -> Option<String> {
    let names = varying(runs);
    let of = |run: &&Told| run.figure("mean_ttft_ms").unwrap_or(f64::INFINITY);
    let (best, worst) =
        (runs.iter().min_by(|a, b| of(a).total_cmp(&of(b)))?, runs.iter().max_by(|a, b| of(a).total_cmp(&of(b)))?);
    let (low, high) = (best.figure("mean_ttft_ms")?, worst.figure("mean_ttft_ms")?);
    (runs.len() > 1).then(|| {
        format!(
            "Mean time to first token from {} ms ({}) to {} ms ({}). Which differences are more than chance: podlab compare, or several seeds.",
            shown(low),
            label(best, &names),
            shown(high),
            label(worst, &names)
        )
    })
}

const ROW: f64 = 36.0;
/// Of the view box: names are longer than in other charts.
const WIDE: f64 = 640.0;

/// From P50 to P99 of each run, with its mean.
fn spread(runs: &[Told]) -> Markup {
    let names = varying(runs);
    let spans: Vec<(String, [f64; 4])> = runs
        .iter()
        .filter_map(|run| {
            let at = |part: &str| run.figure(&format!("{part}_ttft_ms"));
            Some((label(run, &names), [at("p50")?, at("mean")?, at("p90")?, at("p99")?]))
        })
        .take(DRAWN)
        .collect();
    let all = || spans.iter().flat_map(|(_, marks)| marks.iter().copied());
    if spans.is_empty() {
        return html! { p { "No run has any." } };
    }
    let axis = Axis::log_millis(all().fold(f64::INFINITY, f64::min) * 0.85, all().fold(0.0, f64::max) * 1.1, "");
    let x = |value: f64| 8.0 + axis.place(value) * (WIDE - 16.0);
    let height = ROW * spans.len() as f64 + 22.0;
    let told: Vec<String> = spans
        .iter()
        .take(20)
        .map(|(name, [p50, _, _, p99])| format!("{name}: P50 {} ms, P99 {} ms.", shown(*p50), shown(*p99)))
        .collect();
    html! {
        figure.narrow {
            svg viewBox=(format!("0 0 {WIDE} {height}")) role="img" aria-labelledby="spread-t spread-d" {
                title id="spread-t" { "Time to first token of each run, from P50 to P99" }
                desc id="spread-d" { (told.join(" ")) }
                @for (at, text) in axis.ticks() {
                    line class="grid" x1=(tenth(x(*at))) x2=(tenth(x(*at))) y1="0" y2=(tenth(height - 18.0)) {}
                    text x=(tenth(x(*at))) y=(tenth(height - 4.0)) text-anchor="middle" { (text) }
                }
                @for (row, (name, [p50, mean, p90, p99])) in spans.iter().enumerate() {
                    @let y = ROW * row as f64;
                    text x="4" y=(tenth(y + 12.0)) class="strong" { (name) }
                    line class="whisker s6" x1=(tenth(x(*p50))) x2=(tenth(x(*p99))) y1=(tenth(y + 23.0)) y2=(tenth(y + 23.0)) {}
                    rect class="f1" x=(tenth(x(*p50))) width=(tenth((x(*p90) - x(*p50)).max(0.5))) y=(tenth(y + 19.0)) height="8" {}
                    circle class="f2" cx=(tenth(x(*mean))) cy=(tenth(y + 23.0)) r="4" {}
                }
            }
            (super::legend([("f1", "P50 to P90".to_owned()), ("f6", "to P99".to_owned()), ("f2", "mean".to_owned())]))
            @if runs.len() > DRAWN { figcaption { "The first " (DRAWN) " runs." } }
        }
    }
}

fn figures(runs: &[Told], linked: bool) -> Markup {
    let names = varying(runs);
    let shown = |run: &Told, key: &str| run.figure(key).map_or_else(|| "-".to_owned(), shown);
    let rows = html! {
        @for run in runs.iter().take(ROWS) {
            tr {
                th scope="row" {
                    @if linked { a href=(format!("{}/report.html", percent_encoded(&run.name))) { (label(run, &names)) } }
                    @else { (label(run, &names)) }
                }
                @for key in ["mean_ttft_ms", "p50_ttft_ms", "p90_ttft_ms", "p99_ttft_ms", "mean_tpot_ms", "output_throughput"] {
                    td { (shown(run, key)) }
                }
                td { (value(Unit::Share, run.figure("hit_rate.total"))) }
                td { (value(Unit::Dollars, run.figure("cost_per_1k_tokens.output_only"))) }
                td { (shown_count(run.figure("failed"))) }
            }
        }
    };
    let heads = [
        ("run", true),
        ("TTFT mean, ms", false),
        ("P50", false),
        ("P90", false),
        ("P99", false),
        ("TPOT mean, ms", false),
        ("output tok/s", false),
        ("hit rate, %", false),
        ("$/1K output", false),
        ("failed", false),
    ];
    html! {
        (table("Every run", &heads, &rows))
        @if runs.len() > ROWS { p.soft { (runs.len() - ROWS) " more runs: podlab sweep report DIR" } }
    }
}

fn shown_count(count: Option<f64>) -> String {
    crate::report::table::number(count)
}

/// A folder's name as a part of an address.
fn percent_encoded(name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~+".contains(&byte);
    name.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}
