//! What goes: evicted for room, lost with its shard or alone, expired, cleared.

use super::policy::Policy;
use super::slices::{Shard, Slice, SliceId};
use super::strips::{Mask, StripId, Strips, lowest};
use super::{Shelf, Shelved};
use crate::chain::Chain;
use crate::time::Time;
use crate::units::Blocks;

/// Why objects go.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Loss {
    /// For room, or for their age.
    Evicted,
    /// With their shard, or by themselves.
    Failure,
}

impl Shelf {
    /// Evicts objects of `tokens` or more from a shard, or all that nobody holds; gives how many tokens went. The slice
    /// is the policy's choice; inside a slice the deepest object goes first.
    pub(crate) fn evict(&mut self, shard: u16, tokens: u64) -> u64 {
        let mut gone = 0;
        while gone < tokens {
            let Some(slice) = self.shards.of_mut(shard).policy.victim(self.now) else { break };
            gone += self.evict_from(slice, tokens - gone);
        }
        gone
    }

    /// Evicts `tokens` from each shard that is fuller than the watermark, if that `may` be done there. O(shards that
    /// are).
    pub(crate) fn evict_ahead(&mut self, tokens: u64, may: impl Fn(u16) -> bool) {
        let mut fuller = core::mem::take(&mut self.fuller);
        fuller.retain(|shard| {
            if may(*shard) && self.used(*shard) > self.watermark {
                self.evict(*shard, tokens);
            }
            let is_fuller = self.used(*shard) > self.watermark;
            self.shards.of_mut(*shard).is_fuller = is_fuller;
            is_fuller
        });
        self.fuller = fuller;
    }

    /// Evicts what was used (with [`super::Eviction::Fifo`]: published) before `before`; gives how many tokens went.
    /// Exact where the policy's order is that of time: [`super::Eviction::Lru`] and [`super::Eviction::Fifo`].
    pub(crate) fn expire(&mut self, shard: u16, before: Time) -> u64 {
        let mut gone = 0;
        while let Some(slice) = self.shards.of_mut(shard).policy.victim(self.now) {
            if self.shards.at(slice).at >= before {
                break;
            }
            gone += self.evict_from(slice, u64::MAX);
        }
        gone
    }

    /// When the slice that goes next was used last (with [`super::Eviction::Fifo`]: published).
    pub(crate) fn oldest(&mut self, shard: u16) -> Option<Time> {
        let slice = self.shards.of_mut(shard).policy.victim(self.now)?;
        Some(self.shards.at(slice).at)
    }

    /// Evicts `tokens` or more from a slice, or all of it; gives how many tokens went.
    #[inline]
    fn evict_from(&mut self, slice: SliceId, tokens: u64) -> u64 {
        // Nobody holds it, so all of it is ready.
        let Slice { strip: id, objects, len, .. } = *self.shards.at(slice);
        debug_assert_eq!(self.strips.at(id).pins, 0, "what is held is not evicted");
        let weight = self.weight(id);
        let mut going = objects;
        let mut gone = weight * u64::from(len);
        // Mostly all of it goes, and there is nothing to divide.
        if gone > tokens {
            let most = tokens.div_ceil(weight);
            (going, gone) = (highest(objects, most), weight * most);
        }
        self.drop_objects(slice, going, weight, gone, Loss::Evicted);
        if self.strips.at(id).ready == 0 {
            self.strips.tidy(id);
        }
        gone
    }

    /// Takes objects, of `weight` each and of `tokens` all, out of a slice that nobody holds.
    #[inline]
    fn drop_objects(&mut self, id: SliceId, objects: Mask, weight: u64, tokens: u64, loss: Loss) {
        self.tell_of(self.shards.at(id).strip, objects, Shelved::Dropped);
        let Shard { usage, policy, slices, .. } = self.shards.of_mut(id.shard());
        let slice = &mut slices[id.index()];
        let strip = self.strips.at_mut(slice.strip);
        strip.ready &= !objects;
        usage.ready -= tokens;
        if loss == Loss::Evicted {
            usage.evicted += tokens;
        }
        let left = slice.objects & !objects;
        if left == 0 {
            policy.gone(id, (loss == Loss::Evicted).then_some(strip.key.0));
            self.remove(id);
        } else {
            *slice = slice.with(left);
            policy.reweigh(id, u64::from(slice.len) * weight);
        }
    }

    /// A shard restarted, empty. What is held there is not found any more, and goes when nobody holds it; what is being
    /// written there will not be ready. O(strips).
    pub(crate) fn lose(&mut self, shard: u16) {
        for id in self.strips.ids() {
            let mut slice = if self.strips.is_live(id) { self.strips.at(id).slices } else { SliceId::NONE };
            while slice != SliceId::NONE {
                let Slice { next, objects, .. } = *self.shards.at(slice);
                if slice.shard() == shard {
                    self.lose_objects(id, slice, objects);
                }
                slice = next;
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
            let Slice { next, objects, .. } = *self.shards.at(slice);
            if objects & object != 0 {
                self.lose_objects(id, slice, object);
                self.strips.tidy(id);
                return true;
            }
            slice = next;
        }
        false
    }

    fn lose_objects(&mut self, id: StripId, slice: SliceId, objects: Mask) {
        if self.strips.at(id).pins > 0 {
            self.strips.at_mut(id).doomed |= objects;
        } else {
            let weight = self.weight(id);
            self.drop_objects(slice, objects, weight, weight * u64::from(objects.count_ones()), Loss::Failure);
        }
    }

    /// Everything goes at once, what is held and what is being written included: whoever holds something may give it
    /// back, and nothing happens then.
    pub(crate) fn clear(&mut self) {
        self.tell_all_gone();
        self.strips = Strips::new(self.unit);
        self.shards.clear();
        self.fuller.clear();
        self.epoch += 1;
    }
}

/// The last `most` objects of a set.
fn highest(set: Mask, most: u64) -> Mask {
    let count = u64::from(set.count_ones());
    if most >= count { set } else { set & !lowest(set, count - most) }
}
