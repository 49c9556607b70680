//! The longer of two lines, against looking at every context.

use kvcache::Span;
use proptest::prelude::*;
use sim::cost::Segment;

fn lines() -> impl Strategy<Value = Segment> {
    (0..60_u64, 0..6_u64, prop_oneof![Just(u64::MAX), 40..60_u64])
        .prop_map(|(base, slope, valid_to)| Segment { valid_to, ..Segment::line(Span(base), Span(slope)) })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn the_longer_of_two_lines_holds_as_long_as_it_is_the_longer(one in lines(), other in lines(), context in 0..40_u64) {
        let longer = one.or_longer(other, context);
        prop_assert!(longer.valid_to >= context);
        for at in context..=longer.valid_to.min(80) {
            prop_assert_eq!(longer.at(at), one.at(at).max(other.at(at)));
            // One asked here would answer the same line: stretches are cut anywhere.
            let asked = one.or_longer(other, at);
            prop_assert_eq!((asked.base, asked.slope, asked.valid_to), (longer.base, longer.slope, longer.valid_to));
        }
        // It ends no sooner than it must: there the other line takes over, or one of them ends.
        let next = longer.valid_to.saturating_add(1);
        if next < 80 && next <= one.valid_to && next <= other.valid_to {
            let asked = one.or_longer(other, next);
            prop_assert_ne!((asked.base, asked.slope), (longer.base, longer.slope));
        }
    }
}
