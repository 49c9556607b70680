//! The invariants of the shelf, asserted.

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
            let (mut ready, mut pending, mut slice) = (0, 0, strip.slices);
            while slice != SliceId::NONE {
                let of = self.slices.at(slice);
                assert!(of.strip == id && !of.is_empty(), "a slice knows its strip, and has something");
                assert_eq!((of.ready | of.pending) & (ready | pending), 0, "an object is on one shard, once");
                assert_eq!(of.ready & of.pending, 0, "an object is ready or pending");
                ready |= of.ready;
                pending |= of.pending;
                let weigh = |mask: u64| self.weight(id) * u64::from(mask.count_ones());
                let usage = &mut usages[usize::from(of.shard)];
                usage.ready += weigh(of.ready);
                usage.pending += weigh(of.pending);
                if strip.pins > 0 {
                    usage.pinned += weigh(of.ready);
                } else if of.ready != 0 {
                    evictable[usize::from(of.shard)] += 1;
                }
                slices += 1;
                slice = of.next;
            }
            assert_eq!((ready, pending), (strip.ready, strip.pending), "slices have what the strip has");
            assert_eq!(strip.doomed & !(ready | pending), 0, "only what is there can be doomed");
            assert!(strip.doomed == 0 || strip.pins > 0, "only what is held can be doomed");
            assert!(
                pending == 0 || (strip.pins > 0 && strip.absent() == 0),
                "who writes holds, and fills what it holds"
            );
        }
        assert_eq!(slices, self.slices.count(), "each slice hangs at a strip");
        for ((shard, counted), evictable) in self.shards.iter().zip(usages).zip(evictable) {
            assert_eq!(shard.usage, ShardUsage { evicted: shard.usage.evicted, ..counted }, "counters");
            assert!(shard.used() <= shard.capacity, "a shard holds its capacity at most");
            assert_eq!(shard.policy.evictable(), evictable, "the policy knows what nobody holds, and nothing else");
            assert!(shard.policy.tokens().is_none_or(|tokens| tokens == shard.usage.ready), "and what it weighs");
        }
    }
}
