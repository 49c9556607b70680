//! A measured run for people.

use comfy_table::presets::UTF8_BORDERS_ONLY;
use comfy_table::{CellAlignment, Table};
use serde_json::Value;
use std::fmt::Write;

/// Figures of a summary as text.
#[must_use]
pub fn text(summary: &Value) -> String {
    let mut text = String::new();
    head(&mut text, summary);
    latencies(&mut text, summary);
    rates(&mut text, summary);
    cache(&mut text, &summary["cache"]);
    let routing = &summary["routing"];
    line(&mut text, "Can routing matter", &format!("{}: {}", word(&routing["can_matter"]), word(&routing["why"])));
    client(&mut text, &summary["client"]);
    for note in summary["notes"].as_array().into_iter().flatten() {
        line(&mut text, "Note", &word(note));
    }
    text
}

fn line(text: &mut String, name: &str, said: &str) {
    text.push_str(&crate::report::wrapped(&format!("{name:<20} "), said, 110));
}

fn head(text: &mut String, summary: &Value) {
    let of = |key: &str| word(&summary[key]);
    let load = ["concurrency", "rate", "users", "speedup"].into_iter().find(|key| !summary[*key].is_null());
    let load = load.map(|key| format!(", {key} {}", of(key))).unwrap_or_default();
    let target = format!("{} ({}, {}), workload {}{load}", of("target"), of("model"), of("api"), of("workload"));
    line(text, "Measured", &target);
    let mut counts = format!("{} requests, {} completed", of("requests"), of("completed"));
    let errors: Vec<String> =
        summary["errors"].as_object().into_iter().flatten().map(|(class, count)| format!("{class} {count}")).collect();
    if !errors.is_empty() {
        let _ = write!(counts, ", {} failed ({})", of("failed"), errors.join(", "));
    }
    if summary["warmup_requests"] != 0 {
        let _ = write!(counts, "; {} more before the cut are in no figure", of("warmup_requests"));
    }
    line(text, "Requests", &counts);
}

fn latencies(text: &mut String, summary: &Value) {
    let mut table = plain(&["ms", "mean", "P50", "P90", "P95", "P99"]);
    let names =
        [("TTFT", "ttft"), ("TTFT incl. queue", "ttft_incl_queue"), ("TPOT", "tpot"), ("ITL", "itl"), ("E2EL", "e2el")];
    for (name, key) in names {
        let mut row = vec![name.to_owned()];
        row.extend(["mean", "p50", "p90", "p95", "p99"].map(|part| number(&summary[format!("{part}_{key}_ms")])));
        table.add_row(row);
    }
    let _ = writeln!(text, "{table}");
    if summary["completed"].as_u64().is_some_and(|count| count < 100) {
        text.push_str("(of fewer than 100 requests, a P99 is little more than the slowest)\n");
    }
}

fn rates(text: &mut String, summary: &Value) {
    let of = |key: &str| number(&summary[key]);
    let rates = format!(
        "{} requests/s, {} output tokens/s, {} tokens/s with prompts, over {} s",
        of("request_throughput"),
        of("output_throughput"),
        of("total_token_throughput"),
        of("makespan_s")
    );
    line(text, "Throughput", &rates);
    let steady = &summary["steady_state"];
    if !steady.is_null() {
        let rates = format!(
            "{} requests/s, {} output tokens/s over {} s",
            number(&steady["request_throughput"]),
            number(&steady["output_throughput"]),
            number(&steady["seconds"])
        );
        line(text, "  all slots full", &rates);
    }
    let times = &summary["server_times"];
    if !times.is_null() {
        let [queue, prefill, decode] = ["queue_ms", "prefill_ms", "decode_ms"].map(|key| number(&times[key]));
        let said = format!("{queue} ms waiting, {prefill} ms to the first token, {decode} ms to the last, on average");
        line(text, "By the server", &said);
    }
    let cost = &summary["cost_per_1k_tokens"];
    let said = match cost["total"].as_f64() {
        Some(total) => format!(
            "${total:.5} per 1K tokens, ${:.5} per 1K output tokens",
            cost["output_only"].as_f64().unwrap_or_default()
        ),
        None => "unknown; say what the endpoint costs with --usd-per-hour".to_owned(),
    };
    line(text, "Cost", &said);
    let hits = summary["hit_rate"]["total"].as_f64();
    let said = hits.map_or_else(
        || "unknown: the server tells no cached_tokens (vLLM: --enable-prompt-tokens-details)".to_owned(),
        |rate| format!("{:.1} % of prompt tokens, by the server's cached_tokens", rate * 100.0),
    );
    line(text, "Hit rate", &said);
    let tiers = [("l0", "L0"), ("l1", "L1"), ("l2", "L2")];
    let told = tiers.iter().filter_map(|(key, name)| {
        summary["hit_rate"][key].as_f64().map(|rate| format!("{:.1} % in {name}", rate * 100.0))
    });
    let told: Vec<String> = told.collect();
    if !told.is_empty() {
        line(text, "  by tier", &format!("{}, by the server", told.join(", ")));
    }
    for (phase, deltas) in summary["cache"]["server_metrics"].as_object().into_iter().flatten() {
        for delta in deltas.as_array().into_iter().flatten() {
            let rate =
                delta["hit_rate"].as_f64().map_or_else(|| "-".to_owned(), |rate| format!("{:.1} %", rate * 100.0));
            line(text, "  by /metrics", &format!("{phase}: {rate} ({})", word(&delta["source"])));
        }
    }
}

fn cache(text: &mut String, cache: &Value) {
    let mut table = plain(&[
        "prefix",
        "requests",
        "TTFT mean",
        "95 % of mean",
        "P50",
        "P90",
        "P95",
        "P99",
        "hit %",
        "out tok/s",
        "tok/s",
    ]);
    let mut add = |name: &str, group: &Value| {
        if group.is_null() {
            return;
        }
        let mut row = vec![name.to_owned(), word(&group["requests"]), number(&group["mean_ttft_ms"])];
        row.push(interval(&group["mean_ttft_ms_ci95"]));
        row.extend(["p50", "p90", "p95", "p99"].map(|part| number(&group[format!("{part}_ttft_ms")])));
        row.push(group["hit_rate"].as_f64().map_or_else(|| "-".to_owned(), |rate| format!("{:.1}", rate * 100.0)));
        row.extend(["output_throughput", "total_token_throughput"].map(|key| number(&group[key])));
        table.add_row(row);
    };
    for name in ["cold", "concurrent", "warm"] {
        add(name, &cache[name]);
    }
    for name in ["different_prefix", "same_prefix"] {
        let short = name.trim_end_matches("_prefix");
        if cache[name]["first"].is_null() {
            add(short, &cache[name]);
        } else {
            add(&format!("{short}, first"), &cache[name]["first"]);
            add(&format!("{short}, again"), &cache[name]["again"]);
        }
    }
    let _ = writeln!(text, "{table}");
    let gains = [
        ("Warm - cold", "warm_against_cold"),
        ("Same - different", "same_against_different"),
        ("  both again", "same_again_against_different_again"),
    ];
    for (name, key) in gains {
        let gain = &cache[key];
        if let Some(difference) = gain["mean_ttft_ms"].as_f64() {
            let apart = match gain["told_apart"].as_bool() {
                Some(true) => "",
                Some(false) => ": not told apart",
                None => ": too few to say",
            };
            let relative = gain["relative"].as_f64().unwrap_or_default() * 100.0;
            let said = format!(
                "{difference:+.1} ms mean TTFT ({relative:+.0} %), 95 % interval {}{apart}",
                interval(&gain["ci95"])
            );
            line(text, name, &said);
        }
    }
}

fn client(text: &mut String, client: &Value) {
    let of = |key: &str| number(&client[key]);
    let why: Vec<String> = client["why"].as_array().into_iter().flatten().map(word).collect();
    let why = if why.is_empty() { String::new() } else { format!(": {}", why.join("; ")) };
    let said = format!(
        "{}{why}; {} in flight on average, at most {}; sent {} ms late (P99); {} CPU seconds, {:.0} MB",
        word(&client["verdict"]),
        of("achieved_concurrency"),
        word(&client["max_concurrency"]),
        of("schedule_lag_p99_ms"),
        of("cpu_seconds"),
        client["peak_rss_bytes"].as_f64().unwrap_or_default() / 1e6,
    );
    line(text, "Client", &said);
}

fn plain(names: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_BORDERS_ONLY);
    table.set_header(names);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn word(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Four significant digits or so.
fn number(value: &Value) -> String {
    match value.as_f64() {
        None => "-".to_owned(),
        Some(number) if number.abs() >= 1000.0 => format!("{number:.0}"),
        Some(number) if number.abs() >= 100.0 => format!("{number:.1}"),
        Some(number) => format!("{number:.2}"),
    }
}

fn interval(value: &Value) -> String {
    match (value[0].as_f64(), value[1].as_f64()) {
        (Some(low), Some(high)) => format!("{low:.1} .. {high:.1}"),
        _ => "-".to_owned(),
    }
}
