//! What only a measured run tells: how its client did, what failed in which way, what prefix caching did.

use super::tables::table;
use crate::report::seeds::shown;
use maud::{Markup, html};
use serde_json::Value;

/// Why it did not run to its end; nothing where it did.
pub(super) fn stopped(figures: &Value) -> Markup {
    html! {
        @if let Some(why) = figures["stopped"].as_str() {
            p class="verdict fail" { b { "This run did not run to its end: " } (why) "." }
        }
    }
}

/// Whether the client kept up. Nothing where there was none.
pub(super) fn client(figures: &Value) -> Markup {
    let client = &figures["client"];
    let Some(verdict) = client["verdict"].as_str() else { return html! {} };
    let number = |key: &str| client[key].as_f64();
    let mut told = Vec::new();
    if let (Some(asked), Some(achieved)) = (number("asked_concurrency"), number("achieved_concurrency")) {
        told.push(format!("{} in flight on average, of {} asked for", shown(achieved), shown(asked)));
    }
    if let (Some(asked), Some(achieved)) = (number("asked_rate"), number("achieved_rate")) {
        told.push(format!("{} requests/s sent, of {} asked for", shown(achieved), shown(asked)));
    }
    if let Some(lag) = number("schedule_lag_p99_ms") {
        told.push(format!("99 % were sent no more than {} ms late", shown(lag)));
    }
    if let Some(cpu) = number("cpu_seconds") {
        told.push(format!("{} CPU seconds", shown(cpu)));
    }
    let why = client["why"].as_array().into_iter().flatten().filter_map(Value::as_str).collect::<Vec<_>>().join("; ");
    let fine = verdict == "client_ok";
    html! {
        p class=(if fine { "verdict pass" } else { "verdict fail" }) {
            b { (if fine { "The client kept up." } else { "The client was the bottleneck: its figures are its own as much as the server's." }) }
            " " code { (verdict) } @if !why.is_empty() { ": " (why) } "; " (told.join("; ")) "."
        }
    }
}

/// What failed, by class.
pub(super) fn errors(figures: &Value) -> Markup {
    let errors = figures["errors"].as_object().filter(|errors| !errors.is_empty());
    let Some(errors) = errors else { return html! {} };
    let rows = html! {
        @for (class, count) in errors { tr { th scope="row" { code { (class) } } td { (count) } } }
    };
    html! { h2 { "Errors" } (table("Requests that failed, by what became of them", &[("", true), ("requests", false)], &rows)) }
}

/// Cold and warm, same prefix and different ones; what servers counted; whether routing can matter.
pub(super) fn prefixes(figures: &Value) -> Markup {
    let cache = &figures["cache"];
    if !cache.is_object() {
        return html! {};
    }
    let groups = [
        ("cold", &cache["cold"]),
        ("concurrent", &cache["concurrent"]),
        ("warm", &cache["warm"]),
        ("different prefixes", &cache["different_prefix"]),
        ("... first", &cache["different_prefix"]["first"]),
        ("... again", &cache["different_prefix"]["again"]),
        ("same prefix", &cache["same_prefix"]),
        ("... first", &cache["same_prefix"]["first"]),
        ("... again", &cache["same_prefix"]["again"]),
    ];
    let cell = |value: &Value| value.as_f64().map_or_else(|| "-".to_owned(), shown);
    let interval = |value: &Value| match (value[0].as_f64(), value[1].as_f64()) {
        (Some(low), Some(high)) => format!("{} to {}", shown(low), shown(high)),
        _ => "-".to_owned(),
    };
    let share = |value: &Value| value.as_f64().map_or_else(|| "-".to_owned(), |share| format!("{:.1}", share * 100.0));
    let rows = html! {
        @for (name, group) in groups { @if !group.is_null() {
            tr {
                th scope="row" { (name) }
                td { (group["completed"]) }
                td { (cell(&group["mean_ttft_ms"])) }
                td { (interval(&group["mean_ttft_ms_ci95"])) }
                @for part in ["p50", "p90", "p99"] { td { (cell(&group[format!("{part}_ttft_ms")])) } }
                td { (share(&group["hit_rate"])) }
                td { (cell(&group["output_throughput"])) }
            }
        } }
    };
    let heads = [
        "",
        "completed",
        "TTFT mean, ms",
        "95 % of the mean",
        "P50",
        "P90",
        "P99",
        "hit rate, %",
        "output tok/s while any ran",
    ];
    let heads: Vec<(&str, bool)> = heads.iter().map(|head| (*head, head.is_empty())).collect();
    let matters = figures["routing"]["can_matter"].as_str();
    let why = figures["routing"]["why"].as_str().unwrap_or_default();
    html! {
        h2 { "What prefix caching did" }
        (table("By whether a prompt's prefix had been sent before: cold, not; warm, and its first token had come; concurrent, between", &heads, &rows))
        (differences(cache))
        (counted(&cache["server_metrics"], share))
        @if let Some(matters) = matters { p { "Can routing matter? " b { (matters) } @if !why.is_empty() { ": " (why) } "." } }
    }
}

/// What the difference is, and whether it is more than chance.
fn differences(cache: &Value) -> Markup {
    let pairs = [
        ("warm against cold", &cache["warm_against_cold"]),
        ("same prefix against different ones", &cache["same_against_different"]),
        ("again: same prefix against different ones", &cache["same_again_against_different_again"]),
    ];
    let told: Vec<(&str, &Value)> = pairs.into_iter().filter(|(_, pair)| pair.is_object()).collect();
    let sign = |value: &Value| {
        let Some(ms) = value.as_f64() else { return "-".to_owned() };
        format!("{}{}", if ms > 0.0 { "+" } else { "" }, shown(ms))
    };
    let apart = |pair: &Value| match pair["told_apart"].as_bool() {
        Some(true) => "more than chance",
        Some(false) => "not told apart",
        None => "too few to say",
    };
    let rows = html! {
        @for (name, pair) in &told {
            tr {
                th scope="row" { (name) }
                td { (sign(&pair["mean_ttft_ms"])) }
                td { (sign(&pair["ci95"][0])) " to " (sign(&pair["ci95"][1])) }
                td.t { (apart(pair)) }
            }
        }
    };
    let heads = [("", true), ("difference of mean TTFT, ms", false), ("95 % interval", false), ("", true)];
    html! {
        @if !told.is_empty() {
            p {}
            (table("Differences; requests that were in flight together count as one batch", &heads, &rows))
        }
    }
}

/// What servers counted during each phase.
fn counted(phases: &Value, share: impl Fn(&Value) -> String) -> Markup {
    let Some(phases) = phases.as_object() else { return html! {} };
    let rows = html! {
        @for (phase, deltas) in phases { @for delta in deltas.as_array().into_iter().flatten() {
            tr {
                th scope="row" { (phase.replace('_', " ")) }
                td.t { code { (delta["source"].as_str().unwrap_or_default()) } }
                td { (share(&delta["hit_rate"])) }
            }
        } }
    };
    let heads = [("phase", true), ("counter", true), ("hit rate, %", false)];
    html! { p {} (table("What the server counted itself (/metrics)", &heads, &rows)) }
}
