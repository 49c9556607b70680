//! What a table's figures do not tell: what engines stood still for, what went wrong in the lower tiers, and that a
//! strategy did not do what it is named for.

use super::table::number;
use crate::calibrate::passes::Spread;
use crate::computed::Timed;
use crate::experiment::Outcome;
use router::Strategy;
use sim::ledger::{FleetCounts, StallTimes, Summary, TierEvents};

/// So many lines are told; `-o json` tells all.
const LINES: usize = 24;

/// Engines that stood still for less of a run, all together, are not told of.
const NOTABLE_SHARE: f64 = 0.01;

/// A line for each thing that there is to tell of a row.
pub(super) fn notes(outcomes: &[Outcome]) -> String {
    let of_row = |(row, outcome): (usize, &Outcome)| {
        let summary = &outcome.summary;
        let notes = [
            of_routing(outcome),
            of_tiers(summary),
            of_fleet(summary),
            of_passes(summary),
            outcome.computed.as_ref().map(of_computed),
        ];
        notes.into_iter().flatten().map(move |note| (row + 1, note))
    };
    let lines: Vec<(usize, String)> = outcomes.iter().enumerate().flat_map(of_row).collect();
    let mut text: String = lines.iter().take(LINES).map(|(row, note)| format!("row {row}: {note}\n")).collect();
    if lines.len() > LINES {
        text.push_str(&format!(
            "{} more notes: see fallbacks, stall_s, tier_events and fleet of -o json.\n",
            lines.len() - LINES
        ));
    }
    text
}

/// A strategy that is followed for less than half of the requests is hardly that strategy.
pub(crate) fn of_routing(outcome: &Outcome) -> Option<String> {
    let (summary, strategy) = (&outcome.summary, outcome.case.strategy);
    let all: u64 = summary.routing.values().sum();
    let mut causes: Vec<(&str, u64)> = summary.fallbacks.iter().map(|(cause, count)| (*cause, *count)).collect();
    if strategy == Strategy::SessionPlus {
        // There, and only there, that is a request without a session.
        causes.extend(summary.routing.get("least-loaded").map(|count| ("no-session", *count)));
    }
    let fell: u64 = causes.iter().map(|(_, count)| count).sum();
    if fell * 2 <= all {
        return None;
    }
    let shown = |count: u64| number(Some(count as f64));
    causes.sort_by_key(|(_, count)| u64::MAX - count);
    let causes: Vec<String> =
        causes.iter().map(|(cause, count)| format!("{}: {}", shown(*count), in_words(cause))).collect();
    Some(format!("{strategy} fell back for {} of {} requests ({})", shown(fell), shown(all), causes.join("; ")))
}

/// A cause of [`router::Reason::fallback`].
fn in_words(cause: &str) -> &str {
    match cause {
        "chat" => "it does not see the prompts of chats",
        "no-holder" => "no worker holds the first chunk",
        "too-short" => "match too short, router.kv_aware_threshold",
        "below-minimum" => "match too short, router.prefix_min_match_length",
        "no-session" => "no session",
        other => other,
    }
}

/// Times that were measured differ from run to run: how much they scatter.
fn of_computed(timed: &Timed) -> String {
    let mut text =
        format!("computed {} passes in {:.1} s of CPU, no two runs alike", timed.passes.len(), timed.cpu_s());
    if let Some(Spread { p50, p90 }) = timed.spread() {
        let [p50, p90] = [p50, p90].map(|part| 100.0 * part);
        text.push_str(&format!(
            "; beside the line fitted to them half lie within {p50:.1} %, nine tenths within {p90:.1} %"
        ));
    }
    text
}

fn of_tiers(summary: &Summary) -> Option<String> {
    let StallTimes { lookup, load_l1, load_l2, store } = summary.stall?;
    let stalls = [(lookup, "for look-ups in L2"), (load_l1, "for L1"), (load_l2, "for L2"), (store, "for stores")];
    // A hundredth of the run that one engine stood still for is not worth a line.
    let notable = (summary.makespan_s.unwrap_or_default() * NOTABLE_SHARE).max(0.05);
    let stalls: Vec<String> = stalls
        .iter()
        .filter(|(span, _)| *span >= notable)
        .map(|(span, cause)| format!("{span:.1} s {cause}"))
        .collect();
    let mut parts = Vec::new();
    if !stalls.is_empty() {
        parts.push(format!("engines stood still {}", stalls.join(", ")));
    }
    let TierEvents { short_loads, l2_discarded_puts, l2_expired_leases, breaker_opened, .. } = summary.tier_events?;
    let events = [
        (short_loads, "load", "came short"),
        (l2_discarded_puts, "store", "did not reach L2 in time (l2.put_ttl)"),
        (l2_expired_leases, "lease", "expired (l2.lease_ttl)"),
        (breaker_opened, "time", "a worker began to leave L2 alone (l2.breaker_failures)"),
    ];
    let some = events.iter().filter(|(count, ..)| *count > 0);
    parts.extend(some.map(|(count, what, why)| format!("{} {why}", counted(*count, what))));
    (!parts.is_empty()).then(|| parts.join("; "))
}

/// `1 load`, `2 loads`.
pub(crate) fn counted(count: u64, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

/// Durations that are extrapolated are never passed over in silence.
fn of_passes(summary: &Summary) -> Option<String> {
    let beyond: u64 = summary.passes_beyond.values().sum();
    let parts: Vec<String> =
        summary.passes_beyond.iter().map(|(what, passes)| format!("{passes} more {what}")).collect();
    (beyond > 0).then(|| {
        format!(
            "{beyond} of {} passes are beyond what the hardware was measured at, and their durations extrapolated ({})",
            summary.passes,
            parts.join(", ")
        )
    })
}

fn of_fleet(summary: &Summary) -> Option<String> {
    let fleet = summary.fleet.as_ref()?;
    let (least, most) = (fleet.least_workers, fleet.most_workers);
    let workers = if least == most { format!("{most}") } else { format!("{least} to {most}") };
    let noun = if most == 1 { "worker" } else { "workers" };
    let mut parts =
        vec![format!("{workers} {noun}, {:.1} on average, {:.1} paid for", fleet.mean_workers, fleet.mean_provisioned)];
    let FleetCounts { deaths, ordered, left, sent_again, errored } = fleet.counts;
    let events = [(ordered, "ordered"), (left, "left"), (deaths, "died")];
    parts.extend(events.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")));
    let requests = [(sent_again, "sent again"), (errored, "ended with an error")];
    let some = requests.iter().filter(|(count, _)| *count > 0);
    parts.extend(some.map(|(count, what)| format!("{} {what}", counted(*count, "request"))));
    Some(parts.join("; "))
}
