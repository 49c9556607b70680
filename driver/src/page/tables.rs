//! The tables of a run: its figures, its workers, its slowest requests.

use super::digest::Digest;
use super::svg::tenth;
use crate::compare::metric::{METRICS, Unit};
use crate::compare::text::{unit, value};
use crate::report::seeds::shown;
use crate::told::{Part, Request, Told, quantile};
use maud::{Markup, html};

/// Workers that are told one by one.
const WORKERS: usize = 64;

/// A table, its caption and head; it can be scrolled where it is wider than the screen.
pub(super) fn table(caption: &str, heads: &[(&str, bool)], rows: &Markup) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label=(caption) {
            table {
                caption { (caption) }
                thead { tr { @for (head, text) in heads { th scope="col" class=[text.then_some("t")] { (head) } } } }
                tbody { (rows) }
            }
        }
    }
}

fn dash(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), shown)
}

/// Latencies by percentile.
pub(super) fn latencies(run: &Told) -> Markup {
    let names = [
        ("ttft", "TTFT", "time to first token"),
        ("tpot", "TPOT", "time per output token after the first"),
        ("itl", "ITL", "gaps between tokens"),
        ("e2el", "E2EL", "end-to-end latency"),
    ];
    let parts = ["mean", "p50", "p90", "p95", "p99"];
    let figure = |name: &str, part: &str| run.figure(&format!("{part}_{name}_ms"));
    let there = names.iter().filter(|(name, ..)| parts.iter().any(|part| figure(name, part).is_some()));
    let rows = html! {
        @for (name, short, long) in there {
            tr {
                th scope="row" { abbr title=(long) { (short) } }
                @for part in parts { td { (dash(figure(name, part))) } }
            }
        }
    };
    let caption = format!("Latencies in milliseconds, of completed requests; {}", run.kind.as_str());
    table(
        &caption,
        &[("", true), ("mean", false), ("P50", false), ("P90", false), ("P95", false), ("P99", false)],
        &rows,
    )
}

/// Everything else.
pub(super) fn figures(run: &Told) -> Markup {
    let counts = ["requests", "completed", "failed", "refused", "errored", "unfinished", "warmup_requests"];
    let more = [
        ("makespan_s", "makespan, s"),
        ("prompt_tokens", "prompt tokens"),
        ("output_tokens", "output tokens"),
        ("cached_tokens", "cached prompt tokens"),
        ("preemptions", "preemptions"),
        ("passes", "passes of engines"),
    ];
    let rates = METRICS.iter().filter(|metric| metric.unit != Unit::Millis);
    let row = |name: &str, text: String| html! { tr { th scope="row" { (name) } td { (text) } } };
    let rows = html! {
        @for name in counts {
            @if let Some(count) = run.figure(name) {
                (row(&if name == "warmup_requests" { "left out as warm-up".to_owned() } else { format!("requests {}", if name == "requests" { "measured" } else { name }) }, shown_whole(count)))
            }
        }
        @for metric in rates {
            @if let Some(figure) = metric.of(run) {
                @let unit = unit(metric.unit);
                (row(&if unit.is_empty() { metric.name.to_owned() } else { format!("{}, {unit}", metric.name) }, value(metric.unit, Some(figure))))
            }
        }
        @for (key, name) in more {
            @if let Some(figure) = run.figure(key) { (row(name, shown_whole(figure))) }
        }
    };
    table(&format!("Other figures; {}", run.kind.as_str()), &[("", true), ("value", false)], &rows)
}

/// A count with separators; what is no count to three digits.
fn shown_whole(value: f64) -> String {
    if value.fract() == 0.0 { crate::report::table::number(Some(value)) } else { shown(value) }
}

/// Who had to do how much. Nothing where nobody tells who answered.
pub(super) fn workers(digest: &Digest) -> Markup {
    if digest.workers.is_empty() {
        return html! {};
    }
    let most = digest.workers.values().map(|tally| tally.requests).max().unwrap_or(1).max(1);
    let rows = html! {
        @for (worker, tally) in digest.workers.iter().take(WORKERS) {
            @let hits = tally.cached.filter(|_| tally.prompt > 0).map(|cached| cached as f64 / tally.prompt as f64);
            @let mean = tally.ttfts.iter().sum::<f64>() / tally.ttfts.len() as f64;
            tr {
                th scope="row" { (worker.1) }
                td { (shown_whole(tally.requests as f64)) }
                td { (bar(tally.requests as f64 / most as f64)) }
                td { (shown_whole(tally.prompt as f64)) }
                td { (value(Unit::Share, hits)) }
                td { (shown_whole(tally.output as f64)) }
                td { (dash((!tally.ttfts.is_empty()).then_some(mean))) }
                td { (dash(quantile(&tally.ttfts, 0.9))) }
            }
        }
    };
    let heads = [
        ("worker", true),
        ("requests", false),
        ("", false),
        ("prompt tokens", false),
        ("hit rate, %", false),
        ("output tokens", false),
        ("TTFT mean, ms", false),
        ("P90", false),
    ];
    let more = digest.workers.len().saturating_sub(WORKERS);
    html! {
        h2 { "Workers" }
        (table("What each worker was sent", &heads, &rows))
        @if more > 0 { p.soft { (more) " more workers: requests.jsonl" } }
    }
}

/// A bar in a cell; the figure beside it says the same.
fn bar(part: f64) -> Markup {
    html! {
        svg viewBox="0 0 110 10" aria-hidden="true" preserveAspectRatio="none" {
            rect class="f1" width=(tenth(part * 110.0)) height="10" rx="2" {}
        }
    }
}

/// The requests whose first token took longest.
pub(super) fn slowest(digest: &Digest) -> Markup {
    if digest.slowest.is_empty() {
        return html! {};
    }
    let tokens = |tokens: Option<u64>| tokens.map_or_else(|| "-".to_owned(), |tokens| shown_whole(tokens as f64));
    let hits =
        |request: &Request| Some(request.cached_tokens? as f64 / request.prompt_tokens.filter(|all| *all > 0)? as f64);
    let parts = [Part::Queue, Part::CacheLoad, Part::Prefill, Part::Network];
    let rows = html! {
        @for request in &digest.slowest {
            tr {
                th scope="row" { (request.number) }
                td.t { (request.worker.as_deref().unwrap_or("-")) }
                td { (dash(request.sent_ms.map(|sent| sent / 1000.0))) }
                td { (dash(request.ttft_ms)) }
                @for part in parts { td { (dash(request.part(part))) } }
                td { (dash(request.e2el_ms)) }
                td { (tokens(request.prompt_tokens)) }
                td { (value(Unit::Share, hits(request))) }
                td { (tokens(request.output_tokens)) }
            }
        }
    };
    let heads = [
        ("request", true),
        ("worker", true),
        ("sent, s", false),
        ("TTFT, ms", false),
        ("queue", false),
        ("cache load", false),
        ("prefill", false),
        ("network", false),
        ("E2EL, ms", false),
        ("prompt", false),
        ("hit, %", false),
        ("output", false),
    ];
    html! {
        h2 { "Slowest requests" }
        (table("The longest times to first token, and what they were spent on", &heads, &rows))
    }
}
