//! The invariants of the shelf, asserted.

use super::policy::Policy;
use super::slices::SliceId;
use super::{ShardUsage, Shelf};
use alloc::vec;

impl Shelf {
    /// Asserts every law of the module. O(strips + slices).
    pub(crate) fn check(&self) {
        self.strips.check();
        let mut usages = vec![ShardUsage::default(); self.shards.len()];
        let mut evictable = vec![0; self.shards.len()];
        let mut slices = 0;
        for id in self.strips.ids().filter(|id| self.strips.is_live(*id)) {
            let strip = self.strips.at(id);
            assert_eq!(strip.ready & strip.pending, 0, "an object is ready or pending");
            let (mut objects, mut slice, mut before) = (0, strip.slices, SliceId::NONE);
            while slice != SliceId::NONE {
                let of = self.shards.at(slice);
                assert!(of.strip == id && of.objects != 0, "a slice knows its strip, and has something");
                assert_eq!(of.len, of.objects.count_ones(), "and how much");
                assert_eq!(of.before, before, "and its neighbours");
                assert_eq!(of.objects & objects, 0, "an object is on one shard, once");
                objects |= of.objects;
                let weigh = |mask: u64| self.weight(id) * u64::from(mask.count_ones());
                let usage = &mut usages[usize::from(slice.shard())];
                usage.ready += weigh(of.objects & strip.ready);
                usage.pending += weigh(of.objects & strip.pending);
                if strip.pins > 0 {
                    usage.pinned += weigh(of.objects & strip.ready);
                } else {
                    evictable[usize::from(slice.shard())] += 1;
                }
                slices += 1;
                (before, slice) = (slice, of.next);
            }
            assert_eq!(objects, strip.ready | strip.pending, "slices have what the strip has");
            assert_eq!(strip.doomed & !objects, 0, "only what is there can be doomed");
            assert!(strip.doomed == 0 || strip.pins > 0, "only what is held can be doomed");
            assert!(
                strip.pending == 0 || (strip.pins > 0 && strip.absent() == 0),
                "who writes holds, and fills what it holds"
            );
        }
        assert_eq!(slices, self.shards.count(), "each slice hangs at a strip");
        let fuller = self.shards.iter().filter(|shard| shard.is_fuller).count();
        assert_eq!(fuller, self.fuller.len(), "and is listed once");
        for ((shard, counted), evictable) in self.shards.iter().zip(usages).zip(evictable) {
            assert_eq!(shard.usage, ShardUsage { evicted: shard.usage.evicted, ..counted }, "counters");
            assert!(shard.used() <= shard.capacity, "a shard holds its capacity at most");
            assert_eq!(shard.joined, SliceId::NONE, "what was joined is forgotten");
            assert!(shard.used() <= self.watermark || shard.is_fuller, "who is fuller than the watermark is known");
            assert_eq!(shard.policy.evictable(), evictable, "the policy knows what nobody holds, and nothing else");
            assert!(shard.policy.tokens().is_none_or(|tokens| tokens == shard.usage.ready), "and what it weighs");
        }
    }
}
