//! The figures of a run (`summary.json`): vLLM's key names, the simulator's where both have one. Unknown is null.

use super::breakdown;
use super::client_health::Health;
use super::figures;
use super::metrics::{Delta, ServerTimes};
use super::rows::{Part, Prefix, Row};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// What the endpoint costs.
#[derive(Clone, Debug, PartialEq)]
pub struct Price {
    /// US dollars per hour, all instances together.
    pub usd_per_hour: f64,
    /// Where the number is from.
    pub source: String,
}

/// What a run was, and what belongs to no request.
#[derive(Clone, Debug)]
pub struct Context {
    /// What it was: target, workload, load, seed and so on, as they stand first in the JSON.
    pub case: Map<String, Value>,
    /// What it costs; `None`: unknown.
    pub price: Option<Price>,
    /// How the client itself did.
    pub health: Health,
    /// What servers counted in each phase.
    pub server: Vec<(&'static str, Vec<Delta>)>,
    /// Where the server says that requests spent their time.
    pub server_times: Option<ServerTimes>,
    /// What could be found again at most, of prompt tokens.
    pub ceiling: Option<f64>,
    /// What is to be known beside the figures.
    pub notes: Vec<String>,
    /// Why it did not run to its end; `None`: it did.
    pub stopped: Option<String>,
}

/// The figures of `rows`.
#[must_use]
pub fn summary(rows: &[Row<'_>], context: &Context) -> Value {
    let measured: Vec<&Row<'_>> = rows.iter().filter(|row| row.measured()).collect();
    let mut into = context.case.clone();
    counts(&mut into, rows, &measured);
    latencies(&mut into, &measured);
    let output: u64 = done(&measured).map(|row| row.output).sum();
    let prompt: u64 = done(&measured).map(|row| row.prompt).sum();
    let makespan = makespan(&measured);
    throughput(&mut into, &measured, (prompt, output, makespan), context.health.asked_concurrency.is_some());
    into.insert("cost_per_1k_tokens".to_owned(), cost(context.price.as_ref(), prompt, output, makespan));
    if let Some(price) = &context.price {
        let cost = json!({ "usd_per_hour": price.usd_per_hour, "source": price.source,
            "formula": "usd_per_hour / 3600 x makespan_s / tokens x 1000; total: prompt and output tokens, output_only: output tokens" });
        into.insert("price".to_owned(), cost);
    }
    let hit_rate = hit_rate(&measured);
    let [l0, l1, l2] = hit_rate_by_tier(&measured);
    into.insert("hit_rate".to_owned(), json!({ "l0": l0, "l1": l1, "l2": l2, "total": hit_rate }));
    let all: Vec<&Row<'_>> = done(&measured).collect();
    into.insert("ttft_parts".to_owned(), breakdown::parts(&all));
    into.insert("ttft_by_class".to_owned(), breakdown::by_class(&all));
    into.insert("server_times".to_owned(), json!(server_times(rows, context.server_times)));
    let workers = workers(&measured);
    into.insert("workers".to_owned(), json!(workers));
    into.insert("errors".to_owned(), json!(errors(&measured)));
    into.insert("client".to_owned(), context.health.json());
    into.insert("cache".to_owned(), super::cache::json(&measured, &context.server));
    into.insert("routing".to_owned(), routing(rows, &measured, &workers, context.ceiling));
    into.insert(
        "percentiles".to_owned(),
        json!("linear interpolation between the two nearest ranks; itl within 0.8 %"),
    );
    let mut notes = context.notes.clone();
    notes.extend(disagreement(rows, &context.server));
    notes.extend(fallbacks(rows));
    into.insert("notes".to_owned(), json!(notes));
    into.insert("stopped".to_owned(), json!(context.stopped));
    Value::Object(into)
}

/// How many requests were routed in another way than the strategy's.
fn fallbacks(rows: &[Row<'_>]) -> Option<String> {
    let why = rows.iter().filter_map(|row| row.observed?.routed[1].as_deref());
    let causes: BTreeSet<&str> = why.clone().collect();
    let count = why.count();
    (count > 0).then(|| {
        let causes: Vec<&str> = causes.into_iter().collect();
        format!("{count} of {} requests were not routed as the strategy is named: {}", rows.len(), causes.join(", "))
    })
}

/// Hit rates that far apart contradict each other.
const APART: f64 = 0.005;

/// Whether the replies' `cached_tokens` and the counters under `/metrics` contradict each other over the whole run. Both count all
/// tiers: podlab's counter, or the device's and the external ones together.
fn disagreement(rows: &[Row<'_>], server: &[(&'static str, Vec<Delta>)]) -> Option<String> {
    let all: Vec<&Row<'_>> = rows.iter().filter(|row| row.completed().is_some()).collect();
    let said = hit_rate(&all)?;
    let sum = |cache: &str, of: fn(&Delta) -> f64| -> f64 {
        server.iter().flat_map(|(_, deltas)| deltas).filter(|delta| delta.cache == cache).map(of).sum()
    };
    let (queries, hits) = match sum("podlab", |delta| delta.queries) {
        0.0 => (
            sum("device", |delta| delta.queries),
            sum("device", |delta| delta.hits) + sum("external", |delta| delta.hits),
        ),
        queries => (queries, sum("podlab", |delta| delta.hits)),
    };
    let counted = (queries > 0.0).then(|| hits / queries)?;
    ((counted - said).abs() > APART).then(|| {
        format!(
            "hit rates disagree: {:.1} % by the replies' cached_tokens, {:.1} % by the server's /metrics (others may have asked it meanwhile)",
            said * 100.0,
            counted * 100.0
        )
    })
}

/// Where the server says that requests spent their time, if those are the run's and all of them are measured: others that ask it
/// too would be counted with them, and so is a warm-up.
fn server_times(rows: &[Row<'_>], told: Option<ServerTimes>) -> Option<ServerTimes> {
    let ours = rows.iter().filter(|row| row.completed().is_some()).count();
    told.filter(|told| (told.requests - ours as f64).abs() < 0.5 && rows.iter().all(|row| row.measured()))
}

/// Shares of prompt tokens found in each tier, of the requests whose server told; `None`: it told of none.
fn hit_rate_by_tier(rows: &[&Row<'_>]) -> [Option<f64>; 3] {
    let tiers: [fn(&Row<'_>) -> Option<u64>; 3] =
        [|row| row.detail().cached_l0_tokens, |row| row.detail().cached_l1_tokens, |row| row.detail().cached_l2_tokens];
    tiers.map(|of| {
        let told = || done(rows).filter_map(|row| Some((of(row)?, row.prompt)));
        let prompts: u64 = told().map(|(_, prompt)| prompt).sum();
        (prompts > 0).then(|| told().map(|(found, _)| found).sum::<u64>() as f64 / prompts as f64)
    })
}

fn done<'a>(rows: &'a [&'a Row<'a>]) -> impl Iterator<Item = &'a Row<'a>> {
    rows.iter().copied().filter(|row| row.completed().is_some())
}

fn counts(into: &mut Map<String, Value>, rows: &[Row<'_>], measured: &[&Row<'_>]) {
    let completed = done(measured).count();
    let unfinished = measured.iter().filter(|row| row.observed.is_none()).count();
    let refused =
        measured.iter().filter_map(|row| row.observed?.result.as_ref().err()).filter(|problem| problem.refused).count();
    for (key, count) in [
        ("warmup_requests", rows.len() - measured.len()),
        ("requests", measured.len()),
        ("completed", completed),
        ("failed", measured.len() - completed),
        ("refused", refused),
        ("errored", measured.len() - completed - unfinished - refused),
        ("unfinished", unfinished),
    ] {
        into.insert(key.to_owned(), json!(count));
    }
}

fn latencies(into: &mut Map<String, Value>, measured: &[&Row<'_>]) {
    let after = |at: Option<u64>, since: u64| at.map(|at| at.saturating_sub(since));
    figures::push(into, "ttft", &figures::distribution(measured.iter().filter_map(|row| row.ttft())));
    figures::push(into, "tpot", &figures::distribution(measured.iter().filter_map(|row| row.tpot())));
    let gaps = || done(measured).flat_map(|row| row.observed.map(|seen| seen.seen.gaps.as_slice()).unwrap_or_default());
    figures::push(into, "itl", &figures::of_many(gaps().copied()));
    figures::push(into, "e2el", &figures::distribution(measured.iter().filter_map(|row| row.e2el())));
    let queued = |row: &&Row<'_>| row.ttft().and(after(row.completed()?.seen.first_content, row.scheduled));
    figures::push(into, "ttft_incl_queue", &figures::distribution(measured.iter().filter_map(queued)));
    let queued = |row: &&Row<'_>| after(row.completed()?.seen.last_content, row.scheduled);
    figures::push(into, "e2el_incl_queue", &figures::distribution(measured.iter().filter_map(queued)));
    let first_byte = |row: &&Row<'_>| row.completed().and_then(|seen| after(seen.first_byte, seen.dispatched));
    figures::push(into, "ttfb", &figures::distribution(measured.iter().filter_map(first_byte)));
    let answer =
        |row: &&Row<'_>| row.ttft().and(after(row.completed()?.seen.first_answer, row.completed()?.dispatched));
    figures::push(into, "ttfo", &figures::distribution(measured.iter().filter_map(answer)));
    let events: u64 = done(measured).filter_map(|row| row.observed).map(|observed| observed.seen.events).sum();
    let tokens: u64 = done(measured).map(|row| row.output).sum();
    into.insert("tokens_per_event".to_owned(), json!((events > 0).then(|| tokens as f64 / events as f64)));
    let uncounted = done(measured).filter(|row| !row.counted).count();
    into.insert("counted_by_events".to_owned(), json!(uncounted));
}

/// From the first byte sent to the last content, seconds.
fn makespan(measured: &[&Row<'_>]) -> Option<f64> {
    let first = measured.iter().filter_map(|row| row.observed).map(|observed| observed.dispatched).min()?;
    let last = done(measured).filter_map(|row| row.observed?.seen.last_content).max()?;
    Some(last.saturating_sub(first) as f64 / 1e9).filter(|seconds| *seconds > 0.0)
}

fn throughput(into: &mut Map<String, Value>, measured: &[&Row<'_>], totals: (u64, u64, Option<f64>), closed: bool) {
    let (prompt, output, makespan) = totals;
    let completed = done(measured).count() as u64;
    let per_second = |count: u64| makespan.map(|seconds| count as f64 / seconds);
    let cached: Vec<u64> = done(measured).filter_map(Row::cached).collect();
    let cached = (!cached.is_empty()).then(|| cached.iter().sum::<u64>());
    for (key, value) in [
        ("makespan_s", json!(makespan)),
        ("duration", json!(makespan)),
        ("prompt_tokens", json!(prompt)),
        ("output_tokens", json!(output)),
        ("total_input_tokens", json!(prompt)),
        ("total_output_tokens", json!(output)),
        ("cached_tokens", json!(cached)),
        ("partial_output_tokens", json!(partial(measured))),
        ("request_throughput", json!(per_second(completed))),
        ("output_throughput", json!(per_second(output))),
        ("total_token_throughput", json!(per_second(prompt + output))),
        ("steady_state", if closed { steady(measured) } else { Value::Null }),
    ] {
        into.insert(key.to_owned(), value);
    }
}

/// Content that came of responses that were not completed.
fn partial(measured: &[&Row<'_>]) -> u64 {
    let failed = measured.iter().filter(|row| row.completed().is_none());
    failed.filter_map(|row| row.observed).map(|observed| observed.seen.events).sum()
}

/// The shortest window of which rates are told, ms.
const LEAST_STEADY_MS: f64 = 500.0;

/// Rates while all slots were full: from the last of the opening burst to the last request sent.
fn steady(measured: &[&Row<'_>]) -> Value {
    let burst = measured.iter().filter(|row| row.part == Part::Burst);
    let ended = |row: &&Row<'_>| row.observed.map(|observed| observed.ended);
    let from = burst.filter_map(ended).max();
    let to = measured.iter().filter_map(|row| row.observed).map(|observed| observed.dispatched).max();
    let (Some(from), Some(to)) = (from, to) else { return Value::Null };
    // Rates of a moment, in which hardly anybody ended, say nothing.
    let typical = figures::distribution(done(measured).filter_map(|row| row.e2el())).p50.unwrap_or_default();
    if to <= from || (to - from) as f64 / 1e6 < typical.max(LEAST_STEADY_MS) {
        return Value::Null;
    }
    let seconds = (to - from) as f64 / 1e9;
    let inside = || done(measured).filter(|row| ended(row).is_some_and(|ended| from < ended && ended <= to));
    let rate = |count: u64| count as f64 / seconds;
    json!({
        "seconds": seconds,
        "request_throughput": rate(inside().count() as u64),
        "output_throughput": rate(inside().map(|row| row.output).sum()),
        "total_token_throughput": rate(inside().map(|row| row.output + row.prompt).sum()),
    })
}

fn cost(price: Option<&Price>, prompt: u64, output: u64, makespan: Option<f64>) -> Value {
    let dollars = price.zip(makespan).map(|(price, seconds)| price.usd_per_hour / 3600.0 * seconds);
    let per_1k = |tokens: u64| dollars.filter(|_| tokens > 0).map(|dollars| dollars / tokens as f64 * 1000.0);
    // What of it went to prompts only the engine knows.
    json!({ "total": per_1k(prompt + output), "output_only": per_1k(output), "input": null, "output": null })
}

/// Cached over all prompt tokens, of the requests whose server told; `None`: it told of none.
pub(super) fn hit_rate<'a>(rows: &[&'a Row<'a>]) -> Option<f64> {
    let told: Vec<(u64, u64)> = rows.iter().filter_map(|row| Some((row.cached()?, row.prompt))).collect();
    let prompts: u64 = told.iter().map(|(_, prompt)| prompt).sum();
    (prompts > 0).then(|| told.iter().map(|(cached, _)| cached).sum::<u64>() as f64 / prompts as f64)
}

fn workers(measured: &[&Row<'_>]) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for worker in measured.iter().filter_map(|row| row.completed()?.worker.clone()) {
        *counts.entry(worker).or_default() += 1;
    }
    counts
}

fn errors(measured: &[&Row<'_>]) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for row in measured {
        let class = match row.observed.map(|observed| &observed.result) {
            None => "interrupted",
            Some(Ok(())) => continue,
            Some(Err(problem)) => &problem.class,
        };
        *counts.entry(class.to_owned()).or_default() += 1;
    }
    counts
}

/// Whether routing can matter at all to this workload on this endpoint, and why.
fn routing(rows: &[Row<'_>], measured: &[&Row<'_>], workers: &BTreeMap<String, u64>, ceiling: Option<f64>) -> Value {
    let shared = measured.iter().filter(|row| row.prefix != Prefix::Cold).count();
    let (verdict, why) = if shared == 0 {
        ("no", "no request had a prefix that an earlier one had sent".to_owned())
    } else if workers.len() == 1 {
        ("no", "one worker answered every request: there was nothing to choose from".to_owned())
    } else if workers.is_empty() {
        ("unknown", "responses do not say which worker answered".to_owned())
    } else {
        let scattered = scattered(rows);
        let ceiling = ceiling.map(|ceiling| format!(", up to {:.1} % of prompt tokens", ceiling * 100.0));
        let why = format!(
            "{} workers answered; {shared} of {} requests had a prefix sent before{}; {scattered} of them went where nobody had sent it",
            workers.len(),
            measured.len(),
            ceiling.unwrap_or_default()
        );
        ("yes", why)
    };
    json!({ "can_matter": verdict, "why": why, "reuse_ceiling": ceiling })
}

/// Requests with a known prefix that a worker answered to which none with the same first segment had been sent. The name of the
/// first segment stands for the prefix.
fn scattered(rows: &[Row<'_>]) -> usize {
    let mut seen: BTreeSet<(u64, &str)> = BTreeSet::new();
    let mut scattered = 0;
    // What a warm-up sent is there too.
    for row in rows {
        let Some(worker) = row.completed().and_then(|observed| observed.worker.as_deref()) else { continue };
        let new = seen.insert((row.head, worker));
        scattered += usize::from(new && row.measured() && row.prefix != Prefix::Cold);
    }
    scattered
}
