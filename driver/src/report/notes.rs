//! What a table's figures do not tell of the lower tiers: what engines stood still for, and what went wrong.

use crate::experiment::Outcome;
use sim::ledger::{StallTimes, Summary, TierEvents};

/// So many rows are told about; `-o json` tells about all.
const ROWS: usize = 12;

/// A line for each row of which there is something to tell.
pub(super) fn notes(outcomes: &[Outcome]) -> String {
    let told = outcomes.iter().enumerate().filter_map(|(row, outcome)| Some((row + 1, of_run(&outcome.summary)?)));
    let lines: Vec<(usize, String)> = told.collect();
    let mut text: String = lines.iter().take(ROWS).map(|(row, note)| format!("row {row}: {note}\n")).collect();
    if lines.len() > ROWS {
        text.push_str(&format!("{} more rows: see stall_s and tier_events of -o json.\n", lines.len() - ROWS));
    }
    text
}

fn of_run(summary: &Summary) -> Option<String> {
    let StallTimes { lookup, load_l1, load_l2, store } = summary.stall?;
    let stalls = [(lookup, "for look-ups in L2"), (load_l1, "for L1"), (load_l2, "for L2"), (store, "for stores")];
    let stalls: Vec<String> =
        stalls.iter().filter(|(span, _)| *span >= 0.05).map(|(span, cause)| format!("{span:.1} s {cause}")).collect();
    let mut parts = Vec::new();
    if !stalls.is_empty() {
        parts.push(format!("engines stood still {}", stalls.join(", ")));
    }
    let TierEvents { short_loads, l2_discarded_puts, l2_expired_leases, breaker_opened, .. } = summary.tier_events?;
    let events = [
        (short_loads, "loads came short"),
        (l2_discarded_puts, "stores did not reach L2 in time (l2.put_ttl)"),
        (l2_expired_leases, "leases expired (l2.lease_ttl)"),
        (breaker_opened, "times a worker began to leave L2 alone (l2.breaker_failures)"),
    ];
    parts.extend(events.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")));
    (!parts.is_empty()).then(|| parts.join("; "))
}
