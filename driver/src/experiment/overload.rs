//! Whether more was sent than was served. Latencies of such a run tell how long it was.

use super::Load;
use kvcache::{Span, Time};
use sim::ledger::{Ledger, Record, quantile_of};
use sim::workload::{Pacing, Workload};

/// Of fewer requests nothing is said of how waiting grows.
const FEWEST: usize = 100;
/// Between the second quarter of a run and the last, waiting in a queue that grows steadily more than doubles.
const GROWTH: f64 = 1.5;
/// A wait shorter than this part of the run so far is no sign of one.
const NOTABLE: f64 = 0.1;

/// Seconds that nobody waits who came with a few others.
const AT_ONCE: f64 = 1.0;
/// Fewer held back than this part of those due are no sign.
const HELD: f64 = 0.1;

/// What tells that a load that has times of its own outran the workers, in a run whose users sent nothing from `until` on.
pub(super) fn overload(load: Load, workload: &Workload, ledger: &Ledger, until: Option<Time>) -> Option<String> {
    if matches!(load, Load::Concurrency(_) | Load::Users(_)) || !workload.is_planned() {
        return None;
    }
    let latencies = |sign| format!("{sign}; latencies tell how long the run was, not how good the workers are");
    let waits = workload.pacing() != Pacing::Open;
    let held = waits.then(|| held_back(workload, ledger.records(), until)).flatten();
    held.or_else(|| tail(ledger.records()).or_else(|| growth(workload, ledger)).map(latencies))
}

/// Turns were held back by replies that came late: it is not the rate that was asked for.
fn held_back(workload: &Workload, records: &[Record], until: Option<Time>) -> Option<String> {
    let last = workload.requests().last()?.at;
    let end = until.map_or(last, |until| last.min(until));
    let due = workload.requests().partition_point(|request| request.at <= end);
    let sent = records.iter().filter(|record| record.sent <= end).count();
    let held = due.saturating_sub(sent);
    let seconds = Span(end.0).as_secs_f64();
    (due >= FEWEST && held as f64 > HELD * due as f64).then(|| {
        format!(
            "by {seconds:.0} s {due} requests were due and {sent} were sent: turns wait for replies that come late, so that fewer come than the load asks for"
        )
    })
}

/// The work was still going on long after the last request.
fn tail(records: &[Record]) -> Option<String> {
    let sent = records.last()?.sent;
    let ended = records.iter().filter_map(|record| record.last_token).max()?;
    let (sent, ended) = (Span(sent.0).as_secs_f64(), Span(ended.0).as_secs_f64());
    let usual = median(records.iter().filter_map(Record::e2el).collect())?;
    // A tail of a few latencies, or a tenth of the run, is no backlog.
    (ended - sent > (0.1 * sent).max(60.0) && usual > 60.0)
        .then(|| format!("the last request was sent at {sent:.0} s and the last token came at {ended:.0} s"))
}

/// Requests waited longer and longer, counted from when they were due: whose turn waits for a reply that is late is late
/// itself.
fn growth(workload: &Workload, ledger: &Ledger) -> Option<String> {
    let due = |number: usize| workload.requests()[ledger.place(number)].at;
    let waited: Vec<(Time, Span)> = ledger
        .records()
        .iter()
        .enumerate()
        .filter_map(|(number, record)| Some((due(number), record.first_token?.since(due(number)))))
        .collect();
    if waited.len() < FEWEST {
        return None;
    }
    let quarter = waited.len() / 4;
    let of = |part: &[(Time, Span)]| median(part.iter().map(|(_, span)| *span).collect());
    let (before, last) = (of(&waited[quarter..2 * quarter])?, of(&waited[3 * quarter..])?);
    let (first, end) = (waited.first()?.0, waited.iter().map(|(due, _)| *due).max()?);
    let lasts = end.since(first).as_secs_f64();
    let told = |how: &str| {
        format!(
            "{how} for their first token: {before:.1} s in the second quarter of the run, {last:.1} s in the last (medians, from when they were due)"
        )
    };
    if last > GROWTH * before && last > NOTABLE * lasts {
        return Some(told("requests waited longer and longer"));
    }
    // All of them at once: the wait may be over before it could grow.
    (last > lasts && last > AT_ONCE)
        .then(|| told(&format!("requests came within {lasts:.1} s, and waited longer than that")))
}

/// In seconds.
fn median(spans: Vec<Span>) -> Option<f64> {
    let mut spans: Vec<u64> = spans.into_iter().map(|span| span.0).collect();
    quantile_of(&mut spans, 0.5).map(|picos| picos / 1e12)
}
