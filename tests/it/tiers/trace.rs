//! The conversation trace with L1 and L2.

use super::world::{World, pool, tiers};
use crate::support;
use kvcache::{LoadMode, Span, TierConfig};
use sim::cost::{CostModel, Segment, Shape};
use sim::workload::{Pacing, mooncake};

/// A pass takes 10 ns for each token: nothing waits long.
struct Quick;

impl CostModel for Quick {
    fn segment(&self, shape: &Shape) -> Segment {
        Segment::line(Span::from_nanos(10) * shape.tokens, Span::ZERO)
    }
}

/// With an L2 that forgets nothing, all is found again that was ever there in whole chunks, by whichever worker: 0.37351
/// of the prompt tokens, and a little more where device blocks are finer than chunks, but never above 0.37363.
#[test]
fn an_endless_l2_finds_all_that_was_ever_there() {
    let Some(file) = support::conversation() else { return };
    let text = std::fs::read_to_string(file).expect("it can be read");
    let trace = mooncake::parse(&text).expect("it is a trace");
    for mode in [LoadMode::Blocking, LoadMode::Overlapped, LoadMode::Layerwise] {
        let config = TierConfig { load: mode, ..tiers(None, true) };
        let world = World::new(4, 8400).with(config, Some(pool(4, 1 << 40)));
        // Its own times, fifty times slower; then one after the other, since many come in the same millisecond.
        for (workload, least) in
            [(trace.clone().sped_up(0.02), 0.3729), (trace.clone().paced(Pacing::Closed { concurrency: 1 }), 0.3735)]
        {
            let (ledger, _) = world.run(Quick, &workload);
            let summary = ledger.summary(None);
            let reuse = summary.hit_rate.total.expect("there are requests");
            assert!((least..=0.37363).contains(&reuse), "{mode:?}: {reuse}");
            assert_eq!(summary.completed, 12_031);
        }
    }
}
