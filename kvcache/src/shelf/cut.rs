//! Cutting strips in two where a range begins or ends inside, and joining them where that is long past. A prompt that
//! grows turn by turn would else be a strip per turn, and cost a look-up for each.

use super::Shelf;
use super::policy::Policy;
use super::slices::{Slice, SliceId};
use super::strips::{LONGEST, Mask, Strip, StripId, below};
use crate::chain::Chain;
use crate::units::{Blocks, Tokens};

impl Shelf {
    /// Cuts the first `at` objects off a strip into a new one above it, and gives that one's number.
    pub(super) fn split(&mut self, lower: StripId, at: Blocks) -> StripId {
        let weight = self.weight(lower);
        let upper = self.strips.split(lower, at);
        let Strip { slices: mut slice, ready, .. } = *self.strips.at(lower);
        let ready_above = self.strips.at(upper).ready;
        self.strips.at_mut(lower).slices = SliceId::NONE;
        while slice != SliceId::NONE {
            let (whole, shard) = (*self.shards.at(slice), slice.shard());
            let up = whole.with(whole.objects & below(at));
            let down = whole.with(whole.objects >> at.0);
            let (up_ready, down_ready) = (up.objects & ready_above, down.objects & ready);
            // The number stays with what policies know, and goes up only where nothing of that is left below.
            let (upper_slice, lower_slice) = if down.objects == 0 {
                (slice, SliceId::NONE)
            } else if up.objects == 0 {
                (SliceId::NONE, slice)
            } else if down_ready == 0 {
                (slice, self.shards.of_mut(shard).add(shard, down))
            } else {
                (self.shards.of_mut(shard).add(shard, up), slice)
            };
            if upper_slice != SliceId::NONE {
                *self.shards.at_mut(upper_slice) = Slice { strip: upper, ..up };
                self.hang(upper_slice);
            }
            if lower_slice != SliceId::NONE {
                *self.shards.at_mut(lower_slice) = down;
                self.hang(lower_slice);
            }
            if up_ready != 0 && down_ready != 0 {
                let tokens = |mask: Mask| weight * u64::from(mask.count_ones());
                let policy = &mut self.shards.of_mut(shard).policy;
                policy.split(lower_slice, tokens(down_ready), upper_slice, tokens(up_ready));
            }
            slice = whole.next;
        }
        upper
    }

    /// Whether two strips, of which the one hangs below the other, are one in all but name: the holder of both is
    /// the only one, so both were or will be used together, and nothing else hangs between them.
    pub(super) fn may_join(&self, upper: StripId, lower: StripId) -> bool {
        let (above, below) = (self.strips.at(upper), self.strips.at(lower));
        above.children == 1
            && above.pins == 1
            && below.pins == 1
            && above.len + below.len <= LONGEST
            && below.tail == Tokens::ZERO
    }

    /// Joins a strip with its only child, whose number stays. O(slices of both).
    pub(super) fn join(&mut self, chain: Chain<'_>, upper: StripId, lower: StripId) {
        let weight = self.weight(lower);
        let len = self.strips.at(upper).len;
        let mut slice = self.strips.at(lower).slices;
        while slice != SliceId::NONE {
            let of = self.shards.of_mut(slice.shard());
            of.joined = slice;
            of.slice(slice).objects <<= len.0;
            slice = of.slice(slice).next;
        }
        let mut slice = self.strips.at(upper).slices;
        self.strips.join(chain, upper, lower);
        while slice != SliceId::NONE {
            let of = *self.shards.at(slice);
            self.join_slice(lower, slice, of, weight);
            slice = of.next;
        }
        let mut slice = self.strips.at(lower).slices;
        while slice != SliceId::NONE {
            let of = self.shards.of_mut(slice.shard());
            of.joined = SliceId::NONE;
            slice = of.slice(slice).next;
        }
    }

    /// A slice of another strip becomes a part of what this one has on its shard, or a slice of its own where it has
    /// nothing there, or publication alone decides.
    fn join_slice(&mut self, id: StripId, joined: SliceId, of: Slice, weight: u64) {
        let shard = self.shards.of_mut(joined.shard());
        let slice = shard.joined;
        if slice == SliceId::NONE || shard.by_age {
            *shard.slice(joined) = Slice { strip: id, ..of };
            return self.hang(joined);
        }
        let into = shard.slice(slice);
        *into = into.with(into.objects | of.objects);
        into.at = into.at.max(of.at);
        let tokens = weight * u64::from(into.len);
        shard.policy.gone(joined, None);
        shard.policy.reweigh(slice, tokens);
        shard.remove(joined);
    }
}
