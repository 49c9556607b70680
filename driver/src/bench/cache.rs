//! What prefix caching did: cold, concurrent and warm requests apart; the same prefix against different ones.

use super::figures::{self, Mean};
use super::metrics::Delta;
use super::rows::{Prefix, Row};
use super::summary::hit_rate;
use serde_json::{Map, Value, json};

/// Phases of the workload `cold-warm`, in their order.
pub(super) const PHASES: [&str; 4] = ["different_first", "different_again", "same_first", "same_again"];

/// The object `cache` of a summary.
pub(super) fn json(measured: &[&Row<'_>], server: &[(&'static str, Vec<Delta>)]) -> Value {
    let of = |prefix: Prefix| measured.iter().copied().filter(|row| row.prefix == prefix).collect::<Vec<_>>();
    let (cold, concurrent, warm) = (of(Prefix::Cold), of(Prefix::Concurrent), of(Prefix::Warm));
    let phased = measured.iter().any(|row| PHASES.contains(&row.phase));
    let phase = |name: &str| measured.iter().copied().filter(|row| row.phase == name).collect::<Vec<_>>();
    let mut cache = Map::new();
    cache.insert("cold".to_owned(), group(&cold));
    cache.insert("concurrent".to_owned(), group(&concurrent));
    cache.insert("warm".to_owned(), group(&warm));
    let (same, different) = if phased {
        let both = |first: &str, again: &str| [phase(first), phase(again)].concat();
        (both("same_first", "same_again"), both("different_first", "different_again"))
    } else {
        ([concurrent.as_slice(), warm.as_slice()].concat(), cold.clone())
    };
    let (mut same_json, mut different_json) = (group(&same), group(&different));
    if phased {
        for (json, name) in [(&mut different_json, "different"), (&mut same_json, "same")] {
            json["first"] = group(&phase(&format!("{name}_first")));
            json["again"] = group(&phase(&format!("{name}_again")));
        }
    }
    cache.insert("same_prefix".to_owned(), same_json);
    cache.insert("different_prefix".to_owned(), different_json);
    cache.insert("warm_against_cold".to_owned(), against(&warm, &cold));
    cache.insert("same_against_different".to_owned(), against(&same, &different));
    if phased {
        let again = against(&phase("same_again"), &phase("different_again"));
        cache.insert("same_again_against_different_again".to_owned(), again);
    }
    let told: Map<String, Value> = server.iter().map(|(phase, deltas)| ((*phase).to_owned(), json!(deltas))).collect();
    cache.insert("server_metrics".to_owned(), if told.is_empty() { Value::Null } else { Value::Object(told) });
    Value::Object(cache)
}

/// Some requests together; null: there are none.
fn group(rows: &[&Row<'_>]) -> Value {
    if rows.is_empty() {
        return Value::Null;
    }
    let done: Vec<&Row<'_>> = rows.iter().copied().filter(|row| row.completed().is_some()).collect();
    let mut group = Map::new();
    group.insert("requests".to_owned(), json!(rows.len()));
    group.insert("completed".to_owned(), json!(done.len()));
    let ttft = figures::distribution(done.iter().filter_map(|row| row.ttft()));
    figures::push(&mut group, "ttft", &ttft);
    let interval = mean_ttft(&done).and_then(|mean| mean.interval());
    group.insert("mean_ttft_ms_ci95".to_owned(), json!(interval));
    figures::push(&mut group, "tpot", &figures::distribution(done.iter().filter_map(|row| row.tpot())));
    group.insert("hit_rate".to_owned(), json!(hit_rate(&done)));
    let (output, prompt) = done.iter().fold((0, 0), |(o, p), row| (o + row.output, p + row.prompt));
    let seconds = busy_seconds(&done);
    let rate = |tokens: u64| seconds.map(|seconds| tokens as f64 / seconds);
    group.insert("output_throughput".to_owned(), json!(rate(output)));
    group.insert("total_token_throughput".to_owned(), json!(rate(output + prompt)));
    Value::Object(group)
}

/// Time during which at least one of these was in flight: tokens per second of kinds that take turns.
fn busy_seconds(done: &[&Row<'_>]) -> Option<f64> {
    let mut spans: Vec<(u64, u64)> = done
        .iter()
        .filter_map(|row| row.observed)
        .filter_map(|observed| Some((observed.dispatched, observed.seen.last_content?)))
        .collect();
    spans.sort_unstable();
    let (mut busy, mut until) = (0, 0);
    for (from, to) in spans {
        busy += to.max(until) - from.max(until).min(to.max(until));
        until = until.max(to);
    }
    (busy > 0).then(|| busy as f64 / 1e9)
}

/// Batches of an interval: with fewer it says nothing.
const FEWEST_BATCHES: usize = 4;

/// The mean TTFT, ms. Requests that were in flight together waited for each other: as many as that are one batch.
fn mean_ttft(rows: &[&Row<'_>]) -> Option<Mean> {
    let mut sent: Vec<&Row<'_>> = rows.iter().copied().filter(|row| row.ttft().is_some()).collect();
    sent.sort_by_key(|row| row.observed.map(|observed| observed.dispatched));
    let together = together(&sent);
    let sample: Vec<f64> = sent.iter().filter_map(|row| row.ttft()).map(|nanos| nanos as f64 / 1e6).collect();
    let size = if sample.len() / together.max(1) < FEWEST_BATCHES { sample.len() } else { together };
    Mean::of_batches(&sample, size)
}

/// Most of them in flight at a time; `sent` is in the order of sending.
fn together(sent: &[&Row<'_>]) -> usize {
    let observed = || sent.iter().filter_map(|row| row.observed);
    let mut ends: Vec<u64> = observed().map(|observed| observed.ended).collect();
    ends.sort_unstable();
    let (mut over, mut most) = (0, 0);
    for (begun, observed) in observed().enumerate() {
        while ends.get(over).is_some_and(|end| *end <= observed.dispatched) {
            over += 1;
        }
        most = most.max(begun + 1 - over);
    }
    most
}

/// Mean TTFT of `these` against that of `those`: less is a gain.
fn against(these: &[&Row<'_>], those: &[&Row<'_>]) -> Value {
    let (Some(these), Some(those)) = (mean_ttft(these), mean_ttft(those)) else { return Value::Null };
    let (difference, interval) = these.minus(&those);
    let told_apart = interval.map(|[low, high]| low > 0.0 || high < 0.0);
    json!({
        "mean_ttft_ms": difference,
        "ci95": interval,
        "relative": difference / those.mean,
        "told_apart": told_apart,
    })
}
