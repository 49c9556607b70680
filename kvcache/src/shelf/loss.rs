//! What goes: evicted for room, lost with its shard or alone, expired, cleared.

use super::slices::{Shard, Slice, SliceId, Slices};
use super::strips::{Mask, StripId, Strips, lowest};
use super::{ShardUsage, Shelf};
use crate::chain::Chain;
use crate::time::Time;
use crate::units::Blocks;

impl Shelf {
    /// Evicts objects of `tokens` or more from a shard, or all that nobody holds; gives how many tokens went. The slice
    /// is the policy's choice; inside a slice the deepest object goes first.
    pub(crate) fn evict(&mut self, shard: u16, tokens: u64) -> u64 {
        let mut gone = 0;
        while gone < tokens {
            let Some(slice) = self.shards[usize::from(shard)].policy.victim(self.now) else { break };
            gone += self.evict_from(slice, tokens - gone);
        }
        gone
    }

    /// Evicts what was used (with [`super::Eviction::Fifo`]: published) before `before`; gives how many tokens went.
    /// Exact where the policy's order is that of time: [`super::Eviction::Lru`] and [`super::Eviction::Fifo`].
    pub(crate) fn expire(&mut self, shard: u16, before: Time) -> u64 {
        let mut gone = 0;
        while let Some(slice) = self.shards[usize::from(shard)].policy.victim(self.now) {
            if self.slices.at(slice).at >= before {
                break;
            }
            gone += self.evict_from(slice, u64::MAX);
        }
        gone
    }

    /// When the slice that goes next was used last (with [`super::Eviction::Fifo`]: published).
    pub(crate) fn oldest(&mut self, shard: u16) -> Option<Time> {
        let slice = self.shards[usize::from(shard)].policy.victim(self.now)?;
        Some(self.slices.at(slice).at)
    }

    fn evict_from(&mut self, slice: SliceId, tokens: u64) -> u64 {
        let Slice { strip: id, shard, ready, .. } = *self.slices.at(slice);
        let weight = self.weight(id);
        debug_assert_eq!(self.strips.at(id).pins, 0, "what is held is not evicted");
        // Mostly all of it goes, and there is nothing to divide.
        let whole = weight * u64::from(ready.count_ones());
        let going = if whole <= tokens { ready } else { highest(ready, tokens.div_ceil(weight)) };
        let gone = if going == ready { whole } else { weight * u64::from(going.count_ones()) };
        self.drop_ready(id, slice, going, gone, true);
        if self.strips.at(id).ready == 0 {
            self.strips.tidy(id);
        }
        self.shards[usize::from(shard)].usage.evicted += gone;
        gone
    }

    /// Takes ready objects of `tokens` that nobody holds out of a slice.
    fn drop_ready(&mut self, id: StripId, slice: SliceId, objects: Mask, tokens: u64, evicted: bool) {
        let weight = self.weight(id);
        let strip = self.strips.at_mut(id);
        strip.ready &= !objects;
        let of = self.slices.at_mut(slice);
        of.ready &= !objects;
        let Shard { usage, policy, .. } = &mut self.shards[usize::from(of.shard)];
        usage.ready -= tokens;
        if of.ready != 0 {
            policy.reweigh(slice, weight * u64::from(of.ready.count_ones()));
        } else {
            policy.gone(slice, evicted.then_some(strip.key.0));
        }
        if of.is_empty() {
            self.drop_slice(id, slice);
        }
    }

    /// A shard restarted, empty. What is held there is not found any more, and goes when nobody holds it; what is being
    /// written there will not be ready. O(strips).
    pub(crate) fn lose(&mut self, shard: u16) {
        for id in self.strips.ids() {
            let mut slice = if self.strips.is_live(id) { self.strips.at(id).slices } else { SliceId::NONE };
            while slice != SliceId::NONE {
                let of = *self.slices.at(slice);
                if of.shard == shard {
                    self.lose_objects(id, slice, of.ready | of.pending);
                }
                slice = of.next;
            }
            if self.strips.is_live(id) {
                self.strips.tidy(id);
            }
        }
    }

    /// Object `index` of `chain` is lost, whatever the reason: as if its shard had restarted. Gives whether it was
    /// there.
    pub(crate) fn lose_object(&mut self, chain: Chain<'_>, index: Blocks) -> bool {
        let (mut above, mut at) = (StripId::ROOT, Blocks::ZERO);
        while at <= index && index < chain.objects() {
            let Some((id, inside)) = self.strips.step(above, chain, at, index + Blocks(1) - at) else { break };
            if index < at + inside {
                return self.lose_from(id, 1 << (index - at).0);
            }
            if inside < self.strips.at(id).len {
                break;
            }
            above = id;
            at += inside;
        }
        false
    }

    fn lose_from(&mut self, id: StripId, object: Mask) -> bool {
        let mut slice = self.strips.at(id).slices;
        while slice != SliceId::NONE {
            let of = *self.slices.at(slice);
            if (of.ready | of.pending) & object != 0 {
                self.lose_objects(id, slice, object);
                self.strips.tidy(id);
                return true;
            }
            slice = of.next;
        }
        false
    }

    fn lose_objects(&mut self, id: StripId, slice: SliceId, objects: Mask) {
        if self.strips.at(id).pins > 0 {
            self.strips.at_mut(id).doomed |= objects;
        } else {
            let tokens = self.weight(id) * u64::from(objects.count_ones());
            self.drop_ready(id, slice, objects, tokens, false);
        }
    }

    /// Everything goes at once, what is held and what is being written included: whoever holds something may give it
    /// back, and nothing happens then.
    pub(crate) fn clear(&mut self) {
        self.strips = Strips::new(self.unit);
        self.slices = Slices::new(self.shards.len());
        for shard in &mut self.shards {
            shard.usage = ShardUsage { evicted: shard.usage.evicted, ..ShardUsage::default() };
            shard.policy.clear();
        }
        self.epoch += 1;
    }
}

/// The last `most` objects of a set.
fn highest(set: Mask, most: u64) -> Mask {
    let count = u64::from(set.count_ones());
    if most >= count { set } else { set & !lowest(set, count - most) }
}
