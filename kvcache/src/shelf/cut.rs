//! Cutting strips in two where a range begins or ends inside, and joining them where that is long past. A prompt that
//! grows turn by turn would else be a strip per turn, and cost a look-up for each.

use super::Shelf;
use super::slices::{Shard, Slice, SliceId};
use super::strips::{LONGEST, Mask, StripId, below};
use crate::chain::Chain;
use crate::units::{Blocks, Tokens};

impl Shelf {
    /// Cuts the first `at` objects off a strip into a new one above it, and gives that one's number.
    pub(super) fn split(&mut self, lower: StripId, at: Blocks) -> StripId {
        let weight = self.weight(lower);
        let upper = self.strips.split(lower, at);
        let mut slice = self.strips.at(lower).slices;
        let (mut uppers, mut lowers) = (SliceId::NONE, SliceId::NONE);
        while slice != SliceId::NONE {
            let whole = *self.slices.at(slice);
            let (up, down) = (part(&whole, 0, below(at)), part(&whole, at.0, Mask::MAX));
            // The number stays with what policies know, and goes up only where nothing of that is left below.
            let (upper_slice, lower_slice) = if down.is_empty() {
                (slice, SliceId::NONE)
            } else if up.is_empty() {
                (SliceId::NONE, slice)
            } else if down.ready == 0 {
                (slice, self.slices.add(down))
            } else {
                (self.slices.add(up), slice)
            };
            if upper_slice != SliceId::NONE {
                *self.slices.at_mut(upper_slice) = Slice { strip: upper, next: uppers, ..up };
                uppers = upper_slice;
            }
            if lower_slice != SliceId::NONE {
                *self.slices.at_mut(lower_slice) = Slice { next: lowers, ..down };
                lowers = lower_slice;
            }
            if up.ready != 0 && down.ready != 0 {
                let tokens = |mask: Mask| weight * u64::from(mask.count_ones());
                let policy = &mut self.shards[usize::from(whole.shard)].policy;
                policy.split(lower_slice, tokens(down.ready), upper_slice, tokens(up.ready));
            }
            slice = whole.next;
        }
        self.strips.at_mut(upper).slices = uppers;
        self.strips.at_mut(lower).slices = lowers;
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

    /// Joins a strip with its only child, whose number stays.
    pub(super) fn join(&mut self, chain: Chain<'_>, upper: StripId, lower: StripId) {
        let weight = self.weight(lower);
        let len = self.strips.at(upper).len;
        let mut slice = self.strips.at(lower).slices;
        while slice != SliceId::NONE {
            let of = self.slices.at_mut(slice);
            of.ready <<= len.0;
            slice = of.next;
        }
        let mut slice = self.strips.at(upper).slices;
        self.strips.join(chain, upper, lower);
        while slice != SliceId::NONE {
            let of = *self.slices.at(slice);
            self.join_slice(lower, slice, of, weight);
            slice = of.next;
        }
    }

    /// A slice of another strip becomes a part of what this one has on its shard, or a slice of its own where
    /// publication alone decides.
    fn join_slice(&mut self, id: StripId, joined: SliceId, of: Slice, weight: u64) {
        let Shard { policy, by_age, .. } = &mut self.shards[usize::from(of.shard)];
        let mut slice = self.strips.at(id).slices;
        while slice != SliceId::NONE && (*by_age || self.slices.at(slice).shard != of.shard) {
            slice = if *by_age { SliceId::NONE } else { self.slices.at(slice).next };
        }
        if slice == SliceId::NONE {
            let strip = self.strips.at_mut(id);
            *self.slices.at_mut(joined) = Slice { strip: id, next: strip.slices, ..of };
            strip.slices = joined;
            return;
        }
        let into = self.slices.at_mut(slice);
        into.ready |= of.ready;
        into.at = into.at.max(of.at);
        policy.gone(joined, None);
        policy.reweigh(slice, weight * u64::from(into.ready.count_ones()));
        self.slices.remove(joined);
    }
}

/// The objects of a slice from `start` on that are in `mask` then, counted from `start`.
const fn part(slice: &Slice, start: u32, mask: Mask) -> Slice {
    Slice { ready: (slice.ready >> start) & mask, pending: (slice.pending >> start) & mask, ..*slice }
}
