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

/// What a slice becomes then.
#[derive(Clone, Copy)]
struct Part {
    key: u64, // of the strip's first object
    weight: u64,
    pinned: bool,  // by others
    ended: Mask,   // of the objects that were pending
    written: Mask, // those that are ready, of the whole strip
    lost: Mask,    // of the whole strip
}

/// Who wants to write, and what it adds up to.
struct Wish<'a, P, T> {
    chain: Chain<'a>,
    place: P, // on which shard an object belongs
    told: T,  // how much is to be written to which shard
    new: u64,
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

    /// Makes the absent objects of a held strip pending, first to last as far as there is room; gives where that ends.
    /// Each shard is asked once: what is held cannot go and all else can, so how much room there is is known before
    /// any is made. A shard that cannot take the first object left out has evicted all it could.
    fn fill(
        &mut self,
        id: StripId,
        wish: &mut Wish<'_, impl FnMut(BlockKey) -> u16, impl FnMut(u16, Tokens)>,
    ) -> Blocks {
        let weight = self.weight(id);
        let mut wanted = core::mem::take(&mut self.wanted);
        let absent = self.divide(id, wish, &mut wanted);
        let (mut end, mut full) = (self.strips.at(id).len, None);
        for (n, objects) in (0..).zip(&wanted) {
            let available = self.shards[usize::from(n)].available();
            if *objects != 0 && weight * u64::from(objects.count_ones()) > available {
                let left_out = *objects & !lowest(*objects, available / weight);
                let first = Blocks(left_out.trailing_zeros());
                if first < end {
                    (end, full) = (first, Some(n));
                }
            }
        }
        for (n, objects) in (0..).zip(&mut wanted) {
            let objects = core::mem::take(objects) & below(end);
            if objects != 0 {
                let tokens = weight * u64::from(objects.count_ones());
                self.take(id, n, objects, tokens);
                (wish.told)(n, Tokens(tokens as u32));
                wish.new += tokens;
            }
        }
        self.wanted = wanted;
        let taken = absent & below(end);
        if taken != 0 {
            let strip = self.strips.at_mut(id);
            debug_assert!(strip.pending == 0 || strip.writer == self.writer, "one writer per strip");
            strip.pending |= taken;
            strip.writer = self.writer;
        }
        if let Some(full) = full {
            self.evict(full, u64::MAX);
        }
        end
    }

    /// Says which shard is to take which absent objects of a strip; gives all of them.
    fn divide(
        &self,
        id: StripId,
        wish: &mut Wish<'_, impl FnMut(BlockKey) -> u16, impl FnMut(u16, Tokens)>,
        wanted: &mut [Mask],
    ) -> Mask {
        let strip = self.strips.at(id);
        let absent = strip.absent();
        if let [all] = wanted {
            *all = absent;
        } else if absent != 0 && strip.tail > Tokens::ZERO {
            wanted[usize::from((wish.place)(strip.key))] = absent;
        } else if absent != 0 {
            let mut keys = wish.chain.keys_from(strip.start);
            let mut rest = absent;
            while rest != 0 {
                let next = rest.trailing_zeros();
                let shard = (wish.place)(keys.key(strip.start + Blocks(next)));
                wanted[usize::from(shard)] |= 1 << next;
                rest &= rest - 1;
            }
        }
        absent
    }

    /// Makes room for new objects of `tokens` on a shard, which is known to be possible, and gives it to them.
    fn take(&mut self, id: StripId, shard: u16, objects: Mask, tokens: u64) {
        let strip = self.strips.at(id);
        let at = &mut self.shards[usize::from(shard)];
        let mut slice = strip.slices;
        while slice != SliceId::NONE {
            let of = self.slices.at_mut(slice);
            if of.shard == shard && !(at.by_age && of.ready != 0) {
                of.pending |= objects;
                break;
            }
            slice = of.next;
        }
        if slice == SliceId::NONE {
            at.policy.coming(strip.key.0);
        }
        let (free, now) = (at.capacity - at.used(), self.now);
        at.usage.pending += tokens;
        if tokens > free {
            self.evict(shard, tokens - free);
        }
        if slice == SliceId::NONE {
            let strip = self.strips.at_mut(id);
            let new = Slice { strip: id, next: strip.slices, shard, ready: 0, pending: objects, at: now };
            strip.slices = self.slices.add(new);
        }
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
        let strip = self.strips.at_mut(id);
        strip.pins -= 1;
        let pinned = strip.pins > 0;
        let mine = if strip.writer == writer { strip.pending } else { 0 };
        let written = if mine == 0 { 0 } else { mine & below(upto.saturating_sub(strip.start)) & !strip.doomed };
        let lost = if pinned { 0 } else { strip.ready & strip.doomed };
        strip.pending &= !mine;
        strip.ready = (strip.ready | written) & !lost;
        strip.doomed &= !(mine | lost);
        let (key, mut slice) = (strip.key.0, strip.slices);
        while slice != SliceId::NONE {
            let of = self.slices.at_mut(slice);
            let next = of.next;
            let Shard { usage, policy, by_age, .. } = &mut self.shards[usize::from(of.shard)];
            let (before, ended) = (of.ready, of.pending & mine);
            let tokens = |mask: Mask| weight * u64::from(mask.count_ones());
            if ended | before & lost == 0 {
                if before != 0 {
                    if !pinned {
                        usage.pinned -= tokens(before);
                    }
                    if !*by_age {
                        of.at = at.now;
                    }
                    policy.used(slice, pinned, at);
                }
            } else if before == 0 && ended == of.pending && ended & !written == 0 {
                (of.ready, of.pending, of.at) = (ended, 0, at.now);
                let tokens = tokens(ended);
                usage.pending -= tokens;
                usage.ready += tokens;
                if pinned {
                    usage.pinned += tokens;
                }
                policy.enter(slice, key, tokens, pinned, at);
            } else {
                self.settle_in_part(id, slice, Part { key, weight, pinned, ended, written, lost }, at);
            }
            slice = next;
        }
    }

    /// The same for a slice that loses some objects, or gains some.
    fn settle_in_part(&mut self, id: StripId, slice: SliceId, part: Part, at: Moment) {
        let Part { key, weight, pinned, ended, written, lost } = part;
        let tokens = |mask: Mask| weight * u64::from(mask.count_ones());
        let of = self.slices.at_mut(slice);
        let before = of.ready;
        of.ready = (before | ended & written) & !lost;
        of.pending &= !ended;
        let (after, empty) = (of.ready, of.is_empty());
        let Shard { usage, policy, by_age, .. } = &mut self.shards[usize::from(of.shard)];
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
