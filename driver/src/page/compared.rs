//! The page of a comparison.

use super::distribution;
use super::parts::{Bar, stacked};
use super::tables::table;
use super::{forest, legend, provenance, shell};
use crate::compare::metric::Sample;
use crate::compare::text::{difference, in_words, interval, relative, unit, value, verdict};
use crate::compare::{Compared, Comparison, Gap, Pair, Verdict};
use crate::told::Part;
use maud::{Markup, html};

/// Cases that are told in full.
const IN_FULL: usize = 12;

/// The page.
pub(super) fn page(comparison: &Comparison) -> String {
    let verdict = verdict(comparison);
    let verdict = verdict.split_whitespace().collect::<Vec<_>>().join(" ");
    let (head, rest) = verdict.split_once(',').unwrap_or((&verdict, ""));
    let names: Vec<&str> = comparison.sources.iter().map(|source| source.path.as_str()).collect();
    let (first, others) = names.split_first().map_or(("", &[][..]), |(first, others)| (*first, others));
    let title = format!("{} against {first}", others.join(", "));
    let body = html! {
        span.kind { "comparison" }
        h1 { (title) }
        p class=(if comparison.pass { "verdict pass" } else { "verdict fail" }) {
            b { (head) } @if !rest.is_empty() { "," (rest) }
        }
        p.soft { (comparison.judge.rule()) }
        (sources(comparison))
        @for line in &comparison.unmatched { p.soft { (line) } }
        @if comparison.pairs.len() > 1 { h2 { "Overview" } (overview(comparison)) }
        @for (place, pair) in comparison.pairs.iter().take(IN_FULL).enumerate() { (of_pair(comparison, place, pair)) }
        @if comparison.pairs.len() > IN_FULL {
            p.soft { (comparison.pairs.len() - IN_FULL) " more pairs: comparison.json has all." }
        }
        (provenance::of(&serde_json::json!({"podlab": comparison.podlab, "command": comparison.command})))
        p.soft { "Beside this page: " a href="comparison.json" { "comparison.json" } " (all of it)." }
    };
    shell(&format!("{title} ({head})"), &body)
}

fn sources(comparison: &Comparison) -> Markup {
    let rows = html! {
        @for source in &comparison.sources {
            tr {
                th scope="row" { (source.letter) }
                td class="t w" { (source.path) }
                td.t { (source.kind.as_str()) }
                td { (source.runs) }
            }
        }
    };
    table(
        "What is compared; the others are held against A",
        &[("", true), ("where", true), ("times", true), ("runs", false)],
        &rows,
    )
}

fn overview(comparison: &Comparison) -> Markup {
    let keys = ["mean_ttft_ms", "p90_ttft_ms", "mean_tpot_ms", "output_throughput", "hit_rate.total"];
    let rows = html! {
        @for (place, pair) in comparison.pairs.iter().enumerate() {
            @let failing = pair.figures.iter().filter(|figure| figure.pass == Some(false)).count();
            tr {
                th scope="row" { @if place < IN_FULL { a href=(format!("#pair-{place}")) { (name(pair)) } } @else { (name(pair)) } }
                @for key in keys {
                    @let figure = pair.figures.iter().find(|figure| figure.key == key);
                    td { (figure.map_or_else(|| html! { "-" }, |figure| tinted(figure, &relative(figure.relative)))) }
                }
                td { @if failing > 0 { span.bad { (failing) } } @else { "0" } }
            }
        }
    };
    let heads = [
        ("pair", true),
        ("TTFT mean", false),
        ("TTFT P90", false),
        ("TPOT mean", false),
        ("output tokens", false),
        ("hit rate", false),
        ("failing", false),
    ];
    table("Relative differences", &heads, &rows)
}

fn name(pair: &Pair) -> String {
    let case = if pair.case.is_empty() { String::new() } else { format!(": {}", pair.case) };
    format!("A and {}{case}", pair.with)
}

fn of_pair(comparison: &Comparison, place: usize, pair: &Pair) -> Markup {
    let alone = comparison.pairs.len() == 1;
    let id = format!("pair-{place}");
    html! {
        h2 id=(id) { @if alone { "What differs in how they were made" } @else { (name(pair)) } }
        (configuration(pair))
        @if alone { h2 { "Figures" } } @else { h3 { "Figures" } }
        p.soft { (in_words(pair)) }
        (figures(pair))
        p {}
        div.charts {
            (forest::plot(&format!("forest-{place}"), &pair.with, &pair.figures))
            (curves(comparison, pair, place))
            @for (which, gap) in pair.explained.iter().enumerate() { (bars(pair, gap, &format!("gap-{place}-{which}"))) }
        }
        @for gap in &pair.explained { (explained(pair, gap)) }
    }
}

fn configuration(pair: &Pair) -> Markup {
    if pair.configuration.is_empty() {
        return html! { p { "Nothing." } };
    }
    let rows = html! {
        @for differing in &pair.configuration {
            tr {
                th scope="row" { (differing.setting) }
                td class="t w" { (differing.a.as_deref().unwrap_or("-")) }
                td class="t w" { (differing.b.as_deref().unwrap_or("-")) }
            }
        }
    };
    table("Settings that differ", &[("setting", true), ("A", true), (&pair.with, true)], &rows)
}

fn tinted(figure: &Compared, text: &str) -> Markup {
    match figure.verdict {
        Some(Verdict::Regression | Verdict::Off) => html! { span.bad { (text) } },
        Some(Verdict::Better) => html! { span.good { (text) } },
        _ => html! { (text) },
    }
}

fn figures(pair: &Pair) -> Markup {
    let rows = html! {
        @for figure in &pair.figures {
            tr {
                th scope="row" { (figure.name) @if !unit(figure.unit).is_empty() { span.soft { ", " (unit(figure.unit)) } } }
                td { (value(figure.unit, figure.a)) }
                td { (value(figure.unit, figure.b)) }
                td { (difference(figure)) }
                td { (interval(figure)) }
                td { (relative(figure.relative)) }
                td { (figure.tolerance.map_or_else(|| "-".to_owned(), |part| part.to_string())) }
                td.t { (tinted(figure, figure.verdict.map_or("-", Verdict::as_str))) }
            }
        }
    };
    let heads = [
        ("figure", true),
        ("A", false),
        (&pair.with, false),
        ("difference", false),
        ("95 % interval", false),
        ("relative", false),
        ("tolerance", false),
        ("", true),
    ];
    table("Every figure; differences of rates in points", &heads, &rows)
}

fn curves(comparison: &Comparison, pair: &Pair, place: usize) -> Markup {
    let [a, b] = match &pair.curves {
        Some(curves) => curves,
        None => return html! {},
    };
    // A simulated curve says so.
    let name = |letter: &str| {
        let source = comparison.sources.iter().find(|source| source.letter == letter);
        source.map_or_else(|| letter.to_owned(), |source| format!("{letter}, {}", source.kind.as_str()))
    };
    let (first, second) = (name("A"), name(&pair.with));
    html! {
        @for sample in Sample::ALL {
            (distribution::chart_of(&format!("{place}"), sample, &[(&first, a.latency(sample)), (&second, b.latency(sample))]))
        }
    }
}

const COLOURS: [(Part, &str); 6] = [
    (Part::Network, "f6"),
    (Part::Queue, "f2"),
    (Part::CacheLoad, "f3"),
    (Part::Prefill, "f1"),
    (Part::Decode, "f4"),
    (Part::Client, "f5"),
];

fn gap_name(gap: &Gap) -> &'static str {
    if gap.key == "mean_ttft_ms" { "Mean time to first token" } else { "Mean end-to-end latency" }
}

/// Both means by part. Nothing where either does not tell them.
fn bars(pair: &Pair, gap: &Gap, id: &str) -> Markup {
    let told = |part: Part| gap.parts.iter().find(|of| of.part == Some(part));
    if gap.parts.iter().any(|part| part.part.is_none() && part.gap != Some(0.0)) {
        return html! {};
    }
    let side = |name: &str, of: fn(&crate::compare::attribution::PartGap) -> Option<f64>| Bar {
        name: name.to_owned(),
        parts: COLOURS.iter().filter_map(|(part, class)| Some((*class, of(told(*part)?)?))).collect(),
    };
    let bars = [side("A", |part| part.a), side(&pair.with, |part| part.b)];
    let present = |class: &str| bars.iter().any(|bar| bar.parts.iter().any(|(of, value)| *of == class && *value > 0.0));
    let names =
        COLOURS.iter().filter(|(_, class)| present(class)).map(|(part, class)| (*class, part.as_str().to_owned()));
    html! {
        figure {
            h3 { (gap_name(gap)) " by part" }
            (stacked(id, &format!("{} by part", gap_name(gap)), &bars))
            (legend(names))
        }
    }
}

fn explained(pair: &Pair, gap: &Gap) -> Markup {
    let row = |name: &str, a: Option<f64>, b: Option<f64>, part: Option<f64>| {
        let share = part.filter(|_| gap.gap != 0.0).map(|part| (100.0 * part / gap.gap).round() + 0.0);
        html! {
            tr {
                th scope="row" { (name) }
                td { (millis(a)) }
                td { (millis(b)) }
                td { (millis(part)) }
                td { (share.map_or_else(|| "-".to_owned(), |share| format!("{share:.0} %"))) }
            }
        }
    };
    let rows = html! {
        @for part in &gap.parts { (row(part.part.map_or("unexplained", |part| part.as_str()), part.a, part.b, part.gap)) }
        (row("all", Some(gap.a), Some(gap.b), Some(gap.gap)))
    };
    let heads = [("part", true), ("A", false), (&pair.with, false), ("gap", false), ("of the gap", false)];
    html! {
        h3 { (gap_name(gap)) ": where the gap lies" }
        (table("Milliseconds", &heads, &rows))
    }
}

fn millis(figure: Option<f64>) -> String {
    value(crate::compare::Unit::Millis, figure)
}
