//! Where TTFT goes, as stacked bars.

use super::legend;
use super::svg::{WIDTH, millis, tenth};
use crate::told::Told;
use maud::{Markup, html};
use serde_json::Value;

/// The parts of a TTFT: their key, their name, their colour.
const PARTS: [(&str, &str, &str); 6] = [
    ("api", "network and API", "f6"),
    ("line", "in line before the engine", "f4"),
    ("kv_wait", "waiting for KV room", "f5"),
    ("budget_wait", "waiting for a turn", "f2"),
    ("tiers", "loading from lower tiers", "f3"),
    ("compute", "computing", "f1"),
];

/// A bar: its name, and its parts in ms, each with its colour.
pub(super) struct Bar {
    pub(super) name: String,
    pub(super) parts: Vec<(&'static str, f64)>,
}

/// The means of all requests, of hits and of misses. Nothing where a run does not tell them.
pub(super) fn chart(run: &Told) -> Markup {
    let figures = &run.figures;
    let mut bars = Vec::new();
    if let Some(parts) = all(|key| figures["ttft_parts"][key]["mean_ms"].as_f64()) {
        bars.push(Bar { name: "all requests".to_owned(), parts });
    }
    for (key, name) in [("hit", "hits"), ("partial", "partial hits"), ("miss", "misses")] {
        let class: &Value = &figures["ttft_by_class"][key];
        let mean = class["mean_ttft_ms"].as_f64();
        let parts = mean.and_then(|mean| all(|part| Some(class["shares"][part].as_f64()? * mean)));
        let requests = class["requests"].as_u64().unwrap_or_default();
        bars.extend(parts.map(|parts| Bar { name: format!("{name} ({requests})"), parts }));
    }
    if bars.is_empty() {
        return html! {};
    }
    let present = |class: &str| bars.iter().any(|bar| bar.parts.iter().any(|(of, value)| *of == class && *value > 0.0));
    let names = PARTS.iter().filter(|(.., class)| present(class)).map(|(_, name, class)| (*class, (*name).to_owned()));
    html! {
        figure {
            h3 { "Where the time to first token goes" }
            (stacked("parts", "Mean TTFT by part", &bars))
            (legend(names))
            figcaption { "Means. Hits: at least 80 % of the prompt was found in some tier; misses: less than 20 %." }
        }
    }
}

fn all(of: impl Fn(&str) -> Option<f64>) -> Option<Vec<(&'static str, f64)>> {
    PARTS.iter().map(|(key, _, class)| Some((*class, of(key)?))).collect()
}

const ROW: f64 = 46.0;

/// Bars below each other, each under its name and its length; `name` is unique in the page.
pub(super) fn stacked(name: &str, title: &str, bars: &[Bar]) -> Markup {
    let sum = |bar: &Bar| bar.parts.iter().map(|(_, value)| value.max(0.0)).sum::<f64>();
    let longest = bars.iter().map(sum).fold(0.0, f64::max).max(f64::MIN_POSITIVE);
    let height = ROW * bars.len() as f64 + 4.0;
    let told: Vec<String> = bars.iter().map(|bar| format!("{}: {}.", bar.name, shown(sum(bar)))).collect();
    html! {
        svg viewBox=(format!("0 0 {WIDTH} {height}")) role="img" aria-labelledby=(format!("{name}-t {name}-d")) {
            title id=(format!("{name}-t")) { (title) }
            desc id=(format!("{name}-d")) { (told.join(" ")) }
            @for (row, bar) in bars.iter().enumerate() {
                @let top = ROW * row as f64;
                text class="strong" x="2" y=(tenth(top + 16.0)) { (bar.name) }
                text x=(tenth(WIDTH - 2.0)) y=(tenth(top + 16.0)) text-anchor="end" { (shown(sum(bar))) }
                @for (class, left, width) in pieces(bar, longest) {
                    rect class=(class) x=(tenth(left)) y=(tenth(top + 22.0)) width=(tenth(width)) height="16" {}
                }
            }
        }
    }
}

fn shown(value: f64) -> String {
    millis(format!("{value:.2e}").parse().unwrap_or(value))
}

/// The pieces of a bar that can be seen, from left to right.
fn pieces(bar: &Bar, longest: f64) -> Vec<(&'static str, f64, f64)> {
    let mut left = 2.0;
    let mut pieces = Vec::new();
    for (class, value) in &bar.parts {
        let width = value.max(0.0) / longest * (WIDTH - 4.0);
        if width >= 0.1 {
            pieces.push((*class, left, width));
        }
        left += width;
    }
    pieces
}
