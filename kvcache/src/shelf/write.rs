//! Reserving what is absent, publishing what was written, and what a use renews.

use super::fill::Wish;
use super::policy::Policy;
use super::slices::{Shard, SliceId};
use super::strips::{LONGEST, Mask, StripId, below};
use super::{Held, Reserved, Shelf, Shelved, Uses};
use crate::chain::{BlockKey, Chain};
use crate::time::Time;
use crate::units::{Blocks, Tokens};

/// What a holder's strips become when it gives them back.
#[derive(Clone, Copy)]
struct Settling {
    writer: u64,
    upto: Blocks, // its pending objects before this are ready
    at: Time,
}

/// What that means for the slices of a strip: sets of its objects.
#[derive(Clone, Copy)]
struct Part {
    key: u64, // of the strip's first object
    weight: u64,
    pinned: bool,  // by others
    before: Mask,  // were ready
    ended: Mask,   // were pending, and its own
    written: Mask, // of those, are ready
    lost: Mask,    // were ready, and are lost
}

impl Shelf {
    /// What is absent in `from..to` becomes pending and is ours to write; what somebody else writes is left to them.
    /// `place` says on which shard an object belongs, `told` is told how many tokens are ours to write to which shard;
    /// a shard may come several times. A full shard evicts; where nothing can be evicted the range ends: a write that
    /// finds no room is skipped, it never waits. What is there already makes no room for the rest. All up to `end` is
    /// held; what was there beyond it counts as used. O(strips), and O(new objects) with several shards.
    pub(crate) fn reserve(
        &mut self,
        chain: Chain<'_>,
        from: Blocks,
        to: Blocks,
        place: impl FnMut(BlockKey) -> u16,
        told: impl FnMut(u16, Tokens),
    ) -> Reserved {
        let to = to.min(chain.objects());
        if from >= to {
            let held = self.nothing(from);
            return Reserved { held, end: from, new: Tokens::ZERO, skipped: Tokens::ZERO };
        }
        self.writer += 1;
        let mut wish = Wish { chain, place, told, new: 0 };
        let walk = self.hold(chain, from, to);
        let (mut leaf, mut end) = (walk.leaf, walk.reach);
        if walk.gaps {
            (leaf, end) = self.fill_gaps(&mut wish, from, walk.reach);
        }
        let mut skipped = 0;
        if end < walk.reach {
            skipped = self.let_go(walk.leaf, end);
        } else if end < to {
            (leaf, end) = self.grow(&mut wish, (leaf, end), from, to);
        }
        let beyond = end.max(walk.reach).min(to);
        if beyond < to {
            skipped += u64::from((chain.tokens_before(to) - chain.tokens_before(beyond)).0);
        }
        let held = if end > from {
            Held { leaf, from, to: end, writer: self.writer, epoch: self.epoch }
        } else {
            self.nothing(from)
        };
        Reserved { end: held.to, held, new: Tokens(wish.new as u32), skipped: Tokens(skipped as u32) }
    }

    /// Fills what is absent in the held strips of `from..to`; gives where that ended, and the last strip before.
    fn fill_gaps(
        &mut self,
        wish: &mut Wish<'_, impl FnMut(BlockKey) -> u16, impl FnMut(u16, Tokens)>,
        from: Blocks,
        to: Blocks,
    ) -> (StripId, Blocks) {
        let (mut above, mut at) = self.strips.start(wish.chain, from);
        while at < to {
            let (id, inside) = self.strips.step(above, wish.chain, at, to - at).expect("what is held stays");
            if at >= from {
                let filled = self.fill(id, wish);
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
        let settling = Settling { writer: 0, upto: Blocks::ZERO, at: self.now };
        let (mut id, mut lacking) = (leaf, 0);
        while id != StripId::ROOT && self.strips.at(id).start >= from {
            lacking += self.weight(id) * u64::from(self.strips.at(id).absent().count_ones());
            self.settle(id, settling);
            id = self.strips.tidy(id);
        }
        lacking
    }

    /// New strips behind `leaf`, which ends at `at`, for objects up to `to`; those before `from` stay without objects.
    /// Gives the deepest one and where room ended.
    fn grow(
        &mut self,
        wish: &mut Wish<'_, impl FnMut(BlockKey) -> u16, impl FnMut(u16, Tokens)>,
        (mut leaf, mut at): (StripId, Blocks),
        from: Blocks,
        to: Blocks,
    ) -> (StripId, Blocks) {
        let chain = wish.chain;
        let full = chain.tokens().full_blocks(self.unit);
        let mut label = None;
        while at < to {
            let end = if at < from { from } else { to };
            let len = if at == full { Blocks(1) } else { LONGEST.min(end.min(full) - at) };
            let id = self.strips.grow(chain, leaf, at, len, &mut label);
            let mut filled = len;
            if at >= from {
                self.strips.at_mut(id).pins = 1;
                filled = self.fill(id, wish);
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

    /// The objects that are ours to write become ready if they are before `upto`, and absent again if not. This is a
    /// use of what is ready in the range.
    pub(crate) fn publish(&mut self, held: Held, upto: Blocks) {
        if held.epoch != self.epoch || held.leaf == StripId::ROOT {
            return;
        }
        let settling = Settling { writer: held.writer, upto, at: self.now };
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

    /// A holder gives back a strip.
    fn settle(&mut self, id: StripId, Settling { writer, upto, at }: Settling) {
        let weight = self.weight(id);
        let strip = self.strips.at_mut(id);
        strip.pins -= 1;
        let pinned = strip.pins > 0;
        let mine = if strip.writer == writer { strip.pending } else { 0 };
        let written = if mine == 0 { 0 } else { mine & below(upto.saturating_sub(strip.start)) & !strip.doomed };
        let before = strip.ready;
        let lost = if pinned { 0 } else { before & strip.doomed };
        strip.pending &= !mine;
        strip.ready = (before | written) & !lost;
        strip.doomed &= !(mine | lost);
        let part = Part { key: strip.key.0, weight, pinned, before, ended: mine, written, lost };
        self.tell_of(id, written & !before, Shelved::Added);
        self.tell_of(id, lost, Shelved::Dropped);
        let strip = self.strips.at(id);
        // Mostly all of a strip was there before, and is, or nothing was and all is.
        if mine | lost | strip.pending == 0 {
            self.settle_used(id, part, at);
        } else if before == 0 && written == mine && strip.pending == 0 {
            self.settle_new(id, part, at);
        } else {
            let mut slice = strip.slices;
            while slice != SliceId::NONE {
                let next = self.shards.at(slice).next;
                self.settle_slice(slice, part, at);
                slice = next;
            }
        }
    }

    /// The slices of a strip of which everything is ready, and was, are used.
    fn settle_used(&mut self, id: StripId, Part { weight, pinned, .. }: Part, at: Time) {
        let mut slice = self.strips.at(id).slices;
        while slice != SliceId::NONE {
            let Shard { usage, policy, by_age, slices, .. } = self.shards.of_mut(slice.shard());
            let of = &mut slices[slice.index()];
            if !pinned {
                usage.pinned -= weight * u64::from(of.len);
            }
            if !*by_age {
                of.at = at;
            }
            policy.used(slice, pinned, at);
            slice = of.next;
        }
    }

    /// The slices of a strip of which nothing was ready, and everything is, are there.
    fn settle_new(&mut self, id: StripId, Part { key, weight, pinned, .. }: Part, at: Time) {
        let mut slice = self.strips.at(id).slices;
        while slice != SliceId::NONE {
            let Shard { usage, policy, slices, .. } = self.shards.of_mut(slice.shard());
            let of = &mut slices[slice.index()];
            let tokens = weight * u64::from(of.len);
            usage.pending -= tokens;
            usage.ready += tokens;
            if pinned {
                usage.pinned += tokens;
            }
            of.at = at;
            policy.enter(slice, key, tokens, pinned, at);
            slice = of.next;
        }
    }

    /// Any slice of any strip.
    fn settle_slice(&mut self, slice: SliceId, part: Part, at: Time) {
        let Part { key, weight, pinned, before, ended, written, lost } = part;
        let tokens = |mask: Mask| weight * u64::from(mask.count_ones());
        let Shard { usage, policy, by_age, slices, .. } = self.shards.of_mut(slice.shard());
        let of = &mut slices[slice.index()];
        let (before, ended) = (of.objects & before, of.objects & ended);
        let after = (before | ended & written) & !lost;
        *of = of.with(of.objects & !(before | ended) | after);
        let empty = of.objects == 0;
        usage.pending -= tokens(ended);
        usage.ready = usage.ready + tokens(after) - tokens(before);
        usage.pinned = usage.pinned + tokens(after) - tokens(before);
        if !pinned {
            usage.pinned -= tokens(after);
        }
        if before != 0 && after != 0 {
            if after != before {
                policy.reweigh(slice, tokens(after));
            }
            if !*by_age {
                of.at = at;
            }
            policy.used(slice, pinned, at);
        } else if after != 0 {
            of.at = at;
            policy.enter(slice, key, tokens(after), pinned, at);
        } else if before != 0 {
            policy.gone(slice, None);
        }
        if empty {
            self.remove(slice);
        }
    }

    /// A use of a strip that nobody holds.
    fn renew(&mut self, id: StripId, at: Time) {
        let mut slice = self.strips.at(id).slices;
        while slice != SliceId::NONE {
            let Shard { policy, by_age, slices, .. } = self.shards.of_mut(slice.shard());
            let of = &mut slices[slice.index()];
            policy.used(slice, false, at);
            if !*by_age {
                of.at = at;
            }
            slice = of.next;
        }
    }
}
