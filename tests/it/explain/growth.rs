//! An index that nothing is taken from: what it is worth a word.

use super::{case, docqa, experiment, run};
use crate::support::{conversation, podlab, project, said};
use driver::experiment::{Load, Source, Tiers};
use driver::growth::{Growth, NOTABLE};
use router::Strategy;

#[test]
fn what_upstream_would_take_follows_from_the_text_sent() {
    // Each document has 256 chunks of 128 characters (32 tokens) and each question 2 of its own: 8,192 and 64 tokens. A
    // question's chunks hang behind its document, so no two are the same node.
    let outcome = run(&docqa(50), case(Strategy::PrefixAware, 3, Tiers::L0, Load::Concurrency(5)), &[]);
    let documents = u64::from(outcome.summary.requests.min(35) as u32);
    let asked = outcome.growth.expect("prefixaware has such an index").upstream_bytes / 660;
    let most = documents * 256 + 50 * 2;
    assert!(asked <= most && (asked - 100).is_multiple_of(256) && asked > 100, "{asked} nodes");
    // Whoever routes and whatever is held, the same text makes the same trie.
    let alone = run(&docqa(50), case(Strategy::PrefixAware, 1, Tiers::None, Load::Concurrency(1)), &[]);
    assert_eq!(alone.growth.map(|growth| growth.upstream_bytes / 660), Some(asked));
    for strategy in Strategy::ALL.into_iter().filter(|strategy| *strategy != Strategy::PrefixAware) {
        let outcome = run(&docqa(5), case(strategy, 3, Tiers::L0, Load::Concurrency(5)), &[]);
        assert_eq!(outcome.growth, None, "{strategy} stays within bounds");
    }
}

#[test]
fn either_may_be_too_much() {
    let passes = |bytes, upstream_bytes| Growth { bytes, upstream_bytes }.passes(NOTABLE);
    assert!(!passes(NOTABLE, NOTABLE) && passes(NOTABLE + 1, 0) && passes(0, NOTABLE + 1));
    let said = Growth { bytes: 13 << 20, upstream_bytes: 1788 << 20 }.to_string();
    assert!(said.contains("takes 13 MiB") && said.contains("some 1788 MiB") && said.contains("prefixaware+"), "{said}");
}

#[test]
fn a_run_that_outgrows_it_says_so_once() {
    let Some(trace) = conversation() else { return };
    let trace = format!("trace:{}", trace.display());
    let Some(mut command) = podlab() else { return };
    command.arg("simulate").arg(project(super::SAMPLE)).args(["--workload", &trace, "--requests", "2000"]);
    let (_, stderr, status) =
        said(&command.args(["--strategy", "prefixaware,prefixaware+"]).output().expect("it runs"));
    assert_eq!(status, 0, "{stderr}");
    assert_eq!(stderr.matches("prefixaware forgets nothing").count(), 1, "{stderr}");
    assert!(stderr.contains("warning: prefixaware-l0+l1+l2-7x-x1-seed0: prefixaware forgets nothing"), "{stderr}");
    // A tenth of that is not worth a word.
    let source = Source::read(&trace, Some(50)).expect("it is a trace");
    let few =
        run(&experiment(source, "few"), case(Strategy::PrefixAware, 7, Tiers::L0, Load::Trace { speedup: 1.0 }), &[]);
    assert!(few.growth.is_some_and(|growth| !growth.passes(NOTABLE)), "{:?}", few.growth);
}
