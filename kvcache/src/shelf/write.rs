//! Reserving what is absent, publishing what was written, and what a use renews.

use super::policy::Moment;
use super::slices::{Shard, Slice, SliceId};
use super::strips::{LONGEST, Mask, StripId, below, lowest};
use super::{Held, Reserved, Shelf, Uses};
use crate::chain::{BlockKey, Chain};
use crate::units::{Blocks, Tokens};

/// What a holder's strips become when it gives them back.
#[derive(Clone, Copy)]
struct Settling {
    writer: u64,
    upto: Blocks, // its pending objects before this are ready
    at: Moment,
}

impl Shelf {
    /// What is absent in `from..to` becomes pending and is ours to write; what somebody else writes is left to them.
    /// `place` says on which shard an object belongs. A full shard evicts; where nothing can be evicted the range ends:
    /// a write that finds no room is skipped, it never waits. What is there already makes no room for the rest. All up
    /// to `end` is held; what was there beyond it counts as used. O(strips), and O(objects) with several shards.
    pub(crate) fn reserve(
        &mut self,
        chain: Chain<'_>,
        from: Blocks,
        to: Blocks,
        mut place: impl FnMut(BlockKey) -> u16,
    ) -> Reserved {
        let to = to.min(chain.objects());
        if from >= to {
            let held = self.nothing(from);
            return Reserved { held, end: from, new: Tokens::ZERO, skipped: Tokens::ZERO };
        }
        self.writer += 1;
        let walk = self.hold(chain, from, to);
        let (mut leaf, mut end, mut new) = (walk.leaf, walk.reach, 0);
        if walk.gaps {
            (leaf, end) = self.fill_gaps(chain, from, walk.reach, &mut new, &mut place);
        }
        let mut skipped = 0;
        if end < walk.reach {
            skipped = self.let_go(walk.leaf, end);
        } else if end < to {
            (leaf, end) = self.grow(chain, leaf, end, from, to, &mut new, &mut place);
        }
        let beyond = end.max(walk.reach).min(to);
        skipped += u64::from((chain.tokens_before(to) - chain.tokens_before(beyond)).0);
        let held = if end > from {
            Held { leaf, from, to: end, writer: self.writer, epoch: self.epoch }
        } else {
            self.nothing(from)
        };
        Reserved { end: held.to, held, new: Tokens(new as u32), skipped: Tokens(skipped as u32) }
    }

    /// Fills what is absent in the held strips of `from..to`; gives where that ended, and the last strip before.
    fn fill_gaps(
        &mut self,
        chain: Chain<'_>,
        from: Blocks,
        to: Blocks,
        new: &mut u64,
        place: &mut impl FnMut(BlockKey) -> u16,
    ) -> (StripId, Blocks) {
        let (mut above, mut at) = (StripId::ROOT, Blocks::ZERO);
        while at < to {
            let (id, inside) = self.strips.step(above, chain, at, to - at).expect("what is held stays");
            if at >= from {
                let filled = self.fill(id, chain, new, place);
                if filled < inside {
                    let last = if filled > Blocks::ZERO { self.split(id, filled) } else { above };
                    return (last, at + filled);
                }
            }
            above = id;
            at += inside;
        }
        (above, at)
    }

    /// Lets go of the strips from `leaf` up to object `from`, of which nothing is ours to write; gives what they lack.
    fn let_go(&mut self, leaf: StripId, from: Blocks) -> u64 {
        self.turn += 1;
        let settling = Settling { writer: 0, upto: Blocks::ZERO, at: self.moment() };
        let (mut id, mut lacking) = (leaf, 0);
        while id != StripId::ROOT && self.strips.at(id).start >= from {
            lacking += self.weight(id) * u64::from(self.strips.at(id).absent().count_ones());
            self.settle(id, settling);
            id = self.strips.tidy(id);
        }
        lacking
    }

    /// New strips for objects `at..to`, behind `leaf`; those before `from` stay without objects. Gives the deepest
    /// one and where room ended.
    #[expect(clippy::too_many_arguments, reason = "a range, where it hangs, and what it adds up to")]
    fn grow(
        &mut self,
        chain: Chain<'_>,
        mut leaf: StripId,
        mut at: Blocks,
        from: Blocks,
        to: Blocks,
        new: &mut u64,
        place: &mut impl FnMut(BlockKey) -> u16,
    ) -> (StripId, Blocks) {
        let full = chain.tokens().full_blocks(self.unit);
        let mut label = None;
        while at < to {
            let end = if at < from { from } else { to };
            let len = if at == full { Blocks(1) } else { LONGEST.min(end.min(full) - at) };
            let id = self.strips.grow(chain, leaf, at, len, &mut label);
            let mut filled = len;
            if at >= from {
                self.strips.at_mut(id).pins = 1;
                filled = self.fill(id, chain, new, place);
                let strip = self.strips.at_mut(id);
                if filled == Blocks::ZERO {
                    strip.pins = 0;
                    self.strips.tidy(id);
                    break;
                }
                if filled < len {
                    self.strips.shorten(id, chain, filled);
                }
            }
            leaf = id;
            at += filled;
            if filled < len {
                break;
            }
        }
        (leaf, at)
    }

    /// Makes the absent objects of a held strip pending, first to last as far as there is room; gives where that ends.
    fn fill(
        &mut self,
        id: StripId,
        chain: Chain<'_>,
        new: &mut u64,
        place: &mut impl FnMut(BlockKey) -> u16,
    ) -> Blocks {
        let weight = self.weight(id);
        let strip = self.strips.at(id);
        let (start, len, mut absent) = (strip.start, strip.len, strip.absent());
        while absent != 0 {
            let next = Blocks(absent.trailing_zeros());
            // One shard takes all at once.
            let (shard, wanted) =
                if self.shards.len() == 1 { (0, absent) } else { (place(chain.key(start + next)), 1 << next.0) };
            let slice = self.slice_for(id, shard);
            let most = self.room(shard, weight * u64::from(wanted.count_ones())) / weight;
            let taken = lowest(wanted, most);
            self.take(id, slice, taken);
            *new += weight * u64::from(taken.count_ones());
            if taken != wanted {
                if self.slices.at(slice).is_empty() {
                    self.drop_slice(id, slice);
                }
                return Blocks((wanted & !taken).trailing_zeros());
            }
            absent &= !taken;
        }
        len
    }

    /// The slice of a strip to which new objects on `shard` belong.
    fn slice_for(&mut self, id: StripId, shard: u16) -> SliceId {
        let strip = self.strips.at_mut(id);
        let Shard { policy, by_age, .. } = &mut self.shards[usize::from(shard)];
        let mut slice = strip.slices;
        while slice != SliceId::NONE {
            let at = self.slices.at(slice);
            if at.shard == shard && !(*by_age && at.ready != 0) {
                return slice;
            }
            slice = at.next;
        }
        let new = Slice { strip: id, next: strip.slices, shard, ready: 0, pending: 0, at: self.now };
        strip.slices = self.slices.add(new);
        policy.coming(strip.key.0);
        strip.slices
    }

    /// Makes `tokens` of room on a shard if that can be; gives how many there are, at most `tokens`.
    fn room(&mut self, shard: u16, tokens: u64) -> u64 {
        let at = &self.shards[usize::from(shard)];
        let free = at.capacity.saturating_sub(at.used());
        if free >= tokens { tokens } else { tokens.min(free + self.evict(shard, tokens - free)) }
    }

    fn take(&mut self, id: StripId, slice: SliceId, objects: Mask) {
        let weight = self.weight(id);
        let strip = self.strips.at_mut(id);
        debug_assert!(strip.pending == 0 || strip.writer == self.writer, "one writer per strip");
        strip.pending |= objects;
        strip.writer = self.writer;
        let slice = self.slices.at_mut(slice);
        slice.pending |= objects;
        self.shards[usize::from(slice.shard)].usage.pending += weight * u64::from(objects.count_ones());
    }

    /// The objects that are ours to write become ready if they are before `upto`, and absent again if not. This is a
    /// use of what is ready in the range.
    pub(crate) fn publish(&mut self, held: Held, upto: Blocks) {
        if held.epoch != self.epoch || held.leaf == StripId::ROOT {
            return;
        }
        self.turn += 1;
        let settling = Settling { writer: held.writer, upto, at: self.moment() };
        let mut id = held.leaf;
        while id != StripId::ROOT && self.strips.at(id).start >= held.from {
            self.settle(id, settling);
            id = self.strips.tidy(id);
        }
        while self.uses == Uses::Whole && id != StripId::ROOT {
            if self.strips.at(id).pins == 0 {
                self.renew(id, settling.at);
            }
            id = self.strips.at(id).parent;
        }
    }

    const fn moment(&self) -> Moment {
        Moment { turn: self.turn, now: self.now }
    }

    /// A holder gives back a strip.
    fn settle(&mut self, id: StripId, Settling { writer, upto, at }: Settling) {
        let weight = self.weight(id);
        let tokens = |mask: Mask| weight * u64::from(mask.count_ones());
        let strip = self.strips.at_mut(id);
        strip.pins -= 1;
        let pinned = strip.pins > 0;
        let mine = if strip.writer == writer { strip.pending } else { 0 };
        let written = mine & below(upto.saturating_sub(strip.start)) & !strip.doomed;
        let lost = if pinned { 0 } else { strip.ready & strip.doomed };
        strip.pending &= !mine;
        strip.ready = (strip.ready | written) & !lost;
        strip.doomed &= !(mine | lost);
        let key = strip.key.0;
        let mut slice = strip.slices;
        while slice != SliceId::NONE {
            let of = self.slices.at_mut(slice);
            let (before, ended, next) = (of.ready, of.pending & mine, of.next);
            of.ready = (before | ended & written) & !lost;
            of.pending &= !mine;
            let (after, empty) = (of.ready, of.is_empty());
            let Shard { usage, policy, by_age, .. } = &mut self.shards[usize::from(of.shard)];
            if ended != 0 || after != before {
                usage.pending -= tokens(ended);
                usage.ready = usage.ready + tokens(after) - tokens(before);
                usage.pinned = usage.pinned + tokens(after) - tokens(before);
            }
            if !pinned {
                usage.pinned -= tokens(after);
            }
            if before != 0 && after != 0 {
                if after != before {
                    policy.reweigh(slice, tokens(after));
                }
                if !*by_age {
                    of.at = at.now;
                }
                policy.used(slice, pinned, at);
            } else if after != 0 {
                of.at = at.now;
                policy.enter(slice, key, tokens(after), pinned, at);
            } else if before != 0 {
                policy.gone(slice, None);
            }
            if empty {
                self.drop_slice(id, slice);
            }
            slice = next;
        }
    }

    /// A use of a strip that nobody holds.
    fn renew(&mut self, id: StripId, at: Moment) {
        let mut slice = self.strips.at(id).slices;
        while slice != SliceId::NONE {
            let of = self.slices.at_mut(slice);
            let Shard { policy, by_age, .. } = &mut self.shards[usize::from(of.shard)];
            policy.used(slice, false, at);
            if !*by_age {
                of.at = at.now;
            }
            slice = of.next;
        }
    }

    /// Removes a slice in which nothing is left.
    pub(super) fn drop_slice(&mut self, id: StripId, slice: SliceId) {
        let next = self.slices.at(slice).next;
        let strip = self.strips.at_mut(id);
        if strip.slices == slice {
            strip.slices = next;
        } else {
            let mut before = strip.slices;
            while self.slices.at(before).next != slice {
                before = self.slices.at(before).next;
            }
            self.slices.at_mut(before).next = next;
        }
        self.slices.remove(slice);
    }
}
