//! A worker that comes back cold: its process dies in the middle of a run, and all that it held is gone.

use super::bench::Bench;
use driver::experiment::Load;
use kvcache::{Span, Time, WorkerId};
use router::Strategy;

/// Questions about documents, many times over; after half of them one of the seven workers dies.
fn share_after(strategy: Strategy, died: bool) -> (f64, f64) {
    let bench = Bench::new("docqa", 2100, Load::Rate(12.0));
    let (workload, mut cluster, path) = bench.prepare(strategy, 1);
    let middle = Time::ZERO + Span::from_secs(87);
    if died {
        cluster.restart_at(WorkerId(0), middle);
    }
    let ledger = sim::simulate::simulate(&workload, &mut cluster, path, |_| {}).expect("it ends in time");
    ledger.check();
    cluster.check();
    let after = || ledger.records().iter().filter(|record| record.sent > middle);
    let found: u64 = after().map(|record| u64::from(record.found().expect("all are served").0)).sum();
    let prompts: u64 = after().map(|record| u64::from(record.prompt.0)).sum();
    let ttfts: Vec<f64> = after().map(|record| record.ttft().expect("all are served").as_millis_f64()).collect();
    (found as f64 / prompts as f64, ttfts.iter().sum::<f64>() / ttfts.len() as f64)
}

/// What the dead worker held is computed once more, and that is all: about five documents of 35, fewer where others held some of
/// them, too. Whoever trusts its own list of
/// what was *sent* (compat `prefixaware`) sends the right questions to the right place again by accident, since the place
/// is the same; whoever hears of the restart may choose anew. Nobody is sent where nothing is for longer than it takes to
/// hear.
#[test]
fn what_was_held_is_computed_once_more_and_no_more() {
    let strategies = [Strategy::PrefixAware, Strategy::PrefixAwarePlus, Strategy::KvAwarePlus, Strategy::PredictedTtft];
    for strategy in strategies {
        let ((hit, ttft), (hit_died, ttft_died)) = (share_after(strategy, false), share_after(strategy, true));
        println!("{strategy:<15} hit {hit:.4} -> {hit_died:.4}, TTFT {ttft:.1} -> {ttft_died:.1} ms");
        // 1,050 questions come after it; each document that is computed again costs one of them its hit.
        let lost = (hit - hit_died) * 1050.0;
        assert!((1.0..=12.0).contains(&lost), "{strategy}: {lost} prompts computed again");
        assert!(ttft_died < ttft + 12.0, "{strategy}: {ttft} -> {ttft_died}");
    }
}
