//! The page of a run.

use super::digest::Digest;
use super::{card, distribution, measured, parts, provenance, shell, tables, timeline};
use crate::compare::metric::{Sample, Unit};
use crate::compare::text::value;
use crate::report::seeds::shown;
use crate::told::Told;
use maud::{Markup, html};
use serde_json::Value;

/// The page of a run, whose requests are in `digest`.
pub(super) fn page(run: &Told, digest: &Digest) -> String {
    let title = title(run);
    let tiers = ["l0", "l1", "l2"].map(|tier| run.figure(&format!("hit_rate.{tier}")).is_some());
    let curves = Sample::ALL.map(|sample| (sample, digest.distribution(sample)));
    let warnings = provenance::warnings_of(&run.run);
    let body = html! {
        span.kind { (run.kind.as_str()) }
        h1 { (title) }
        p.lead { (lead(run)) }
        (promise(&run.figures["slo"]))
        (cards(run))
        (failures(digest))
        (measured::stopped(&run.figures))
        (measured::client(&run.figures))
        (provenance::warnings(&warnings))
        h2 { "Latency" }
        div.charts {
            @for (sample, points) in &curves { (distribution::chart(*sample, points, percentiles(run, *sample))) }
            (parts::chart(run))
        }
        p {}
        (tables::latencies(run))
        (measured::prefixes(&run.figures))
        (measured::errors(&run.figures))
        h2 { "Over time" }
        div.charts { (timeline::charts(digest, tiers)) }
        (tables::workers(digest))
        (tables::slowest(digest))
        h2 { "Other figures" }
        (tables::figures(run))
        (provenance::of(&run.run))
        p.soft {
            "Beside this page: " a href="summary.json" { "summary.json" } " (every figure), "
            a href="requests.jsonl" { "requests.jsonl" } " (every request), " a href="run.json" { "run.json" } " (how to run it again)."
        }
        (provenance::settings(run))
    };
    shell(&format!("{title} ({})", run.kind.as_str()), &body)
}

/// P50, P90 and P99 of a latency.
fn percentiles(run: &Told, sample: Sample) -> [Option<f64>; 3] {
    ["p50", "p90", "p99"].map(|part| run.figure(&format!("{part}_{}_ms", sample.as_str().to_lowercase())))
}

/// What a run was, in short.
pub(super) fn title(run: &Told) -> String {
    let was = |name: &str| run.was(name).map(str::to_owned);
    let load = [
        was("rate").map(|rate| format!("{rate} requests/s")),
        was("concurrency").map(|count| format!("{count} in flight")),
        was("users").map(|users| format!("{users} users")),
        was("speedup").map(|speedup| format!("trace ×{speedup}")),
    ];
    let workers =
        was("replicas").map(|count| if count == "1" { "1 worker".to_owned() } else { format!("{count} workers") });
    let cache = was("cache").map(|cache| if cache == "none" { "no cache".to_owned() } else { cache.to_uppercase() });
    let seed = was("seed").map(|seed| format!("seed {seed}"));
    let parts = [was("target"), was("strategy"), cache, workers, was("workload").map(short)]
        .into_iter()
        .chain(load)
        .chain([seed]);
    let title = parts.flatten().collect::<Vec<_>>().join(" · ");
    if title.is_empty() { run.name.clone() } else { title }
}

/// A trace by the name of its file.
fn short(workload: String) -> String {
    match workload.strip_prefix("trace:") {
        Some(path) => path.rsplit('/').next().unwrap_or(path).to_owned(),
        None => workload,
    }
}

/// What came of it, in two or three sentences.
fn lead(run: &Told) -> String {
    let figure = |name: &str| run.figure(name);
    let mut text = String::new();
    if let (Some(requests), Some(completed)) = (figure("requests"), figure("completed")) {
        let all = crate::report::table::number(Some(requests));
        text.push_str(&if completed >= requests {
            format!("All {all} requests completed.")
        } else {
            format!("{} of {all} requests completed.", crate::report::table::number(Some(completed)))
        });
    }
    if let (Some(mean), Some(p50), Some(p99)) = (figure("mean_ttft_ms"), figure("p50_ttft_ms"), figure("p99_ttft_ms")) {
        text.push_str(&format!(
            " The first token took {} ms on average; half of them took no more than {} ms, one in a hundred more than {} ms.",
            shown(mean),
            shown(p50),
            shown(p99)
        ));
    }
    if let Some(hits) = figure("hit_rate.total") {
        text.push_str(&format!(" {} % of the prompt tokens were found in a cache.", value(Unit::Share, Some(hits))));
    }
    let parts = run.figures["ttft_parts"].as_object().into_iter().flatten();
    let share = |part: &Value| part["share"].as_f64().unwrap_or_default();
    if let Some((name, part)) = parts.max_by(|one, other| share(one.1).total_cmp(&share(other.1))) {
        let words = match name.as_str() {
            "api" => "the network and the API",
            "line" => "waiting in line before the engine",
            "kv_wait" => "waiting for KV room",
            "budget_wait" => "waiting for a turn",
            "tiers" => "loading from lower tiers",
            _ => "computing the prompt",
        };
        if share(part) > 0.0 {
            text.push_str(&format!(
                " The largest part of the time to first token, {:.0} %, went into {words}.",
                share(part) * 100.0
            ));
        }
    }
    text.trim().to_owned()
}

/// Whether what was promised was kept.
fn promise(slo: &Value) -> Markup {
    let Some(holds) = slo["holds"].as_bool() else { return html! {} };
    let terms = slo["terms"].as_array().into_iter().flatten();
    let term = |term: &Value| {
        let share = term["share"].as_f64().unwrap_or_default();
        format!("{}: {:.2} % of the requests were below", term["term"].as_str().unwrap_or_default(), share * 100.0)
    };
    html! {
        p class=(if holds { "verdict pass" } else { "verdict fail" }) {
            b { (if holds { "SLO kept." } else { "SLO broken." }) } " "
            (terms.map(term).collect::<Vec<_>>().join("; ")) "."
        }
    }
}

fn cards(run: &Told) -> Markup {
    let millis = |key: &str| run.figure(key).map(shown);
    let cards = [
        (millis("mean_ttft_ms"), "ms", "mean TTFT"),
        (millis("p90_ttft_ms"), "ms", "P90 TTFT"),
        (millis("mean_tpot_ms"), "ms", "mean TPOT"),
        (millis("mean_e2el_ms"), "ms", "mean end-to-end latency"),
        (millis("output_throughput"), "tok/s", "output throughput"),
        (millis("request_throughput"), "/s", "requests completed"),
        (run.figure("hit_rate.total").map(|hits| value(Unit::Share, Some(hits))), "%", "hit rate"),
        (run.figure("cost_per_1k_tokens.output_only").map(|cost| format!("${cost:.4}")), "", "per 1K output tokens"),
    ];
    html! { div.cards { @for (figure, unit, what) in cards { @if let Some(figure) = figure { (card(&figure, unit, what)) } } } }
}

fn failures(digest: &Digest) -> Markup {
    html! {
        @if !digest.failed.is_empty() {
            p class="verdict fail" {
                b { "Not completed: " }
                @for (place, (status, count)) in digest.failed.iter().enumerate() {
                    @if place > 0 { ", " } (count) " " (status)
                }
                ". They are in no latency."
            }
        }
    }
}
